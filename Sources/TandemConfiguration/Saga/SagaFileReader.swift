import Foundation
import TandemCore
import TandemPostgres
import TandemSagas

/// Makes a saga's definition of a file's sections.
struct SagaFileReader {
    /// Where the SQL files that it names are looked for.
    let folder: String

    private static let common = ["needs", "undo", "pivot", "retriable", "retry", "fail_on", "timeout", "lock"]
    private static let kinds = ["do", "http", "two_phase", "outbox", "sleep", "wait_for"]

    func read(_ file: LocatedNode.Section, _ nodes: Set<NodeName>?) throws -> SagaDefinition {
        let list = try file.required("steps")
        let places = try list.entries("steps by name (`order:` and below it `node: ...` and `do: ...`)")
        let definition = SagaDefinition(
            try file.required("saga").text("the saga's name"), version: try file.required("version").integer(in: 1...Int(Int32.max)),
            deadline: try file["deadline"]?.duration(),
            undoFailure: try file["on_undo_failure"]?.choice(SagaDefinition.UndoFailure.allCases.map { ($0.rawValue, $0) }) ?? .halt,
            steps: try places.map { try step($0.name, $0.value) })
        guard let defect = definition.defects(nodes: nodes).first else { return definition }
        throw place(of: defect, places, file.place).error(defect.problem, next: defect.nextStep)
    }

    /// Where a defect stands: the key of its step, or the step.
    private func place(of defect: SagaDefinition.Defect, _ steps: [(name: String, value: LocatedNode)], _ file: LocatedNode) -> LocatedNode {
        guard let step = steps.first(where: { $0.name == defect.step })?.value else { return file }
        return (try? step.entries().first { $0.name == defect.key }?.value) ?? step
    }

    private func step(_ name: String, _ place: LocatedNode) throws -> SagaDefinition.Step {
        let section = try place.section(["node", "expect", "check"] + Self.kinds + Self.common)
        let given = Self.kinds.filter { section[$0] != nil }
        guard let kind = given.first, given.count == 1 else {
            throw place.error(
                given.isEmpty ? "it is not said what the step does" : "the step does two things: \(given.joined(separator: ", "))",
                next: "write one of \(Self.kinds.map { "`\($0)`" }.joined(separator: ", "))")
        }
        var step = SagaDefinition.Step(name, try action(kind, section), undo: try section["undo"].map { try undo($0, kind) })
        step.needs = try section["needs"]?.list("a list of steps").map { try $0.text("the name of a step") }
        step.isPivot = try section["pivot"].map { try flag($0) } ?? false
        step.isRetriable = try section["retriable"].map { try flag($0) } ?? false
        if let value = section["retry"] { step.retry = try retry(value) }
        if let value = section["fail_on"] { step.retry.failures = try states(value) }
        if let value = section["timeout"] { step.timeout = try value.duration() }
        if let value = section["lock"] { (step.lock, step.failsWhenLocked) = try lock(value, kind) }
        return step
    }

    private func flag(_ place: LocatedNode) throws -> Bool { try place.choice([("true", true), ("false", false)]) }

    // MARK: What it does

    private func action(_ kind: String, _ section: LocatedNode.Section) throws -> SagaDefinition.Action {
        let place = try section.required(kind)
        if kind != "do" {
            for key in kind == "outbox" ? ["expect", "check"] : ["node", "expect", "check"] {
                if let value = section[key] { throw value.error("it means nothing here", next: "leave it out") }
            }
        }
        switch kind {
        case "do":
            var statements = try section["check"].map { try self.statements($0) } ?? []
            for index in statements.indices where statements[index].expectedRows == nil { statements[index].expectedRows = 1...Int.max }
            statements += try self.statements(place)
            if let value = section["expect"] { statements[statements.count - 1].expectedRows = try TransactionFile.expectation(value) }
            return .sql(try Self.node(try section.required("node")), statements)
        case "http": return .http(try request(place))
        case "two_phase": return .twoPhase(try operations(place))
        case "outbox": return .outbox(try Self.node(try section.required("node")), try event(place))
        case "sleep": return .timer(try place.duration())
        default:
            guard place.isSection else { return .signal(try place.text("the name of a signal"), timeout: nil) }
            let signal = try place.section(["signal", "timeout"])
            return .signal(try signal.required("signal").text("the name of a signal"), timeout: try signal["timeout"]?.duration())
        }
    }

    private func undo(_ place: LocatedNode, _ kind: String) throws -> SagaDefinition.Undo {
        if !place.isSection, let word = try? place.text(), word == "none" { return .none }
        switch kind {
        case "do", "outbox":
            guard place.isSection, try place.entries().contains(where: { $0.name == "outbox" }) else { return .sql(try statements(place)) }
            return .outbox(try event(try place.section(["outbox"]).required("outbox")))
        case "http": return .http(try request(try place.section(["http"]).required("http")))
        case "two_phase": return .twoPhase(try operations(try place.section(["two_phase"]).required("two_phase")))
        default: throw place.error("there is nothing to undo", next: "leave it out")
        }
    }

