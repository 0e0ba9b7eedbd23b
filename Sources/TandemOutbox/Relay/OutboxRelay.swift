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
///
/// With ``RelayOptions/shares`` the sink's events are divided by their keys, each share has a lease of its own, and a relay takes those that it can get. Relays that come later ask those with
/// more shares for some of theirs, so that in the end no one has two more than another. Each share has a sink of its own:
///
/// ```swift
/// var options = RelayOptions()
/// options.shares = 4
/// let relay = try OutboxRelay(cluster, from: "orders", to: "broker", options: options) { _ in Broker(...) }
/// ```
///
/// The number can be changed: a relay with another number waits until no relay with the present one has a lease. Then it brings all shares to one place and divides the sink anew.
public struct OutboxRelay: Sendable {
    /// The most shares that a sink can have.
    package static let mostShares = 64

    let cluster: Cluster
    let options: RelayOptions
    let telemetry: Telemetry
    /// That of the first share.
    private let store: OutboxStore
    /// One for each share.
    private let sinks: [any Sink]
    /// What this relay calls itself: a name for one life of one process.
    private let holder: String
    private let state = RelayState()

    private var logger: Logger { cluster.configuration.logger }

    private func labels(_ store: OutboxStore) -> Logger.Metadata {
        var labels: Logger.Metadata = ["tandem.node": "\(store.node.name)", "tandem.sink": "\(store.sink)"]
        if options.shares > 1 { labels["tandem.share"] = "\(store.share)" }
        return labels
    }

    /// A relay to a sink with one share.
    ///
    /// - Parameters:
    ///   - cluster: whose node it is.
    ///   - node: the node whose outbox it reads.
    ///   - name: the sink's name: its position is kept under it. 1 to 63 letters, digits, `-`, `_` and `.`.
    ///   - sink: where events go.
    ///   - options: lease, batches, attempts.
    /// - Throws: `unknownNode`; `configurationInvalid` where the name is none, or where the options want several shares, for which one sink is not enough.
    public init(_ cluster: Cluster, from node: NodeName, to name: String, _ sink: any Sink, options: RelayOptions = RelayOptions()) throws {
        guard options.shares == 1 else {
            throw TandemError(
                .configurationInvalid, "one sink is there for \(options.shares) shares of \(name)",
                nextStep: "hand over a closure that makes a sink for each share")
        }
        try self.init(cluster, from: node, to: name, options: options) { _ in sink }
    }

