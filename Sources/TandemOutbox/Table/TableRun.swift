import Logging
import TandemCluster
import TandemCore
import TandemFailpoints
import TandemMessaging
import TandemPostgres
import TandemTransactions

/// A relay at work: batch after batch.
struct TableRun {
    /// The sink as a whole takes nothing.
    private struct SinkFailure: Error {
        let cause: any Error
    }

    /// A row that the sink has refused.
    private struct Refusal {
        let row: TableRow
        let attempts: Int
        let error: TandemError
        /// Whether it was given up.
        let isDead: Bool
    }

    /// What became of a batch.
    private struct Round {
        /// Whether this relay had the turn.
        var isOurs = false
        var window: Int64 = 0
        var delivered: [String] = []
        var refusals: [Refusal] = []
        var skipped: Set<String> = []
        /// How many rows the sink was handed.
        var handed = 0
        /// Whether there was as much as a batch may have.
        var isFull = false
        /// Whether bytes have ended it before.
        var isCut = false
        /// How long the claim has taken.
        var claiming: Duration = .zero
        /// How long the sink has.
        var delivering: Duration = .zero

        var isQuiet: Bool { handed == 0 && refusals.isEmpty && skipped.isEmpty }
    }

    /// The shortest wait for something new.
    private static let shortestPoll = Duration.milliseconds(5)
    /// Rows of the first batch, before it is known how fast the sink is.
    private static let firstBatch = 10
    /// How long a sink is to need for a batch, about: for as long rows are locked, and no row of the database is vacuumed that died since.
    private static let brisk = Duration.seconds(1)
    /// The longest that a batch may take, whatever the sink: then its rows are given back.
    private static let patience = Duration.seconds(300)
    /// How often gauges are told how far the sink is behind.
    private static let glance = Duration.seconds(5)
    /// Looks take at most a tenth of the time, however long one takes: where no index helps, it is a look at the whole table.
    private static let rest = 10
    /// Refused rows and aggregates that are remembered. Beyond that it is the sink that is ill, and nothing more is tried before some of them are due.
    private static let mostHeld = 10_000

    private let relay: TableRelay
    private let places = TablePlaces()
    /// Nothing before the table was looked at, and after whatever has failed but the sink.
    private var store: TableStore?
    /// Whether the table was once as it should be.
    private var isKnown = false
    /// Whether rows were marked since the last failure.
    private var isProven = false
    private var holds: TableHolds
    private var size = TableRun.firstBatch
    private var window: Int64 = 0
    private var failures = 0
    /// The code of the error that was logged last: another one is another story.
    private var logged: String?
    private var isSinkDown = false
    private var pause = TableRun.shortestPoll
    private var nextGlance = ContinuousClock.now
    private var dead = 0

    private var options: RelayOptions { relay.options }
    private var most: Int { max(1, min(options.batch, TableStore.mostRows)) }
    private var logger: Logger { relay.cluster.configuration.logger }
    private var labels: Logger.Metadata { ["tandem.node": "\(relay.node)", "tandem.sink": "\(relay.name)", "tandem.table": "\(relay.table.title)"] }

    init(relay: TableRelay) {
        self.relay = relay
        holds = TableHolds(longest: relay.options.longestWait)
    }

    mutating func run() async throws {
        while !Task.isCancelled {
            let wait: Duration
            do {
                wait = try await turn()
                failures = 0
                logged = nil
            } catch {
                if Task.isCancelled { return }
                if !isKnown, let error = error as? TandemError, error.code == .configurationInvalid || error.code == .notPermitted { throw error }
                wait = failed(error)
                // A sink that is down is what the lag is looked at for.
                if let store { try? await tellLag(of: store) }
            }
            guard wait > .zero else { continue }
            do { try await Task.sleep(for: wait) } catch { return }
        }
    }

    /// One batch, and what follows from it.
    ///
    /// - Returns: how long nothing is to be done.
    private mutating func turn() async throws -> Duration {
        let store = try await opened()
        let held = holds.held(at: ContinuousClock.now)
        guard held.count < Self.mostHeld else {
            try await tellLag(of: store)
            return options.poll
        }
        let round = try await batch(of: store, but: held)
        guard round.isOurs else { return max(options.poll, .milliseconds(20)) }
        await Failpoints.pass(.relayAfterNote)
        note(round)
        adapt(to: round)
        try await tellLag(of: store)
        guard round.isQuiet else {
            pause = Self.shortestPoll
            return .zero
        }
        if held.count == 0 { relay.telemetry.caughtUp() }
        defer { pause = min(pause * 2, options.poll) }
        return max(pause, min(round.claiming * Self.rest, options.longestWait))
    }

