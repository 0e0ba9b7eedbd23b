import Logging
public import TandemCluster
public import TandemCore
import TandemMessaging
import TandemPostgres
public import TandemTransactions

/// Handles what is in a queue of an inbox, each message once and in order.
///
/// The handler's effects, the end of the message and whatever it publishes are one transaction of the inbox's node. Any number of consumers may run: one of them works at a time.
///
/// ```swift
/// let consumer = InboxConsumer(cluster, on: "billing", queue: "orders") { message, branch in
///     try await branch.execute("INSERT INTO invoice ...")
///     try await branch.publish(topic: "invoice.created", key: message.event.key, payload: ...)
/// }
/// try await consumer.run()
/// ```
public struct InboxConsumer: Sendable {
    /// How a consumer works.
    public struct Options: Sendable {
        /// Messages that are handled in one transaction.
        public var batch = 100
        /// How often a message is tried before it becomes a dead letter.
        public var attempts = 5
        /// How long one transaction may take. Where a batch needs more, its messages are handled one by one; a message that needs more alone has failed.
        public var timeout: Duration = .seconds(30)
        /// The wait before the second attempt, which doubles each time up to ``longestWait``.
        public var wait: Duration = .milliseconds(200)
        /// See ``wait``.
        public var longestWait: Duration = .seconds(60)
        /// How often an empty queue is asked.
        public var poll: Duration = .milliseconds(100)

        /// Options with their defaults.
        public init() {}
    }

    /// What handles a message, in the transaction that ends it. It may be called again for the same message, and then nothing of the first time is there.
    public typealias Handler = @Sendable (_ message: InboxMessage, _ branch: Branch) async throws -> Void

    /// The handler has thrown at this message.
    private struct Failure: Error {
        let message: InboxMessage
        let cause: any Error
    }

    /// The most messages of a transaction: what fits into one answer.
    private static let mostMessages = 5000
    /// The most bytes of a payload. A broker may have brought a larger one, which was then given up and put into the queue.
    private static let largest = 7 << 20

    private let cluster: Cluster
    private let node: NodeName
    private let queue: String
    private let options: Options
    private let handler: Handler
    private let telemetry: Telemetry

    /// A consumer.
    ///
    /// - Parameters:
    ///   - cluster: whose node it is.
    ///   - node: the inbox's node.
    ///   - queue: the queue.
    ///   - options: batches and attempts.
    ///   - handler: what handles a message.
    public init(_ cluster: Cluster, on node: NodeName, queue: String, options: Options = Options(), handler: @escaping Handler) {
        self.cluster = cluster
        self.node = node
        self.queue = queue
        self.options = options
        self.handler = handler
        telemetry = Telemetry(cluster.configuration, node, queue)
    }

    /// Handles messages until the task is cancelled.
    ///
    /// - Throws: `notInitialised` where the node has no inbox. Cancellation rolls back what is under way, and ends without an error.
    public func run() async throws {
        // Keys whose first message has failed, until when. Another process knows nothing of it, and tries the message once more.
        var held: [ExactText: ContinuousClock.Instant] = [:]
        var size = most, failures = 0
        while !Task.isCancelled {
            held = held.filter { $0.value > .now }
            do {
                let handled = try await handle(size, without: held.keys.map(\.text))
                failures = 0
                telemetry.handled(.done, handled)
                if handled > 0 { size = min(most, size * 2) } else { try await Task.sleep(for: options.poll) }
            } catch let failure as Failure {
                // Nothing of the batch was done. Alone it says which message it is.
                if size > 1 {
                    size = 1
                    continue
                }
                if Task.isCancelled { break }
                do { try await fail(failure, &held) } catch {
                    if !Task.isCancelled, failures == 0 { complain("an attempt cannot be counted now", error) }
                    failures += 1
                    do { try await Task.sleep(for: delay(failures)) } catch { break }
                }
            } catch is CancellationError {
                break
            } catch {
                if Task.isCancelled { break }
                let error = (error as? TandemError).map(Inbox.named) ?? error
                if (error as? TandemError)?.code == .notInitialised { throw error }
                if failures == 0 { complain("the inbox cannot be read now", error) }
                failures += 1
                do { try await Task.sleep(for: delay(failures)) } catch { break }
            }
        }
    }

    private func complain(_ problem: Logger.Message, _ error: any Error) {
        cluster.configuration.logger.warning(problem, metadata: ["tandem.node": "\(node)", "tandem.queue": "\(queue)", "tandem.reason": "\(error)"])
    }

    /// What the consumers of a queue exclude each other by.
    private static func lock(_ queue: String) -> SQL { "pg_catalog.hashtextextended('tandem.inbox ' || \(queue), 0)" }

    private var most: Int { max(1, min(options.batch, Self.mostMessages)) }

