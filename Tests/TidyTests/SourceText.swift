/// A Swift file seen as code: what is left when comments are taken out and the contents of literals are set apart.
///
/// Rules look at `code`, so that a word in a comment or in a message breaks none of them; lines keep their numbers.
struct SourceText: Sendable {
    /// The file with blanks in place of comments and of the contents of string and regular expression literals. What stands in an
    /// interpolation is code, and stays.
    private(set) var code = ""
    /// The contents of the string literals, in order, without what is interpolated.
    private(set) var literals: [String] = []

    init(_ text: String) {
        var scanner = SourceScanner(text)
        scanner.scan()
        code = String(decoding: scanner.code, as: UTF8.self)
        literals = scanner.literals.map { String(decoding: $0, as: UTF8.self) }
    }
}

/// Walks over the bytes of a Swift file once.
private struct SourceScanner {
    private let bytes: [UInt8]
    private var at = 0
    private(set) var code: [UInt8] = []
    private(set) var literals: [[UInt8]] = []

    init(_ text: String) {
        bytes = Array(text.utf8)
        code.reserveCapacity(bytes.count)
    }

    mutating func scan() {
        scanCode(untilParenthesis: false)
    }

    private func looks(at text: StaticString, from offset: Int = 0) -> Bool {
        let start = at + offset
        guard start + text.utf8CodeUnitCount <= bytes.count else { return false }
        return text.withUTF8Buffer { $0.elementsEqual(bytes[start..<start + $0.count]) }
    }

    private mutating func keep() {
        code.append(bytes[at])
        at += 1
    }

    /// Takes `count` bytes out of the code; ends of lines stay, so that line numbers do.
    private mutating func blank(_ count: Int = 1) {
        for _ in 0..<count where at < bytes.count {
            code.append(bytes[at] == UInt8(ascii: "\n") ? bytes[at] : UInt8(ascii: " "))
            at += 1
        }
    }

    /// Code up to the end of the file, or, in an interpolation, up to the parenthesis that ends it.
    private mutating func scanCode(untilParenthesis: Bool) {
        var depth = 0
        while at < bytes.count {
            if looks(at: "//") {
                while at < bytes.count, bytes[at] != UInt8(ascii: "\n") { blank() }
            } else if looks(at: "/*") {
                scanComment()
            } else if let hashes = openingHashes(before: UInt8(ascii: "\"")) {
                scanString(hashes: hashes)
            } else if let hashes = openingHashes(before: UInt8(ascii: "/")), hashes > 0 || opensBareExpression() {
                scanExpression(hashes: hashes)
            } else {
                if bytes[at] == UInt8(ascii: "(") { depth += 1 }
                if bytes[at] == UInt8(ascii: ")") {
                    if untilParenthesis, depth == 0 { return }
                    depth -= 1
                }
                keep()
            }
        }
    }

    private mutating func scanComment() {
        var depth = 0
        repeat {
            if looks(at: "/*") {
                depth += 1
                blank(2)
            } else if looks(at: "*/") {
                depth -= 1
                blank(2)
            } else {
                blank()
            }
        } while depth > 0 && at < bytes.count
    }

    /// The number of '#' that stand here before `delimiter`, or nil where no such literal opens here.
    private func openingHashes(before delimiter: UInt8) -> Int? {
        let hashes = bytes[at...].prefix { $0 == UInt8(ascii: "#") }.count
        guard at + hashes < bytes.count, bytes[at + hashes] == delimiter else { return nil }
        return hashes
    }

    /// A '/' opens a regular expression where an operand is expected and no space follows it.
    private func opensBareExpression() -> Bool {
        guard at + 1 < bytes.count, !" \t\n/*=".utf8.contains(bytes[at + 1]) else { return false }
        guard let before = code.last(where: { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\n") }) else { return true }
        return "(,=:[{".utf8.contains(before)
    }

    private mutating func scanExpression(hashes: Int) {
        blank(hashes + 1)
        while at < bytes.count {
            if bytes[at] == UInt8(ascii: "\\") {
                blank(2)
            } else if bytes[at] == UInt8(ascii: "/"), hasHashes(hashes, from: 1) {
                blank(hashes + 1)
                return
            } else if hashes == 0, bytes[at] == UInt8(ascii: "\n") {
                return
            } else {
                blank()
            }
        }
    }

    private mutating func scanString(hashes: Int) {
        for _ in 0..<hashes { keep() }
        let isMultiline = looks(at: "\"\"\"")
        let quotes = isMultiline ? 3 : 1
        for _ in 0..<quotes { keep() }
        var content: [UInt8] = []
        while at < bytes.count {
            let closes = isMultiline ? looks(at: "\"\"\"") : bytes[at] == UInt8(ascii: "\"")
            if closes, hasHashes(hashes, from: quotes) {
                for _ in 0..<quotes + hashes { keep() }
                break
            } else if bytes[at] == UInt8(ascii: "\\"), hasHashes(hashes, from: 1) {
                let next = at + 1 + hashes
                if next < bytes.count, bytes[next] == UInt8(ascii: "(") {
                    blank(1 + hashes)
                    keep()
                    scanCode(untilParenthesis: true)
                    if at < bytes.count { keep() }
                } else {
                    content.append(contentsOf: bytes[at..<min(next + 1, bytes.count)])
                    blank(2 + hashes)
                }
            } else if !isMultiline, bytes[at] == UInt8(ascii: "\n") {
                break
            } else {
                content.append(bytes[at])
                blank()
            }
        }
        literals.append(content)
    }

    private func hasHashes(_ count: Int, from offset: Int) -> Bool {
        let start = at + offset
        return start + count <= bytes.count && bytes[start..<start + count].allSatisfy { $0 == UInt8(ascii: "#") }
    }
}
