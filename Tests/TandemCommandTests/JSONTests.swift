import Tandem
import Testing

@testable import TandemCommand

@Suite("Values of the server as JSON")
struct JSONTests {
    @Test(
        "a value comes out without the loss of a digit",
        arguments: [
            ("9007199254740993", PostgresType.int8, #""9007199254740993""#), ("-9007199254740993", .int8, #""-9007199254740993""#),
            ("9007199254740992", .int8, "9007199254740992"), ("-9007199254740992", .int8, "-9007199254740992"),
            ("-9223372036854775808", .int8, #""-9223372036854775808""#), ("7", .int4, "7"), ("1.10", .numeric, #""1.10""#),
            ("5", .numeric, #""5""#),
            ("1e+100", .float8, "1e+100"), ("NaN", .float8, #""NaN""#), ("-Infinity", .float4, #""-Infinity""#), ("t", .bool, "true"),
            ("f", .bool, "false"),
            ("t", .text, #""t""#), ("2026-01-01", .date, #""2026-01-01""#), ("{1,2}", .int4Array, #""{1,2}""#),
            ("{\"a\":\n1.10}", .jsonb, #"{"a": 1.10}"#), ("null", .json, "null"), (nil, .int8, "null"), (nil, .text, "null"),
        ] as [(String?, PostgresType, String)])
    func values(text: String?, type: PostgresType, json: String) {
        #expect(JSON(value: text, type: type).text == json)
    }

    @Test("a text is one line of JSON, whatever it holds")
    func strings() {
        #expect(JSON.string("a\"\\\n\r\t\u{1}\u{7F}\u{2028}ü😀").text == #""a\"\\\n\r\t\u0001\u007f\u2028ü😀""#)
    }

    @Test("keys keep their order")
    func order() {
        #expect(JSON.object([("z", .number(1)), ("a", .array([.null, .bool(true)]))]).text == #"{"z":1,"a":[null,true]}"#)
    }
}
