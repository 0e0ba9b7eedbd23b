import TandemCore
import TandemPostgres
import Testing

@Suite("SQL")
struct SQLTests {
    private func texts(_ sql: SQL) -> [String?] {
        (0..<sql.parameters.count).map { index in sql.parameters.value(at: index).map { String(decoding: $0, as: UTF8.self) } }
    }

    @Test(
        "a hostile value is bound and never in the text",
        arguments: [
            "Robert'); DROP TABLE students;--", "$1", "\\", "'", "\"", "$$", "E'\\''", "--", "/*", "\u{FEFF}", "é\u{301}", "NULL", "",
        ])
    func hostileValues(value: String) {
        let sql: SQL = "UPDATE students SET name = \(value) WHERE id = \(7)"
        #expect(sql.text == "UPDATE students SET name = $1 WHERE id = $2")
        #expect(texts(sql) == [value, "7"])
        #expect(sql.defect == nil)
        #expect(sql.parameters.types == [.unspecified, .unspecified])
    }

    @Test("nil is NULL, bytes are binary, arrays are text")
    func kinds() {
        let sql: SQL = "SELECT \(nil as Int?), \([1, 2] as [UInt8]), \([1, 2]), \(true), \(1.5), \(PostgresParameter.null)"
        #expect(sql.text == "SELECT $1, $2, $3, $4, $5, $6")
        #expect(sql.parameters.value(at: 0) == nil)
        #expect(sql.parameters.value(at: 1) == [1, 2])
        #expect(sql.parameters.types[1] == .bytea)
        #expect(texts(sql)[2] == "{1,2}")
        #expect(sql.parameters.format(at: 2) == .text)
        #expect(sql.parameters.value(at: 5) == nil)
    }

