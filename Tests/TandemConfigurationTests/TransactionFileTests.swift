import TandemCore
import TandemPostgres
import TandemTransactions
import Testing

@testable import TandemConfiguration

@Suite("A transaction in a file")
struct TransactionFileTests {
    /// The parameters of one operation whose `params` are `text`.
    private func parameters(_ text: String) throws -> [PostgresParameter] {
        let document = try YAMLDocument("params: \(text)\n", file: "x")
        return try #require(try document.root.section(["params"])["params"]).list().map { try $0.parameter() }
    }

    @Test(
        "a number, a date and a word arrive as they are written, quoted or not",
        arguments: [
            "1.10", "9007199254740993", "2026-01-01", "0x1F", "1_000", "007", "1e5", "-0", ".5", "true", "yes", "NaN",
            "2026-01-01T00:00:00Z", "12:30:45",
        ])
    func digits(text: String) throws {
        #expect(try parameters("[\(text), \"\(text)\", '\(text)']") == [.text(text), .text(text), .text(text)])
    }

    @Test("null is NULL, and a quoted null is the word")
    func null() throws {
        #expect(
            try parameters("[null, ~, Null, NULL, \"null\", '~', \"\", !!str null]") == [
                .null, .null, .null, .null, .text("null"), .text("~"), .text(""), .text("null"),
            ])
        #expect(try parameters("\n  - \n  - |\n    two\n    lines\n") == [.null, .text("two\nlines\n")])
    }

    @Test(
        "a list is an array whose elements cannot be mistaken",
        arguments: [
            ("[1, 2.50]", #"{"1","2.50"}"#), ("[]", "{}"), ("[null, 'null', '']", #"{NULL,"null",""}"#),
            (#"['a"b', 'c\d', '{x,y}', ' ']"#, #"{"a\"b","c\\d","{x,y}"," "}"#), ("[[1, 2], [3, ~]]", #"{{"1","2"},{"3",NULL}}"#),
            ("[{a: 1}, {b: x}]", #"{"{\"a\":1}","{\"b\":\"x\"}"}"#),
        ])
    func arrays(yaml: String, literal: String) throws {
        #expect(try parameters("[\(yaml)]") == [.text(literal)])
    }

    @Test(
        "a mapping is a JSON text with every digit and the file's order",
        arguments: [
            ("{z: 1.10, a: 9007199254740993}", #"{"z":1.10,"a":9007199254740993}"#), ("{}", "{}"),
            ("{a: [1, '1', null, true, False, yes], b: {c: ~}}", #"{"a":[1,"1",null,true,false,"yes"],"b":{"c":null}}"#),
            (
                "{a: 0x1F, b: 007, c: .5, d: 1., e: 1e5, f: -0.0, g: +1}",
                #"{"a":"0x1F","b":"007","c":".5","d":"1.","e":1e5,"f":-0.0,"g":"+1"}"#
            ),
            (#"{"a\"b\\": "line\n\tend\u0001"}"#, #"{"a\"b\\":"line\u000a\u0009end\u0001"}"#), ("{1: x}", #"{"1":"x"}"#),
        ])
    func mappings(yaml: String, json: String) throws {
        #expect(try parameters("[\(yaml)]") == [.text(json)])
    }

    @Test("everything that a file can say arrives")
    func everything() throws {
        let request = try TransactionFile.parse(
            """
            id: 018f3e2a-7c4b-7d11-9a52-0123456789AB
            isolation: repeatable read
            timeout: 1500ms
            acknowledge: decided
            operations:
              - node: a
                sql: UPDATE t SET x = $1
                params: [1]
                expect: {rows: 1}
              - {node: b, sql: DELETE FROM t, expect: {rows: {min: 2, max: 5}}}
              - {node: b, sql: DELETE FROM u, expect: {rows: {min: 2}}}
              - {node: a, sql: SELECT 1}
            """, name: "x")
        #expect(request.options.id?.description == "018f3e2a-7c4b-7d11-9a52-0123456789ab")
        #expect(request.options.isolation == .repeatableRead)
        #expect(request.options.timeout == .milliseconds(1500))
        #expect(request.options.acknowledgement == .decided)
        #expect(request.operations.map(\.node) == ["a", "b", "b", "a"])
        #expect(request.operations.map(\.expectedRows) == [1...1, 2...5, 2...Int.max, nil])
        #expect(request.operations[0].sql.text == "UPDATE t SET x = $1")
        #expect(request.operations[0].sql.parameters.count == 1)
    }

    @Test("JSON is read, too")
    func json() throws {
        let request = try TransactionFile.parse(
            #"{"operations": [{"node": "a", "sql": "SELECT $1", "params": [1.10]}], "isolation": "serializable"}"#, name: "x")
        #expect(request.operations.count == 1)
        #expect(request.options.isolation == .serializable)
    }

    @Test(
        "a mistake is told with name, line and key",
        arguments: [
            ("operations: []", "x:1: operations: there is no operation"), ("{}", "x:1: the key `operations` is missing"),
            ("operations: {node: a}", "x:1: operations: a list of operations is expected here, not keys with values"),
            ("operations:\n  - node: a\n    sq: SELECT 1", "x:3: operations[0].sq: there is no key `sq` here"),
            ("operations:\n  - node: a", "x:2: operations[0]: the key `sql` is missing"),
            (
                "operations:\n  - node: a b\n    sql: x",
                "x:2: operations[0].node: \"a b\" is not the name of a node: 1 to 63 of A-Z a-z 0-9 _ . -, and a letter or digit first"
            ),
            (
                "operations:\n  - {node: a, sql: x}\n  - {node: a, sql: x, params: 1}",
                "x:3: operations[1].params: a list of parameters is expected here, not a single value"
            ),
            ("operations:\n  - {node: a, sql: x, expect: {rows: -1}}", "x:2: operations[0].expect.rows: -1 is out of bounds"),
            ("operations:\n  - {node: a, sql: x, expect: {rows: {min: 3, max: 1}}}", "x:2: operations[0].expect.rows: min is above max"),
            ("id: 17\noperations: [{node: a, sql: x}]", "x:1: id: `17` is not a UUID"),
            ("acknowledge: aplied\noperations: [{node: a, sql: x}]", "x:1: acknowledge: `aplied` is not one of `decided`, `applied`"),
            ("isolation: dirty\noperations: [{node: a, sql: x}]", "x:1: isolation: `dirty` is no isolation level"),
            ("timeout: 5\noperations: [{node: a, sql: x}]", "x:1: timeout: `5` has no unit"),
            ("operations: *x", "x:1: found undefined alias"),
        ])
    func mistakes(text: String, message: String) throws {
        let error = try #require(throws: TandemError.self) { try TransactionFile.parse(text, name: "x") }
        #expect(error.message == message)
        #expect(error.exitCode == .usage)
        #expect(!error.nextStep.isEmpty)
    }
}
