/// Reads a value from the text that describes it, as a single value.
func decodeDescription<Value: LosslessStringConvertible>(from decoder: any Decoder) throws -> Value {
    let container = try decoder.singleValueContainer()
    guard let value = Value(try container.decode(String.self)) else {
        throw DecodingError.dataCorruptedError(in: container, debugDescription: "the text is no \(Value.self)")
    }
    return value
}

/// Writes the text that describes a value, as a single value.
func encodeDescription(of value: some LosslessStringConvertible, to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(value.description)
}
