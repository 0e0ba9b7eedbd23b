/// Reads lines of JSON token by token.
///
/// Histories are big and of one simple form: a general decoder would take ten times as long as everything else together. What is skipped is
/// checked as well, so that a broken line is noticed wherever it is broken.
///
/// Every line ends with a newline, which is part of no token. All loops stop there, so none looks past the end.
struct ByteScanner {
    private let bytes: [UInt8]
    /// Behind the newline of the last whole line.
    private let end: Int
    /// The number of the line at which the scanner is, from 1.
    private(set) var line: Int
    /// Where it is; set only to places where it has been.
    var position = 0

    /// Values within values within values. JSON sets no bound, the stack does.
    private static let deepest = 64
    /// Digits of the largest integer. So many always fit into 64 bits without a sign.
    private static let mostDigits = 19

    /// - Parameters:
    ///   - bytes: whole lines, and perhaps the beginning of another one, which is left alone.
    ///   - line: the number of the first line.
    init(_ bytes: [UInt8], line: Int) {
        self.bytes = bytes
        self.line = line
        end = bytes.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    }

    var isAtEnd: Bool { position >= end }

    /// What stands behind the last whole line.
    var rest: ArraySlice<UInt8> { bytes[end...] }

    func malformed(_ reason: String) -> HistoryError { .malformed(line: line, reason: reason) }

    private mutating func skipSpace() {
        while bytes[position] == UInt8(ascii: " ") || bytes[position] == UInt8(ascii: "\t") || bytes[position] == UInt8(ascii: "\r") { position += 1 }
    }

    /// The byte at which the next token begins.
    mutating func next() -> UInt8 {
        skipSpace()
        return bytes[position]
    }

    /// Goes behind a sign if it is what comes next.
    mutating func take(_ sign: Unicode.Scalar) -> Bool {
        guard next() == UInt8(ascii: sign) else { return false }
        position += 1
        return true
    }

    mutating func expect(_ sign: Unicode.Scalar) throws(HistoryError) {
        guard take(sign) else { throw malformed("expected '\(sign)' \(place)") }
    }

    mutating func endLine() throws(HistoryError) {
        guard next() == UInt8(ascii: "\n") else { throw malformed("expected the end of the line \(place)") }
        position += 1
        line += 1
    }

    /// Where the scanner is, for those who have to look at the line.
    private var place: String {
        let start = bytes[..<position].lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
        let text = bytes[position...].prefix { $0 != UInt8(ascii: "\n") }.prefix(16)
        return "at byte \(position - start + 1), " + (text.isEmpty ? "the end of the line" : "before '\(String(decoding: text, as: UTF8.self))'")
    }
}

extension ByteScanner {
    /// An integer, which ends where no digit follows: what is no integer fails at what comes next.
    mutating func integer(_ what: StaticString) throws(HistoryError) -> Int64 {
        let isNegative = take("-")
        let start = position
        var magnitude: UInt64 = 0
        var end = start
        while true {
            let digit = bytes[end] &- UInt8(ascii: "0")
            guard digit < 10 else { break }
            magnitude = magnitude &* 10 &+ UInt64(digit)
            end += 1
        }
        position = end
        let digits = end - start
        guard digits > 0, digits == 1 || bytes[start] != UInt8(ascii: "0") else { throw malformed("expected \(what), an integer, \(place)") }
        let most = isNegative ? UInt64(Int64.max) + 1 : UInt64(Int64.max)
        guard digits <= Self.mostDigits, magnitude <= most else { throw malformed("\(what) does not fit into 64 bits") }
        return isNegative ? Int64(truncatingIfNeeded: 0 &- magnitude) : Int64(magnitude)
    }

    /// A string as it is written, without its quotes and with its escapes.
    mutating func string() throws(HistoryError) -> Range<Int> {
        try expect("\"")
        let start = position
        var end = start
        while bytes[end] != UInt8(ascii: "\"") {
            if bytes[end] == UInt8(ascii: "\\") { end += 1 }
            guard bytes[end] >= 0x20 else { throw malformed("a string does not end") }
            end += 1
        }
        position = end + 1
        return start..<end
    }

    /// Goes behind a word such as `null` if it is what comes next.
    mutating func take(word: String) -> Bool {
        let start = position
        skipSpace()
        for byte in word.utf8 {
            guard bytes[position] == byte else {
                position = start
                return false
            }
            position += 1
        }
        return true
    }

    /// Goes behind a value, whatever it is.
    mutating func skipValue(depth: Int = 0) throws(HistoryError) {
        guard depth < Self.deepest else { throw malformed("values are nested too deeply") }
        switch next() {
        case UInt8(ascii: "\""):
            _ = try string()
        case UInt8(ascii: "["):
            try expect("[")
            if take("]") { return }
            repeat { try skipValue(depth: depth + 1) } while take(",")
            try expect("]")
        case UInt8(ascii: "{"):
            try expect("{")
            if take("}") { return }
            repeat {
                _ = try string()
                try expect(":")
                try skipValue(depth: depth + 1)
            } while take(",")
            try expect("}")
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            try skipNumber()
        default:
            guard take(word: "null") || take(word: "true") || take(word: "false") else { throw malformed("expected a value \(place)") }
        }
    }

    private mutating func skipNumber() throws(HistoryError) {
        _ = take("-")
        try skipDigits()
        if bytes[position] == UInt8(ascii: ".") {
            position += 1
            try skipDigits()
        }
        if bytes[position] | 0x20 == UInt8(ascii: "e") {
            position += 1
            if bytes[position] == UInt8(ascii: "-") || bytes[position] == UInt8(ascii: "+") { position += 1 }
            try skipDigits()
        }
    }

    private mutating func skipDigits() throws(HistoryError) {
        let start = position
        while bytes[position] &- UInt8(ascii: "0") < 10 { position += 1 }
        guard position > start else { throw malformed("expected a digit \(place)") }
    }
}

extension ByteScanner {
    /// Whether a string is this text.
    func isText(_ range: Range<Int>, _ text: String) -> Bool {
        guard range.count == text.utf8.count else { return false }
        var place = range.lowerBound
        for byte in text.utf8 {
            guard bytes[place] == byte else { return false }
            place += 1
        }
        return true
    }

    func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    func bytes(_ range: Range<Int>) -> ArraySlice<UInt8> { bytes[range] }
}
