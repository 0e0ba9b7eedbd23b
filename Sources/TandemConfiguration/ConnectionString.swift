/// The two forms of libpq's connection strings: `key=value` words, and addresses.
enum ConnectionString {
    /// The connection string with one more word, which wins over an earlier one of the same key.
    static func adding(_ key: String, _ value: String, to text: String) -> String {
        guard text.hasPrefix("postgresql://") || text.hasPrefix("postgres://") else {
            return "\(text) \(key)=\(quoted(value))"
        }
        return "\(text)\(text.contains("?") ? "&" : "?")\(key)=\(percentEncoded(value))"
    }

    private static func quoted(_ value: String) -> String {
        "'" + value.replacing("\\", with: "\\\\").replacing("'", with: "\\'") + "'"
    }

    private static func percentEncoded(_ value: String) -> String {
        let digits = Array("0123456789ABCDEF")
        return value.utf8.reduce(into: "") { text, byte in
            let character = Character(UnicodeScalar(byte))
            if character.isASCII, character.isLetter || character.isNumber || "-._~/".contains(character) {
                text.append(character)
            } else {
                text += "%\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
            }
        }
    }
}
