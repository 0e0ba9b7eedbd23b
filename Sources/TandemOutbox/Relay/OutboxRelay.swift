import Logging
public import TandemCluster
public import TandemCore
public import TandemMessaging
import TandemPostgres
import TandemTransactions

/// Sends what a node publishes to a sink, at least once and in the order of each key.
///
/// Any number may run, in any number of processes: one of them has the lease of the sink, the others wait for it to end.
///
/// ```swift
/// let relay = try OutboxRelay(cluster, from: "orders", to: "lines", sink)
/// try await relay.run()
/// ```
public struct OutboxRelay: Sendable {
    let cluster: Cluster
    let store: OutboxStore
    let sink: any Sink
    let options: RelayOptions
    let telemetry: Telemetry
    /// What this relay calls itself: a name for one life of one process.
    private let holder: String

    private var logger: Logger { cluster.configuration.logger }
    private var labels: Logger.Metadata { ["tandem.node": "\(store.node.name)", "tandem.sink": "\(store.sink)"] }

    /// A relay.
    ///
    /// - Parameters:
    ///   - cluster: whose node it is.
    ///   - node: the node whose outbox it reads.
    ///   - name: the sink's name: its position is kept under it. 1 to 63 letters, digits, `-`, `_` and `.`.
    ///   - sink: where events go.
    ///   - options: lease, batches, attempts.
    /// - Throws: `unknownNode`; `configurationInvalid` where the name is none.
    public init(_ cluster: Cluster, from node: NodeName, to name: String, _ sink: any Sink, options: RelayOptions = RelayOptions()) throws {
        try Self.check(name, from: node, in: cluster)
        self.cluster = cluster
        self.sink = sink
        self.options = options
        store = OutboxStore(node: cluster[node], sink: name, share: 0, source: "/\(cluster.configuration.name)/\(node)")
        telemetry = Telemetry(cluster.configuration, node, name)
        holder = "\(cluster.coordinator)/\(String(UInt32.random(in: 0 ... .max), radix: 16))"
    }

    /// Looks whether there can be a relay.
    ///
    /// - Parameters:
    ///   - name: the sink's name.
    ///   - node: the source.
    ///   - cluster: whose node it is.
    /// - Throws: `unknownNode`; `configurationInvalid` where the name is none.
    static func check(_ name: String, from node: NodeName, in cluster: Cluster) throws {
        guard isName(name) else {
            throw TandemError(.configurationInvalid, "\(name) cannot be the name of a sink", nextStep: "take 1 to 63 letters, digits, `-`, `_` and `.`")
        }
        guard cluster.configuration.nodes.contains(where: { $0.name == node }) else {
            throw TandemError(.unknownNode, "the cluster has no node \(node)", nextStep: "take one of the configuration")
        }
    }

    /// Whether a text can be the name of a sink.
    package static func isName(_ text: String) -> Bool { (1...63).contains(text.utf8.count) && text.utf8.allSatisfy { isPartOfName($0) } }

    private static func isPartOfName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
            UInt8(ascii: "_"),
            UInt8(ascii: "."):
            true
        default: false
        }
    }

    // MARK: Leading

    /// Relays until the task is cancelled.
    ///
    /// A node or a sink that is down is waited for, as is a node without an outbox, and an operator where one has to decide (`outboxRestored`): the log says so. What was handed to the
    /// sink and not noted is sent again later, by whoever has the lease then.
    ///
    /// - Throws: nothing. Cancellation gives the lease back, and ends without an error.
    public func run() async throws {
        var backoff = 0
        // The code of the error that was logged last: another one is another story.
        var logged: String?
        var isKnown = false
        while !Task.isCancelled {
            do {
                if !isKnown { try await store.add(fromStart: options.isFromStart) }
                isKnown = true
                let begin = ContinuousClock.now
                switch try await store.claim(holder, for: options.lease) {
                case .held(_, let left):
                    try await Task.sleep(for: min(max(left, .milliseconds(20)), max(options.poll, .milliseconds(20))))
                case .taken(let epoch):
                    backoff = 0
                    logged = nil
                    try await lead(RelayLease(epoch: epoch, length: options.lease, from: begin))
                }
            } catch is OutboxStore.Fenced {
                logger.info("the lease of the sink is over, or another relay's", metadata: labels)
            } catch is CancellationError {
                break
            } catch let error as TandemError where error.sqlState == .outboxPromoted {
                // A successor has the snapshots of its predecessor, and perhaps not its last windows.
                logger.warning("the node was promoted: the window in progress is sent again", metadata: labels)
                do { try await store.renumber() } catch let error as TandemError {
                    logger.warning("the outbox cannot be renumbered now", metadata: labels.merging(["tandem.reason": "\(error)"]) { $1 })
                    do { try await Task.sleep(for: options.longestWait / 10) } catch { break }
                }
            } catch {
                if Task.isCancelled { break }
                let code = (error as? TandemError)?.code.rawValue ?? "\(type(of: error))"
                if logged != code { logger.warning("the outbox cannot be read now", metadata: labels.merging(["tandem.reason": "\(error)"]) { $1 }) }
                logged = code
                // It may have been forgotten meanwhile.
                isKnown = false
                backoff += 1
                do { try await Task.sleep(for: options.delay(backoff)) } catch { break }
            }
        }
        await giveBack()
        await sink.close()
    }

    private func giveBack() async {
        let store = store, holder = holder
        _ = await Task { try? await store.release(holder) }.value
    }

    private func lead(_ lease: RelayLease) async throws {
        logger.debug("the sink is this relay's", metadata: labels)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await renew(lease) }
            group.addTask {
                var run = RelayRun(relay: self, lease: lease)
                try await run.run()
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func renew(_ lease: RelayLease) async throws {
        while true {
            try await Task.sleep(for: options.lease / 3)
            let begin = ContinuousClock.now
            do {
                guard case .taken(lease.epoch) = try await store.claim(holder, for: options.lease) else {
                    lease.lose()
                    throw OutboxStore.Fenced()
                }
                lease.renew(from: begin)
            } catch let error as TandemError where error.code != .outboxRestored {
                // The lease may still be there: it is asked for again, and what needs it looks at the time.
            }
        }
    }
}
