import Metrics
import TandemCluster
import TandemCore
import TandemPostgres
import Tracing

/// What transactions and recovery tell metrics and traces. docs/metrics.md lists every name; a test compares.
///
/// Names and units are those of Prometheus, labels are bounded: no id, no gid, no text of a server.
final class Telemetry: Sendable {
    enum Metric: String, CaseIterable {
        case transactions = "tandem_tx_total"
        case duration = "tandem_tx_duration_seconds"
        case phase = "tandem_tx_phase_seconds"
        case inDoubt = "tandem_tx_in_doubt"
        case oldestInDoubt = "tandem_tx_oldest_in_doubt_seconds"
        case blocked = "tandem_tx_blocked_statements"
        case prepared = "tandem_prepared_used"
        case preparedMaximum = "tandem_prepared_max"
        case preparedShare = "tandem_prepared_share"
        case foreign = "tandem_prepared_foreign"
        case oldestXID = "tandem_prepared_oldest_xid_age"
        case unreachable = "tandem_node_unreachable"
        case recovery = "tandem_recovery_actions_total"
        case passes = "tandem_recovery_passes_total"
        case alarms = "tandem_heuristic_total"
        case contradictions = "tandem_contradictions"
        case deadlocks = "tandem_deadlocks_total"
        case probes = "tandem_deadlock_probes_total"
        case forgotten = "tandem_register_rows_removed_total"
    }

    /// The parts of a commit, as labels and as spans.
    enum Phase: String, CaseIterable {
        case prepare
        case decide
        case finish
        case rollBack = "roll_back"

        var span: String { "tandem.\(rawValue)" }
    }

    static let transactionSpan = "tandem.transaction"

    /// Whether anybody listens: clocks are read only then.
    let isMeasured: Bool
    /// Who is told of spans; `nil` where nobody listens.
    let tracer: (any Tracer)?

    let nodes: [NodeName: NodeTelemetry]
    let passes: Counter
    let deadlocks: Counter
    let probes: Counter
    let rowsRemoved: Counter
    private let outcomes: [Outcome: Counter]
    private let duration: Timer
    private let phases: [Phase: Timer]
    private let settlements: [String: Counter]
    private let alarms: [String: Counter]

    init(_ configuration: ClusterConfiguration) {
        let factory = configuration.metrics ?? MetricsSystem.factory
        isMeasured = !(factory is NOOPMetricsHandler)
        let tracer = configuration.tracer ?? InstrumentationSystem.tracer
        self.tracer = tracer is NoOpTracer ? nil : tracer
        let cluster = ("cluster", configuration.name.rawValue)
        func counter(_ metric: Metric, _ labels: (String, String)...) -> Counter {
            Counter(label: metric.rawValue, dimensions: [cluster] + labels, factory: factory)
        }
        func timer(_ metric: Metric, _ labels: (String, String)...) -> Timer {
            Timer(label: metric.rawValue, dimensions: [cluster] + labels, factory: factory)
        }
        outcomes = Dictionary(uniqueKeysWithValues: [Outcome.committed, .rolledBack, .inDoubt].map { ($0, counter(.transactions, ("outcome", $0.rawValue))) })
        duration = timer(.duration)
        phases = Dictionary(uniqueKeysWithValues: Phase.allCases.map { ($0, timer(.phase, ("phase", $0.rawValue))) })
        settlements = Dictionary(
            uniqueKeysWithValues: RecoveryMachine.Settlement.allCases.map { ($0.rawValue, counter(.recovery, ("action", $0.rawValue))) })
        alarms = Dictionary(
            uniqueKeysWithValues: [RecoveryMachine.Settlement.lost, .mixed, .held].map { ($0.rawValue, counter(.alarms, ("kind", $0.rawValue))) })
        passes = counter(.passes)
        deadlocks = counter(.deadlocks)
        probes = counter(.probes)
        rowsRemoved = counter(.forgotten)
        nodes = Dictionary(
            uniqueKeysWithValues: configuration.nodes.map { node in
                (node.name, NodeTelemetry { Gauge(label: $0.rawValue, dimensions: [cluster, ("node", node.name.rawValue)], factory: factory) })
            })
    }

    // MARK: Transactions

    func ended(_ outcome: Outcome, after time: Duration) {
        outcomes[outcome]?.increment()
        duration.recordNanoseconds(time.wholeNanoseconds)
    }

    /// What became of a transaction that ended with an error.
    static func outcome(of error: any Error) -> Outcome {
        guard let error = error as? TandemError else { return .rolledBack }
        return switch error.effect {
        case .none, .rolledBack: .rolledBack
        case .inDoubt: .inDoubt
        }
    }

    /// A span that the caller ends, below the one that is current; `nil` where nobody listens.
    func span(_ name: String, _ transaction: TransactionID) -> (any Span)? {
        guard let tracer else { return nil }
        let span: any Span = tracer.startSpan(name, ofKind: .client)
        span.attributes["db.system.name"] = "postgresql"
        span.attributes["tandem.transaction"] = transaction.description
        return span
    }

    /// A part of a commit: whoever is given this ends it.
    struct Part {
        fileprivate let phase: Phase
        fileprivate let start: ContinuousClock.Instant
        fileprivate let span: (any Span)?
    }

    func begin(_ phase: Phase?, _ transaction: TransactionID, nodes: Int) -> Part? {
        guard let phase, isMeasured || tracer != nil else { return nil }
        let span = span(phase.span, transaction)
        span?.attributes["tandem.nodes"] = nodes
        return Part(phase: phase, start: .now, span: span)
    }

    func end(_ part: Part?) {
        guard let part else { return }
        phases[part.phase]?.recordNanoseconds((ContinuousClock.now - part.start).wholeNanoseconds)
        part.span?.end()
    }

    // MARK: Recovery

    func settled(_ settlement: String) { settlements[settlement]?.increment() }

    /// R16: what nobody may overlook.
    func alarm(_ kind: String) { alarms[kind]?.increment() }
}

/// The gauges of one node (R19), set by the recovery that runs.
struct NodeTelemetry: Sendable {
    let inDoubt: Gauge
    let oldestInDoubt: Gauge
    let blocked: Gauge
    let contradictions: Gauge
    let prepared: Gauge
    let preparedMaximum: Gauge
    let preparedShare: Gauge
    let foreign: Gauge
    let oldestXID: Gauge
    let unreachable: Gauge

    init(_ gauge: (Telemetry.Metric) -> Gauge) {
        inDoubt = gauge(.inDoubt)
        oldestInDoubt = gauge(.oldestInDoubt)
        blocked = gauge(.blocked)
        contradictions = gauge(.contradictions)
        prepared = gauge(.prepared)
        preparedMaximum = gauge(.preparedMaximum)
        preparedShare = gauge(.preparedShare)
        foreign = gauge(.foreign)
        oldestXID = gauge(.oldestXID)
        unreachable = gauge(.unreachable)
    }
}

extension Duration {
    /// Whole nanoseconds; what does not fit is the most that fits.
    fileprivate var wholeNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? .max : product &+ attoseconds / 1_000_000_000
    }
}