    private mutating func opened() async throws -> TableStore {
        if let store { return store }
        let opened = try await TableStore.open(relay.table, on: relay.node, of: relay.cluster, sink: relay.name)
        if !isKnown, !opened.shape.isIndexed {
            logger.warning(
                "no index finds what is pending in its order: each look reads much of the table",
                metadata: labels.merging(["tandem.index": "\(opened.shape.index)"]) { $1 })
        }
        isKnown = true
        store = opened
        return opened
    }

    /// Says what has failed, unless it said so last; where it was not the sink, the table is looked at anew.
    ///
    /// - Returns: how long to wait.
    private mutating func failed(_ error: any Error) -> Duration {
        let failure = error as? SinkFailure, reason = failure?.cause ?? error
        if failure == nil {
            store = nil
            isProven = false
        }
        let code = (reason as? TandemError)?.code.rawValue ?? "\(type(of: reason))"
        if logged != code {
            logger.warning(
                failure == nil ? "the outbox table cannot be drained now" : "a sink takes no events now; they wait",
                metadata: labels.merging(["tandem.reason": "\(reason)"]) { $1 })
        }
        logged = code
        if failure != nil, !isSinkDown {
            isSinkDown = true
            relay.telemetry.isOpen(true)
        }
        failures += 1
        return options.delay(failures)
    }

    // MARK: A batch

    /// Claims, delivers and marks what comes next, in one transaction.
    private func batch(of store: TableStore, but held: TableHolds.Held) async throws -> Round {
        var transaction = TransactionOptions()
        transaction.timeout = Self.patience
        let limit = min(size, most), bytes = options.part.bytes
        return try await store.node.transaction(transaction) { branch in
            var round = Round()
            let begin = ContinuousClock.now
            guard let time = try await store.takeTurn(branch, for: options.lease) else { return round }
            round.isOurs = true
            round.window = max(time, window + 1)
            let rows = try await store.claim(branch, most: limit, but: held)
            round.claiming = ContinuousClock.now - begin
            let choice = TableChoice(rows, most: bytes)
            round.skipped = choice.skipped
            round.isFull = rows.count >= limit
            round.isCut = choice.isCut
            for (row, error) in choice.unfit { round.refusals.append(refusal(of: row, error)) }
            if !choice.ready.isEmpty { try await send(choice.ready, of: store, on: branch, &round) }
            try await store.mark(round.delivered, on: branch)
            try await store.giveUp(round.refusals.filter(\.isDead).map(\.row.id), on: branch)
            return round
        }
    }

    private func refusal(of row: TableRow, _ error: TandemError) -> Refusal {
        let attempts = holds.attempts(of: row.id) + 1
        return Refusal(row: row, attempts: attempts, error: error, isDead: relay.table.failed != nil && attempts >= options.attempts)
    }

    private func send(_ rows: [TableRow], of store: TableStore, on branch: Branch, _ round: inout Round) async throws {
        if !isProven { try await store.tryMarking(rows, on: branch) }
        var ready: [(row: TableRow, event: Event)] = [], blocked: Set<ExactText> = []
        for (row, event) in zip(rows, try await store.read(rows, on: branch)) {
            if let key = row.key, blocked.contains(ExactText(key)) { continue }
            switch event {
            case .success(let event): ready.append((row, event))
            case .failure(let error):
                // As if the sink had refused it.
                round.refusals.append(refusal(of: row, error))
                if let key = row.key { blocked.insert(ExactText(key)) }
            }
        }
        guard !ready.isEmpty else { return }
        let places = places.places(of: ready.map(\.row), in: round.window)
        let batch = zip(ready, places).map { ready, place in Delivery(ready.event, from: store.source, to: store.sink, at: place, isPlaceLasting: false) }
        let begin = ContinuousClock.now
        let verdicts = try await deliver(batch, of: store, on: branch)
        round.delivering = ContinuousClock.now - begin
        round.handed = batch.count
        await Failpoints.pass(.relayAfterDelivery)
        for (row, verdict) in zip(ready.map(\.row), verdicts) {
            switch verdict {
            case .delivered: round.delivered.append(row.id)
            // It was not tried: it stays pending behind the one that was refused.
            case .held: break
            case .refused(let error): round.refusals.append(refusal(of: row, error))
            }
        }
    }

