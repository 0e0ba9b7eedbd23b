import FoundationEssentials
import TandemPostgres
import Testing

@Suite("Arrays and JSON")
struct ArrayTests {
    @Test("arrays from the server are read in both forms, NULLs, bounds and dimensions included")
    func captures() throws {
        #expect(try decode("{1,NULL,3}", .int4Array, as: [Int?].self) == [1, nil, 3])
        let binary = "00000001000000010000001700000003000000010000000400000001ffffffff0000000400000003"
        #expect(try decode(hex: binary, .int4Array, as: [Int?].self) == [1, nil, 3])
        let grid = try #require(
            PostgresArray([1, 2, 3, 4, 5, 6], dimensions: [.init(lowerBound: 0, count: 2), .init(lowerBound: -2, count: 3)]))
        #expect(try decode("[0:1][-2:0]={{1,2,3},{4,5,6}}", .int4Array, as: PostgresArray<Int>.self) == grid)
        let gridBinary =
            "000000020000000000000017000000020000000000000003fffffffe0000000400000001000000040000000200000004000000030000000400000004"
            + "00000004000000050000000400000006"
        #expect(try decode(hex: gridBinary, .int4Array, as: PostgresArray<Int>.self) == grid)
        #expect(grid.element(at: 1, -2) == 4)
        #expect(grid.element(at: 2, -2) == nil)
        #expect(grid.element(at: 1) == nil)
        #expect(encoded(grid) == "[0:1][-2:0]={{1,2,3},{4,5,6}}")
        #expect(try decode("{}", .int4Array, as: [Int].self) == [])
        #expect(try decode(hex: "000000000000000000000017", .int4Array, as: [Int].self) == [])
        #expect(try decode("[5:6]={1,2}", .int4Array, as: [Int].self) == [1, 2])
    }

    @Test("text elements keep quotes, backslashes, commas, spaces, braces and the word NULL")
    func texts() throws {
        let expected = ["a", "NULL", nil, "", "q\"u", "b\\s", "c,d", " sp ", "{x}", "é"]
        let text = #"{a,"NULL",NULL,"","q\"u","b\\s","c,d"," sp ","{x}",é}"#
        let binary =
            "0000000100000001000000190000000a000000010000000161000000044e554c4cffffffff000000000000000371227500000003625c7300000003632c6"
            + "40000000420737020000000037b787d00000002c3a9"
        #expect(try decode(text, .textArray, as: [String?].self) == expected)
        #expect(try decode(hex: binary, .textArray, as: [String?].self) == expected)
        #expect(try decode("{\"line\ntab\t\"}", .textArray, as: [String].self) == ["line\ntab\t"])
        #expect(encoded(expected) == #"{"a","NULL",NULL,"","q\"u","b\\s","c,d"," sp ","{x}","é"}"#)
        #expect(try roundTrip(expected, .textArray) == expected)
    }

    @Test("arrays of every other type are read as the server writes them")
    func otherElements() throws {
        #expect(try decode(#"{"\\x00ff",NULL,"\\x"}"#, .byteaArray, as: [[UInt8]?].self) == [[0, 255], nil, []])
        let bytea = "00000001000000010000001100000003000000010000000200ffffffffff00000000"
        #expect(try decode(hex: bytea, .byteaArray, as: [Data?].self) == [Data([0, 255]), nil, Data()])
        #expect(encoded([[0, 255], []] as [[UInt8]]) == #"{"\\x00ff","\\x"}"#)
        let numeric = "0000000100000001000006a400000003000000010000000c0002000000000002000103e8ffffffff0000000800000000c0000000"
        #expect(try decode(hex: numeric, .numericArray, as: [PostgresNumeric?].self) == ["1.10", nil, .nan])
        #expect(try decode("{t,f,NULL}", .boolArray, as: [Bool?].self) == [true, false, nil])
        #expect(try decode("{-Infinity,-0,5e-324}", .float8Array, as: [Double].self) == [-.infinity, 0, .leastNonzeroMagnitude])
        #expect(
            try decode(#"{"1 day","1 mon -00:00:01"}"#, .intervalArray, as: [PostgresInterval].self)
                == [PostgresInterval(days: 1), PostgresInterval(months: 1, microseconds: -1_000_000)])
        #expect(try decode(#"{2026-01-01,"0044-03-15 BC"}"#, .dateArray, as: [PostgresDate].self).map(\.days) == [9497, -746_117])
        #expect(try decode(#"{"2026-01-01 12:00:00+00",infinity}"#, .timestamptzArray, as: [PostgresTimestampTZ].self).last == .infinity)
        #expect(try decode(#"{"{\"a\": \"x\\\"y\"}"}"#, .jsonbArray, as: [PostgresJSON<[String: String]>].self) == [.init(["a": "x\"y"])])
    }

    @Test(
        "what is no array is refused",
        arguments: [
            "", "{", "}", "{1", "{1,}", "{,1}", "{1}}", "{{1,2},{3}}", "{{1},2}", "{1,{2}}", "{\"1}", "{1}x", "[0:1]={1}", "[0:0][0:0]={1}",
            "[1:0]={}", "[1:2]{1,2}", "{{}}", "{{},{}}", "{1 \"2\"}", "{\\1}", "{{{{{{{1}}}}}}}", "1", "{\"a\\",
        ])
    func malformed(text: String) {
        #expect(reason(PostgresArray<String>.self, text, .textArray) == .malformed)
    }

    @Test("forged binary arrays are refused without reserving what they claim")
    func forged() {
        for hex in [
            "", "00000001", "0000000700000000000000170000000100000001", "000000010000000000000017ffffffff00000001",
            "0000000100000000000000177fffffff00000001", "00000001000000000000001700000001000000010000000400",
            "000000010000000000000017000000010000000100000004000000010000", "0000000100000000000000170000000100000001fffffffe",
            "0000000200000000000000177fffffff000000017fffffff00000001",
        ] {
            #expect(throws: PostgresDecodingError.self, "\(hex)") { try decode(hex: hex, .int4Array, as: [Int?].self) }
        }
    }

    @Test("several dimensions need a PostgresArray, a wrong element or column type is named")
    func refused() {
        #expect(throws: PostgresDecodingError.self) { try decode("{{1,2},{3,4}}", .int4Array, as: [Int].self) }
        #expect(reason([Int].self, "{1}", .text) == .typeMismatch)
        #expect(reason([Int].self, "{a}", .textArray) == .typeMismatch)
        #expect(reason([Int].self, "{1,NULL}", .int4Array) == .null)
        #expect(encoded([[1, 2], [3, 4]]) == nil)
        #expect(encoded(PostgresArray([1])) == "{1}")
        #expect(encoded([Int]()) == "{}")
        #expect(PostgresArray([1, 2, 3], dimensions: [.init(count: 2)]) == nil)
        #expect(PostgresArray([1], dimensions: [.init(lowerBound: .max, count: 1)]) == nil)
    }

    struct Address: Codable, Equatable { var street: String, number: Int? }

    @Test("JSON is read from json and jsonb in both forms")
    func json() throws {
        let address = Address(street: "a\"b", number: nil)
        #expect(try decode(#"{"street": "a\"b"}"#, .jsonb, as: PostgresJSON<Address>.self).value == address)
        #expect(try decode(hex: "017b2261223a20317d", .jsonb, as: PostgresJSON<[String: Int]>.self).value == ["a": 1])
        #expect(try decode(hex: "7b2261223a20317d", .json, as: PostgresJSON<[String: Int]>.self).value == ["a": 1])
        #expect(throws: PostgresDecodingError.self) { try decode(hex: "027b7d", .jsonb, as: PostgresJSON<[String: Int]>.self) }
        #expect(reason(PostgresJSON<Int>.self, "1", .text) == .typeMismatch)
        #expect(try roundTrip(PostgresJSON(address), .json).value == address)
        #expect(encoded(PostgresJSON(Double.nan)) == nil)
    }
}
