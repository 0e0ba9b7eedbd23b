import TandemCore
import TandemPostgres
import Testing

@Suite("Quoting")
struct QuotingTests {
    @Test(
        "hostile names stay names",
        arguments: [
            ("accounts", #""accounts""#), ("a\"b", #""a""b""#), ("\"; DROP TABLE x; --", #""""; DROP TABLE x; --""#), ("a.b", #""a.b""#),
            ("a'b\\", #""a'b\""#), ("Größe", #""Größe""#), ("a\nb", "\"a\nb\""), (" ", #"" ""#), ("\"\"", #""""""""#),
            ("\"\u{301}", "\"\"\"\u{301}\""), ("\r\n\"", "\"\r\n\"\"\""),
        ])
    func identifiers(name: String, quoted: String) throws {
        #expect(try Array(quoteIdentifier(name).utf8) == Array(quoted.utf8))
    }

    @Test("what the server would take for another name is refused")
    func refusedIdentifiers() throws {
        for name in ["", "a\0b", String(repeating: "x", count: 64), String(repeating: "é", count: 32)] {
            let error = #expect(throws: TandemError.self) { try quoteIdentifier(name) }
            #expect(error?.code == .encodingFailed)
        }
        #expect(try quoteIdentifier(String(repeating: "é", count: 31) + "x").utf8.count == 65)
    }

    @Test(
        "hostile texts stay texts, whatever standard_conforming_strings is",
        arguments: [
            ("tandem1:bank:x", "'tandem1:bank:x'"), ("a'b", "'a''b'"), (#"a\'b"#, #"E'a\\''b'"#), ("'; drop", "'''; drop'"), ("", "''"),
            (#"\"#, #"E'\\'"#), ("ü", "'ü'"), ("'\u{301}", "'''\u{301}'"), ("\\\u{301}'", "E'\\\\\u{301}'''"),
        ])
    func literals(text: String, quoted: String) throws {
        #expect(try Array(quoteLiteral(text).utf8) == Array(quoted.utf8))
    }

    @Test("a literal with NUL is refused")
    func refusedLiteral() {
        let error = #expect(throws: TandemError.self) { try quoteLiteral("a\0") }
        #expect(error?.code == .encodingFailed)
    }
}
