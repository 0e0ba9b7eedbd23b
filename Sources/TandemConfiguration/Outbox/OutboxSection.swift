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
        }

        /// Its name: its positions are kept under it.
        public let name: String
        /// The nodes whose events it gets.
        public let sources: [NodeName]
        /// What kind of sink it is.
        public let kind: Kind
        /// How its relays work.
        public let options: RelayOptions
    }

    /// The sinks, in the file's order.
    public let sinks: [Sink]

    /// The section `outbox`; `nil` for none.
    init(_ place: LocatedNode?, _ cluster: ClusterConfiguration, password: (LocatedNode.Section) throws -> Secret?) throws {
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
        sinks = try (section["sinks"]?.entries() ?? []).map { try Self.sink($0, $1, options, cluster, password) }
    }

    private static func sink(
        _ name: String, _ place: LocatedNode, _ common: RelayOptions, _ cluster: ClusterConfiguration, _ password: (LocatedNode.Section) throws -> Secret?
    ) throws -> Sink {
        guard OutboxRelay.isName(name) else {
            throw place.error("`\(name)` cannot be the name of a sink", next: "take 1 to 63 letters, digits, `-`, `_` and `.`")
        }
        let section = try place.section(["from", "topics", "from_start", "attempts", "refusal", "postgres", "stdout", "rabbitmq"]),
            nodes = cluster.nodes.map { ($0.name.rawValue, $0.name) }
        var options = common
        if let value = section["topics"] { options.topics = try value.list("a list of topics").map { try $0.text("a topic") } }
        if let value = section["from_start"] { options.isFromStart = try value.choice([("true", true), ("false", false)]) }
        if let value = section["attempts"] { options.attempts = try value.integer(in: 1...1000) }
        if let value = section["refusal"] { options.refusal = try value.choice(RelayOptions.Refusal.allCases.map { ($0.rawValue, $0) }) }
        let sources = try section["from"]?.list("a list of nodes").map { try $0.choice(nodes) } ?? cluster.nodes.map(\.name)
        let kind: Sink.Kind
        switch (section["postgres"], section["stdout"], section["rabbitmq"]) {
        case (let place?, nil, nil):
            let target = try place.section(["node", "queue"])
            guard let node = try target["node"]?.choice(nodes) else { throw place.error("the node is missing", next: "write `node: NAME`") }
            kind = .postgres(node: node, queue: try target["queue"]?.text("a name") ?? name)
        case (nil, nil, let place?): kind = .rabbitMQ(try RabbitMQSection(place, password: password))
        case (nil, let place?, nil):
            guard try place.choice([("true", true), ("false", false)]) else { throw place.error("a sink that is none", next: "remove it") }
            kind = .lines
        default:
            throw place.error(
                "it says no kind of sink, or more than one", next: "write one of `postgres: {node: NAME}`, `rabbitmq: {exchange: NAME}` and `stdout: true`")
        }
        return Sink(name: name, sources: sources, kind: kind, options: options)
    }
}
