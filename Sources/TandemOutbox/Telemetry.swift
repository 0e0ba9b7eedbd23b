import Metrics
import TandemCluster
import TandemCore

/// What relays tell metrics. docs/metrics.md lists every name; a test compares.
final class Telemetry: Sendable {
    enum Metric: String, CaseIterable {
        case sent = "tandem_outbox_sent_total"
        case refused = "tandem_outbox_refused_total"
        case unavailable = "tandem_outbox_sink_unavailable"
        case lagSeconds = "tandem_outbox_lag_seconds"
        case lagEvents = "tandem_outbox_lag_events"
        case parked = "tandem_outbox_parked"
        case dead = "tandem_outbox_dead"
        case slotsFree = "tandem_outbox_slots_free"
    }

    private let sentCounter: Counter
    private let refusedCounter: Counter
    private let unavailable: Gauge
    private let lagSeconds: Gauge
    private let lagEvents: Gauge
    private let parkedGauge: Gauge
    private let deadGauge: Gauge

    init(_ configuration: ClusterConfiguration, _ node: NodeName, _ sink: String) {
        let factory = configuration.metrics ?? MetricsSystem.factory
        let labels = [("cluster", configuration.name.rawValue), ("node", node.rawValue), ("sink", sink)]
        func counter(_ metric: Metric) -> Counter { Counter(label: metric.rawValue, dimensions: labels, factory: factory) }
        func gauge(_ metric: Metric) -> Gauge { Gauge(label: metric.rawValue, dimensions: labels, factory: factory) }
        sentCounter = counter(.sent)
        refusedCounter = counter(.refused)
        unavailable = gauge(.unavailable)
        lagSeconds = gauge(.lagSeconds)
        lagEvents = gauge(.lagEvents)
        parkedGauge = gauge(.parked)
        deadGauge = gauge(.dead)
    }

    /// The sink has taken events.
    func sent(_ events: Int) { sentCounter.increment(by: events) }

    /// The sink has refused an event.
    func refused() { refusedCounter.increment() }

    /// Whether the sink takes no events at all.
    func isOpen(_ isOpen: Bool) { unavailable.record(isOpen ? 1 : 0) }

    /// The sink has everything.
    func caughtUp() {
        lagSeconds.record(0)
        lagEvents.record(0)
    }

    /// What the node says of the sink.
    func observed(_ lag: OutboxLag) {
        lagSeconds.record(lag.seconds)
        lagEvents.record(lag.events)
        parkedGauge.record(lag.parked)
        deadGauge.record(lag.dead)
    }
}

/// What the ring of a node tells metrics.
struct RingTelemetry: Sendable {
    private let slotsFree: Gauge

    init(_ configuration: ClusterConfiguration, _ node: NodeName) {
        slotsFree = Gauge(
            label: Telemetry.Metric.slotsFree.rawValue, dimensions: [("cluster", configuration.name.rawValue), ("node", node.rawValue)],
            factory: configuration.metrics ?? MetricsSystem.factory)
    }

    /// Where another process was at it, nothing is known.
    func observed(_ ring: OutboxRing) { if let free = ring.free { slotsFree.record(free) } }
}
