package import TandemCore

/// Quotes a name, the only function that does.
///
/// - Parameter name: The name, of 1 to 63 bytes of UTF-8, without U+0000.
/// - Returns: The name in double quotes.
/// - Throws: `TandemError` with the code `encodingFailed` where it cannot be a name.
package func quoteIdentifier(_ name: String) throws(TandemError) -> String {
    guard !name.isEmpty else { throw TandemError(.encodingFailed, "a name cannot be empty") }
    // The server would cut a longer one off and mean another object.
    guard name.utf8.count <= 63 else { throw TandemError(.encodingFailed, "a name has at most 63 bytes") }
    guard !name.utf8.contains(0) else { throw TandemError(.encodingFailed, "a name cannot hold the character U+0000") }
    return "\"\(doubled(UInt8(ascii: "\""), in: name))\""
}

/// Quotes a text for the few statements that take no parameters, such as `PREPARE TRANSACTION`.
///
/// A text with a backslash becomes `E'...'`, which means the same whatever `standard_conforming_strings` is.
///
/// - Parameter text: The text, without U+0000.
/// - Returns: The text as a literal.
/// - Throws: `TandemError` with the code `encodingFailed` where it holds U+0000.
package func quoteLiteral(_ text: String) throws(TandemError) -> String {
    guard !text.utf8.contains(0) else { throw TandemError(.encodingFailed, "a literal cannot hold the character U+0000") }
    let quoted = doubled(UInt8(ascii: "'"), in: text)
    guard text.utf8.contains(UInt8(ascii: "\\")) else { return "'\(quoted)'" }
    return "E'\(doubled(UInt8(ascii: "\\"), in: quoted))'"
}

/// The text with each occurrence of one ASCII character twice; bytes, since a combining character after it would hide it from `Character`.
private func doubled(_ byte: UInt8, in text: String) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count + 2)
    for next in text.utf8 {
        bytes.append(next)
        if next == byte { bytes.append(next) }
    }
    return String(decoding: bytes, as: UTF8.self)
}
