import TandemCluster
import TandemCore
import TandemPostgres

/// Asks all nodes at the same time what they know about transactions.
///
/// On each node the open sessions are read first, then the list of gids, then the rows. A branch passes through these in that order, so one
/// that is seen in none of them was in none of them when the question began.
struct Survey {
    let cluster: Cluster
    /// How long a node may take to answer.
    var limit = Duration.seconds(10)

    /// What a node has open and prepared.
    private struct Listing: Sendable {
        var prepared: [PreparedBranch] = []
        var open: Set<TransactionID> = []
        /// Sessions of Tandem in a transaction that they do not name.
        var unnamed: Set<UnnamedSession> = []
        var members: [(id: NodeID, name: NodeName)] = []
    }

    /// A node's rows, and its horizon.
    private struct Rows: Sendable {
        struct Entry: Sendable {
            let row: Row
            let age: Double?
            let coordinator: String?
            let members: [NodeID]
        }

        var forgotten: TransactionID?
        var entries: [TransactionID: Entry] = [:]
    }

    /// How long sessions that do not name their transaction are waited for: they come and go in milliseconds.
    private static let patience = Duration.seconds(1), pause = Duration.milliseconds(50)

    private var nodes: [NodeName] { cluster.configuration.nodes.map(\.name) }

    /// What is known about one transaction.
    func evidence(of transaction: TransactionID) async -> Evidence {
        let listings = await list()
        return await evidence(of: [transaction], listings)[0]
    }

    /// As ``evidence(of:)``, but `nil` where every node has answered, none has a trace, and no session that was there is in a transaction without
    /// saying in which.
    func trace(of transaction: TransactionID) async -> Evidence? {
        var unnamed = UnnamedSession.Watch()
        let end = ContinuousClock.now + Self.patience
        while true {
            let evidence = await evidence(of: transaction)
            if evidence.hasTrace || evidence.failure != nil { return evidence }
            unnamed.look(evidence.unnamed)
            if !unnamed.mayBeOpen { return nil }
            guard ContinuousClock.now < end, (try? await Task.sleep(for: Self.pause)) != nil else { return evidence }
        }
    }

    /// What is known about each transaction that has a prepared branch, the oldest first, and which nodes did not answer.
    func inDoubt() async -> (evidence: [Evidence], unreachable: [RecoveryReport.Unreachable]) {
        let listings = await list()
        let transactions = Set(listings.values.flatMap { (try? $0.get())?.prepared ?? [] }.map(\.gid.transaction)).sorted()
        let unreachable = nodes.compactMap { node -> RecoveryReport.Unreachable? in
            guard case .failure(let error)? = listings[node] else { return nil }
            return RecoveryReport.Unreachable(node: node, reason: error.description)
        }
        if transactions.isEmpty { return ([], unreachable) }
        return (await evidence(of: transactions, listings), unreachable)
    }

    /// The newest transactions whose ids end with `suffix`, over all nodes that answer.
    func find(suffix: String) async -> (transactions: Set<TransactionID>, failure: TandemError?) {
        let answers = await onEachNode(nodes) { node in
            let result = try await ask(node, [[Self.recent(suffix)]])[0]
            return (0..<result.rowCount).compactMap { result.text($0, 0).flatMap { TransactionID($0) } }
        }
        var found: Set<TransactionID> = []
        var failure: TandemError?
        for answer in answers.values {
            switch answer {
            case .success(let transactions): found.formUnion(transactions)
            case .failure(let error): failure = failure ?? error
            }
        }
        return (found, failure)
    }

    // MARK: The two steps

    private func list() async -> [NodeName: Result<Listing, TandemError>] {
        await onEachNode(nodes) { node in
            // Segments are transactions of their own: each has its own view, whatever the session's isolation level is.
            let results = try await ask(node, [[Self.open], [PreparedBranch.list(cluster.configuration.name)], [Self.members]])
            var listing = Listing()
            for row in 0..<results[0].rowCount {
                let name = results[0].text(row, 0) ?? ""
                if let transaction = TransactionID(String(name.dropFirst(Register.markPrefix.count))) {
                    listing.open.insert(transaction)
                } else if let transaction = results[0].text(row, 1) {
                    listing.unnamed.insert(UnnamedSession(node: node, virtualTransaction: transaction))
                }
            }
            if let id = cluster.nodes[node]?.identity?.id {
                listing.prepared = (0..<results[1].rowCount).compactMap { PreparedBranch(results[1], $0, node: node, id: id) }
            }
            for row in 0..<results[2].rowCount {
                guard let id = results[2].text(row, 0).flatMap({ Int16($0) }).flatMap({ NodeID(rawValue: $0) }),
                    let name = results[2].text(row, 1).flatMap({ try? NodeName($0) })
                else { continue }
                listing.members.append((id, name))
            }
            return listing
        }
    }

