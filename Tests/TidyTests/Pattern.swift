import Foundation

/// A regular expression that is right, since it is written in the source.
struct Pattern: Sendable {
    private let expression: NSRegularExpression

    init(_ pattern: String, options: NSRegularExpression.Options = [.anchorsMatchLines]) {
        do {
            expression = try NSRegularExpression(pattern: pattern, options: options)
        } catch {
            preconditionFailure("'\(pattern)' is no regular expression: \(error)")
        }
    }

    struct Match: Sendable {
        /// The number of the line where the match begins, from 1.
        let line: Int
        /// The first group that took part, or all of the match where there is no group.
        let text: String
        /// Where the match ends.
        let end: String.Index
    }

    func matches(in text: String) -> [Match] {
        var line = 1
        var counted = text.startIndex
        return expression.matches(in: text, range: NSRange(text.startIndex..., in: text)).compactMap { match in
            guard let whole = Range(match.range, in: text) else { return nil }
            let groups = (1..<max(match.numberOfRanges, 1)).lazy.compactMap { Range(match.range(at: $0), in: text) }
            line += text.utf8[counted..<whole.lowerBound].count { $0 == UInt8(ascii: "\n") }
            counted = whole.lowerBound
            return Match(line: line, text: String(text[groups.first ?? whole]), end: whole.upperBound)
        }
    }

    func isFound(in text: String) -> Bool {
        expression.firstMatch(in: text, range: NSRange(text.startIndex..., in: text)) != nil
    }
}
