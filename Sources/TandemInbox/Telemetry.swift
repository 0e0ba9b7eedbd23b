import Metrics
import TandemCluster
import TandemCore

/// What inboxes tell metrics. docs/metrics.md lists every name; a test compares. A metric is made where it is recorded: there is one of these for each message of a broker.
struct Telemetry: Sendable {
    enum Metric: String, CaseIterable {
        case handled = "tandem_inbox_handled_total"
        case waiting = "tandem_inbox_waiting"
        case waitingSeconds = "tandem_inbox_waiting_seconds"
        case dead = "tandem_inbox_dead"
    }

    /// What became of a message that was brought.
    enum Outcome: String {
        case done
        case duplicate
        case failed
        case dead
    }

    private let factory: any MetricsFactory
    private let labels: [(String, String)]

    /// - Parameters:
    ///   - configuration: the cluster.
    ///   - node: the inbox's node.
    ///   - consumer: whose messages they are: a consumer of a broker's, or a queue.
    init(_ configuration: ClusterConfiguration, _ node: NodeName, _ consumer: String) {
        factory = configuration.metrics ?? MetricsSystem.factory
        labels = [("cluster", configuration.name.rawValue), ("node", node.rawValue), ("consumer", consumer)]
    }

    private func gauge(_ metric: Metric) -> Gauge { Gauge(label: metric.rawValue, dimensions: labels, factory: factory) }

    /// Messages have been brought to a handler.
    func handled(_ outcome: Outcome, _ count: Int = 1) {
        Counter(label: Metric.handled.rawValue, dimensions: labels + [("outcome", outcome.rawValue)], factory: factory).increment(by: count)
    }

    /// What the node says of the consumer.
    func observed(_ lag: InboxLag) {
        gauge(.waiting).record(lag.waiting)
        gauge(.waitingSeconds).record(lag.seconds)
        gauge(.dead).record(lag.dead)
    }
}
