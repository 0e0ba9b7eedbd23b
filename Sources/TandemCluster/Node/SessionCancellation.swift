package import TandemPostgres

/// Cancels what a session runs, over another connection of the same node: protected as that is, and guarded, so that no other session is hit and no wait for a
/// standby is cut short.
///
/// `PQcancel` opens a connection of its own for it, without TLS in libpq 15 and 16, and knows only the number of a process.
package struct SessionCancellation: Sendable {
    private static let patience = Duration.seconds(2)

    let backend: Int32
    /// When the process began, as the server writes it.
    let start: String
    let control: Pool

    package init(backend: Int32, start: String, control: Pool) {
        self.backend = backend
        self.start = start
        self.control = control
    }

    /// Asks, soon; nobody waits for it. `otherwise` is called where the node cannot be asked.
    package func run(otherwise: @escaping @Sendable () -> Void) {
        let control = control, statement = statement
        control.reactor.execute {
            control.lease(deadline: .now + Self.patience) { result in
                guard let connection = try? result.get() else { return otherwise() }
                connection.submit(Batch([statement]), deadline: .now + Self.patience) { reply in
                    control.release(connection)
                    guard case .success(let answer) = reply, answer.only.error == nil else { return otherwise() }
                }
            }
        }
    }

    /// A3: a session that waits for a standby has its commit on this disk already, and cancelled it would be visible without being there.
    private var statement: Statement {
        Statement(
            """
            SELECT pg_catalog.pg_cancel_backend(a.pid) FROM pg_catalog.pg_stat_activity a
            WHERE a.pid OPERATOR(pg_catalog.=) $1::pg_catalog.int4 AND a.backend_start OPERATOR(pg_catalog.=) $2::pg_catalog.timestamptz
              AND pg_catalog.starts_with(a.application_name, 'tandem') AND a.wait_event IS DISTINCT FROM 'SyncRep'
            """, parameters: ParameterBuffer(texts: [String(backend), start]))
    }
}
