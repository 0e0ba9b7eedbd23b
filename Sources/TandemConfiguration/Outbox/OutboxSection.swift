import TandemCluster
public import TandemCore
public import TandemOutbox

/// The section `outbox` of a configuration: where events go.
///
/// ```yaml
/// outbox:
///   poll: 50ms
///   sinks:
///     billing:
///       from: [orders]
///       topics: [order.*]
///       postgres: {node: billing, queue: orders}
/// ```
public struct OutboxSection: Sendable {
    /// One sink.
    public struct Sink: Sendable {
        /// What kind of sink it is.
        public enum Kind: Sendable {
            /// The inbox of a node.
            case postgres(node: NodeName, queue: String)
            /// Lines of JSON on standard output.
            case lines
            /// A RabbitMQ broker.
            case rabbitMQ(RabbitMQSection)
            /// A Kafka cluster.
            case kafka(KafkaSection)
            /// A service that is told by HTTP.
            case webhook(WebhookSection)
        }

        /// Its name: its positions are kept under it.
        public let name: String
        /// The nodes whose events it gets.
        public let sources: [NodeName]
        /// The table whose rows it gets instead of what is published; `nil` for none.
        public let table: OutboxTable?
        /// What kind of sink it is.
        public let kind: Kind
        /// How its relays work.
        public let options: RelayOptions
    }

    /// The sinks, in the file's order.
    public let sinks: [Sink]

    /// The section `outbox`; `nil` for none.
    init(_ place: LocatedNode?, _ cluster: ClusterConfiguration, _ reader: ClusterReader) throws {
        guard let section = try place?.section(["lease", "poll", "batch", "attempts", "refusal", "sinks"]) else {
            sinks = []
            return
        }
        var options = RelayOptions()
        if let value = section["lease"] {
            options.lease = try value.duration()
            guard options.lease >= .seconds(1) else { throw value.error("a relay could not keep it", next: "write at least 1s") }
        }
        if let value = section["poll"] { options.poll = try value.duration() }
        if let value = section["batch"] { options.batch = try value.integer(in: 1...10_000) }
        if let value = section["attempts"] { options.attempts = try value.integer(in: 1...1000) }
        if let value = section["refusal"] { options.refusal = try value.choice(RelayOptions.Refusal.allCases.map { ($0.rawValue, $0) }) }
        let entries = try section["sinks"]?.entries() ?? []
        sinks = try entries.map { try Self.sink($0, $1, options, cluster, reader) }
        for (index, sink) in sinks.enumerated() {
            guard let other = sinks[..<index].first(where: { $0.drainsTable(of: sink) }) else { continue }
            throw entries[index].value.error("`\(other.name)` drains the same table, and each row of it is sent once", next: "name the table in one sink")
        }
    }

    private static func sink(
        _ name: String, _ place: LocatedNode, _ common: RelayOptions, _ cluster: ClusterConfiguration, _ reader: ClusterReader
    ) throws -> Sink {
        guard OutboxRelay.isName(name) else {
            throw place.error("`\(name)` cannot be the name of a sink", next: "take 1 to 63 letters, digits, `-`, `_` and `.`")
        }
        let kinds = ["postgres", "stdout", "rabbitmq", "kafka", "webhook"]
        let section = try place.section(["from", "table", "topics", "from_start", "attempts", "refusal", "shares"] + kinds),
            nodes = cluster.nodes.map { ($0.name.rawValue, $0.name) }
        var options = common
        if let value = section["topics"] { options.topics = try value.list("a list of topics").map { try $0.text("a topic") } }
        if let value = section["from_start"] { options.isFromStart = try value.choice([("true", true), ("false", false)]) }
        if let value = section["attempts"] { options.attempts = try value.integer(in: 1...1000) }
        if let value = section["refusal"] { options.refusal = try value.choice(RelayOptions.Refusal.allCases.map { ($0.rawValue, $0) }) }
        if let value = section["shares"] { options.shares = try value.integer(in: 1...OutboxRelay.mostShares) }
        let sources = try section["from"]?.list("a list of nodes").map { try $0.choice(nodes) } ?? cluster.nodes.map(\.name)
        if let value = section["from"], sources.isEmpty || Set(sources).count < sources.count {
            throw value.error("each source stands once, and there is at least one", next: "leave `from` out for all nodes")
        }
        let table = try section["table"].map { try OutboxTable($0) }
        if table != nil {
            if let value = section["topics"] ?? section["from_start"] ?? section["refusal"] ?? section["shares"] {
                throw value.error(
                    "a table is drained as a whole, from its start", next: "leave it out; what becomes of a refused row `table: {failed: ...}` says")
            }
            guard section["from"] != nil else { throw place.error("it is not said where the table is", next: "write `from: [NODE]`") }
        }
        let named = kinds.compactMap { kind in section[kind].map { (kind, $0) } }
        guard let (word, target) = named.first, named.count == 1 else {
            throw place.error(
                "it says no kind of sink, or more than one",
                next:
                    "write one of `postgres: {node: NAME}`, `rabbitmq: {exchange: NAME}`, `kafka: {brokers: [HOST]}`, `webhook: {url: URL}` and `stdout: true`")
        }
        let kind: Sink.Kind
        switch word {
        case "postgres":
            let target = try target.section(["node", "queue"])
            guard let node = try target["node"]?.choice(nodes) else { throw place.error("the node is missing", next: "write `node: NAME`") }
            kind = .postgres(node: node, queue: try target["queue"]?.text("a name") ?? name)
        case "rabbitmq": kind = .rabbitMQ(try RabbitMQSection(target, reader))
        case "kafka": kind = .kafka(try KafkaSection(target, reader))
        case "webhook": kind = .webhook(try WebhookSection(target, reader))
        default:
            guard try target.choice([("true", true), ("false", false)]) else { throw target.error("a sink that is none", next: "remove it") }
            kind = .lines
        }
        return Sink(name: name, sources: sources, table: table, kind: kind, options: options)
    }
}

extension OutboxSection.Sink {
    /// Whether both drain one table.
    fileprivate func drainsTable(of other: OutboxSection.Sink) -> Bool {
        guard let table, let their = other.table else { return false }
        return table.schema == their.schema && table.name == their.name && sources.contains { other.sources.contains($0) }
    }
}
