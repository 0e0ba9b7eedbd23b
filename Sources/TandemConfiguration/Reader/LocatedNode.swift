package import TandemCore
import Yams

/// One value of a YAML file, with the place where it stands.
package struct LocatedNode {
    let node: Node
    /// The file's name, for errors.
    package let file: String
    /// Where it stands, such as `nodes.n1.pool.maximum`; empty at the top.
    package let key: String
    /// The line of its key, from 1.
    package let line: Int

    /// An error that names file, line and key; `next` says what to write instead.
    package func error(_ problem: String, next: String) -> TandemError {
        TandemError(.configurationInvalid, "\(file):\(line): \(key.isEmpty ? "" : "\(key): ")\(problem)", nextStep: next)
    }

    /// Whether nothing stands there: an empty value, `~` or `null` without quotes.
    package var isNull: Bool {
        guard let scalar = node.scalar else { return false }
        if node.tag == Tag(.null) { return true }
        return scalar.style == .plain && scalar.string.isEmpty
    }

    /// Whether keys with values stand there.
    package var isSection: Bool { node.mapping != nil }

    /// What the value is, for errors.
    var kind: String {
        switch node {
        case .scalar: isNull ? "nothing" : "a single value"
        case .sequence: "a list"
        case .mapping: "keys with values"
        case .alias: "a reference"
        }
    }

    // MARK: Values

    /// A single value exactly as it is written; `what` is what errors call the expected.
    package func text(_ what: String = "a text") throws -> String {
        guard let scalar = node.scalar, !isNull else { throw error("\(what) is expected here, not \(kind)", next: "write \(what)") }
        return scalar.string
    }

    /// A whole number within bounds.
    package func integer(in range: ClosedRange<Int>) throws -> Int {
        let text = try text("a whole number")
        guard let value = Int(text) else { throw error("`\(text)` is not a whole number", next: "write a number") }
        guard range.contains(value) else {
            throw error("\(value) is out of bounds", next: "write a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    /// A time with a unit.
    package func duration(isZeroAllowed: Bool = false) throws -> Duration {
        let text = try text("a time")
        guard let value = Duration(text: text) else {
            let isNumber = Int(text) != nil
            throw error(
                isNumber ? "`\(text)` has no unit" : "`\(text)` is not a time",
                next: isNumber
                    ? "write `\(text)s` for seconds, or use ms, m, h or d" : "write a whole number and a unit: 500ms, 5s, 2m, 24h, 7d")
        }
        guard value > .zero || isZeroAllowed else { throw error("the time must be longer than nothing", next: "write at least 1ms") }
        return value
    }

    /// One of a few words.
    package func choice<Value>(_ words: [(String, Value)]) throws -> Value {
        let all = words.map { "`\($0.0)`" }.joined(separator: ", ")
        let text = try text("one of \(all)")
        guard let found = words.first(where: { $0.0 == text }) else {
            let near = nearestName(to: text, among: words.map(\.0))
            throw error("`\(text)` is not one of \(all)", next: near.map { "did you mean `\($0)`?" } ?? "write one of \(all)")
        }
        return found.1
    }

    // MARK: Structure

    /// The values of a list.
    package func list(_ what: String = "a list") throws -> [LocatedNode] {
        guard let sequence = node.sequence else {
            throw error("\(what) is expected here, not \(kind)", next: "write \(what), one `- ` a line")
        }
        return sequence.enumerated().map { index, value in
            LocatedNode(node: value, file: file, key: "\(key)[\(index)]", line: value.mark?.line ?? line)
        }
    }

    /// The keys of a section with their values, in the file's order.
    package func entries(_ what: String = "keys with values") throws -> [(name: String, value: LocatedNode)] {
        guard let mapping = node.mapping else {
            throw error("\(what) is expected here, not \(kind)", next: "write `key: value` lines there")
        }
        return try mapping.map { name, value in
            guard let text = name.scalar?.string else {
                throw LocatedNode(node: name, file: file, key: key, line: name.mark?.line ?? line).error(
                    "a key is a single word", next: "write `key: value`")
            }
            let key = key.isEmpty ? text : "\(key).\(text)"
            return (text, LocatedNode(node: value, file: file, key: key, line: name.mark?.line ?? line))
        }
    }

    /// The values of a section that knows its keys; any other is refused with the nearest name.
    package func section(_ known: [String]) throws -> Section {
        var values: [String: LocatedNode] = [:]
        for (name, value) in try entries() {
            guard known.contains(name) else {
                let near = nearestName(to: name, among: known)
                throw value.error(
                    "there is no key `\(name)` here",
                    next: near.map { "did you mean `\($0)`?" } ?? "the keys are \(known.joined(separator: ", "))")
            }
            values[name] = value
        }
        return Section(place: self, values: values)
    }

    /// A section whose keys are known.
    package struct Section {
        /// Where it stands.
        package let place: LocatedNode
        private let values: [String: LocatedNode]

        init(place: LocatedNode, values: [String: LocatedNode]) {
            (self.place, self.values) = (place, values)
        }

        /// The value of a key; nil where it does not stand there, or nothing stands behind it.
        package subscript(_ key: String) -> LocatedNode? {
            values[key].flatMap { $0.isNull ? nil : $0 }
        }

        /// The value of a key that must stand there.
        package func required(_ key: String) throws -> LocatedNode {
            if let value = self[key] { return value }
            let place = values[key] ?? place
            throw place.error("the key `\(key)` is missing", next: "write `\(key): ...`")
        }
    }
}
