import TandemCore
import TandemPostgres
public import TandemTransactions

/// What an examination of a node's outbox finds.
extension Outbox {
    /// How long an event may wait for a sink before it is said that it does, in seconds.
    private static let lateness = 60.0

    /// Examines the outbox: whether it is this server's, whether each sink gets its events, and whether any are set aside. It changes nothing.
    ///
    /// - Returns: what was found; nothing where the node has no outbox, or does not answer, which `Cluster.examine()` tells.
    /// - Throws: `CancellationError`.
    public func examine() async throws -> [DoctorReport.Finding] {
        func finding(_ status: DoctorReport.Status, _ message: String) -> DoctorReport.Finding { .init(node, "outbox", status, message) }
        do {
            if try await isRestored() {
                return [finding(.problem, "the outbox comes from another server, and its relays wait: see `tandem outbox rebase`")]
            }
            let lags = try await lag()
            var findings: [DoctorReport.Finding] = []
            for lag in lags {
                if lag.seconds >= Self.lateness && lag.events > 0 {
                    let free = lag.shares - lag.led
                    let reason =
                        switch (lag.led, free) {
                        case (0, _): "no relay has it: run `tandem outbox run`, or `tandem outbox remove` it"
                        case (_, 0): "its relay's log says why"
                        default: "\(free) of its \(lag.shares) shares have no relay: see the log of \(lag.relay ?? "the relays")"
                        }
                    findings.append(finding(.problem, "the sink \(lag.sink) is \(Int(lag.seconds)) s behind; \(reason)"))
                }
                if lag.parked + lag.dead > 0 {
                    findings.append(
                        finding(
                            .problem,
                            "\(lag.parked) events wait and \(lag.dead) are given up at the sink \(lag.sink): `tandem outbox ls --node \(node)` lists them"))
                }
            }
            return findings.isEmpty ? [finding(.ok, "\(lags.count) sinks, none is behind, nothing is set aside")] : findings
        } catch is TandemError {
            return []
        }
    }

    /// Whether the transaction ids of its positions are another server's.
    private func isRestored() async throws -> Bool { try await result("SELECT tandem.outbox_check()").text(0, 0) == "restored" }
}
