import Logging
import TandemCluster
import TandemCore
public import TandemMessaging
import TandemPostgres
public import TandemTransactions

/// What consumers of brokers do with a message.
extension Inbox {
    /// What became of a message, which is to be acknowledged in each case.
    public enum Handled: Sendable, Hashable {
        /// Its effects are committed.
        case done
        /// It was handled before.
        case duplicate
        /// It was tried as often as it may be, or is older than what the inbox remembers: it is a dead letter now.
        case dead
    }

    /// Handles a message that a broker has brought: it is received in the transaction of its effects, and given up after some attempts.
    ///
    /// Attempts are counted in the database, so over all consumers and processes. A conflict, a deadlock or a lost connection is no attempt; effects that take longer than the timeout are one.
    ///
    /// ```swift
    /// let consumer = RabbitMQConsumer(broker, queue: "orders", logger: logger) { message in
    ///     guard let event = message.event else { return }
    ///     try await inbox.handle(event, from: message.attribute("source"), by: "billing") { branch in
    ///         try await branch.execute("INSERT INTO invoice ...")
    ///     }
    /// }
    /// ```
    ///
    /// - Parameters:
    ///   - event: the message's event.
    ///   - source: where it comes from, for whoever looks at it as a dead letter.
    ///   - consumer: who receives it; each consumer receives a message once.
    ///   - attempts: how often it may fail before it is a dead letter, 1 or more.
    ///   - timeout: how long the transaction may take.
    ///   - body: the effects, in the transaction that receives the message. It may be called again for the same message, and then nothing of the first time is there.
    /// - Returns: what became of it; the message is to be acknowledged.
    /// - Throws: what the body or the database throws: the message is not to be acknowledged, and has to come again. `notInitialised`.
    @discardableResult
    public func handle(
        _ event: Event, from source: String? = nil, by consumer: String, attempts: Int = 5, timeout: Duration = .seconds(30),
        _ body: (_ branch: Branch) async throws -> Void
    ) async throws -> Handled {
        let telemetry = Telemetry(cluster.configuration, node, consumer)
        var transaction = TransactionOptions()
        transaction.timeout = timeout
        do {
            let handled: Handled = try await cluster[node].transaction(transaction) { branch in
                guard try await branch.receive(event.id, by: consumer) else { return .duplicate }
                try await body(branch)
                return .done
            }
            telemetry.handled(handled == .done ? .done : .duplicate)
            return handled
        } catch let error as CancellationError where Task.isCancelled {
            throw error
        } catch let error as TandemError where !error.isOfMessage {
            throw error
        } catch {
            telemetry.handled(.failed)
            guard try await fail(event, source, consumer, attempts, error) else { throw error }
            telemetry.handled(.dead)
            return .dead
        }
    }

    /// Counts an attempt that failed, in a transaction of its own.
    ///
    /// - Returns: whether the message is a dead letter now.
    private func fail(_ event: Event, _ source: String?, _ consumer: String, _ most: Int, _ error: any Error) async throws -> Bool {
        // What has U+0000 in its id was never received.
        let reason = Self.reason(error)
        let isTooOld = (error as? TandemError)?.code == .messageTooOld
        let counted = try await result(
            """
            SELECT f.attempts, f.is_dead FROM tandem.inbox_fail(\(consumer), tandem.message_id(\(event.id.withoutNUL)::text), \(reason), \(most)::int, \(source?.withoutNUL)::text, \(event.topic.withoutNUL),
                \(event.key?.withoutNUL)::text, \(Event.Header.json(event.headers))::json, \(event.contentType.withoutNUL), \(event.payload)::bytea, \(isTooOld)::bool) f
            """)
        let isDead = counted.text(0, 1) == "t"
        cluster.configuration.logger.warning(
            isDead ? "a message was given up: `tandem inbox ls` shows it" : "a message could not be handled",
            metadata: [
                "tandem.node": "\(node)", "tandem.consumer": "\(consumer)", "tandem.event": "\(event.id)", "tandem.attempts": "\(counted.text(0, 0) ?? "")",
                "tandem.reason": "\(reason)",
            ])
        return isDead
    }

    /// What a dead letter says of an error, whoever has thrown it.
    static func reason(_ error: any Error) -> String { ((error as? TandemError).map { "\($0.code): \($0.message)" } ?? "\(error)").withoutNUL }
}

extension TandemError {
    /// Classes of SQLSTATEs that speak of a server's state: connection, transaction's state, resources, what is not ready, what an operator or the system did.
    private static let passing: Set = ["08", "25", "40", "53", "55", "57", "58"]
    /// Codes that speak of the database as it is now: a deployment may be under way.
    private static let general: Set<Code> = [.notInitialised, .notPermitted, .schemaMismatch, .identityMismatch, .authenticationFailed]

    /// Whether a failure says something about the message that was handled, rather than about the moment.
    var isOfMessage: Bool {
        if case .inDoubt = effect { return false }
        // One that always takes too long would stand in the way of all others.
        if code == .deadlineExceeded { return true }
        if isRetrySafe || Self.general.contains(code) { return false }
        return sqlState.map { !Self.passing.contains(String($0.rawValue.prefix(2))) } ?? true
    }
}
