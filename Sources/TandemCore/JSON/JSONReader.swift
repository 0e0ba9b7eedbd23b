/// A text is not JSON.
package struct JSONError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Where it goes wrong: bytes from 1.
    package let column: Int
    /// What is wrong there.
    package let problem: String

    /// The place and what is wrong there.
    package var description: String { "column \(column): \(problem)" }
}

extension JSON {
    /// Reads a text that is one JSON value.
    ///
    /// - Parameter text: RFC 8259, in UTF-8.
    /// - Throws: where it is not.
    package init(reading text: some Sequence<UInt8>) throws(JSONError) { self = try JSONReader.read(Array(text)) }

    /// Reads a text that is one JSON value.
    ///
    /// - Parameter text: RFC 8259.
    /// - Throws: where it is not.
    package init(reading text: String) throws(JSONError) { self = try JSONReader.read(Array(text.utf8)) }

    /// Reads all that the type `json` of PostgreSQL takes as an object: a name may stand there twice, values stand inside each other as deep as they like, and half of a character is U+FFFD.
    ///
    /// - Parameter text: the text of an object.
    /// - Returns: names and values in their order; a value that is a text as that text, any other as its JSON.
    /// - Throws: where it is no object.
    package static func texts(ofObject text: String) throws(JSONError) -> [(name: String, text: String)] {
        try JSONReader.texts(ofObject: Array(text.utf8))
    }
}

/// Reads one JSON text (RFC 8259), each number with the digits that it is written with.
///
/// The decoders of Foundation turn numbers into binary or decimal values and lose `1.10` and `1e400`.
private struct JSONReader {
    /// Values inside each other: more is no data of anybody's.
    private static let mostNesting = 64

    private let bytes: [UInt8]
    private var position = 0
    private var depth = 0

    /// Whether half of a character may stand alone.
    private let takesHalves: Bool

    private init(_ bytes: [UInt8], takesHalves: Bool = false) {
        self.bytes = bytes
        self.takesHalves = takesHalves
    }

    static func read(_ bytes: [UInt8]) throws(JSONError) -> JSON {
        var reader = JSONReader(bytes)
        let value = try reader.value()
        reader.skipSpace()
        guard reader.position == bytes.count else { throw reader.error("something follows the value") }
        return value
    }

    static func texts(ofObject bytes: [UInt8]) throws(JSONError) -> [(name: String, text: String)] {
        var reader = JSONReader(bytes, takesHalves: true), entries: [(name: String, text: String)] = []
        guard reader.take("{") else { throw reader.error("an object is missing") }
        if !reader.take("}") {
            repeat {
                reader.skipSpace()
                guard reader.next == UInt8(ascii: "\"") else { throw reader.error("a key in quotes is missing") }
                let name = try reader.text()
                guard reader.take(":") else { throw reader.error("a colon is missing after `\(name)`") }
                entries.append((name, try reader.valueAsText()))
            } while reader.take(",")
            guard reader.take("}") else { throw reader.error("a comma or a closing brace is missing") }
        }
        reader.skipSpace()
        guard reader.position == bytes.count else { throw reader.error("something follows the value") }
        return entries
    }

