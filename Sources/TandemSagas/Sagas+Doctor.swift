import TandemCluster
import TandemCore
public import TandemTransactions

/// What an examination of the home node finds.
extension Sagas {
    /// How late sagas may be before it is said that nobody runs them, in seconds.
    private static let lateness = 60.0

    /// Examines the sagas: whether the home node has its tables, whether any are stuck, whether anybody runs them. It changes nothing.
    ///
    /// - Returns: what was found; nothing where the home node does not answer, which `Cluster.examine()` tells.
    /// - Throws: `CancellationError`.
    public func examine() async throws -> [DoctorReport.Finding] {
        let home = engine.store.node.name
        func finding(_ status: DoctorReport.Status, _ message: String) -> DoctorReport.Finding { .init(home, "sagas", status, message) }
        do {
            try await engine.store.check()
            let backlog = try await engine.store.backlog()
            if backlog.stuck > 0 {
                return [finding(.problem, "\(backlog.stuck) sagas are stuck: `tandem saga ls --stuck` lists them, `tandem saga show ID` tells where")]
            }
            if backlog.overdue >= Self.lateness {
                return [finding(.problem, "a saga has been due for \(Int(backlog.overdue)) s: nobody runs sagas, or too few do; see `tandem saga run`")]
            }
            return [finding(.ok, "\(backlog.open) under way, none is stuck")]
        } catch let error as TandemError where error.code == .notInitialised || error.code == .schemaMismatch {
            return [finding(.notice, "\(error.message); `tandem init` makes what sagas need")]
        } catch is TandemError {
            return []
        }
    }
}
