import Foundation
import TandemCluster
import TandemCore

/// A definition as data, ready to run.
struct CompiledSaga: Sendable {
    enum Action: Sendable {
        case sql(SQLStep)
        case http(HTTPStep, undo: HTTPStep?)
        case timer(Duration)
        case signal(String, timeout: Duration?)
    }

    struct Step: Sendable {
        let name: String
        let definition: SagaDefinition.Step
        let action: Action
        /// The steps whose outputs it names.
        let sources: [Int]
    }

    let definition: SagaDefinition
    let plan: SagaPlan
    let steps: [Step]
    /// The nodes where it takes locks.
    let lockNodes: [NodeName]

    init(_ definition: SagaDefinition, _ cluster: Cluster) throws {
        if let defect = definition.defects(nodes: Set(cluster.configuration.nodes.map(\.name))).first {
            let place = defect.step.map { "step \($0): " } ?? ""
            throw TandemError(.configurationInvalid, "saga \(definition.name): \(place)\(defect.problem)", nextStep: defect.nextStep)
        }
        self.definition = definition
        plan = definition.plan
        let places = Dictionary(uniqueKeysWithValues: definition.steps.enumerated().map { ($1.name, $0) })
        steps = definition.steps.map { step in
            let action: Action
            switch step.action {
            case .sql, .twoPhase, .outbox: action = SQLStep(step, cluster).map { .sql($0) } ?? .timer(.zero)
            case .http(let request):
                var undo: HTTPStep?
                if case .http(let request) = step.undo { undo = HTTPStep(request) }
                action = .http(HTTPStep(request), undo: undo)
            case .timer(let time): action = .timer(time)
            case .signal(let name, let timeout): action = .signal(name, timeout: timeout)
            }
            let names = step.action.names + (step.undo?.names ?? []) + (step.lock.map { SagaTemplate($0).names } ?? [])
            return Step(name: step.name, definition: step, action: action, sources: Set(names.compactMap { places[$0[0]] }).sorted())
        }
        var nodes: [NodeName] = []
        for step in steps where step.definition.lock != nil {
            if case .sql(let action) = step.action, !nodes.contains(action.node) { nodes.append(action.node) }
        }
        lockNodes = nodes
    }

    /// Reads the text that is stored.
    init(body: String, _ cluster: Cluster) throws {
        do {
            try self.init(try JSONDecoder().decode(SagaDefinition.self, from: Data(body.utf8)), cluster)
        } catch let error as DecodingError {
            throw TandemError(.schemaMismatch, "the definition cannot be read: \(error)", nextStep: "upgrade this program")
        }
    }
}

extension SagaDefinition {
    /// The text by which it is known.
    func body() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self)
    }
}
