import Metrics
import TandemCluster
import TandemCore

/// What the sagas of a process tell metrics. docs/metrics.md lists every name; a test compares.
final class Telemetry: Sendable {
    enum Metric: String, CaseIterable {
        case ended = "tandem_saga_total"
        case duration = "tandem_saga_duration_seconds"
        case failedAttempts = "tandem_saga_failed_attempts_total"
        case takeovers = "tandem_saga_takeovers_total"
        case lost = "tandem_saga_lost_total"
        case open = "tandem_saga_open"
        case stuck = "tandem_saga_stuck"
        case overdue = "tandem_saga_overdue_seconds"
        case removed = "tandem_saga_removed_total"
    }

    /// Whether anybody listens: only then the home node is asked for what the gauges say.
    let isMeasured: Bool
    private let takeovers: Counter
    private let losses: Counter
    private let removals: Counter
    private let open: Gauge
    private let stuck: Gauge
    private let overdue: Gauge
    private let outcomes: [String: Counter]
    private let duration: Timer
    private let failedAttempts: (do: Counter, undo: Counter)

    init(_ configuration: ClusterConfiguration) {
        let factory = configuration.metrics ?? MetricsSystem.factory, cluster = ("cluster", configuration.name.rawValue)
        isMeasured = !(factory is NOOPMetricsHandler)
        func counter(_ metric: Metric, _ labels: (String, String)...) -> Counter {
            Counter(label: metric.rawValue, dimensions: [cluster] + labels, factory: factory)
        }
        func gauge(_ metric: Metric) -> Gauge { Gauge(label: metric.rawValue, dimensions: [cluster], factory: factory) }
        outcomes = Dictionary(
            uniqueKeysWithValues: SagaSummary.State.allCases.filter(\.isAtRest).map { ($0.rawValue, counter(.ended, ("outcome", $0.rawValue))) })
        duration = Timer(label: Metric.duration.rawValue, dimensions: [cluster], factory: factory)
        failedAttempts = (counter(.failedAttempts, ("operation", "do")), counter(.failedAttempts, ("operation", "undo")))
        takeovers = counter(.takeovers)
        losses = counter(.lost)
        removals = counter(.removed)
        open = gauge(.open)
        stuck = gauge(.stuck)
        overdue = gauge(.overdue)
    }

    /// A saga has ended, or is stuck.
    func ended(_ ending: SagaEnding) {
        outcomes[ending.state]?.increment()
        if ending.isEnd { duration.recordMilliseconds(max(0, ending.id.age.wholeMilliseconds)) }
    }

    /// This process has taken sagas from a worker whose lease was over.
    func tookOver(_ count: Int) { takeovers.increment(by: count) }

    /// Somebody else has taken a saga from this process.
    func lost() { losses.increment() }

    /// The retention has removed sagas.
    func removed(_ count: Int) { removals.increment(by: count) }

    /// What was written into a journal.
    func noted(_ entries: [JournalEntry]) {
        for entry in entries {
            switch entry.what {
            case .failed: failedAttempts.do.increment()
            case .undoFailed: failedAttempts.undo.increment()
            case .started, .done, .undone, .turnedBack, .retry, .skip, .resolve, .cancel, .value: break
            }
        }
    }

    /// What the home node says of all sagas.
    func observed(_ backlog: SagaStore.Backlog) {
        open.record(backlog.open)
        stuck.record(backlog.stuck)
        overdue.record(backlog.overdue)
    }
}
