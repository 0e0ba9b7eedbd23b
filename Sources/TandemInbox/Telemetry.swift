import Metrics
import TandemCluster
import TandemCore

/// What inboxes tell metrics. docs/metrics.md lists every name; a test compares.
struct Telemetry: Sendable {
    enum Metric: String, CaseIterable {
        case handled = "tandem_inbox_handled_total"
        case waiting = "tandem_inbox_waiting"
        case waitingSeconds = "tandem_inbox_waiting_seconds"
        case dead = "tandem_inbox_dead"
    }

    /// What became of a message that was brought.
    enum Outcome: String, CaseIterable {
        case done
        case duplicate
        case failed
        case dead
    }

    private let counters: [Outcome: Counter]
    private let waiting: Gauge
    private let waitingSeconds: Gauge
    private let dead: Gauge

    /// - Parameters:
    ///   - configuration: the cluster.
    ///   - node: the inbox's node.
    ///   - consumer: whose messages they are: a consumer of a broker's, or a queue.
    init(_ configuration: ClusterConfiguration, _ node: NodeName, _ consumer: String) {
        let factory = configuration.metrics ?? MetricsSystem.factory
        let labels = [("cluster", configuration.name.rawValue), ("node", node.rawValue), ("consumer", consumer)]
        func gauge(_ metric: Metric) -> Gauge { Gauge(label: metric.rawValue, dimensions: labels, factory: factory) }
        counters = Dictionary(
            uniqueKeysWithValues: Outcome.allCases.map {
                ($0, Counter(label: Metric.handled.rawValue, dimensions: labels + [("outcome", $0.rawValue)], factory: factory))
            })
        waiting = gauge(.waiting)
        waitingSeconds = gauge(.waitingSeconds)
        dead = gauge(.dead)
    }

    /// Messages have been brought to a handler.
    func handled(_ outcome: Outcome, _ count: Int = 1) { counters[outcome]?.increment(by: count) }

    /// What the node says of the consumer.
    func observed(_ lag: InboxLag) {
        waiting.record(lag.waiting)
        waitingSeconds.record(lag.seconds)
        dead.record(lag.dead)
    }
}
