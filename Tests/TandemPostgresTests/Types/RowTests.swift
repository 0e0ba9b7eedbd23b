import FoundationEssentials
import TandemCore
import TandemPostgres
import Testing

/// A result in memory, in text form.
private struct Rows: ResultColumns {
    let shape: ResultShape
    var rows: [[String?]]
    var rowsBefore = 0

    init(columnNames: [String], types: [PostgresType], rows: [[String?]], rowsBefore: Int = 0) {
        shape = ResultShape(names: columnNames, types: types, formats: types.map { _ in .text })
        (self.rows, self.rowsBefore) = (rows, rowsBefore)
    }

    func isNull(row: Int, column: Int) -> Bool { rows[row][column] == nil }
    func value<Value: PostgresDecodable>(_ type: Value.Type, row: Int, column: Int) throws -> Value {
        guard let text = rows[row][column] else { return try Value.decodeNull(type: shape.types[column]) }
        let bytes = Array(text.utf8)
        return try Value.decode(bytes.span.bytes, type: shape.types[column], format: .text)
    }
}

@Suite("Rows")
struct RowTests {
    private let accounts = Rows(
        columnNames: ["id", "owner_name", "balance", "address", "mood", "closed_at", "tags", "HTMLBody"],
        types: [.int8, .text, .numeric, .jsonb, PostgresType(rawValue: 16_400), .timestamptz, .textArray, .text],
        rows: [
            ["1", "Ann", "1.10", #"{"street": "x"}"#, "happy", nil, "{a,b}", "<p>"],
            ["2", nil, "NaN", nil, "sad", "2026-01-01 00:00:00+00", "{}", ""],
        ])

    enum Mood: String, Decodable { case sad, happy }
    struct Address: Codable, Equatable { var street: String }
    struct Account: Decodable, Equatable {
        var id: Int
        var ownerName: String?
        var balance: PostgresNumeric
        var address: Address?
        var mood: Mood
        var closedAt: Date?
        var tags: [String]
        var HTMLBody: String
        var missing: Int?
    }

    @Test("a tuple is read column by column")
    func tuples() throws {
        let rows = Rows(columnNames: ["a", "b", "c"], types: [.int4, .text, .bool], rows: [["7", nil, "t"]])
        let (number, text, flag) = try rows.decodeRow(0, as: Int.self, String?.self, Bool.self)
        #expect(number == 7 && text == nil && flag)
    }

    @Test("another number of columns is refused with both numbers")
    func counts() throws {
        let rows = Rows(columnNames: ["a", "b"], types: [.int4, .text], rows: [["7", "x"]])
        let error = #expect(throws: TandemError.self) { try rows.decodeRow(0, as: Int.self) }
        #expect(error?.code == .decodingFailed)
        #expect(error?.message == "the result has 2 columns and 1 were to be read")
    }

    @Test("an error names column, type and row, and not the value")
    func errors() throws {
        var rows = Rows(columnNames: ["a", "amount"], types: [.int4, .numeric], rows: [["7", "1"], ["8", nil], ["9", "12.5"]])
        rows.rowsBefore = 10
        let null = #expect(throws: TandemError.self) { try rows.decodeRow(1, as: Int.self, PostgresNumeric.self) }
        #expect(
            null?.message
                == "column 2 \"amount\" (numeric) of row 12: NULL where a PostgresNumeric was expected; read it as PostgresNumeric?")
        let digits = #expect(throws: TandemError.self) { try rows.decodeRow(2, as: Int.self, Int.self) }
        #expect(digits?.code == .decodingFailed)
        #expect(digits?.message.contains("12.5") == false)
        #expect(digits?.message.contains("\"amount\" (numeric) of row 13") == true)
    }

    @Test("a struct is read by name, snake case, JSON and single values")
    func structs() throws {
        let decoder = RowDecoder(accounts)
        let first = try decoder.decode(Account.self, row: 0)
        #expect(
            first
                == Account(
                    id: 1, ownerName: "Ann", balance: "1.10", address: Address(street: "x"), mood: .happy, closedAt: nil, tags: ["a", "b"],
                    HTMLBody: "<p>", missing: nil))
        let second = try decoder.decode(Account.self, row: 1)
        #expect(second.ownerName == nil && second.balance.isNaN && second.address == nil && second.mood == .sad)
        #expect(second.closedAt == Date(timeIntervalSince1970: 1_767_225_600))
    }

    @Test("a single value is read from a single column")
    func singles() throws {
        let rows = Rows(columnNames: ["n"], types: [.int8], rows: [["7"], [nil]])
        #expect(try RowDecoder(rows).decode(Int.self, row: 0) == 7)
        #expect(try RowDecoder(rows).decode(Int?.self, row: 1) == nil)
        #expect(try RowDecoder(rows).decode(UInt64.self, row: 0) == 7)
        let moods = Rows(columnNames: ["m"], types: [PostgresType(rawValue: 16_400)], rows: [["happy"], ["angry"]])
        #expect(try RowDecoder(moods).decode(Mood.self, row: 0) == .happy)
        #expect(throws: TandemError.self) { try RowDecoder(moods).decode(Mood.self, row: 1) }
        #expect(throws: TandemError.self) { try RowDecoder(accounts).decode(Int.self, row: 0) }
    }

    struct Narrow: Decodable { var id: UInt8 }
    struct Wrong: Decodable { var nothing: Int }
    struct Nested: Decodable { var id: Address }
    struct Tags: Decodable { var tags: [String], count: Int, raw: String }

    @Test("what does not fit is refused with its column")
    func refused() throws {
        let rows = Rows(columnNames: ["id"], types: [.int8], rows: [["256"]])
        let narrow = #expect(throws: TandemError.self) { try RowDecoder(rows).decode(Narrow.self, row: 0) }
        #expect(narrow?.message == "column 1 \"id\" (int8) of row 1: the int8 does not fit UInt8")
        let wrong = #expect(throws: TandemError.self) { try RowDecoder(rows).decode(Wrong.self, row: 0) }
        #expect(wrong?.message == "the result has no column \"nothing\"")
        let nested = #expect(throws: TandemError.self) { try RowDecoder(rows).decode(Nested.self, row: 0) }
        #expect(nested?.message.contains("json") == true)
        let twice = Rows(columnNames: ["id", "id"], types: [.int8, .int8], rows: [["1", "2"]])
        let ambiguous = #expect(throws: TandemError.self) { try RowDecoder(twice).decode(Narrow.self, row: 0) }
        #expect(ambiguous?.message == "several columns have the name \"id\"")
    }

    @Test("a json column is read as what it holds, and as text where a String is wanted")
    func json() throws {
        let rows = Rows(
            columnNames: ["tags", "count", "raw"], types: [.jsonb, .json, .jsonb], rows: [[#"["a", "b"]"#, "3", #"{"a": 1}"#]])
        let tags = try RowDecoder(rows).decode(Tags.self, row: 0)
        #expect(tags.tags == ["a", "b"] && tags.count == 3 && tags.raw == #"{"a": 1}"#)
        let secret = Rows(columnNames: ["address"], types: [.jsonb], rows: [[#"{"street": 5150}"#]])
        struct Holder: Decodable { var address: Address }
        let error = #expect(throws: TandemError.self) { try RowDecoder(secret).decode(Holder.self, row: 0) }
        #expect(error?.message == "column 1 \"address\" (jsonb) of row 1: no String at street")
    }
}
