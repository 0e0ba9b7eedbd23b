import FoundationEssentials
import TandemPostgres
import Testing

@Suite("10,000 random values of each scalar type come back the same")
struct PropertyTests {
    private func check<Value: PostgresEncodable & PostgresDecodable & Equatable>(
        _ type: PostgresType, _ make: (inout Seeded) -> Value
    ) throws {
        var random = Seeded(UInt64(type.rawValue))
        for _ in 0..<10_000 {
            let value = make(&random)
            #expect(try roundTrip(value, type) == value)
        }
    }

    @Test("integers and booleans")
    func integers() throws {
        // Shifted, so that short numbers are as likely as long ones.
        try check(.int8) { Int64(bitPattern: $0.next()) >> Int64.random(in: 0..<64, using: &$0) }
        try check(.int8) { Int(bitPattern: UInt($0.next())) >> Int.random(in: 0..<64, using: &$0) }
        try check(.int4) { Int32.random(in: .min ... .max, using: &$0) }
        try check(.int2) { Int16.random(in: .min ... .max, using: &$0) }
        try check(.oid) { UInt32.random(in: .min ... .max, using: &$0) }
        try check(.bool) { Bool.random(using: &$0) }
    }

    @Test("floating point, any bit pattern")
    func floatingPoint() throws {
        try check(.float8) { random in
            let value = Double(bitPattern: random.next())
            return value.isNaN ? 0 : value
        }
        try check(.float4) { random in
            let value = Float(bitPattern: UInt32(truncatingIfNeeded: random.next()))
            return value.isNaN ? 0 : value
        }
    }

    @Test("texts, bytes and UUIDs")
    func others() throws {
        try check(.text) { random in
            String(
                String.UnicodeScalarView(
                    (0..<Int.random(in: 0...20, using: &random)).compactMap { _ in
                        Unicode.Scalar(UInt32.random(in: 1...0x10ffff, using: &random))
                    }))
        }
        try check(.bytea) { random in (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) } }
        try check(.byteaArray) { random in
            (0..<Int.random(in: 0...4, using: &random)).map { _ in
                Data((0..<Int.random(in: 0...9, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
            }
        }
        try check(.uuid) { random in
            let (high, low) = (random.next(), random.next())
            return withUnsafeBytes(of: (high, low)) { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
        }
    }
}
