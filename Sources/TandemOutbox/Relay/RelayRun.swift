import Logging
import TandemCluster
import TandemCore
import TandemFailpoints
import TandemMessaging
import TandemPostgres
import TandemTransactions

/// One lease of a share: window after window, until the lease or the task ends, or another relay is to have the share.
struct RelayRun {
    /// Another relay is to have the share, and the sink takes nothing: what is under way is sent by that one.
    private struct Left: Error {}

    /// The shortest wait for something new.
    private static let shortestPoll = Duration.milliseconds(5)
    /// How often operators' changes to what is parked are looked for.
    private static let glance = Duration.seconds(1)
    /// Events that are tried again at a time.
    private static let mostAgain = 500

    let relay: OutboxRelay
    let store: OutboxStore
    let sink: any Sink
    let lease: RelayLease
    /// Keys of which an event waits: later ones wait behind it.
    private var parked: Set<String> = []
    /// When events that wait are looked at next; `nil` where there are none.
    private var parkedDue: ContinuousClock.Instant?
    private var lastGlance = ContinuousClock.now

    private var options: RelayOptions { relay.options }

    init(relay: OutboxRelay, store: OutboxStore, sink: any Sink, lease: RelayLease) {
        self.relay = relay
        self.store = store
        self.sink = sink
        self.lease = lease
    }

    /// Relays until another relay asks for the share.
    ///
    /// - Parameter joining: only until it stands where the share does that is furthest ahead.
    /// - Throws: ``OutboxStore/Fenced``; `CancellationError`; `TandemError`.
    mutating func run(joining: Bool = false) async throws {
        try await lookAtParked()
        var window = try await store.position()
        // Whether what is known to be done is written.
        var isNoted = window.isDone
        do { try await follow(&window, &isNoted, joining) } catch is Left {}
        // Or whoever gets the share would send it again.
        if !isNoted, window.isDone { try await store.acknowledge(window, upTo: window.last, epoch: lease.epoch) }
    }

    private mutating func follow(_ window: inout OutboxWindow, _ isNoted: inout Bool, _ joining: Bool) async throws {
        var pause = Self.shortestPoll, idle = Self.shortestPoll
        while true {
            try Task.checkCancellation()
            if lease.isLost { throw OutboxStore.Fenced() }
            if lease.isAsked { return }
            let hasMore = try await retryParked()
            if !window.isDone {
                isNoted = false
                pause = Self.shortestPoll
                if try await deliver(&window) || hasMore || options.shares == 1 || joining {
                    idle = Self.shortestPoll
                } else {
                    // Other shares' events are no reason to hurry.
                    try await Task.sleep(for: idle)
                    idle = min(idle * 2, options.poll)
                }
                continue
            }
            switch try await store.open(after: window, epoch: lease.epoch, acknowledges: !isNoted, joining: joining) {
            case .window(let next):
                window = next
            case .moved:
                // An operator has moved it, or an answer was lost.
                window = try await store.position()
                isNoted = window.isDone
            case .quiet:
                isNoted = true
                if joining { return }
                // Of several shares housekeeping knows better.
                if options.shares == 1 { relay.telemetry.caughtUp() }
                if hasMore { continue }
                try await Task.sleep(for: pause)
                pause = min(pause * 2, options.poll)
            }
        }
    }

    // MARK: Delivering

    /// Sends all of a window, or a part of it where another relay is to have the share.
    ///
    /// - Returns: whether there was anything.
    private mutating func deliver(_ window: inout OutboxWindow) async throws -> Bool {
        let store = store, limit = options.part
        // A window that is not begun yet is read from its first event on.
        var place = window.acknowledged
        var next: Task<OutboxChunk, any Error>? = nil
        var hasEvents = false
        defer { next?.cancel() }
        while true {
            let chunk: OutboxChunk
            if let next { chunk = try await Self.value(of: next) } else { chunk = try await store.read(window, behind: place, limit: limit) }
            next = nil
            if !chunk.isLast {
                // Read while the sink is busy with these.
                let window = window, end = chunk.end
                next = Task { try await store.read(window, behind: end, limit: limit) }
            }
            if !chunk.events.isEmpty {
                hasEvents = true
                try await send(chunk.events, of: window)
                await Failpoints.pass(.relayAfterDelivery)
            }
            place = chunk.end
            if chunk.isLast {
                // Noted with the next window's opening, in one commit.
                window.acknowledged = window.last
                return hasEvents
            }
            try await store.acknowledge(window, upTo: place, epoch: lease.epoch)
            await Failpoints.pass(.relayAfterNote)
            window.acknowledged = place
            if lease.isAsked { return true }
            _ = try await retryParked()
        }
    }

    private static func value(of task: Task<OutboxChunk, any Error>) async throws -> OutboxChunk {
        try await withTaskCancellationHandler {
            try await task.value
        } onCancel: {
            task.cancel()
        }
    }

