import FoundationEssentials
import TandemPostgres
import Testing

/// A value from a text, which may be none, as a literal may not.
private func numeric(_ text: String) -> PostgresNumeric? { PostgresNumeric(text) }

@Suite("numeric")
struct NumericTests {
    /// Pairs of `n` and `encode(numeric_send(n), 'hex')` from PostgreSQL 15.
    static let captures = [
        ("0", "0000000000000000"), ("0.00", "0000000000000002"), ("1.10", "0002000000000002000103e8"),
        ("-12345.678", "0003000140000003000109291a7c"), ("NaN", "00000000c0000000"), ("Infinity", "00000000d0000020"),
        ("-Infinity", "00000000f0000020"), ("100000000000000000000", "00010005000000000001"), ("0.00001", "0001fffe0000000503e8"),
        ("100000000", "00010002000000000001"), ("0.0001", "0001ffff000000040001"),
        ("99999999.99990000", "0003000100000008270f270f270f"), ("1500", "000100000000000005dc"), ("15.0", "0001000000000001000f"),
        (
            "12345678901234567890123456789012345678901234567890.12345",
            "000f000c00000005000c0d801ed204d2162e23340d801ed204d2162e23340d801ed204d21388"
        ),
    ]

    @Test("text and binary form give the same value and the same text", arguments: captures)
    func forms(text: String, hex: String) throws {
        let fromText: PostgresNumeric = try decode(text, .numeric)
        let fromBinary: PostgresNumeric = try decode(hex: hex, .numeric)
        #expect(fromText == fromBinary)
        #expect(fromText.description == text)
        #expect(fromBinary.description == text)
        #expect(encoded(fromBinary) == text)
    }

    @Test("literals with exponents mean what they mean to the server")
    func exponents() {
        #expect(numeric("1.5e3")?.description == "1500")
        #expect(numeric("1.50e1")?.description == "15.0")
        #expect(numeric("1e-5")?.description == "0.00001")
        #expect(numeric("1e20")?.description == "100000000000000000000")
        #expect(numeric(".5")?.description == "0.5")
        #expect(numeric("+5.")?.description == "5")
        #expect(numeric("-0.0")?.description == "0.0")
        #expect(numeric("007.50")?.description == "7.50")
    }

    @Test("what is no numeric, or more than the server holds, is nil")
    func malformed() {
        for text in ["", "-", ".", "e5", "1e", "1e+", "1.2.3", "1 ", " 1", "0x10", "-NaN", "+NaN", "nan", "Infinity1", "1e1000001", "1_0"] {
            #expect(PostgresNumeric(text) == nil, "\(text)")
        }
        #expect(numeric("1e131071")?.description.utf8.count == 131_072)
        #expect(numeric("1e131072") == nil)
        #expect(numeric("1e-16383")?.scale == 16_383)
        #expect(numeric("1e-16384") == nil)
        #expect(throws: PostgresDecodingError.self) { try decode(hex: "00010000000000002710", .numeric, as: PostgresNumeric.self) }
        #expect(throws: PostgresDecodingError.self) { try decode(hex: "0002000000000000000103e8", .numeric, as: PostgresNumeric.self) }
        #expect(throws: PostgresDecodingError.self) { try decode(hex: "00010000", .numeric, as: PostgresNumeric.self) }
        #expect(throws: PostgresDecodingError.self) { try decode(hex: "0000000012340000", .numeric, as: PostgresNumeric.self) }
    }

    @Test("values are equal and ordered as the server says")
    func order() {
        let ordered: [PostgresNumeric] = [
            .negativeInfinity, "-100000", "-1.5", "-1.49", "-0.0001", 0, "0.0001", "0.5", 1, "1.0001", "9999", 10_000, .infinity, .nan,
        ]
        for (index, left) in ordered.enumerated() {
            for (other, right) in ordered.enumerated() {
                #expect((left < right) == (index < other), "\(left) < \(right)")
                #expect((left == right) == (index == other))
            }
        }
        #expect(numeric("1.10") == numeric("1.1"))
        #expect(Set<PostgresNumeric>(["1.10", "1.1", "1.100"]).count == 1)
        #expect(numeric("0.00") == 0)
    }

