package import TandemCore

/// One value of a file, with the place where it stands.
package struct LocatedNode {
    let value: FileValue
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
        if case .null = value.content { true } else { false }
    }

    /// Whether keys with values stand there.
    package var isSection: Bool { if case .section = value.content { true } else { false } }

    /// What the value is, for errors.
    var kind: String {
        switch value.content {
        case .null: "nothing"
        case .text, .plain, .number: "a single value"
        case .list: "a list"
        case .section: "keys with values"
        case .dangling: "a reference"
        }
    }

    // MARK: Values

    /// A single value exactly as it is written; `what` is what errors call the expected.
    package func text(_ what: String = "a text") throws -> String {
        switch value.content {
        case .text(let text), .plain(let text), .number(let text): return text
        case .null, .list, .section, .dangling: throw error("\(what) is expected here, not \(kind)", next: "write \(what)")
        }
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
        guard case .list(let values) = value.content else {
            throw error("\(what) is expected here, not \(kind)", next: "write \(what), one `- ` a line")
        }
        return values.enumerated().map { index, value in
            LocatedNode(value: value, file: file, key: "\(key)[\(index)]", line: value.line ?? line)
        }
    }

    /// The keys of a section with their values, in the file's order.
    package func entries(_ what: String = "keys with values") throws -> [(name: String, value: LocatedNode)] {
        guard case .section(let entries) = value.content else {
            throw error("\(what) is expected here, not \(kind)", next: "write `key: value` lines there")
        }
        return try entries.map { name, value in
            let line = name.line ?? line
            let text: String
            switch name.content {
            case .text(let word), .plain(let word), .number(let word): text = word
            case .null: text = "null"
            case .list, .section, .dangling:
                throw LocatedNode(value: name, file: file, key: key, line: line).error("a key is a single word", next: "write `key: value`")
            }
            return (text, LocatedNode(value: value, file: file, key: key.isEmpty ? text : "\(key).\(text)", line: line))
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