    /// Hands events to the sink until it has taken or refused each.
    private mutating func send(_ events: [Delivery], of window: OutboxWindow) async throws {
        let wanted = options.topics.isEmpty ? events : events.filter { options.wants($0.event.topic) }
        var waiting: [Int64] = [], ready = wanted
        if !parked.isEmpty {
            ready = wanted.filter { !isParked($0.event.key) }
            waiting = wanted.filter { isParked($0.event.key) }.map(\.place.sequence)
        }
        let verdicts = ready.isEmpty ? [] : try await insist(ready)
        var delivered = 0
        defer { relay.telemetry.sent(delivered) }
        for (delivery, verdict) in zip(ready, verdicts) {
            switch verdict {
            case .delivered: delivered += 1
            case .held:
                waiting.append(delivery.place.sequence)
                if let key = delivery.event.key { parked.insert(key) }
                parkedDue = .now
            case .refused(let error):
                relay.telemetry.refused()
                relay.cluster.configuration.logger.warning(
                    "a sink has refused an event; it is set aside",
                    metadata: [
                        "tandem.sink": "\(store.sink)", "tandem.event": "\(delivery.event.id)", "tandem.topic": "\(delivery.event.topic)",
                        "tandem.reason": "\(error)",
                    ])
                let isOver = options.attempts == 1, isDead = isOver && options.refusal == .dead
                try await store.park(
                    [delivery.place.sequence], of: window, retryIn: isOver ? nil : options.delay(1), isDead: isDead, error: error, epoch: lease.epoch)
                if isDead { continue }
                if let key = delivery.event.key { parked.insert(key) }
                parkedDue = .now
            }
        }
        if !waiting.isEmpty { try await store.park(waiting.sorted(), of: window, retryIn: .zero, error: nil, epoch: lease.epoch) }
    }

    private func isParked(_ key: String?) -> Bool { key.map { parked.contains($0) } ?? false }

    /// Tries until the sink answers for each event: while it is down nothing else is to be done.
    private func insist(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        var failures = 0
        defer { if failures > 0 { _ = relay.countFailing(-1) } }
        while true {
            await Failpoints.pass(.relayBeforeDelivery)
            guard lease.mayServe else { throw OutboxStore.Fenced() }
            do {
                let verdicts = try await sink.deliver(batch)
                guard verdicts.count == batch.count else {
                    throw TandemError(.protocolViolation, "the sink \(store.sink) answered \(verdicts.count) verdicts for \(batch.count) events")
                }
                return verdicts
            } catch let error where !Task.isCancelled {
                if failures == 0, relay.countFailing(1) == 1 {
                    relay.cluster.configuration.logger.warning(
                        "a sink takes no events now; they wait",
                        metadata: [
                            "tandem.node": "\(store.node.name)", "tandem.sink": "\(store.sink)", "tandem.reason": "\(error)",
                        ])
                }
                failures += 1
                try await rest(options.delay(failures))
            }
        }
    }

    /// Waits before the sink is tried again, unless another relay is to try, which is looked at meanwhile.
    private func rest(_ time: Duration) async throws {
        let end = ContinuousClock.now + time
        while true {
            if lease.isAsked { throw Left() }
            let left = end - .now
            guard left > .zero, !lease.isLost else { return }
            try await Task.sleep(for: min(left, options.longestRest))
        }
    }

    // MARK: What waits

    private mutating func lookAtParked() async throws {
        let (keys, due) = try await store.parkedKeys()
        parked = keys
        parkedDue = due.map { .now + $0 }
        lastGlance = .now
    }

    /// Tries some of what is due again, and lets keys flow of which nothing waits any more. What is new has its turn in between, however much waits.
    ///
    /// - Returns: whether more of it is due.
    /// - Throws: ``OutboxStore/Fenced``; `TandemError`.
    private mutating func retryParked() async throws -> Bool {
        if .now - lastGlance >= Self.glance { try await lookAtParked() }
        guard let due = parkedDue, due <= .now else { return false }
        let waiting = try await store.due((events: Self.mostAgain, bytes: options.part.bytes))
        let verdicts = waiting.isEmpty ? [] : try await insist(waiting.map(\.delivery))
        var done: [Int64] = [], refused: [(event: OutboxStore.Waiting, error: TandemError)] = []
        for (event, verdict) in zip(waiting, verdicts) {
            switch verdict {
            case .delivered: done.append(event.delivery.place.sequence)
            // It was not tried: its turn comes again.
            case .held: break
            case .refused(let error): refused.append((event, error))
            }
        }
        relay.telemetry.sent(done.count)
        if !done.isEmpty { try await store.unpark(done, epoch: lease.epoch) }
        for (event, error) in refused {
            relay.telemetry.refused()
            try await store.failed(
                event.delivery.place.sequence, retryIn: options.delay(event.attempts + 1), attempts: options.attempts, refusal: options.refusal, error: error,
                epoch: lease.epoch)
        }
        // To look at all that waits takes longer than to send a part of it. Until it is looked at, a key of which nothing waits any more counts as one that does.
        if done.count < Self.mostAgain / 2 { try await lookAtParked() }
        return parkedDue.map { $0 <= .now } ?? false
    }
}