    @Test("integers of every width come and go exactly")
    func integers() {
        #expect(PostgresNumeric(Int128.min).description == "-170141183460469231731687303715884105728")
        #expect(Int128(exactly: PostgresNumeric(Int128.min)) == .min)
        #expect(UInt128(exactly: PostgresNumeric(UInt128.max)) == .max)
        #expect(PostgresNumeric(Int8.min).description == "-128")
        #expect(Int8(exactly: PostgresNumeric(Int8.min)) == .min)
        #expect(Int8(exactly: PostgresNumeric(128)) == nil)
        #expect(UInt8(exactly: PostgresNumeric(255)) == 255)
        #expect(UInt8(exactly: PostgresNumeric(-1)) == nil)
        #expect(UInt8(exactly: PostgresNumeric(10_000)) == nil)
        #expect(Int16(exactly: PostgresNumeric(20_000)) == 20_000)
        #expect(Int(exactly: "1e18" as PostgresNumeric) == 1_000_000_000_000_000_000)
        #expect(Int(exactly: "1.5" as PostgresNumeric) == nil)
        #expect(Int(exactly: .nan as PostgresNumeric) == nil)
    }

    @Test("conversion to Decimal is exact or throws")
    func decimals() throws {
        #expect(try ("19.90" as PostgresNumeric).decimal() == Decimal(string: "19.90"))
        #expect(try ("-0.00001" as PostgresNumeric).decimal() == Decimal(string: "-0.00001"))
        #expect(
            try ("340282366920938463463374607431768211455" as PostgresNumeric).decimal().description
                == "340282366920938463463374607431768211455")
        #expect(throws: (any Error).self) { try ("340282366920938463463374607431768211456" as PostgresNumeric).decimal() }
        #expect(throws: (any Error).self) { try ("12345678901234567890123456789012345678901234567890.12345" as PostgresNumeric).decimal() }
        #expect(throws: (any Error).self) { try PostgresNumeric.infinity.decimal() }
        #expect(try ("1e127" as PostgresNumeric).decimal() == Decimal(sign: .plus, exponent: 127, significand: 1))
        #expect(throws: (any Error).self) { try ("1e128" as PostgresNumeric).decimal() }
        #expect(throws: (any Error).self) { try ("1e-129" as PostgresNumeric).decimal() }
        #expect(try (.nan as PostgresNumeric).decimal().isNaN)
        #expect(reason(Decimal.self, "0.1234567890123456789012345678901234567890123", .numeric) == .losesDigits)
        #expect(try decode("1.10", .numeric, as: Decimal.self).description == "1.1")
        #expect(PostgresNumeric(try #require(Decimal(string: "-1234.5678"))).description == "-1234.5678")
        #expect(encoded(Decimal.quietNaN) == "NaN")
    }

    @Test("it travels as a text through Codable")
    func coding() throws {
        let values: [PostgresNumeric] = ["1.10", .nan, "-9007199254740993.5"]
        let data = try JSONEncoder().encode(values)
        #expect(String(decoding: data, as: UTF8.self) == #"["1.10","NaN","-9007199254740993.5"]"#)
        #expect(try JSONDecoder().decode([PostgresNumeric].self, from: data) == values)
    }

    @Test("10,000 random values come back from their description, and from a Decimal that holds them")
    func property() throws {
        var random = Seeded(1)
        for _ in 0..<10_000 {
            let value = try RandomValues.numeric(&random)
            #expect(PostgresNumeric(value.description) == value)
            if let decimal = try? value.decimal() { #expect(PostgresNumeric(decimal) == value) }
        }
    }
}