    /// Handles the next messages in one transaction.
    ///
    /// - Parameters:
    ///   - limit: how many at most.
    ///   - held: keys whose messages have to wait.
    /// - Returns: how many.
    /// - Throws: ``Failure``, where a message is at fault; `TandemError`.
    private func handle(_ limit: Int, without held: [String]) async throws -> Int {
        var transaction = TransactionOptions()
        transaction.timeout = options.timeout
        let last = Locked<InboxMessage?>(nil)
        do {
            return try await cluster[node].transaction(transaction) { branch in
                last.withLock { $0 = nil }
                let messages = try await next(limit, without: held, on: branch)
                for message in messages {
                    do {
                        if message.size > Self.largest {
                            throw TandemError(
                                .eventTooLarge, "the message has \(message.size) bytes, and at most \(Self.largest) are read from a queue",
                                nextStep: "look at it in tandem.inbox_dead, and `tandem inbox drop` it")
                        }
                        try await handler(message, branch)
                        // Alone it is also at fault where the time is over now.
                        if message.place == messages.last?.place { try await end(messages, on: branch) }
                    } catch let error as TandemError where !error.isOfMessage {
                        // A deadlock, a conflict, a full disk, a node that is gone: not the message's fault.
                        throw error
                    } catch {
                        throw Failure(message: message, cause: error)
                    }
                }
                last.withLock { $0 = messages.last }
                return messages.count
            }
        } catch let error as TandemError where error.isOfMessage {
            // What is checked at the commit.
            guard let message = last.withLock({ $0 }) else { throw error }
            throw Failure(message: message, cause: error)
        }
    }

    /// Reads the next messages, where no other consumer is at the queue: for the time of the transaction it is this one's.
    private func next(_ limit: Int, without held: [String], on branch: Branch) async throws -> [InboxMessage] {
        guard
            try await branch.query(
                "SELECT pg_catalog.pg_try_advisory_xact_lock(\(sql: Self.lock(queue)))", as: Bool.self) == [true]
        else { return [] }
        let rows = try await branch.query(
            """
            SELECT m.place, m.id::text, m.source, m.topic, m.key, m.headers::text, m.content_type,
                CASE WHEN pg_catalog.octet_length(m.payload) <= \(Self.largest)::int THEN m.payload ELSE '' END, pg_catalog.octet_length(m.payload),
                pg_catalog.to_char(m.published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            FROM (
                SELECT n.*, pg_catalog.row_number() OVER by_place AS rank, sum(pg_catalog.octet_length(n.payload) + pg_catalog.octet_length(n.topic)
                    + coalesce(pg_catalog.octet_length(n.key), 0) + coalesce(pg_catalog.octet_length(n.headers::text), 0)) OVER by_place AS bytes
                FROM (
                    SELECT q.* FROM tandem.inbox_queue q WHERE q.queue = \(queue) AND (q.key IS NULL OR q.key <> ALL (\(held)::text[]))
                    ORDER BY q.place LIMIT \(limit)::int) n
                WINDOW by_place AS (ORDER BY n.place)) m
            WHERE m.rank = 1 OR m.bytes <= \(ResultLimit.payloads)::int8 ORDER BY m.place
            """, as: Int64.self, String.self, String.self, String.self, String?.self, String?.self, String.self, [UInt8].self, Int.self, String.self)
        return rows.map { place, id, source, topic, key, headers, type, payload, size, time in
            let event = Event(id: id, topic: topic, key: key, headers: Event.Header.stored(headers), contentType: type, payload: payload, time: time)
            return InboxMessage(event: event, source: source, place: place, size: size)
        }
    }

    /// Takes messages out of the queue.
    private func end(_ messages: [InboxMessage], on branch: Branch) async throws {
        try await branch.execute(
            "DELETE FROM tandem.inbox_queue WHERE queue = \(queue) AND place = ANY (\(messages.map(\.place))::int8[])", rows: messages.count...messages.count)
    }

    private func delay(_ attempt: Int) -> Duration {
        Backoff(base: options.wait, cap: options.longestWait).delay(attempt: max(0, attempt - 1), random: .random(in: 0..<1)) + .milliseconds(10)
    }

    /// Counts an attempt that failed, in a transaction of its own; the last one makes the message a dead letter.
    private func fail(_ failure: Failure, _ held: inout [ExactText: ContinuousClock.Instant]) async throws {
        let message = failure.message
        let reason = Inbox.reason(failure.cause)
        let queue = queue, most = options.attempts
        let counted = try await cluster[node].transaction { branch in
            // Behind whoever handles the queue now: he may have done it.
            _ = try await branch.query("SELECT pg_catalog.pg_advisory_xact_lock(\(sql: Self.lock(queue)))::text", as: String.self)
            return try await branch.query(
                "SELECT f.attempts, f.is_dead FROM tandem.inbox_queue_fail(\(queue), \(message.place)::int8, \(reason), \(most)::int) f", as: Int.self,
                Bool.self)
        }
        guard let (attempts, isDead) = counted.first else { return }
        telemetry.handled(.failed)
        if isDead { telemetry.handled(.dead) }
        cluster.configuration.logger.warning(
            isDead ? "a message was given up: `tandem inbox ls` shows it" : "a message could not be handled",
            metadata: [
                "tandem.node": "\(node)", "tandem.queue": "\(queue)", "tandem.event": "\(message.event.id)", "tandem.attempts": "\(attempts)",
                "tandem.reason": "\(reason)",
            ])
        // Later ones of its key wait with it; where it has none, nothing waits but itself, and it would be tried at once: so all wait a little.
        guard !isDead else { return }
        if let key = message.event.key { held[ExactText(key)] = .now + delay(attempts) } else { try await Task.sleep(for: delay(attempts)) }
    }
}
