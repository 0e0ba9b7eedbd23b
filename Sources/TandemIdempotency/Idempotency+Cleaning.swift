import Logging
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// Keys that have expired.
extension Idempotency {
    /// Pages of the table that one statement looks at.
    private static let pages = 256

    /// Removes expired keys until the task is cancelled: a round every so often, in batches of pages with a pause between.
    ///
    /// - Parameter interval: from the begin of one round to that of the next.
    /// - Throws: nothing: what it could not do it does the next time. Cancellation ends it.
    public func run(every interval: Duration = .seconds(600)) async throws {
        while !Task.isCancelled {
            do { try await clean() } catch let error as TandemError where error.sqlState == .undefinedFunction {
                // The node has no such table, and may get it.
            } catch let error as TandemError {
                cluster.configuration.logger.warning("idempotency keys are not removed", metadata: ["tandem.node": "\(node)", "tandem.reason": "\(error)"])
            } catch is CancellationError {
                return
            }
            do { try await Task.sleep(for: interval) } catch { return }
        }
    }

    /// Removes all keys that have expired.
    ///
    /// - Returns: how many.
    /// - Throws: `nodeUnreachable` and kin. Cancellation ends it between two batches.
    @discardableResult
    public func clean() async throws -> Int {
        var removed = 0, page: Int64? = 0
        while let from = page {
            try Task.checkCancellation()
            let rows = try await cluster[node].query(
                "SELECT removed, next_page FROM tandem.idempotency_sweep(\(from)::int8, \(Self.pages)::int)", as: Int.self, Int64?.self)
            guard let (count, next) = rows.first else { return removed }
            removed += count
            telemetry.removed(count)
            page = next
        }
        return removed
    }
}