    /// A relay to a sink with any number of shares.
    ///
    /// - Parameters:
    ///   - cluster: whose node it is.
    ///   - node: the node whose outbox it reads.
    ///   - name: the sink's name: its positions are kept under it. 1 to 63 letters, digits, `-`, `_` and `.`.
    ///   - options: shares, lease, batches, attempts.
    ///   - sink: makes where events of a share go; called for each share, which are numbered from 0 on.
    /// - Throws: `unknownNode`; `configurationInvalid` where the name is none, or the number of shares is not 1 to 64; what the closure throws.
    public init(
        _ cluster: Cluster, from node: NodeName, to name: String, options: RelayOptions = RelayOptions(), sink: (Int) throws -> any Sink
    ) throws {
        try Self.check(name, from: node, in: cluster)
        guard (1...Self.mostShares).contains(options.shares) else {
            throw TandemError(.configurationInvalid, "\(name) cannot have \(options.shares) shares", nextStep: "take 1 to \(Self.mostShares)")
        }
        self.cluster = cluster
        self.options = options
        sinks = try (0..<options.shares).map { try sink($0) }
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
    /// - Throws: nothing. Cancellation gives the leases back, and ends without an error.
    public func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            for (share, sink) in sinks.enumerated() { group.addTask { await serve(store.of(share: share), sink) } }
        }
        await giveBack()
        for sink in sinks { await sink.close() }
    }

    private func giveBack() async {
        let store = store, holder = holder, options = options
        _ = await Task { try? await store.releaseAll(holder, keeping: options.longestRest * 2) }.value
    }

    /// Has a share as often as it can be had.
    private func serve(_ store: OutboxStore, _ sink: any Sink) async {
        var backoff = 0
        var isKnown = false
        while !Task.isCancelled {
            do {
                if !isKnown { try await store.add(shares: options.shares, fromStart: options.isFromStart) }
                isKnown = true
                let begin = ContinuousClock.now
                switch try await store.claim(holder, of: options.shares, for: options.lease) {
                case .held(_, let left):
                    try await rest(left)
                case .taken(let epoch, let isAsked):
                    backoff = 0
                    state.endStory(of: store.share)
                    let lease = RelayLease(epoch: epoch, length: options.lease, from: begin)
                    if isAsked { lease.ask() }
                    try await lead(lease, store, sink)
                case .divided(let number, let holders, let left):
                    // One of the shares' tasks is enough for all of them.
                    if store.share == 0, try await divide(number, holders, sink) { continue }
                    try await rest(max(left, options.poll))
                }
            } catch is OutboxStore.Fenced {
                logger.info("the lease of the sink is over, or another relay's", metadata: labels(store))
            } catch let error as TandemError where error.sqlState == .outboxPromoted {
                await renumber(store)
            } catch {
                if Task.isCancelled { break }
                report(error, store)
                // It may have been forgotten meanwhile.
                isKnown = false
                backoff += 1
                do { try await Task.sleep(for: options.delay(backoff)) } catch { break }
            }
        }
    }

    /// Logs an error whose code is not that of the last one: another one is another story.
    private func report(_ error: any Error, _ store: OutboxStore) {
        guard state.isNews((error as? TandemError)?.code.rawValue ?? "\(type(of: error))", of: store.share) else { return }
        logger.warning("the outbox cannot be read now", metadata: labels(store).merging(["tandem.reason": "\(error)"]) { $1 })
    }

    /// Waits for a lease of others. All shares together ask as often as one would, where they are not too many for that.
    private func rest(_ left: Duration) async throws {
        try await Task.sleep(for: max(min(left, options.poll * options.shares, options.longestRest), .milliseconds(20)))
    }

    /// A successor has the snapshots of its predecessor, and perhaps not its last windows.
    private func renumber(_ store: OutboxStore) async {
        logger.warning("the node was promoted: the window in progress is sent again", metadata: labels(store))
        do { try await store.renumber() } catch let error {
            logger.warning("the outbox cannot be renumbered now", metadata: labels(store).merging(["tandem.reason": "\(error)"]) { $1 })
            try? await Task.sleep(for: options.longestWait / 10)
        }
    }

    private func lead(_ lease: RelayLease, _ store: OutboxStore, _ sink: any Sink) async throws {
        logger.debug("the sink is this relay's", metadata: labels(store))
        try await keeping([lease]) {
            guard case .taken(let epoch, let isAsked) = try await store.claim(holder, of: options.shares, for: options.lease) else { return [] }
            if isAsked { lease.ask() }
            return [epoch]
        } during: {
            var run = RelayRun(relay: self, store: store, sink: sink, lease: lease)
            try await run.run()
        }
        logger.debug("the sink is left to a relay that has fewer shares", metadata: labels(store))
        try await store.release(holder, keeping: options.longestRest * 2)
    }

    /// Divides the sink into the number of shares that this relay knows, when nobody relays to it under the present one.
    ///
    /// First every share is brought to one place, under the present number: its open window is sent to its end, and one more, which ends where the share stands that was furthest ahead.
    /// So what a share's predecessor has sent and not noted is sent again in the same share, with the same places.
    ///
    /// - Parameters:
    ///   - number: the present number.
    ///   - holders: who has leases now.
    ///   - sink: a sink that nobody else uses meanwhile.
    /// - Returns: whether it was done.
    /// - Throws: what a relay's work throws.
    private func divide(_ number: Int, _ holders: String, _ sink: any Sink) async throws -> Bool {
        if !holders.isEmpty, holders != holder {
            if state.isNews("\(number) shares of \(holders)", of: store.share) {
                let what: Logger.Metadata = ["tandem.shares": "\(options.shares)", "tandem.shares.present": "\(number)", "tandem.relays": "\(holders)"]
                logger.warning("the sink has another number of shares; relays with that one have to end first", metadata: labels(store).merging(what) { $1 })
            }
            return false
        }
        let begin = ContinuousClock.now
        let epochs = try await store.claimAll(holder, into: options.shares, for: options.lease)
        guard !epochs.isEmpty else { return false }
        logger.info(
            "the sink gets another number of shares",
            metadata: labels(store).merging(["tandem.shares": "\(options.shares)", "tandem.shares.present": "\(number)"]) { $1 })
        let leases = epochs.map { RelayLease(epoch: $0, length: options.lease, from: begin) }
        try await keeping(leases) {
            try await store.claimAll(holder, into: options.shares, for: options.lease)
        } during: {
            for (share, lease) in leases.enumerated() {
                var run = RelayRun(relay: self, store: store.of(share: share), sink: sink, lease: lease)
                try await run.run(joining: true)
            }
        }
        return try await store.divide(holder, into: options.shares)
    }

    /// Keeps leases until the work is done; ends it when they are lost.
    ///
    /// - Parameters:
    ///   - leases: the leases.
    ///   - ask: asks for them again; returns the epochs that they have, none where they are another's.
    ///   - work: the work.
    /// - Throws: ``OutboxStore/Fenced``; what the work throws.
    private func keeping(
        _ leases: [RelayLease], _ ask: @escaping @Sendable () async throws -> [Int64], during work: @escaping @Sendable () async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await renew(leases, ask) }
            group.addTask { try await work() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func renew(_ leases: [RelayLease], _ ask: @Sendable () async throws -> [Int64]) async throws {
        while true {
            try await Task.sleep(for: options.lease / 3)
            let begin = ContinuousClock.now
            do {
                guard try await ask() == leases.map(\.epoch) else {
                    for lease in leases { lease.lose() }
                    throw OutboxStore.Fenced()
                }
                for lease in leases { lease.renew(from: begin) }
            } catch let error as TandemError where error.code != .outboxRestored && error.sqlState != .outboxPromoted {
                // The lease may still be there: it is asked for again, and what needs it looks at the time.
            }
        }
    }

    /// Counts the shares whose sink takes nothing; a gauge tells whether there are any.
    func countFailing(_ change: Int) -> Int { state.countFailing(change) { telemetry.isOpen($0 > 0) } }
}
