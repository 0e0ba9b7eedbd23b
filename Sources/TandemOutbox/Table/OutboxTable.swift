public import TandemCluster
public import TandemCore

/// A table of another outbox, which is drained as it stands: a row is an event that was written in the transaction of its cause, and has a status.
///
/// ```swift
/// var table = OutboxTable("outbox_events")
/// table.columns.data = "payload"
/// table.failed = "failed"
/// let relay = try TableRelay(cluster, from: "orders", table: table, to: "broker", sink)
/// ```
///
/// Names are those that the catalog has, case included: they are quoted.
public struct OutboxTable: Sendable, Hashable {
    /// Which column means what.
    public struct Columns: Sendable, Hashable {
        /// What tells rows apart, with a unique index: an integer, a `uuid` or a text. A UUID is the event's id; of anything else a hash of it and of ``created`` is, in the form of a UUID.
        public var id = "id"
        /// Whose event it is: the event's key, as a text. NULL: it has no order, and nothing waits for it.
        public var aggregate = "aggregate_id"
        /// What kind of event it is: its topic.
        public var type = "type"
        /// The payload: `json`, `jsonb`, a text or `bytea`. NULL is `null` in JSON, and otherwise nothing.
        public var data = "data"
        /// The headers, an object of JSON; `nil` for none.
        public var headers: String?
        /// The status.
        public var status = "status"
        /// When the event was written: a `timestamptz`, or a `timestamp` that is read as UTC; `nil` for none, then an event has the time when it is sent.
        public var created: String? = "created_at"
        /// Where it is written when the row was sent; `nil` for nowhere.
        public var processed: String? = "processed_at"

        /// The columns with their usual names.
        public init() {}
    }

    /// The table's schema.
    public var schema: String
    /// The table's name.
    public var name: String
    /// Which column means what.
    public var columns = Columns()
    /// By which column rows of an aggregate are in order, and by the id where it is the same; by default the id where it is an integer, else ``Columns/created``.
    ///
    /// An id from a sequence is the better one: `now()` is the time at which a transaction began, and a transaction that had to wait for another began before that one's end.
    public var order: String?
    /// The media type of payloads; by default that of JSON, for `bytea` `application/octet-stream`, and for a text that is not JSON `text/plain`.
    public var contentType: String?
    /// The status of a row that is to be sent.
    public var pending = "pending"
    /// The status of a row that was sent.
    public var sent = "sent"
    /// The status of a row that the sink has refused as often as it may; where there is none, such a row stays pending, and its aggregate waits.
    public var failed: String?

    /// A table with the usual columns.
    ///
    /// - Parameters:
    ///   - name: the table's name.
    ///   - schema: its schema.
    public init(_ name: String, schema: String = "public") {
        self.name = name
        self.schema = schema
    }

    /// How many rows wait, at most 100,001, and for how long the first of them has.
    ///
    /// - Parameters:
    ///   - sink: the name of the sink to which the table is drained.
    ///   - node: the node of the table.
    ///   - cluster: whose node it is.
    /// - Returns: the lag; `dead` counts the rows with the status ``failed``, at most 100,001. What a relay has set aside only it knows: `parked` is 0.
    /// - Throws: `configurationInvalid` where the table is another one than is said here; `notPermitted`; `nodeUnreachable` and kin.
    public func lag(of sink: String, on node: NodeName, in cluster: Cluster) async throws -> OutboxLag {
        let store = try await TableStore.open(self, on: node, of: cluster, sink: sink)
        let (waiting, seconds, dead) = try await store.lag(countsFailed: true)
        return OutboxLag(node: node, sink: sink, events: waiting, seconds: seconds, shares: 1, led: 0, relay: nil, parked: 0, dead: dead)
    }

    /// How errors call it.
    var title: String { "\(schema).\(name)" }
}
