import FoundationEssentials
import TandemTestSupport
import Testing

@testable import TandemPostgres

/// What is sent is what comes back: 10,000 random values of each type go to a real server and return, in text and in binary.
@Suite("10,000 random values of each type come back the same from a server", .timeLimit(.minutes(5)))
struct PropertyTests {
    private static let count = 10_000, columns = 1_000

    /// The type's name is the seed, so that a failure comes again.
    private func check<Value: PostgresEncodable & PostgresDecodable & Sendable>(
        _ type: String, formats: [PostgresFormat] = [.text, .binary], settings: [String] = [], _ make: (inout Seeded) throws -> Value,
        isSame: (Value, Value) -> Bool
    ) async throws {
        var random = Seeded(type.utf8.reduce(0) { $0 &* 31 &+ UInt64($1) })
        let select = "SELECT " + (1...Self.columns).map { "$\($0)::\(type)" }.joined(separator: ", ")
        try await withSession { session in
            for setting in settings { try #require(try await session.send(setting).error == nil) }
            for _ in 0..<(Self.count / Self.columns) {
                let values = try (0..<Self.columns).map { _ in try make(&random) }
                var encoder = PostgresEncoder()
                for value in values { encoder.append(value) }
                try #require(encoder.defect == nil)
                for format in formats {
                    let statement = Statement(select, parameters: encoder.buffer, isPrepared: false, resultFormat: format)
                    let reply = try await session.connection.run(Batch([statement]), deadline: .now + .seconds(60)).only
                    if let error = reply.error { throw error }
                    let reader = try #require(reply.results.first).reader
                    for (column, value) in values.enumerated() {
                        let back = try reader.decode(Value.self, row: 0, column: column)
                        if !isSame(back, value) { Issue.record("\(value) came back as \(back) (\(type), \(format))") }
                    }
                }
            }
        }
    }

    private func check<Value: PostgresEncodable & PostgresDecodable & Equatable & Sendable>(
        _ type: String, formats: [PostgresFormat] = [.text, .binary], settings: [String] = [], _ make: (inout Seeded) throws -> Value
    ) async throws {
        try await check(type, formats: formats, settings: settings, make) { $0 == $1 }
    }

    @Test("integers and booleans")
    func integers() async throws {
        try await check("int8", RandomValues.int8)
        try await check("int4") { Int32.random(in: .min ... .max, using: &$0) }
        try await check("int2") { Int16.random(in: .min ... .max, using: &$0) }
        try await check("oid") { UInt32.random(in: .min ... .max, using: &$0) }
        try await check("bool") { Bool.random(using: &$0) }
    }

    @Test("floating point, any bit pattern")
    func floatingPoint() async throws {
        try await check("float8", RandomValues.float8) { $0.bitPattern == $1.bitPattern }
        try await check("float4", RandomValues.float4) { $0.bitPattern == $1.bitPattern }
    }

    @Test("numeric, digit for digit, and Decimal")
    func numerics() async throws {
        try await check("numeric", RandomValues.numeric) { $0 == $1 && $0.description == $1.description }
        try await check("numeric", RandomValues.decimal)
    }

    @Test("texts, bytes, UUIDs and JSON")
    func others() async throws {
        struct Value: Codable, Equatable { var number: Int64, text: String, list: [Bool?] }
        try await check("text", RandomValues.text)
        try await check("bytea", RandomValues.bytes)
        try await check("uuid", RandomValues.uuid)
        for type in ["json", "jsonb"] {
            try await check(type) { random in
                PostgresJSON(
                    Value(number: RandomValues.int8(&random), text: RandomValues.difficultText(&random), list: [Bool.random(using: &random), nil]))
            } isSame: {
                $0.value == $1.value
            }
        }
    }

    @Test("dates and timestamps before Christ and without end, and intervals")
    func times() async throws {
        try await check("date", RandomValues.date)
        try await check("timestamp") { PostgresTimestamp(microseconds: RandomValues.microseconds(&$0)) }
        for zone in ["UTC", "Asia/Kolkata", "America/St_Johns"] {
            try await check("timestamptz", settings: ["SET TIME ZONE '\(zone)'"]) { PostgresTimestampTZ(microseconds: RandomValues.microseconds(&$0)) }
        }
        try await check("timestamptz", RandomValues.instant)
        for style in ["postgres", "iso_8601"] {
            try await check("interval", settings: ["SET intervalstyle = \(style)"], RandomValues.interval)
        }
    }

    @Test("arrays with NULLs, several dimensions and any bounds")
    func arrays() async throws {
        try await check("text[]", RandomValues.texts)
        try await check("int8[]", RandomValues.array)
        try await check("bytea[]") { random in (0..<Int.random(in: 0...4, using: &random)).map { _ in Data(RandomValues.bytes(&random)) } }
    }

    @Test("enums, domains and composites as text")
    func ownTypes() async throws {
        enum Mood: String, PostgresEncodable, PostgresDecodable, CaseIterable { case sad, happy, verySad = "very \"sad\", (really)" }
        let labels = Mood.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
        try await check("pg_temp.mood", formats: [.text], settings: ["CREATE TYPE pg_temp.mood AS ENUM (\(labels))"]) {
            RandomValues.pick(Mood.allCases, &$0)
        }
        try await check("pg_temp.word", settings: ["CREATE DOMAIN pg_temp.word AS text CHECK (length(VALUE) < 100)"], RandomValues.text)
        try await check("pg_temp.natural", settings: ["CREATE DOMAIN pg_temp.natural AS int8 CHECK (VALUE >= 0)"]) { Int64($0.next() >> 1) }
        // The server leaves out quotes that it needs not, so the fields are compared.
        try await check("pg_temp.pair", formats: [.text], settings: ["CREATE TYPE pg_temp.pair AS (number int8, note text)"]) { random in
            let note = RandomValues.difficultText(&random).unicodeScalars.reduce(into: "") { note, scalar in
                if scalar == "\"" || scalar == "\\" { note.unicodeScalars.append(scalar) }
                note.unicodeScalars.append(scalar)
            }
            return "(\(RandomValues.int8(&random)),\"\(note)\")"
        } isSame: {
            Self.fields($0) == Self.fields($1)
        }
    }

    /// The text of a composite without its quotes and with each doubled sign once.
    private static func fields(_ composite: String) -> [Unicode.Scalar] {
        var isAfterFirst: Unicode.Scalar?
        return composite.unicodeScalars.reduce(into: []) { fields, scalar in
            guard scalar == "\"" || scalar == "\\" else {
                isAfterFirst = nil
                return fields.append(scalar)
            }
            if isAfterFirst == scalar {
                fields.append(scalar)
                isAfterFirst = nil
            } else {
                isAfterFirst = scalar
            }
        }
    }
}