    /// A text, or the JSON of anything else. Of what stands in an object or array that is too strange to be read, only the brackets are looked at.
    private mutating func valueAsText() throws(JSONError) -> String {
        skipSpace()
        if next == UInt8(ascii: "\"") { return try text() }
        let start = position
        var open: [UInt8] = []
        scan: while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                _ = try text()
                continue scan
            case UInt8(ascii: "{"): open.append(UInt8(ascii: "}"))
            case UInt8(ascii: "["): open.append(UInt8(ascii: "]"))
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                guard let last = open.popLast() else { break scan }
                guard byte == last else { throw error("another closing brace or bracket is missing") }
            case UInt8(ascii: ","): if open.isEmpty { break scan }
            default: break
            }
            position += 1
        }
        guard open.isEmpty else { throw error("a closing brace or bracket is missing") }
        // Without spaces where it can be read as strictly as others write it.
        if let value = try? Self.read(Array(bytes[start..<position])) { return value.text }
        let rest = bytes[start..<position]
        guard let last = rest.lastIndex(where: { $0 == UInt8(ascii: "}") || $0 == UInt8(ascii: "]") }),
            rest[start] == UInt8(ascii: "{") || rest[start] == UInt8(ascii: "["),
            rest[(last + 1)...].allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0A || $0 == 0x0D })
        else { throw error("this is no value") }
        return try decoded(bytes[start...last])
    }

    private func error(_ problem: String) -> JSONError { JSONError(column: position + 1, problem: problem) }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { position += 1 }
    }

    private mutating func take(_ character: Character) -> Bool {
        skipSpace()
        guard let byte = next, byte == character.asciiValue else { return false }
        position += 1
        return true
    }

    private mutating func value() throws(JSONError) -> JSON {
        skipSpace()
        guard let byte = next else { throw error("a value is missing") }
        switch byte {
        case UInt8(ascii: "\""): return .string(try text())
        case UInt8(ascii: "{"): return try object()
        case UInt8(ascii: "["): return try array()
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try numberValue()
        default: return try word()
        }
    }

    private mutating func object() throws(JSONError) -> JSON {
        try enter()
        defer { depth -= 1 }
        var entries: [(String, JSON)] = []
        var names: Set<String> = []
        if take("}") { return .object([]) }
        repeat {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw error("a key in quotes is missing") }
            let name = try text()
            guard names.insert(name).inserted else { throw error("the key `\(name)` stands there twice") }
            guard take(":") else { throw error("a colon is missing after `\(name)`") }
            entries.append((name, try value()))
        } while take(",")
        guard take("}") else { throw error("a comma or a closing brace is missing") }
        return .object(entries)
    }

    private mutating func array() throws(JSONError) -> JSON {
        try enter()
        defer { depth -= 1 }
        var values: [JSON] = []
        if take("]") { return .array([]) }
        repeat { values.append(try value()) } while take(",")
        guard take("]") else { throw error("a comma or a closing bracket is missing") }
        return .array(values)
    }

    /// After an opening brace or bracket.
    private mutating func enter() throws(JSONError) {
        position += 1
        depth += 1
        guard depth <= Self.mostNesting else { throw error("more than \(Self.mostNesting) values stand inside each other") }
    }

    private mutating func word() throws(JSONError) -> JSON {
        let start = position
        while let byte = next, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) { position += 1 }
        switch String(decoding: bytes[start..<position], as: UTF8.self) {
        case "null": return .null
        case "true": return .bool(true)
        case "false": return .bool(false)
        default:
            position = start
            throw error("no value begins so")
        }
    }

    private mutating func numberValue() throws(JSONError) -> JSON {
        let start = position
        if next == UInt8(ascii: "-") { position += 1 }
        let first = next
        guard digits() > 0, first != UInt8(ascii: "0") || position - start == (bytes[start] == UInt8(ascii: "-") ? 2 : 1) else {
            throw error("this is no number")
        }
        if next == UInt8(ascii: ".") {
            position += 1
            guard digits() > 0 else { throw error("digits are missing after the point") }
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            position += 1
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
            guard digits() > 0 else { throw error("digits are missing in the exponent") }
        }
        return .number(String(decoding: bytes[start..<position], as: UTF8.self))
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        return position - start
    }

    // MARK: Texts

    private mutating func text() throws(JSONError) -> String {
        position += 1
        let start = position
        // Most texts stand as they are.
        while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
        if next == UInt8(ascii: "\"") {
            defer { position += 1 }
            return try decoded(bytes[start..<position])
        }
        var unescaped = Array(bytes[start..<position])
        while let byte = next, byte != UInt8(ascii: "\"") {
            guard byte >= 0x20 else { throw error("a control character stands in a text") }
            position += 1
            if byte == UInt8(ascii: "\\") { try escape(into: &unescaped) } else { unescaped.append(byte) }
        }
        guard next != nil else { throw error("a text does not end") }
        position += 1
        return try decoded(unescaped[...])
    }

    private func decoded(_ bytes: ArraySlice<UInt8>) throws(JSONError) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw error("a text is not UTF-8") }
        return text
    }

    /// After a backslash.
    private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
        guard let byte = next else { throw error("a text does not end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): text.append(contentsOf: Array(String(try scalar()).utf8))
        default: throw error("no character is written so")
        }
    }

    /// After `\u`; what lies beyond the first 65,536 characters is written as two of them.
    private mutating func scalar() throws(JSONError) -> Unicode.Scalar {
        let first = try unit()
        if let scalar = Unicode.Scalar(first) { return scalar }
        let end = position
        if (0xD800..<0xDC00).contains(first), next == UInt8(ascii: "\\"), position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "u") {
            position += 2
            let second = try unit()
            if (0xDC00..<0xE000).contains(second), let scalar = Unicode.Scalar(0x10000 + (UInt32(first) - 0xD800) << 10 + (UInt32(second) - 0xDC00)) {
                return scalar
            }
        }
        guard takesHalves else { throw error("half of a character stands alone") }
        // What follows is read for itself.
        position = end
        return "\u{FFFD}"
    }

    private mutating func unit() throws(JSONError) -> UInt16 {
        guard position + 4 <= bytes.count, let unit = UInt16(String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16),
            bytes[position] != UInt8(ascii: "+"), bytes[position] != UInt8(ascii: "-")
        else { throw error("four hexadecimal digits are missing") }
        position += 4
        return unit
    }
}
