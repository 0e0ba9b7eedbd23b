public import TandemCluster
public import TandemCore
public import TandemMessaging
import TandemPostgres
import TandemTransactions

/// The inbox of another node as a sink: no broker is needed.
///
/// What it promises: each event is in the queue once, whatever dies, since the position of its source is written in the same transaction; those of a source are in the order of their
/// places. A replay, which gives events new places, brings them again.
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

    /// Does nothing: the connections are the cluster's.
    public func close() async {}
}
