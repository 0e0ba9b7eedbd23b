import Logging
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// What has to be done for an inbox as long as it is used, by at least one process.
extension Inbox {
    /// Pages of ids without a time that one statement looks at.
    private static let pages = 256

    /// Keeps house until the task is cancelled: forgets messages that were received long ago, those whose ids tell their time after a fortnight, others after a month, and
    /// tells the gauges what waits.
    ///
    /// - Parameters:
    ///   - interval: from one round of forgetting to the next.
    ///   - glance: from one look at what waits to the next.
    /// - Throws: nothing: what could not be done is done the next time. Cancellation ends it.
    public func run(every interval: Duration = .seconds(600), observing glance: Duration = .seconds(5)) async throws {
        var consumers: [String: Telemetry] = [:], due = ContinuousClock.now, logged: TandemError.Code?
        while !Task.isCancelled {
            do {
                if due <= .now {
                    due = .now + interval
                    try await forget()
                }
                try await observe(&consumers)
                logged = nil
            } catch let error as TandemError where error.code == .notInitialised {
                // The node has no inbox, and may get one.
            } catch let error as TandemError {
                if logged != error.code {
                    cluster.configuration.logger.warning("the inbox is not looked after", metadata: ["tandem.node": "\(node)", "tandem.reason": "\(error)"])
                }
                logged = error.code
            } catch is CancellationError {
                return
            }
            do { try await Task.sleep(for: glance) } catch { return }
        }
    }

    private func observe(_ consumers: inout [String: Telemetry]) async throws {
        let lags = try await lag()
        // A queue that is empty is in no answer.
        for (name, telemetry) in consumers where !lags.contains(where: { $0.consumer == name }) {
            telemetry.observed(InboxLag(node: node, consumer: name, waiting: 0, seconds: 0, dead: 0))
        }
        for lag in lags {
            let telemetry = consumers[lag.consumer] ?? Telemetry(cluster.configuration, node, lag.consumer)
            consumers[lag.consumer] = telemetry
            telemetry.observed(lag)
        }
    }

    /// Forgets what is due to be forgotten.
    ///
    /// - Throws: `notInitialised`; `nodeUnreachable` and kin. Cancellation ends it between two statements.
    public func forget() async throws {
        while true {
            let forgotten = try await result("SELECT f.emptied, f.blocked FROM tandem.inbox_forget() f")
            if forgotten.text(0, 0) == nil {
                if let slot = forgotten.text(0, 1) {
                    cluster.configuration.logger.warning(
                        "messages that were received long ago cannot be forgotten: a transaction, perhaps a prepared one, has their part of the inbox",
                        metadata: ["tandem.node": "\(node)", "tandem.table": "tandem.inbox_\(slot)"])
                }
                break
            }
            try Task.checkCancellation()
        }
        var page: Int64? = 0
        while let from = page {
            try Task.checkCancellation()
            page = try await result("SELECT s.next_page FROM tandem.inbox_sweep(\(from)::int8, \(Self.pages)::int) s").text(0, 0).flatMap { Int64($0) }
        }
    }
}
