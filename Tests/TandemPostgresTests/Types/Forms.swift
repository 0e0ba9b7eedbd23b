import TandemPostgres

/// Bytes as the server sent them, from hexadecimal digits.
func bytes(hex: String) -> [UInt8] {
    var result: [UInt8] = []
    var high: UInt8?
    for digit in hex.compactMap(\.hexDigitValue).map(UInt8.init) {
        if let first = high {
            result.append(first << 4 | digit)
            high = nil
        } else {
            high = digit
        }
    }
    return result
}

/// Reads a value from its text form.
func decode<Value: PostgresDecodable>(_ text: String, _ type: PostgresType, as: Value.Type = Value.self) throws -> Value {
    let bytes = Array(text.utf8)
    return try Value.decode(bytes.span.bytes, type: type, format: .text)
}

/// Reads a value from its binary form.
func decode<Value: PostgresDecodable>(hex: String, _ type: PostgresType, as: Value.Type = Value.self) throws -> Value {
    let bytes = bytes(hex: hex)
    return try Value.decode(bytes.span.bytes, type: type, format: .binary)
}

/// The text that a value is sent as; nil for NULL.
func encoded(_ value: some PostgresEncodable) -> String? {
    var encoder = PostgresEncoder()
    encoder.append(value)
    guard encoder.defect == nil, encoder.buffer.count == 1, let bytes = encoder.buffer.value(at: 0) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
}

/// Sends a value and reads it back, through the text form.
func roundTrip<Value: PostgresEncodable & PostgresDecodable>(_ value: Value, _ type: PostgresType) throws -> Value {
    var encoder = PostgresEncoder()
    encoder.append(value)
    let format = encoder.buffer.format(at: 0)
    guard let bytes = encoder.buffer.value(at: 0) else { return try Value.decodeNull(type: type) }
    return try Value.decode(bytes.span.bytes, type: type, format: format)
}

/// The same values in each run.
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// Reads what should fail, and says why it did.
func reason<Value: PostgresDecodable>(_ type: Value.Type, _ text: String, _ column: PostgresType) -> PostgresDecodingError.Reason? {
    do {
        _ = try decode(text, column, as: type)
        return nil
    } catch {
        return (error as? PostgresDecodingError)?.reason
    }
}
