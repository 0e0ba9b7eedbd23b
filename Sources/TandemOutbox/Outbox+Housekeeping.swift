import Logging
import TandemCluster
import TandemCore
import TandemTransactions

/// What has to be done for an outbox as long as it is used, by at least one process.
extension Outbox {
    /// Keeps house until the task is cancelled: publishes what becomes due, empties parts of the ring, and tells the gauges how far each sink is behind.
    ///
    /// Any number of processes may, also beside each other.
    ///
    /// - Parameter interval: from one round to the next; what is published for later leaves that much later at most.
    /// - Throws: nothing: what could not be done is done the next time. Cancellation ends it.
    public func run(every interval: Duration = .seconds(5)) async throws {
        var sinks: [String: Telemetry] = [:], blockers: [String] = []
        let ring = RingTelemetry(cluster.configuration, node)
        while !Task.isCancelled {
            do {
                let state = try await keepHouse()
                ring.observed(state)
                if state.blockers != blockers && !state.blockers.isEmpty {
                    cluster.configuration.logger.warning(
                        "events that everybody has cannot be removed",
                        metadata: ["tandem.node": "\(node)", "tandem.blockers": "\(state.blockers.joined(separator: ", "))"])
                }
                blockers = state.blockers
                let lags = try await lag()
                // One that is forgotten is in no answer.
                for (name, telemetry) in sinks where !lags.contains(where: { $0.sink == name }) {
                    telemetry.observed(.init(node: node, sink: name, events: 0, seconds: 0, shares: 1, led: 0, relay: nil, parked: 0, dead: 0))
                    sinks[name] = nil
                }
                for lag in lags {
                    let telemetry = sinks[lag.sink] ?? Telemetry(cluster.configuration, node, lag.sink)
                    sinks[lag.sink] = telemetry
                    telemetry.observed(lag)
                }
            } catch let error as TandemError where error.code == .notInitialised {
                // The node has no outbox, and may get one.
            } catch let error as TandemError {
                cluster.configuration.logger.warning("the outbox is not looked after", metadata: ["tandem.node": "\(node)", "tandem.reason": "\(error)"])
            } catch is CancellationError {
                return
            }
            do { try await Task.sleep(for: interval) } catch { return }
        }
    }
}