    private func evidence(of transactions: [TransactionID], _ listings: [NodeName: Result<Listing, TandemError>]) async -> [Evidence] {
        let answering = nodes.filter { if case .success? = listings[$0] { true } else { false } }
        let rows = await onEachNode(answering) { try await read(transactions, on: $0) }
        let names = names(listings)
        return transactions.map { transaction in
            let nodes = nodes.map { node in
                var said = Evidence.Node(name: node)
                switch (listings[node], rows[node]) {
                case (.success(let listing)?, .success(let rows)?):
                    said.prepared = listing.prepared.first { $0.gid.transaction == transaction }
                    said.isOpen = listing.open.contains(transaction)
                    said.unnamed = listing.unnamed
                    if let entry = rows.entries[transaction] {
                        (said.row, said.rowAge, said.coordinator, said.members) = (entry.row, entry.age, entry.coordinator, entry.members)
                    } else if let forgotten = rows.forgotten, transaction <= forgotten {
                        said.row = .forgotten
                    }
                case (.failure(let error)?, _), (_, .failure(let error)?):
                    said.failure = error
                case (nil, _), (_, nil):
                    said.failure = TandemError(.nodeUnreachable, "the node was not asked", isRetrySafe: true, node: node)
                }
                return said
            }
            return Evidence(transaction: transaction, nodes: nodes, names: names)
        }
    }

    private func read(_ transactions: [TransactionID], on node: NodeName) async throws -> Rows {
        let result = try await ask(node, [[Self.rows(transactions)]])[0]
        var rows = Rows()
        for row in 0..<result.rowCount {
            rows.forgotten = result.text(row, 0).flatMap { TransactionID($0) }
            guard let transaction = result.text(row, 1).flatMap({ TransactionID($0) }) else { continue }
            rows.entries[transaction] = Rows.Entry(
                row: result.text(row, 2) == "W" ? .work : .tombstone, age: result.text(row, 3).flatMap { Double($0) },
                coordinator: result.text(row, 4), members: NodeID.list(result.text(row, 5)))
        }
        return rows
    }

    /// Any node knows the numbers of all, so that a commit point that never answered can still be named.
    private func names(_ listings: [NodeName: Result<Listing, TandemError>]) -> [NodeID: NodeName] {
        var names: [NodeID: NodeName] = [:]
        for case .success(let listing) in listings.values {
            for member in listing.members { names[member.id] = member.name }
        }
        names.merge(cluster.namesByNumber) { $1 }
        return names
    }

    // MARK: Messages

    /// One result a segment; the first error of the server is thrown.
    private func ask(_ node: NodeName, _ segments: [[Statement]]) async throws -> [ResultSet] {
        let reply = try await cluster.runControl(node, Batch(segments: segments), within: limit)
        return try reply.segments.map { segment in
            if let error = segment.error { throw TandemError(error, node: node, phase: "survey") }
            guard let result = segment.results.last else { throw TandemError(.protocolViolation, "the server sent no answer", node: node) }
            return result
        }
    }

    /// Runs `body` for all nodes at the same time and waits for every answer.
    func onEachNode<Answer: Sendable>(
        _ nodes: [NodeName], _ body: @escaping @Sendable (NodeName) async throws -> Answer
    ) async -> [NodeName: Result<Answer, TandemError>] {
        await withTaskGroup(of: (NodeName, Result<Answer, TandemError>).self) { group in
            for node in nodes {
                group.addTask {
                    do {
                        return (node, .success(try await body(node)))
                    } catch let error as TandemError {
                        return (node, .failure(error))
                    } catch {
                        return (node, .failure(TandemError(.nodeUnreachable, "\(error)", isRetrySafe: true, node: node, cause: error)))
                    }
                }
            }
            var answers: [NodeName: Result<Answer, TandemError>] = [:]
            for await (node, answer) in group { answers[node] = answer }
            return answers
        }
    }

    // MARK: Statements

    /// How many rows of a node's register an unambiguous end of an id is looked for in.
    private static let recentRows = 100_000

    /// Who is in a transaction of ours: the mark is set right after BEGIN, for the transaction only. A branch that is one message has none: of
    /// such a session only the server's own name of its transaction is known.
    private static let open = Statement(
        """
        SELECT DISTINCT a.application_name, l.virtualxid
        FROM pg_catalog.pg_stat_activity a LEFT JOIN pg_catalog.pg_locks l
          ON l.pid OPERATOR(pg_catalog.=) a.pid AND l.locktype OPERATOR(pg_catalog.=) 'virtualxid' AND l.granted
        WHERE a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
          AND (pg_catalog.starts_with(a.application_name, 'tandem:')
               OR a.application_name OPERATOR(pg_catalog.=) 'tandem' AND l.virtualxid IS NOT NULL)
        """)

    private static let members = Statement("SELECT m.node_id, m.name FROM tandem.member m")

    /// The rows of this node, and its horizon in the same view: a row that has been removed is seen as forgotten, never as absent.
    private static func rows(_ transactions: [TransactionID]) -> Statement {
        Statement(
            """
            SELECT n.forgotten, b.transaction_id, b.kind, extract(epoch FROM pg_catalog.clock_timestamp() - b.at), b.coordinator, b.members
            FROM tandem.node n LEFT JOIN tandem.branch b
              ON b.node OPERATOR(pg_catalog.=) n.node_id AND b.transaction_id OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.uuid[])
            """, parameters: ParameterBuffer(texts: ["{\(transactions.map(\.description).joined(separator: ","))}"]))
    }

    private static func recent(_ suffix: String) -> Statement {
        Statement(
            """
            SELECT DISTINCT r.transaction_id FROM
                (SELECT b.transaction_id FROM tandem.branch b ORDER BY b.transaction_id DESC LIMIT \(recentRows)) r
            WHERE pg_catalog.right(r.transaction_id::text, $2::int) OPERATOR(pg_catalog.=) $1 LIMIT 10
            """, parameters: ParameterBuffer(texts: [suffix, String(suffix.utf8.count)]))
    }
}
