import Foundation

extension ChaosResult {
    /// The run as a page for people: what was done, what came of it, and how to do it again.
    ///
    /// - Parameter options: what the run was made of.
    /// - Returns: Markdown.
    package func markdown(_ options: ChaosOptions) -> String {
        func seconds(_ value: Double) -> String { String(format: "%.2f s", value) }
        let kinds = FaultKind.allCases.filter { faults[$0.rawValue] != nil }
        let faultRows = kinds.map { "| \($0.rawValue) | \(faults[$0.rawValue] ?? 0) |" }.joined(separator: "\n")
        let schedule = options.schedule.faults.map { fault in
            let target = fault.kind.isOfNode ? "n\(fault.target + 1)" : fault.kind == .recovery ? "all nodes" : "coordinator \(fault.target + 1)"
            let cut = fault.coordinators.isEmpty ? "" : " from coordinators \(fault.coordinators.map { String($0 + 1) }.joined(separator: ", "))"
            return String(format: "| %.1f | ", Double(fault.start) / 1000) + "\(fault.kind.rawValue) | \(target)\(cut) | "
                + (fault.duration == 0 ? "-" : String(format: "%.1f", Double(fault.duration) / 1000)) + " |"
        }.joined(separator: "\n")
        let found =
            findings.isEmpty ? "Nothing." : findings.map { "- **\($0.kind)**\($0.isViolation ? "" : " (not promised)"): \($0.message)" }.joined(separator: "\n")
        return """
            # A chaos run: \(verdict.rawValue)

            Seed \(seed), workload \(workload.rawValue), \(nodes) nodes, \(coordinators) coordinators with \(options.clients) clients each, \(self.seconds) s.

            ```sh
            \(options.command)
            ```

            | | |
            |---|---|
            | transactions sent | \(transactions) |
            | acknowledged | \(acknowledged) |
            | rolled back | \(rolled_back) |
            | without an outcome for their callers | \(unknown) |
            | of those committed, as recovery found | \(unknown_committed) |
            | of those without an outcome after recovery | \(unknown_after_recovery) |
            | violations | \(violations) |
            | branches prepared after recovery | \(in_doubt_after) |
            | from healing to nothing prepared: median, 99 %, longest | \(seconds(recovery_seconds.p50)), \(seconds(recovery_seconds.p99)), \(seconds(recovery_seconds.max)) |
            \(reasons.isEmpty ? "" : "\nThe run says nothing, because:\n\n\(reasons.map { "- \($0)" }.joined(separator: "\n"))\n")
            ## What was found

            \(found)

            ## Faults

            | kind | times |
            |---|---|
            \(faultRows)

            | at, s | kind | target | for, s |
            |---|---|---|---|
            \(schedule)

            """
    }
}

extension ChaosOptions {
    /// The command that runs this again.
    package var command: String {
        "tandem chaos run --seed \(seed) --seconds \(seconds) --nodes \(nodes) --coordinators \(coordinators) --clients \(clients) --workload \(workload.rawValue) "
            + "--faults \(faults.map(\.rawValue).joined(separator: ","))"
    }
}
