import TandemCore
import TandemPostgres
import TandemTransactions
import Testing

@testable import TandemConfiguration

@Suite("JSON, digit for digit")
struct JSONReaderTests {
    private func read(_ text: String) throws -> LocatedNode { try LocatedNode.json(Array(text.utf8), file: "f", line: 3) }

    @Test(
        "what is read is what was written",
        arguments: [
            "1.10", "-0.0", "1e400", "9007199254740993", "0", "-12.5E-3", "true", "false", "null", "[]", "{}", #""a\"b\\c""#, #"[1.10,"2",[null,{"a":1.0}]]"#,
            #"{"z":1,"a":[true]}"#,
        ])
    func sameText(text: String) throws {
        #expect(try read(text).json() == text)
        #expect(try read(" \t\r\n\(text) ").json() == text)
    }

    @Test(
        "escapes are the characters that they stand for",
        arguments: [
            (#""\u0041\n\t\/\b\f\r""#, "A\n\t/\u{8}\u{C}\r"), (#""\ud83d\ude00 ü""#, "😀 ü"), (#""\u00e9""#, "é"), (#""""#, ""), (#""null""#, "null"),
        ])
    func escapes(text: String, expected: String) throws {
        #expect(try read(text).text() == expected)
    }

    @Test(
        "anything else is refused with file, line and column",
        arguments: [
            "", " ", "{", "[1,", "[1 2]", "{\"a\" 1}", "{\"a\":1,}", "[1,]", "01", "-", "1.", "1e", "+1", ".5", "nul", "True", "'a'", "\"a", "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\u{1}\"", "1 2", "{\"a\":1,\"a\":2}", "NaN", "{a:1}",
            String(repeating: "[", count: 65) + String(repeating: "]", count: 65),
        ])
    func refused(text: String) {
        let error = #expect(throws: TandemError.self) { try read(text) }
        #expect(error?.code == .configurationInvalid && error?.message.hasPrefix("f:3: column ") == true, "\(error?.message ?? "")")
    }

    @Test("bytes that are no UTF-8 are refused")
    func bytes() {
        #expect(throws: TandemError.self) { try LocatedNode.json([0x22, 0xFF, 0x22], file: "f", line: 1) }
    }

    @Test("a line is a transaction with its reference, and keeps the reference where it is none")
    func line() throws {
        let good = TransactionLine(
            Array(#"{"ref":{"a":1.10},"operations":[{"node":"n1","sql":"SELECT $1","params":[1.10,null,[1,"x"],{"k":1.0}]}],"timeout":"5s"}"#.utf8), file: "f",
            line: 1)
        #expect(good.reference == #"{"a":1.10}"#)
        let request = try good.request.get()
        #expect(request.operations.count == 1 && request.options.timeout == .seconds(5))
        for (text, reference) in [(#"{"ref":7,"operations":[]}"#, "7"), (#"{"ref":"x","oprations":[]}"#, nil), ("[]", nil)] as [(String, String?)] {
            let line = TransactionLine(Array(text.utf8), file: "f", line: 9)
            #expect(line.reference == reference)
            #expect(throws: TandemError.self) { try line.request.get() }
        }
    }

    @Test(
        "an object is read as PostgreSQL takes it: a name twice, half of a character, and values as deep as they like",
        arguments: [
            (#"{"a": "1", "a":"2"}"#, ["a=1", "a=2"]), (#" { "n" : 1.10 , "o": {"x": [1, "}"] } , "z":null} "#, ["n=1.10", #"o={"x":[1,"}"]}"#, "z=null"]),
            (#"{"h": "\ud800", "i": "\ud800\u0041"}"#, ["h=\u{FFFD}", "i=\u{FFFD}A"]), (#"{"d": {"a": 1, "a": 2 } }"#, [#"d={"a": 1, "a": 2 }"#]), ("{}", []),
            (
                "{\"deep\":\(String(repeating: "[", count: 5000))\(String(repeating: "]", count: 5000))}",
                ["deep=\(String(repeating: "[", count: 5000))\(String(repeating: "]", count: 5000))"]
            ),
        ])
    func object(text: String, expected: [String]) throws {
        #expect(try JSON.texts(ofObject: text).map { "\($0.name)=\($0.text)" } == expected)
    }

    @Test(
        "what is no object is none, however many names it has",
        arguments: [
            "", "[1]", "{", "{\"a\"}", "{\"a\":}", "{\"a\":1", "{\"a\":1} 2", "{\"a\":[1}", "null", "{\"a\": True}", "{\"a\": 'b'}", "{\"a\": 1 2}",
            "{\"a\": [1}}", "{\"a\": {} 1}",
        ])
    func noObject(text: String) {
        #expect(throws: JSONError.self) { try JSON.texts(ofObject: text) }
    }
}
