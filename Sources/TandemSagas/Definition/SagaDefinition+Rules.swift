public import TandemCore
import TandemPostgres

extension SagaDefinition {
    /// Something that is wrong with a definition.
    public struct Defect: Sendable, Hashable {
        /// The step, where it is one's.
        public let step: String?
        /// The key of the step in a file.
        public let key: String
        /// What is wrong.
        public let problem: String
        /// What to write instead.
        public let nextStep: String
    }

    /// Names that no step may have, since values have them.
    private static let reserved: Set = ["saga_id", "input", "output"]

    /// What is wrong with the definition.
    ///
    /// - Parameter nodes: the nodes of the cluster; `nil` where they are not known.
    /// - Returns: nothing where it may be started.
    public func defects(nodes: Set<NodeName>? = nil) -> [Defect] {
        var defects = names()
        guard defects.isEmpty else { return defects }
        let places = Dictionary(uniqueKeysWithValues: steps.enumerated().map { ($1.name, $0) })
        for step in steps {
            for need in step.needs ?? [] where places[need] == nil {
                defects.append(Defect(step: step.name, key: "needs", problem: "there is no step `\(need)`", nextStep: "write the name of a step"))
            }
        }
        guard defects.isEmpty else { return defects }
        let plan = plan
        defects = plan.defects(saysUndo: steps.map { $0.undo != nil || !$0.action.hasEffect }).map(defect)
        guard defects.isEmpty else { return defects }
        for (index, step) in steps.enumerated() {
            if let pivot = plan.pivot, plan.descendants(of: pivot).contains(index), !step.isRetriable, step.action.hasEffect {
                defects.append(
                    Defect(
                        step: step.name, key: "retriable", problem: "behind the pivot a step must not fail for good",
                        nextStep: "write `retriable: true`, or put it before the pivot"))
            }
            if step.isPivot, !step.action.isTransaction {
                defects.append(
                    Defect(
                        step: step.name, key: "pivot", problem: "of a request nobody may know whether it has happened, so nothing can turn on it",
                        nextStep: "let a step of SQL be the pivot, and send the request behind it"))
            }
            if let undo = step.undo, !undo.fits(step.action) {
                defects.append(
                    Defect(
                        step: step.name, key: "undo", problem: "the step is undone as it is done: by SQL, by requests, or over several nodes",
                        nextStep: "write it so"))
            }
            for event in step.events where (try? JSON(reading: event.payload)) == nil {
                defects.append(
                    Defect(step: step.name, key: "outbox", problem: "the payload is no JSON", nextStep: "put a template into a string: \"{input.key}\""))
            }
            for request in step.requests where request.body.map({ (try? JSON(reading: $0)) == nil }) ?? false {
                defects.append(Defect(step: step.name, key: "http", problem: "the body is no JSON", nextStep: "put a template into a string: \"{input.key}\""))
            }
            if let nodes { defects += step.nodes.filter { !nodes.contains($0) }.map { unknown($0, step) } }
            defects += values(of: step, index, plan)
        }
        return defects
    }

    private func unknown(_ node: NodeName, _ step: Step) -> Defect {
        Defect(step: step.name, key: "node", problem: "there is no node `\(node)`", nextStep: "write the name of a node of the configuration")
    }

