import FoundationEssentials
import TandemPostgres
import Testing

@Suite("Booleans, integers, floating point, text, bytes, UUIDs")
struct ScalarTests {
    @Test("booleans are read in both forms")
    func booleans() throws {
        #expect(try decode("t", .bool, as: Bool.self))
        #expect(try !decode("f", .bool, as: Bool.self))
        #expect(try decode(hex: "01", .bool, as: Bool.self))
        #expect(try !decode(hex: "00", .bool, as: Bool.self))
        #expect(encoded(true) == "t")
        #expect(reason(Bool.self, "true", .bool) == .malformed)
        #expect(reason(Bool.self, "", .bool) == .malformed)
        #expect(reason(Bool.self, "t", .text) == .typeMismatch)
    }

    @Test("the extremes of each integer are read in both forms")
    func integers() throws {
        #expect(try decode("-9223372036854775808", .int8, as: Int64.self) == .min)
        #expect(try decode("9223372036854775807", .int8, as: Int.self) == .max)
        #expect(try decode(hex: "8000000000000000", .int8, as: Int64.self) == .min)
        #expect(try decode("-2147483648", .int4, as: Int32.self) == .min)
        #expect(try decode(hex: "7fffffff", .int4, as: Int32.self) == .max)
        #expect(try decode("-32768", .int2, as: Int16.self) == .min)
        #expect(try decode(hex: "ffff", .int2, as: Int16.self) == -1)
        #expect(try decode("4294967295", .oid, as: UInt32.self) == .max)
        #expect(try decode(hex: "ffffffff", .oid, as: UInt32.self) == .max)
        #expect(encoded(Int64.min) == "-9223372036854775808")
        #expect(encoded(UInt32.max) == "4294967295")
        #expect(encoded(0) == "0")
    }

