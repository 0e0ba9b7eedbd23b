/// What is armed and how far it is used up: decides what a hit does, and does nothing itself.
///
/// The grammar is that of the `fail` crate, with our actions:
/// ```
/// specification = entry *(";" entry)
/// entry         = (point | "*") "=" step *("->" step)
/// step          = [count "*"] action
/// action        = "off" | "kill" | "stop" | "error" | "delay(" milliseconds ")" | "hold"
/// ```
/// `*` counts the hits of all points together: `*=7*off->kill` ends the process at the eighth failpoint it reaches, whichever that is.
/// Spaces around names and signs, and empty entries, mean nothing.
struct FailpointSpecification: Hashable, Sendable {
    private var scripts: [Failpoint: FailpointScript] = [:]
    private var every: FailpointScript?

    /// Hits of all points since this was armed, whether a script names them or not.
    private(set) var hits = 0

    init(_ text: String) throws(FailpointError) {
        for entry in text.split(separator: ";") {
            let entry = entry.trimmed
            if !entry.isEmpty { try add(entry) }
        }
        guard every != nil || !scripts.isEmpty else { throw .unreadable(text, reason: "it names no failpoint") }
    }

    /// What one hit of `point` does: first what its own script says, then what the script of all points says.
    mutating func hit(_ point: Failpoint) -> [FailpointAction] {
        hits += 1
        // What makes the program wrong happens to nobody who did not name it.
        let general = point == .recoveryPresumesAbort ? nil : every?.next()
        return [scripts[point]?.next(), general].compactMap(\.self).filter { $0 != .off }
    }

    private mutating func add(_ entry: Substring) throws(FailpointError) {
        guard let equals = entry.firstIndex(of: "=") else { throw .unreadable(String(entry), reason: "there is no '='") }
        let name = entry[..<equals].trimmed
        let script = try Self.script(entry[entry.index(after: equals)...])
        if name == "*" {
            guard every == nil else { throw .unreadable(String(entry), reason: "'*' stands there twice") }
            every = script
        } else {
            guard let point = Failpoint(rawValue: String(name)) else {
                throw .unreadable(String(entry), reason: "there is no failpoint '\(name)'; there are \(Self.names)")
            }
            guard scripts[point] == nil else { throw .unreadable(String(entry), reason: "'\(name)' stands there twice") }
            scripts[point] = script
        }
    }

    private static var names: String {
        Failpoint.allCases.map(\.rawValue).joined(separator: ", ")
    }

    private static func script(_ text: Substring) throws(FailpointError) -> FailpointScript {
        var steps: [FailpointScript.Step] = []
        for step in text.split(separator: "->", omittingEmptySubsequences: false) {
            steps.append(try Self.step(step.trimmed))
        }
        return FailpointScript(steps)
    }

    private static func step(_ text: Substring) throws(FailpointError) -> FailpointScript.Step {
        guard let star = text.firstIndex(of: "*") else { return FailpointScript.Step(hits: nil, action: try action(text)) }
        guard let hits = number(text[..<star].trimmed), hits > 0 else {
            throw .unreadable(String(text), reason: "before '*' there must be a number of hits, 1 or more")
        }
        return FailpointScript.Step(hits: hits, action: try action(text[text.index(after: star)...].trimmed))
    }

    private static func action(_ text: Substring) throws(FailpointError) -> FailpointAction {
        switch text {
        case "off": return .off
        case "kill": return .kill
        case "stop": return .stop
        case "error": return .error
        case "hold": return .hold
        case _ where text.hasPrefix("delay(") && text.hasSuffix(")"):
            let limit = Int(FailpointAction.maximumDelay.components.seconds) * 1000
            guard let milliseconds = number(text.dropFirst("delay(".count).dropLast().trimmed), milliseconds <= limit else {
                throw .unreadable(String(text), reason: "a delay is a number of milliseconds, at most \(limit)")
            }
            return .delay(.milliseconds(milliseconds))
        default:
            throw .unreadable(String(text), reason: "an action is off, kill, stop, error, delay(milliseconds) or hold")
        }
    }

    /// A number of ASCII digits and nothing else (`Int` would take a sign).
    private static func number(_ text: Substring) -> Int? {
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return Int(text)
    }
}

extension Substring {
    /// Without white space at both ends.
    fileprivate var trimmed: Substring {
        guard let first = firstIndex(where: { !$0.isWhitespace }), let last = lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return self[first...last]
    }
}
