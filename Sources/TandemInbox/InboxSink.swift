import Foundation
public import TandemCluster
public import TandemCore
public import TandemMessaging
import TandemPostgres
import TandemTransactions

/// The inbox of another node as a sink: no broker is needed.
///
/// What it promises: each event is in the queue once, whatever dies, since the position of its source is written in the same transaction; those of a source are in the order of their
/// places. A replay, which gives events new places, brings them again. Where places do not last, as of a table of another outbox, ids are received instead, as `receive` does it: each is in
/// the queue once for as long as the inbox remembers it.
public struct InboxSink: Sink {
    private let cluster: Cluster
    private let node: NodeName
    private let queue: String

    /// A sink.
    ///
    /// - Parameters:
    ///   - cluster: whose node it is.
    ///   - node: the node whose inbox it fills.
    ///   - queue: the queue there: one, or another for another kind of consumer.
    public init(_ cluster: Cluster, on node: NodeName, queue: String) {
        self.cluster = cluster
        self.node = node
        self.queue = queue
    }

    /// Puts events into the queue, in one transaction.
    ///
    /// - Parameter batch: the events.
    /// - Returns: that all are delivered; where places do not last, `eventRefused` for those whose ids are UUIDs of version 7 of a time more than 13 days ahead, which an inbox cannot forget.
    /// - Throws: `nodeUnreachable` and kin, or `inDoubt`: sent again, what is there already is left out.
    public func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        let verdicts = Self.refusals(batch)
        try await put(verdicts.isEmpty ? batch : zip(batch, verdicts).compactMap { $1.isDelivered ? $0 : nil })
        return verdicts.isEmpty ? [DeliveryVerdict](repeating: .delivered, count: batch.count) : verdicts
    }

    /// Which events the inbox would not take, with those of their keys behind them; none where it takes all.
    private static func refusals(_ batch: [Delivery]) -> [DeliveryVerdict] {
        let latest = UInt64(Date().timeIntervalSince1970 / 86_400) + 13
        func isDistant(_ delivery: Delivery) -> Bool { !delivery.isPlaceLasting && day(of: delivery.event.id) ?? 0 > latest }
        guard batch.contains(where: isDistant) else { return [] }
        var blocked: Set<String> = []
        return batch.map { delivery in
            let key = delivery.event.key
            if let key, blocked.contains(key) { return .held }
            guard isDistant(delivery) else { return .delivered }
            if let key { blocked.insert(key) }
            return .refused(
                because: "the id \(delivery.event.id) is of a time more than 13 days ahead, and would not be forgotten",
                nextStep: "give the row another id, or set the clock of whoever makes it")
        }
    }

    /// The day of a UUID of version 7, since 1970.
    private static func day(of id: String) -> UInt64? {
        let parts = id.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[2].first == "7", let milliseconds = UInt64(parts[0] + parts[1], radix: 16) else { return nil }
        return milliseconds / 86_400_000
    }

    private func put(_ batch: [Delivery]) async throws {
        guard let first = batch.first else { return }
        var payloads: [UInt8] = [], ends: [Int64] = []
        payloads.reserveCapacity(batch.reduce(0) { $0 + $1.event.payload.count })
        for delivery in batch {
            payloads += delivery.event.payload
            ends.append(Int64(payloads.count))
        }
        do {
            guard first.isPlaceLasting else {
                _ = try await cluster[node].result(of: receiving(batch, first, payloads, ends))
                return
            }
            _ = try await cluster[node].result(
                of: """
                    SELECT tandem.inbox_deliver(\(queue), \(first.source), \(first.sink), \(batch.map(\.place.window))::int8[], \(batch.map(\.place.sequence))::int8[],
                        \(batch.map(\.event.id))::uuid[], \(batch.map(\.event.topic))::text[], \(batch.map(\.event.key))::text[],
                        \(batch.map { Event.Header.json($0.event.headers) })::text[], \(batch.map(\.event.contentType))::text[], \(batch.map(\.event.time))::timestamptz[],
                        \(payloads)::bytea, \(ends)::int8[])
                    """)
        } catch let error as TandemError {
            throw Inbox.named(error)
        }
    }

    /// Puts those into the queue whose ids are new. What is too old to be known is brought: it may have been before.
    private func receiving(_ batch: [Delivery], _ first: Delivery, _ payloads: [UInt8], _ ends: [Int64]) -> SQL {
        let ids = batch.map(\.event.id), name = "queue \(queue) of \(first.source) \(first.sink)"
        // A consumer's name has at most 256 bytes.
        let consumer: SQL = name.utf8.count <= 256 ? "\(name)" : "'queue ' || tandem.message_id(\(name))"
        return """
            WITH received AS MATERIALIZED (
                SELECT r.outcome, r.place FROM tandem.receive_many(\(sql: consumer), \(ids)::uuid[]) WITH ORDINALITY r (message_id, outcome, place)
            )
            INSERT INTO tandem.inbox_queue (queue, id, source, topic, key, headers, content_type, published_at, payload)
            SELECT \(queue), e.id, \(first.source), e.topic, e.key, e.headers::json, e.content_type, e.at,
                pg_catalog.substring(\(payloads)::bytea, (coalesce(e.start, 0) + 1)::integer, (e.ending - coalesce(e.start, 0))::integer)
            FROM (
                SELECT u.*, pg_catalog.lag(u.ending) OVER (ORDER BY u.place) AS start
                FROM unnest(\(ids)::uuid[], \(batch.map(\.event.topic))::text[], \(batch.map(\.event.key))::text[],
                    \(batch.map { Event.Header.json($0.event.headers) })::text[], \(batch.map(\.event.contentType))::text[],
                    \(batch.map(\.event.time))::timestamptz[], \(ends)::int8[])
                    WITH ORDINALITY u (id, topic, key, headers, content_type, at, ending, place)) e
            JOIN received r ON r.place = e.place WHERE r.outcome <> 'duplicate' ORDER BY e.place
            """
    }

    /// Does nothing: the connections are the cluster's.
    public func close() async {}
}

extension DeliveryVerdict {
    fileprivate var isDelivered: Bool { if case .delivered = self { true } else { false } }
}
