import TandemCore
public import TandemTransactions

/// What an examination of a node's inbox finds.
extension Inbox {
    /// How long a message may wait in a queue before it is said that nobody handles it, in seconds.
    private static let lateness = 60.0

    /// Examines the inbox: whether there are dead letters, and whether anybody handles the queues. It changes nothing.
    ///
    /// - Returns: what was found; nothing where the node has no inbox, or does not answer, which `Cluster.examine()` tells.
    /// - Throws: `CancellationError`.
    public func examine() async throws -> [DoctorReport.Finding] {
        func finding(_ status: DoctorReport.Status, _ message: String) -> DoctorReport.Finding { .init(node, "inbox", status, message) }
        do {
            var findings: [DoctorReport.Finding] = []
            let lags = try await lag()
            for lag in lags {
                if lag.dead > 0 {
                    findings.append(finding(.problem, "\(lag.dead) dead letters of \(lag.consumer): `tandem inbox ls --node \(node)` lists them"))
                }
                if lag.seconds >= Self.lateness {
                    let count = lag.waiting < InboxLag.mostWaiting ? "\(lag.waiting)" : "\(lag.waiting) or more"
                    findings.append(
                        finding(
                            .problem,
                            "\(count) messages wait in the queue \(lag.consumer), the first for \(Int(lag.seconds)) s: nobody handles them, or too slowly"))
                }
            }
            return findings.isEmpty ? [finding(.ok, "no dead letters, no message waits for long")] : findings
        } catch is TandemError {
            return []
        }
    }
}
