import Metrics
import TandemCluster
import TandemCore

/// What requests with keys tell metrics. docs/metrics.md lists every name; a test compares.
final class Telemetry: Sendable {
    enum Metric: String, CaseIterable {
        case requests = "tandem_idempotency_requests_total"
        case removed = "tandem_idempotency_keys_removed_total"
    }

    /// What became of a request, as a label.
    enum Outcome: String, CaseIterable {
        case first
        case replayed
        case inProgress = "in_progress"
        case mismatch
    }

    private let removals: Counter
    private let requests: [Outcome: Counter]

    init(_ configuration: ClusterConfiguration, _ node: NodeName) {
        let factory = configuration.metrics ?? MetricsSystem.factory, labels = [("cluster", configuration.name.rawValue), ("node", node.rawValue)]
        requests = Dictionary(
            uniqueKeysWithValues: Outcome.allCases.map {
                ($0, Counter(label: Metric.requests.rawValue, dimensions: labels + [("outcome", $0.rawValue)], factory: factory))
            })
        removals = Counter(label: Metric.removed.rawValue, dimensions: labels, factory: factory)
    }

    /// Keys that have expired were removed.
    func removed(_ count: Int) { removals.increment(by: count) }

    /// Counts one request. One that fails for another reason than its key is none.
    nonisolated(nonsending) func counted<Answer>(
        _ outcome: (Answer) -> Outcome, _ body: nonisolated(nonsending) () async throws -> Answer
    ) async throws -> Answer {
        do {
            let answer = try await body()
            requests[outcome(answer)]?.increment()
            return answer
        } catch let error as TandemError where error.code == .idempotencyMismatch {
            requests[.mismatch]?.increment()
            throw error
        }
    }
}

extension IdempotentOutcome {
    var telemetry: Telemetry.Outcome {
        switch self {
        case .first: .first
        case .replayed: .replayed
        case .inProgress: .inProgress
        }
    }
}

extension Idempotency.Claimed {
    var telemetry: Telemetry.Outcome {
        switch self {
        case .claimed: .first
        case .replayed: .replayed
        case .inProgress: .inProgress
        }
    }
}