    @Test("names are quoted, and one that cannot be a name is a defect")
    func identifiers() {
        let sql: SQL = "SELECT \(identifier: "na\"me") FROM \(identifier: "s", "t; DROP") WHERE a = \(1)"
        #expect(sql.text == #"SELECT "na""me" FROM "s"."t; DROP" WHERE a = $1"#)
        for name in ["", "a\0", String(repeating: "x", count: 64)] {
            let bad: SQL = "SELECT \(identifier: name)"
            #expect(bad.defect?.code == .encodingFailed)
            let worse: SQL = "SELECT 1 WHERE \(sql: bad)"
            #expect(worse.defect?.code == .encodingFailed)
        }
    }

    @Test("a placeholder is kept apart from what stands next to it")
    func neighbours() {
        let sql: SQL = "LIMIT\(1)0 $\(2)$ é\(3)é \(4)\(5)(\(6))"
        #expect(sql.text == "LIMIT $1 0 $ $2 $ é $3 é $4 $5($6)")
        let unsafe: SQL = "\(1)\(unsafe: "0") \(unsafe: "ASC")"
        #expect(unsafe.text == "$1 0 ASC")
    }

    @Test("a statement inside another keeps its parameters")
    func composition() {
        let inner: SQL = "name = \("x") AND note <> '$1' AND \"$1\" = \(true) -- $1"
        let outer: SQL = "SELECT \(1) WHERE \(sql: inner)\n AND id = \(2) OR \(sql: inner)"
        #expect(
            outer.text
                == "SELECT $1 WHERE name = $2 AND note <> '$1' AND \"$1\" = $3 -- $1\n AND id = $4 OR name = $5 AND note <> '$1' AND \"$1\" = $6 -- $1"
        )
        #expect(texts(outer) == ["1", "x", "t", "2", "x", "t"])
    }

    @Test(
        "only placeholders are renumbered",
        arguments: [
            ("$1+$2", "$2+$3"), ("E'\\'$1' || $1", "E'\\'$1' || $2"), ("e'$1'", "e'$1'"), ("'a''$1' $1", "'a''$1' $2"),
            ("'\\' || $1", "'\\' || $2"), ("$a$ $1 $a$ $1", "$a$ $1 $a$ $2"), ("$$ $1 $b$ $$ $1", "$$ $1 $b$ $$ $2"),
            ("foo$1 $1", "foo$1 $2"),
            ("/* $1 /* $1 */ $1 */ $1", "/* $1 /* $1 */ $1 */ $2"), ("-- $1\n$1", "-- $1\n$2"), ("\"a\"\"$1\" $1", "\"a\"\"$1\" $2"),
            ("é$1 $1", "é$1 $2"), ("$99999999999999999999", "$99999999999999999999"), ("$", "$"), ("'$1", "'$1"), ("$a $1", "$a $2"),
            ("$9", "$10"),
            ("E'\\", "E'\\"),
        ])
    func renumbering(inner: String, expected: String) {
        let outer: SQL = "\(0) \(sql: SQL(inner, parameters: []))"
        #expect(outer.text == "$1 " + expected)
    }

    @Test("a statement from data binds its parameters")
    func fromData() {
        let sql = SQL("INSERT INTO t VALUES ($1, $2, $3)", parameters: [.text("1.10"), .null, .bytes([0])])
        #expect(sql.text == "INSERT INTO t VALUES ($1, $2, $3)")
        #expect(sql.parameters.value(at: 0) == Array("1.10".utf8))
        #expect(sql.parameters.value(at: 1) == nil)
        #expect(sql.parameters.value(at: 2) == [0])
    }

    @Test("what cannot be sent is a defect that does not tell the value")
    func defects() {
        let nul: SQL = "SELECT \("secret\0")"
        #expect(nul.defect?.code == .encodingFailed)
        #expect(nul.defect?.description.contains("secret") == false)
        #expect(("SELECT\0 1" as SQL).defect != nil)
        #expect(SQL("SELECT 1\0; x", parameters: []).defect != nil)
        #expect(("SELECT \(["a\0"])" as SQL).defect != nil)
        #expect(SQL("x", parameters: Array(repeating: .null, count: 65_536)).defect != nil)
        #expect(SQL("x", parameters: Array(repeating: .null, count: 65_535)).defect == nil)
    }

    struct Silent: PostgresEncodable { func encode(into encoder: inout PostgresEncoder) {} }
    struct Chatty: PostgresEncodable {
        func encode(into encoder: inout PostgresEncoder) {
            encoder.encode(text: "a")
            encoder.encode(text: "b")
        }
    }

    @Test("a value that writes none or two is a defect, and the next ones keep their numbers")
    func miscounted() {
        let sql: SQL = "SELECT \(Silent()), \(Chatty()), \(3)"
        #expect(sql.defect?.code == .encodingFailed)
        #expect(sql.parameters.count == 3)
        #expect(texts(sql)[2] == "3")
        #expect(("SELECT \([Silent()])" as SQL).defect != nil)
    }

    @Test("the description has no values in it")
    func description() {
        let sql: SQL = "SELECT \("secret")"
        #expect("\(sql)" == "SELECT $1")
    }

    @Test("the pointers show each value with a NUL behind it")
    func pointers() {
        let sql: SQL = "SELECT \("ab"), \(nil as Int?), \([7, 0] as [UInt8]), \("")"
        sql.parameters.withPointers { count, types, values, lengths, formats in
            #expect(count == 4)
            guard let types, let values, let lengths, let formats else {
                Issue.record("no pointers")
                return
            }
            #expect(values[0].map { String(cString: $0) } == "ab")
            #expect(values[1] == nil)
            #expect(values[2].map { [$0[0], $0[1], $0[2]] } == [7, 0, 0])
            #expect(values[3].map { String(cString: $0) } == "")
            #expect((0..<4).map { types[$0] } == [0, 0, 17, 0])
            #expect((0..<4).map { lengths[$0] } == [2, 0, 2, 0])
            #expect((0..<4).map { formats[$0] } == [0, 0, 1, 0])
        }
        let empty: SQL = "SELECT 1"
        empty.parameters.withPointers { count, types, values, _, _ in
            #expect(count == 0)
            #expect(types == nil && values == nil)
        }
    }
}