    private func names() -> [Defect] {
        var seen: Set<String> = [], defects: [Defect] = []
        if name.isEmpty { defects.append(Defect(step: nil, key: "saga", problem: "the saga has no name", nextStep: "write `saga: NAME`")) }
        for step in steps {
            func refuse(_ problem: String) { defects.append(Defect(step: step.name, key: "", problem: problem, nextStep: "choose another name")) }
            if !step.name.utf8.allSatisfy(Self.isNameByte) || step.name.isEmpty || step.name.utf8.count > 63 {
                refuse("a step's name has 1 to 63 letters, digits and underscores")
            }
            if Self.reserved.contains(step.name) { refuse("`\(step.name)` is the name of a value") }
            if !seen.insert(step.name).inserted { refuse("two steps have the name `\(step.name)`") }
        }
        return defects
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
        default: false
        }
    }

    private func defect(_ defect: SagaPlan.Defect) -> Defect {
        switch defect {
        case .empty: Defect(step: nil, key: "steps", problem: "there is no step", nextStep: "write at least one")
        case .cycle(let steps):
            Defect(
                step: self.steps[steps[0]].name, key: "needs",
                problem: "steps need each other in a circle: \(steps.map { self.steps[$0].name }.joined(separator: ", "))", nextStep: "break the circle")
        case .secondPivot(let step):
            Defect(step: steps[step].name, key: "pivot", problem: "a saga has one pivot", nextStep: "leave one")
        case .besidePivot(let step):
            Defect(
                step: steps[step].name, key: "needs", problem: "the step lies beside the pivot: when the saga may not turn back any more it could still fail",
                nextStep: "let the pivot need it, or let it need the pivot")
        case .missingUndo(let step):
            Defect(
                step: steps[step].name, key: "undo", problem: "it is not said what undoes the step",
                nextStep: "write `undo: ...`, or `undo: none` where nothing has to")
        case .needlessUndo(let step):
            Defect(step: steps[step].name, key: "undo", problem: "from the pivot on nothing is undone", nextStep: "leave it out")
        }
    }

    /// The values that a step names: its input, what is done before it, and in what undoes it its own output.
    private func values(of step: Step, _ index: Int, _ plan: SagaPlan) -> [Defect] {
        let known = Set(plan.ancestors(of: index).map { steps[$0].name }).union(["input", "saga_id"])
        func check(_ names: [[String]], _ key: String, _ also: Set<String> = []) -> [Defect] {
            names.filter { !known.union(also).contains($0[0]) }.map { name in
                let isStep = steps.contains { $0.name == name[0] }
                return Defect(
                    step: step.name, key: key, problem: "there is no value `\(name.joined(separator: "."))` here",
                    nextStep: isStep
                        ? "let the step need `\(name[0])`" : "values are saga_id, input.KEY and STEP.KEY; in a slice of an array leave a space after the colon")
            }
        }
        let lock = step.lock.map { SagaTemplate($0).names } ?? []
        return check(step.action.names + lock, "do") + check(step.undo?.names ?? [], "undo", ["output"])
    }

    /// The order of the steps.
    package var plan: SagaPlan {
        let places = Dictionary(steps.enumerated().map { ($1.name, $0) }) { first, _ in first }
        return SagaPlan(
            steps.enumerated().map { index, step in
                let needs = step.needs?.compactMap { places[$0] } ?? (index == 0 ? [] : [index - 1])
                return SagaPlan.Step(needs: needs, hasUndo: step.undo?.isEmpty == false, isPivot: step.isPivot)
            })
    }
}

extension SagaDefinition.Step {
    /// The nodes that it touches.
    package var nodes: [NodeName] {
        var nodes: [NodeName] =
            switch action {
            case .sql(let node, _), .outbox(let node, _): [node]
            case .twoPhase(let operations): operations.map(\.node)
            case .http, .timer, .signal: []
            }
        if case .twoPhase(let operations) = undo { nodes += operations.map(\.node) }
        return nodes
    }
}

extension SagaDefinition.Step {
    /// The events that it publishes.
    var events: [SagaDefinition.Event] {
        var events: [SagaDefinition.Event] = []
        if case .outbox(_, let event) = action { events.append(event) }
        if case .outbox(let event) = undo { events.append(event) }
        return events
    }

    /// The requests that it sends.
    var requests: [SagaDefinition.Request] {
        var requests: [SagaDefinition.Request] = []
        if case .http(let request) = action { requests.append(request) }
        if case .http(let request) = undo { requests.append(request) }
        return requests
    }
}

extension SagaDefinition.Action {
    /// Whether its record commits with its effect.
    var isTransaction: Bool {
        switch self {
        case .sql, .twoPhase, .outbox: true
        case .http, .timer, .signal: false
        }
    }

    /// Whether there is anything to undo.
    var hasEffect: Bool {
        switch self {
        case .sql, .http, .twoPhase, .outbox: true
        case .timer, .signal: false
        }
    }

    /// The names of the values that it needs.
    var names: [[String]] {
        switch self {
        case .sql(_, let statements): statements.flatMap(\.names)
        case .http(let request): request.names
        case .twoPhase(let operations): operations.flatMap(\.statement.names)
        case .outbox(_, let event): event.names
        case .timer, .signal: []
        }
    }
}

extension SagaDefinition.Undo {
    var isEmpty: Bool { self == .none }

    func fits(_ action: SagaDefinition.Action) -> Bool {
        switch (self, action) {
        case (.none, _), (.sql, .sql), (.sql, .outbox), (.outbox, .outbox), (.outbox, .sql), (.http, .http), (.twoPhase, .twoPhase): true
        case (.sql, _), (.outbox, _), (.http, _), (.twoPhase, _): false
        }
    }

    var names: [[String]] {
        switch self {
        case .none: []
        case .sql(let statements): statements.flatMap(\.names)
        case .http(let request): request.names
        case .twoPhase(let operations): operations.flatMap(\.statement.names)
        case .outbox(let event): event.names
        }
    }
}

extension SagaDefinition.Statement {
    var names: [[String]] { NamedStatement(sql).names }
}

extension SagaDefinition.Request {
    var names: [[String]] { ([url] + headers.values + (body.map { [$0] } ?? [])).flatMap { SagaTemplate($0).names } }
}