    /// A text of one or more statements, `{file: ...}`, or a list of these and of `{sql: ..., expect: ...}`.
    private func statements(_ place: LocatedNode) throws -> [SagaDefinition.Statement] {
        let statements: [SagaDefinition.Statement]
        if case .list = place.value.content {
            statements = try place.list().flatMap { try self.statements($0) }
        } else if place.isSection {
            let section = try place.section(["sql", "file", "expect"])
            var texts: [SagaDefinition.Statement]
            if let file = section["file"] {
                if let sql = section["sql"] { throw sql.error("the statements are given twice", next: "leave one of sql and file") }
                texts = try split(try text(of: file), file)
            } else {
                texts = try split(try section.required("sql").text("SQL"), place)
            }
            if let value = section["expect"] { texts[texts.count - 1].expectedRows = try TransactionFile.expectation(value) }
            statements = texts
        } else {
            statements = try split(try place.text("SQL"), place)
        }
        return statements
    }

    private func split(_ text: String, _ place: LocatedNode) throws -> [SagaDefinition.Statement] {
        let statements = sqlStatements(in: text).map { SagaDefinition.Statement($0) }
        guard !statements.isEmpty else { throw place.error("there is no statement", next: "write at least one") }
        return statements
    }

    private func text(of place: LocatedNode) throws -> String {
        let path = try place.text("the path of a file")
        let whole = path.hasPrefix("/") ? path : URL(fileURLWithPath: "\(folder)/\(path)").standardizedFileURL.path
        guard let data = FileManager.default.contents(atPath: whole), let text = String(data: data, encoding: .utf8) else {
            throw place.error("the file \(whole) cannot be read", next: "see whether it is there and who may read it")
        }
        return text
    }

    private func operations(_ place: LocatedNode) throws -> [SagaDefinition.Operation] {
        let operations = try place.list("a list of operations").map { place in
            let section = try place.section(["node", "sql", "expect"])
            let statement = SagaDefinition.Statement(
                try section.required("sql").text("one SQL statement"), expectedRows: try section["expect"].flatMap(TransactionFile.expectation))
            return SagaDefinition.Operation(try Self.node(try section.required("node")), statement)
        }
        guard !operations.isEmpty else { throw place.error("there is no operation", next: "write at least one, with node and sql") }
        return operations
    }

    private static func node(_ place: LocatedNode) throws -> NodeName {
        do {
            return try NodeName(try place.text("the name of a node"))
        } catch let error as NodeName.Invalid {
            throw place.error(error.description, next: "write the name of a node of the configuration")
        }
    }

    // MARK: Requests

    private static let methods = ["post", "put", "patch", "delete", "get"]

    private func request(_ place: LocatedNode) throws -> SagaDefinition.Request {
        let section = try place.section(Self.methods + ["headers", "body", "refused"])
        let given = Self.methods.filter { section[$0] != nil }
        guard let method = given.first, given.count == 1, let url = section[method] else {
            throw place.error("one method with an address is expected here", next: "write `post: https://...`")
        }
        var request = SagaDefinition.Request(method.uppercased(), try url.text("an address"))
        guard request.url.hasPrefix("http://") || request.url.hasPrefix("https://") else {
            throw url.error("the address does not begin with http:// or https://", next: "write the whole address")
        }
        for (name, value) in try section["headers"]?.entries() ?? [] { request.headers[name] = try value.text("a header's value") }
        request.body = try section["body"]?.json()
        request.refusals = try section["refused"]?.list("a list of statuses").map { try $0.integer(in: 300...599) } ?? []
        return request
    }

    // MARK: Events

    private func event(_ place: LocatedNode) throws -> SagaDefinition.Event {
        let section = try place.section(["topic", "key", "payload", "headers"])
        var event = SagaDefinition.Event(topic: try section.required("topic").text("a topic"), key: try section["key"]?.text("a key"))
        if let payload = section["payload"] { event.payload = try payload.json() }
        for (name, value) in try section["headers"]?.entries() ?? [] { event.headers[name] = try value.text("a header's value") }
        return event
    }

    // MARK: How it is tried again

    private func retry(_ place: LocatedNode) throws -> SagaDefinition.Retry {
        let section = try place.section(["attempts", "base", "cap", "on"])
        var retry = SagaDefinition.Retry()
        if let value = section["attempts"] { retry.attempts = try value.integer(in: 1...1_000_000) }
        if let value = section["base"] { retry.base = try value.duration() }
        if let value = section["cap"] { retry.cap = try value.duration() }
        if let value = section["on"] { retry.errors = try states(value) }
        return retry
    }

    private func states(_ place: LocatedNode) throws -> [String] {
        try place.list("a list of SQLSTATEs").map { place in
            let text = try place.text("a SQLSTATE")
            guard text.utf8.count == 5 || text.utf8.count == 2, text.utf8.allSatisfy({ ($0 >= 0x30 && $0 <= 0x39) || ($0 >= 0x41 && $0 <= 0x5A) }) else {
                throw place.error("`\(text)` is no SQLSTATE", next: "write five digits or capital letters, or the first two for a whole class")
            }
            return text
        }
    }

    /// `lock: order/{input.id}`, or `lock: {resource: ..., held: wait}`.
    private func lock(_ place: LocatedNode, _ kind: String) throws -> (String, fails: Bool) {
        guard ["do", "two_phase", "outbox"].contains(kind) else { throw place.error("a lock is taken in a transaction", next: "take it in a step of SQL") }
        guard place.isSection else { return (try place.text("the name of a resource"), false) }
        let section = try place.section(["resource", "held"])
        return (
            try section.required("resource").text("the name of a resource"), try section["held"]?.choice([("wait", false), ("fail", true)]) ?? false
        )
    }
}
