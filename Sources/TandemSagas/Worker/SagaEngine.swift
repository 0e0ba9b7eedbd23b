import Foundation
import Logging
import TandemCluster
public import TandemCore
import TandemTransactions
import TandemPostgres

/// What the sagas of one process share.
final class SagaEngine: Sendable {
    let cluster: Cluster
    let options: SagaOptions
    let store: SagaStore
    let queue = SagaQueue()
    let held = HeldSagas()
    let watchers = SagaWatchers()
    let telemetry: Telemetry
    private let compiled = Locked<[String: CompiledSaga]>([:])
    /// The hashes of definitions that were started here: what they are is looked at once, and not with each saga.
    private let registered = Locked<[SagaDefinition: String]>([:])
    /// Sagas in Swift, by the texts under which they are stored, and those that are stored by their hashes.
    private let code = Locked<(all: [String: CodeSaga], known: [String: CodeSaga])>(([:], [:]))

    var logger: Logger { cluster.configuration.logger }

    init(_ cluster: Cluster, _ options: SagaOptions) throws {
        self.cluster = cluster
        self.options = options
        let home = options.home ?? cluster.configuration.nodes[0].name
        _ = try cluster.node(home)
        telemetry = Telemetry(cluster.configuration)
        store = SagaStore(cluster[home], owner: cluster.coordinator, lease: options.lease, patience: options.patience, telemetry: telemetry)
    }

    /// Checks and stores a definition, once.
    ///
    /// - Parameter definition: the definition.
    /// - Returns: its hash.
    /// - Throws: `configurationInvalid` where it breaks a rule; `nodeUnreachable` and kin.
    func register(_ definition: SagaDefinition) async throws -> String {
        if let hash = registered.withLock({ $0[definition] }) { return hash }
        let body = try definition.body()
        let saga = try CompiledSaga(definition, cluster)
        let hash = try await store.register(body, name: definition.name, version: definition.version, isCode: false)
        compiled.withLock { $0[hash] = saga }
        registered.withLock { $0[definition] = hash }
        return hash
    }

    /// Says how a saga ended, and that an operator has to look, where that is so.
    func report(_ ending: SagaEnding, _ cause: TandemError?) {
        telemetry.ended(ending)
        guard !ending.isEnd else { return }
        logger.warning(
            "a saga is stuck: `tandem saga show` tells where, `retry`, `skip` and `resolve` go on",
            metadata: ["tandem.saga": "\(ending.id)", "tandem.state": "\(ending.state)", "tandem.reason": "\(cause.map { "\($0.code)" } ?? "")"])
    }

    // MARK: Sagas in Swift

    func add(_ saga: CodeSaga) { code.withLock { $0.all[saga.text] = saga } }
    func know(_ hash: String, _ saga: CodeSaga) { code.withLock { $0.known[hash] = saga } }
    func code(_ hash: String) -> CodeSaga? { code.withLock { $0.known[hash] } }

    /// The hashes of those that this process can run; stores those that are not yet.
    func codeHashes() async throws -> [String] {
        let (all, known) = code.withLock { ($0.all, $0.known) }
        if all.count == known.count { return Array(known.keys) }
        for saga in all.values { know(try await store.register(saga.text, name: saga.name, version: saga.version, isCode: true), saga) }
        return code.withLock { Array($0.known.keys) }
    }

    // MARK: Sagas as data

    /// The definition that a saga began with.
    func saga(_ hash: String) async throws -> CompiledSaga {
        if let known = compiled.withLock({ $0[hash] }) { return known }
        guard let body = try await store.definition(hash) else {
            throw TandemError(.notFound, "the saga's definition is not there", node: store.node.name, nextStep: "was the home node restored from a backup?")
        }
        let saga = try CompiledSaga(body: body, cluster)
        compiled.withLock { $0[hash] = saga }
        return saga
    }
}

/// How sagas run in one process.
public struct SagaOptions: Sendable {
    /// The node that keeps what the sagas are and where they stand; the first one of the configuration by default. All programs of a cluster name the same one.
    public var home: NodeName?
    /// How long a saga belongs to a worker that gives no sign of life. Then another one goes on with it.
    public var lease: Duration = .seconds(15)
    /// How long one statement on the home node may take.
    package var patience: Duration = .seconds(10)
    /// How many sagas a worker runs at a time.
    public var concurrency = 32
    /// How often a worker asks for sagas that are due.
    public var poll: Duration = .milliseconds(500)
    /// How long sagas that have ended are kept, with the records of their steps.
    public var retention: Duration = .seconds(7 * 24 * 3600)
    /// Who sends the requests of HTTP steps; without one such steps fail.
    public var http: (any HTTPStepClient)?

    /// Options with their defaults.
    public init() {}
}
