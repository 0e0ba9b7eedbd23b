package import TandemCore
import TandemPostgres

extension TestCluster {
    /// While the body runs, every synchronous commit of the node is durable and waits for a standby that does not exist (row 2.2 of the faults).
    package func withGhost<Value>(_ node: NodeName, _ body: () async throws -> Value) async throws -> Value {
        try await setGhost("'ghost'", on: node)
        do {
            // The checkpointer makes it known; until then commits go through.
            try await wait(for: "the ghost standby") { try await waitsForGhost(node) }
            let value = try await body()
            try await setGhost("''", on: node)
            return value
        } catch {
            try await setGhost("''", on: node)
            throw error
        }
    }

    private func setGhost(_ value: String, on node: NodeName) async throws {
        try await sql(try superuser(node), "ALTER SYSTEM SET synchronous_standby_names = \(value)", "SELECT pg_reload_conf()")
    }

    private func waitsForGhost(_ node: NodeName) async throws -> Bool {
        let probe = try await session(node)
        let task = Task { try await probe.connection.run(Batch([Statement("SELECT pg_logical_emit_message(true, 'probe', '')")], interruption: .abandon)) }
        var isOver = false
        while !isOver {
            // Idle before the probe has come is not idle after it: that one has its text.
            let state = try await value(
                node,
                """
                SELECT CASE WHEN wait_event = 'SyncRep' THEN 'waits' WHEN state = 'idle' AND query LIKE '%probe%' THEN 'over' END
                FROM pg_stat_activity WHERE pid = \(probe.backend)
                """)
            if state == "waits" {
                await probe.close()
                _ = await task.result
                return true
            }
            isOver = state == "over"
            await tick()
        }
        _ = try await task.value
        await probe.close()
        return false
    }

    /// The backend that waits for the ghost on behalf of a transaction.
    package func waitingBackend(_ node: NodeName) async throws -> Int {
        let text = "SELECT min(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep' AND application_name LIKE 'tandem%'"
        try await wait(for: "a wait for the standby") { try await value(node, text) != nil }
        guard let backend = Int(try await value(node, text) ?? "") else { throw TestFailure("the wait for the standby ended by itself") }
        return backend
    }
}
