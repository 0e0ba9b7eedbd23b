import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemSagas
import TandemTransactions

/// What runs in a coordinator's process: clients that each send one transaction after the other and write down what they were told, with recovery beside
/// them.
package struct ChaosCoordinator: Sendable {
    private static let timeout = Duration.seconds(4)
    /// A client whose transaction failed does not spin while a node is away.
    private static let backoff = Backoff(base: .milliseconds(2), cap: .milliseconds(200))

    private let plan: CoordinatorPlan

    /// - Parameter path: The file that holds its plan.
    /// - Throws: `configurationInvalid` where it cannot be read.
    package init(path: String) throws {
        do {
            plan = try JSONDecoder().decode(CoordinatorPlan.self, from: Data(contentsOf: URL(fileURLWithPath: path)))
        } catch {
            throw TandemError(.configurationInvalid, "\(path) is not a plan of a coordinator", nextStep: "this command is for `tandem chaos run` alone")
        }
    }

    /// Runs clients until the task is cancelled; each then ends its transaction and starts no other.
    ///
    /// - Throws: `configurationInvalid`, or `localNodeFailed` where the history cannot be written.
    package func run() async throws {
        let cluster = try Cluster(plan.configuration())
        defer { cluster.close() }
        let history = try HistoryWriter(path: plan.history)
        let sagas = plan.options.workload == .saga ? try Sagas(cluster, options: SagaWorkload.options(plan.options.clients)) : nil
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await cluster.run() }
            if let sagas { group.addTask { try await sagas.run() } }
            for number in 0..<plan.options.clients {
                group.addTask(executorPreference: cluster.executor(ofClient: number)) {
                    var client = Client(number, plan, cluster, sagas, history)
                    try await client.run(Self.timeout, Self.backoff)
                }
            }
            // They end when they are told to. Whoever ends with an error ends all of them, and that is a finding.
            while let result = await group.nextResult() {
                do { try result.get() } catch is CancellationError {} catch {
                    group.cancelAll()
                    throw error
                }
            }
        }
    }
}

/// One client of a coordinator.
private struct Client {
    let number: Int
    let plan: CoordinatorPlan
    let cluster: Cluster
    let sagas: Sagas?
    let history: HistoryWriter
    private var random: FastRandom
    /// The process of the history. After an unknown outcome it is another one: what it did last may still happen.
    private var process: Int
    private var elements = 0

    init(_ number: Int, _ plan: CoordinatorPlan, _ cluster: Cluster, _ sagas: Sagas?, _ history: HistoryWriter) {
        self.number = number
        self.plan = plan
        self.cluster = cluster
        self.sagas = sagas
        self.history = history
        let writer = plan.writer(number)
        random = FastRandom(seed: plan.options.seed &* 1_000_003 &+ UInt64(writer))
        process = writer
    }

    mutating func run(_ timeout: Duration, _ backoff: Backoff) async throws {
        var failures = 0
        while !Task.isCancelled {
            let isDone =
                switch plan.options.workload {
                case .bank: try await transfer(timeout)
                case .listAppend: try await append(timeout)
                case .saga: try await saga(timeout)
                }
            failures = isDone ? 0 : failures + 1
            if failures > 0 { try await Task.sleep(for: backoff.delay(attempt: min(failures, 10), random: Double(random.next(1_000)) / 1_000)) }
        }
    }

    private var names: [NodeName] { plan.nodes.map(\.name) }

    private mutating func append(_ timeout: Duration) async throws -> Bool {
        let writer = plan.writer(number), elapsed = Int((MonotonicTime.now - plan.start) / 1_000_000)
        let workload = ListAppendWorkload(cluster: cluster, nodes: names)
        var count = elements
        let steps = workload.next(&random, elapsed: elapsed) {
            count += 1
            return count * CoordinatorPlan.writers + writer
        }
        elements = count
        let nodes = Set(steps.map { names[ListAppendWorkload.node(of: $0.key, among: names.count)] }).sorted()
        let asData = random.next(2) == 0
        return try await record("txn", Self.json(steps), nodes) { id in
            Self.json(try await workload.run(steps, id: id, asData: asData, timeout: timeout))
        }
    }

    private static func json(_ steps: [MicroOperation]) -> String { "[\(steps.map(\.json).joined(separator: ","))]" }

    private mutating func transfer(_ timeout: Duration) async throws -> Bool {
        let workload = BankWorkload(cluster: cluster, nodes: names)
        let transfer = workload.next(&random), asData = random.next(2) == 0
        let json = String(decoding: try JSONEncoder().encode(transfer), as: UTF8.self)
        return try await record("transfer", json, [transfer.from, transfer.to]) { id in
            try await workload.run(transfer, id: id, asData: asData, timeout: timeout)
            return json
        }
    }

    /// Starts a saga under a key of its own and waits for its end. What is started and has no end in time goes on, and its client knows nothing.
    private mutating func saga(_ timeout: Duration) async throws -> Bool {
        guard let sagas else { return false }
        let (definition, input, nodes) = SagaWorkload(sagas: sagas, nodes: names).next(&random)
        return try await record("saga", input, nodes) { id in
            func unknown(_ message: String, _ cause: (any Error)?) -> TandemError {
                TandemError(.inDoubt, message, effect: .inDoubt(id), phase: "saga", cause: cause)
            }
            let summary: SagaSummary, saga: SagaID
            do { saga = try await sagas.start(definition, input: input, key: id.description).id } catch let error as TandemError where error.effect == .none {
                // Nothing was sent: the home node is away.
                throw error
            } catch {
                throw unknown("the saga was started or not", error)
            }
            do { summary = try await sagas.end(of: saga, within: timeout) } catch { throw unknown("nobody says how the saga stands", error) }
            switch summary.state {
            case .completed: return input
            case .compensated: throw TandemError(.sagaCompensated, "it turned back", effect: .rolledBack)
            case .running, .compensating, .stuckForward, .stuckCompensation: throw unknown("the saga has not ended", nil)
            }
        }
    }

    /// Writes down what is about to be done, does it, and writes down what was told.
    ///
    /// - Returns: whether it was acknowledged.
    private mutating func record(
        _ kind: String, _ value: String, _ nodes: [NodeName], _ body: @Sendable @escaping (TransactionID) async throws -> String
    ) async throws -> Bool {
        let id = TransactionID.fresh()
        try history.write(HistoryLine.invoke(process, kind, value, id, nodes: nodes))
        do {
            // To its end also when the coordinator is told to stop: a program that is asked to end lets what is under way end.
            let done = try await Task { try await body(id) }.value
            try history.write(HistoryLine.end(.ok, process, kind, done, id))
            return true
        } catch let error as TandemError {
            switch error.effect {
            case .none, .rolledBack:
                try history.write(HistoryLine.end(.fail, process, kind, value, id, error: error))
            case .inDoubt:
                try history.write(HistoryLine.end(.info, process, kind, value, id, error: error))
                process += CoordinatorPlan.writers
            }
            return false
        }
    }
}
