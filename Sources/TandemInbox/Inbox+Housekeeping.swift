import Logging
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// What has to be done for an inbox as long as it is used, by at least one process.
extension Inbox {
    /// Pages of ids without a time that one statement looks at.
    private static let pages = 256

    /// Forgets messages that were received long ago, until the task is cancelled: those whose ids tell their time after a fortnight, others after a month.
    ///
    /// - Parameter interval: from one round to the next.
    /// - Throws: nothing: what could not be done is done the next time. Cancellation ends it.
    public func run(every interval: Duration = .seconds(600)) async throws {
        while !Task.isCancelled {
            do { try await forget() } catch let error as TandemError where error.code == .notInitialised {
                // The node has no inbox, and may get one.
            } catch let error as TandemError {
                cluster.configuration.logger.warning("received messages are not forgotten", metadata: ["tandem.node": "\(node)", "tandem.reason": "\(error)"])
            } catch is CancellationError {
                return
            }
            do { try await Task.sleep(for: interval) } catch { return }
        }
    }

    /// Forgets what is due to be forgotten.
    ///
    /// - Throws: `notInitialised`; `nodeUnreachable` and kin. Cancellation ends it between two statements.
    public func forget() async throws {
        while try await result("SELECT f.emptied FROM tandem.inbox_forget() f").text(0, 0) != nil { try Task.checkCancellation() }
        var page: Int64? = 0
        while let from = page {
            try Task.checkCancellation()
            page = try await result("SELECT s.next_page FROM tandem.inbox_sweep(\(from)::int8, \(Self.pages)::int) s").text(0, 0).flatMap { Int64($0) }
        }
    }
}
