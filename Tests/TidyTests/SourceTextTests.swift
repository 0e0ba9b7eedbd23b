import Testing

@Suite("Swift source is told apart into code, comments and literals")
struct SourceTextTests {
    @Test(
        "comments and the contents of literals are not code",
        arguments: [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("a /* b\n */ c", "a     \n    c"),
            (#"f("a", b)"#, #"f(" ", b)"#),
            (#"f("a\"b", c)"#, #"f("    ", c)"#),
            (#"f("a\(b("c"))d")"#, #"f("  (b(" ")) ")"#),
            (##"f(#"a"b\(c)\#(d)"#)"##, ##"f(#"         (d)"#)"##),
            ("f(\"\"\"\n a \"b\" // c\n \"\"\") // d", "f(\"\"\"\n           \n \"\"\")     "),
            (#"f("// a") // b"#, #"f("    ")     "#),
            (#"x = /a"b/ + "c""#, #"x =       + " ""#),
            (##"x = #/a"/b/# + "c""##, ##"x =          + " ""##),
            (#"x = a / b + "c" / d"#, #"x = a / b + " " / d"#),
            (#"#selector(a)"#, #"#selector(a)"#),
            ("\"open", "\"    "),
        ])
    func code(source: String, code: String) {
        #expect(SourceText(source).code == code)
    }

    @Test("the contents of string literals are kept, without what is interpolated")
    func literals() {
        let text = SourceText(##"f("a\(b)c", #"d"e"#) // "g""##)
        #expect(text.literals == ["ac", #"d"e"#])
    }

    @Test(
        "an import is found with all that may stand before it",
        arguments: ["", "public ", "@testable ", "@_exported public ", "@_spi(A) package "])
    func imports(prefix: String) {
        let file = SourceFile(path: "Sources/A/A.swift", text: "\n  \(prefix)import struct B.C // import D")
        #expect(file.imports.map(\.module) == ["B"])
        #expect(file.imports.map(\.line) == [2])
    }
}
