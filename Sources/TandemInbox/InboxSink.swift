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
    /// - Returns: that all are delivered.
    /// - Throws: `nodeUnreachable` and kin, or `inDoubt`: sent again, what is there already is left out.
    public func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        guard let first = batch.first else { return [] }
        var payloads: [UInt8] = [], ends: [Int64] = []
        payloads.reserveCapacity(batch.reduce(0) { $0 + $1.event.payload.count })
        for delivery in batch {
            payloads += delivery.event.payload
            ends.append(Int64(payloads.count))
        }
        do {
            guard first.isPlaceLasting else {
                _ = try await cluster[node].result(of: receiving(batch, first, payloads, ends))
                return [DeliveryVerdict](repeating: .delivered, count: batch.count)
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
        return [DeliveryVerdict](repeating: .delivered, count: batch.count)
    }

    /// Puts those into the queue whose ids are new. What is too old to be known is brought: it may have been before.
    private func receiving(_ batch: [Delivery], _ first: Delivery, _ payloads: [UInt8], _ ends: [Int64]) -> SQL {
        let ids = batch.map(\.event.id), consumer = "queue \(queue) of \(first.source) \(first.sink)"
        return """
            WITH received AS MATERIALIZED (
                SELECT r.outcome, r.place FROM tandem.receive_many(\(consumer), \(ids)::uuid[]) WITH ORDINALITY r (message_id, outcome, place)
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