    @Test("an integer that does not fit is an error, never another number")
    func integersOutOfRange() {
        #expect(reason(Int16.self, "32768", .int4) == .outOfRange)
        #expect(reason(Int32.self, "-2147483649", .int8) == .outOfRange)
        #expect(reason(Int64.self, "9223372036854775808", .unspecified) == .outOfRange)
        #expect(reason(UInt32.self, "-1", .int4) == .outOfRange)
        #expect(throws: PostgresDecodingError.self) { try decode(hex: "0000000000010000", .int8, as: Int16.self) }
        #expect(throws: PostgresDecodingError.self) { try decode(hex: "000000", .int4, as: Int32.self) }
        for text in ["", "-", "+1", "1 ", "1.0", "0x1", "--1", "١"] { #expect(reason(Int.self, text, .int8) == .malformed) }
        #expect(reason(Int.self, "1", .text) == .typeMismatch)
        #expect(reason(Int.self, "1", .float8) == .typeMismatch)
    }

    @Test("a numeric without a fraction is read as an integer")
    func integersFromNumeric() throws {
        #expect(try decode("9223372036854775807", .numeric, as: Int.self) == .max)
        #expect(try decode("-9223372036854775808.00", .numeric, as: Int64.self) == .min)
        #expect(try decode("120000", .numeric, as: Int32.self) == 120_000)
        #expect(reason(Int.self, "1.5", .numeric) == .losesDigits)
        #expect(reason(Int.self, "NaN", .numeric) == .losesDigits)
        #expect(reason(Int16.self, "40000", .numeric) == .outOfRange)
    }

    @Test("floating point keeps NaN, infinities, negative zero and the least and greatest numbers")
    func floatingPoint() throws {
        #expect(try decode("NaN", .float8, as: Double.self).isNaN)
        #expect(try decode("-Infinity", .float8, as: Double.self) == -.infinity)
        #expect(try decode("-0", .float8, as: Double.self).sign == .minus)
        #expect(try decode("5e-324", .float8, as: Double.self) == .leastNonzeroMagnitude)
        #expect(try decode("1.7976931348623157e+308", .float8, as: Double.self) == .greatestFiniteMagnitude)
        #expect(try decode(hex: "7ff8000000000000", .float8, as: Double.self).isNaN)
        #expect(try decode(hex: "0000000000000001", .float8, as: Double.self) == .leastNonzeroMagnitude)
        #expect(try decode(hex: "7f7fffff", .float4, as: Float.self) == .greatestFiniteMagnitude)
        #expect(try decode("3.4028235e+38", .float4, as: Double.self) == Double(Float.greatestFiniteMagnitude))
        #expect(encoded(Double.infinity) == "Infinity")
        #expect(encoded(-Float.infinity) == "-Infinity")
        #expect(encoded(Double.nan) == "NaN")
        #expect(reason(Double.self, "1", .numeric) == .typeMismatch)
        #expect(reason(Double.self, "1", .int8) == .typeMismatch)
        #expect(reason(Float.self, "1", .float8) == .typeMismatch)
        for text in ["", "inf", "nan", "0x1p3", "1e999", "1 "] { #expect(reason(Double.self, text, .float8) == .malformed) }
    }

    @Test("short decimals are read as exactly as Swift reads them")
    func shortDecimals() throws {
        var random = Seeded(7)
        for _ in 0..<10_000 {
            let digits = RandomValues.int8(&random)
            let scale = Int.random(in: 0...16, using: &random)
            var text = "\(digits.magnitude)"
            if scale > 0 {
                text = String(repeating: "0", count: max(0, scale + 1 - text.count)) + text
                text.insert(".", at: text.index(text.endIndex, offsetBy: -scale))
            }
            if digits < 0 { text = "-" + text }
            #expect(try decode(text, .float8, as: Double.self).bitPattern == Double(text)?.bitPattern)
            #expect(try decode(text, .float4, as: Float.self).bitPattern == Float(text)?.bitPattern)
        }
        for text in ["", "-", ".", "-.", "1..2", "1.2.3", "--1", "1-", "1 ", "0x1", "1_0"] {
            #expect(reason(Double.self, text, .float8) == .malformed, "\(text)")
        }
    }

    @Test("text is read from every type in text form, and only from text-like types in binary")
    func strings() throws {
        #expect(try decode("happy", PostgresType(rawValue: 16_399), as: String.self) == "happy")
        #expect(try decode("(1,a)", .init(rawValue: 2249), as: String.self) == "(1,a)")
        #expect(try decode(hex: "c3a9", .text, as: String.self) == "é")
        #expect(try decode(hex: "017b7d", .jsonb, as: String.self) == "{}")
        #expect(throws: PostgresDecodingError.self) { try decode(hex: "00000001", .int4, as: String.self) }
        #expect(throws: PostgresDecodingError.self) { try decode(hex: "ff", .text, as: String.self) }
        #expect(encoded("a'b\\\"") == "a'b\\\"")
        #expect(encoded("a\0b") == nil)
    }

    @Test("bytea is read in hexadecimal, escaped and binary form, and sent in binary")
    func bytea() throws {
        #expect(try decode("\\x00ff5c", .bytea, as: [UInt8].self) == [0, 255, 92])
        #expect(try decode("\\x", .bytea, as: [UInt8].self) == [])
        #expect(try decode("", .bytea, as: [UInt8].self) == [])
        #expect(try decode("\\000\\377\\\\a'n", .bytea, as: [UInt8].self) == [0, 255, 92, 97, 39, 110])
        #expect(try decode(hex: "00ff", .bytea, as: Data.self) == Data([0, 255]))
        for text in ["\\x0", "\\xzz", "\\", "\\9aa", "\\777", "\\00"] { #expect(reason([UInt8].self, text, .bytea) == .malformed) }
        #expect(reason([UInt8].self, "abc", .text) == .typeMismatch)

        var encoder = PostgresEncoder()
        encoder.append([0, 1, 0] as [UInt8])
        encoder.append(Data())
        #expect(encoder.buffer.value(at: 0) == [0, 1, 0])
        #expect(encoder.buffer.value(at: 1) == [])
        #expect(encoder.buffer.format(at: 1) == .binary)
        #expect(encoder.buffer.types == [.bytea, .bytea])
    }

    @Test("UUIDs are read in both forms")
    func uuids() throws {
        let uuid = try #require(UUID(uuidString: "6ba7b810-9dad-11d1-80b4-00c04fd430c8"))
        #expect(try decode("6ba7b810-9dad-11d1-80b4-00c04fd430c8", .uuid, as: UUID.self) == uuid)
        #expect(try decode(hex: "6ba7b8109dad11d180b400c04fd430c8", .uuid, as: UUID.self) == uuid)
        #expect(encoded(uuid) == "6ba7b810-9dad-11d1-80b4-00c04fd430c8")
        #expect(reason(UUID.self, "6ba7b810-9dad-11d1-80b4-00c04fd430c", .uuid) == .malformed)
        #expect(reason(UUID.self, "6ba7b810x9dad-11d1-80b4-00c04fd430c8", .uuid) == .malformed)
    }

    @Test("NULL is nil for an optional and an error for anything else")
    func null() throws {
        #expect(Int?.decodeNull(type: .int4) == nil)
        #expect(throws: PostgresDecodingError.self) { try Int.decodeNull(type: .int4) }
        #expect(try decode("7", .int4, as: Int?.self) == 7)
        var encoder = PostgresEncoder()
        encoder.append(nil as String?)
        encoder.append("x" as String?)
        #expect(encoder.buffer.value(at: 0) == nil)
        #expect(encoder.buffer.value(at: 1) == [120])
    }

    enum Mood: String, PostgresEncodable, PostgresDecodable { case sad, happy }
    enum Level: Int, PostgresEncodable, PostgresDecodable { case low = 1, high = 2 }

    @Test("an enum with a raw value is sent and read as that")
    func enums() throws {
        #expect(try decode("happy", PostgresType(rawValue: 16_400), as: Mood.self) == .happy)
        #expect(encoded(Mood.sad) == "sad")
        #expect(try decode("2", .int2, as: Level.self) == .high)
        #expect(reason(Level.self, "3", .int2) == .refused("no case has this raw value"))
        #expect(try decode("{sad,NULL}", PostgresType(rawValue: 16_401), as: [Mood?].self) == [.sad, nil])
    }
}