    /// Hands events to the sink, as long as the transaction is there that has their rows.
    private func deliver(_ batch: [Delivery], of store: TableStore, on branch: Branch) async throws -> [DeliveryVerdict] {
        let sink = relay.sink, pulse = options.lease / 3
        // A task of its own, since this one runs on a thread of connections, which a sink may not hold.
        let delivery = Task { try await sink.deliver(batch) }
        let watch = Task { () -> (any Error)? in
            do {
                while true {
                    try await Task.sleep(for: pulse)
                    // It is not cancelled with this one: that would cost the session, and so the rows.
                    try await Task { try await store.touch(branch) }.value
                }
            } catch is CancellationError {
                return nil
            } catch {
                // Another relay may have the rows by now.
                delivery.cancel()
                return error
            }
        }
        let result = await withTaskCancellationHandler {
            await delivery.result
        } onCancel: {
            delivery.cancel()
        }
        watch.cancel()
        if let loss = await watch.value { throw loss }
        switch result {
        case .failure(let error):
            if Task.isCancelled { throw CancellationError() }
            throw SinkFailure(cause: error)
        case .success(let verdicts):
            guard verdicts.count == batch.count else {
                throw SinkFailure(
                    cause: TandemError(.protocolViolation, "the sink \(relay.name) answered \(verdicts.count) verdicts for \(batch.count) events"))
            }
            return verdicts
        }
    }

    // MARK: What follows from a batch

    /// Notes what is over and what waits, once the batch is committed.
    private mutating func note(_ round: Round) {
        window = round.window
        let now = ContinuousClock.now
        if !round.delivered.isEmpty { isProven = true }
        for id in round.delivered { end(id) }
        for key in round.skipped { holds.skip(key, until: now + options.poll) }
        for refusal in round.refusals {
            relay.telemetry.refused()
            if refusal.isDead {
                end(refusal.row.id)
                dead += 1
            } else {
                holds.refuse(refusal.row, attempts: refusal.attempts, until: now + options.delay(refusal.attempts))
            }
            report(refusal)
        }
        relay.telemetry.sent(round.delivered.count)
        if round.handed > 0, isSinkDown {
            isSinkDown = false
            relay.telemetry.isOpen(false)
        }
    }

    private mutating func end(_ row: String) {
        holds.forget(row)
        places.forget(row)
    }

    /// Logs the first time that a row is refused, and the last one that counts.
    private func report(_ refusal: Refusal) {
        guard refusal.attempts == 1 || refusal.isDead || refusal.attempts == options.attempts else { return }
        let what: Logger.Metadata = [
            "tandem.row": "\(refusal.row.id)", "tandem.attempts": "\(refusal.attempts)",
            "tandem.reason": "\(refusal.error.code): \(refusal.error.message)",
        ]
        logger.warning(
            refusal.isDead ? "a row was given up" : "a sink has refused a row; it stays pending, and its aggregate waits",
            metadata: labels.merging(what) { $1 })
    }

    /// Batches of such a size that rows are locked for a second or so, and that few rows are looked at that do not fit.
    private mutating func adapt(to round: Round) {
        if round.delivering > Self.brisk * 2 {
            size = max(1, round.handed / 2)
        } else if round.isCut {
            size = max(1, min(most, round.handed * 2))
        } else if round.isFull, round.delivering < Self.brisk / 2 {
            size = min(most, size * 2)
        }
    }

    /// Tells gauges how far the sink is behind.
    private mutating func tellLag(of store: TableStore) async throws {
        let begin = ContinuousClock.now
        guard begin >= nextGlance else { return }
        // Where it fails, too.
        nextGlance = begin + Self.glance * Self.rest
        let (waiting, seconds, _) = try await store.lag(countsFailed: false)
        relay.telemetry.observed(
            OutboxLag(
                node: relay.node, sink: relay.name, events: waiting, seconds: seconds, shares: 1, led: 0, relay: nil, parked: holds.refusedRows, dead: dead))
        let end = ContinuousClock.now
        nextGlance = end + max(Self.glance, (end - begin) * Self.rest)
    }
}
