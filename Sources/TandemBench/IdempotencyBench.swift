package import TandemCluster
import TandemCore
import TandemIdempotency
import TandemPostgres
import TandemTransactions

/// `tandem bench idempotency`: what it costs that an insert happens once, beside the same insert without a key.
package struct IdempotencyBench: Sendable {
    /// What is compared.
    package enum Line: String, Sendable, CaseIterable {
        /// The insert, in a transaction of one message.
        case plain
        /// Key, insert and a response that is known before, in one message.
        case known
        /// Key, insert and a response that is made of what the insert returned, in two messages.
        case made
    }

    /// What was measured.
    package struct Result: Sendable, Codable {
        /// One number of clients.
        package struct Load: Sendable, Codable {
            package var clients: Int
            /// Inserts a second by line, the median of the rounds.
            package var per_second: [String: Double] = [:]
            /// What a line reaches of the plain insert in the same round: the median of the rounds.
            package var to_plain: [String: Double] = [:]
        }

        package var loads: [Load] = []
        package var rounds: Int
        /// Whether there is one row for each request, and one for each key.
        package var rows_are_exact = false

        /// Whether the figures count.
        package var isSound: Bool { rows_are_exact }
    }

    private let configuration: ClusterConfiguration
    private let clients: [Int], seconds: Double, rounds: Int
    private let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - configuration: a node with the table of keys, on which `tandem_bench_payment` is made anew.
    ///   - clients: the numbers of clients to measure with.
    ///   - seconds: how long each line of a round is measured.
    ///   - rounds: how many rounds, each with all lines in turn.
    ///   - progress: told what is being done.
    package init(_ configuration: ClusterConfiguration, clients: [Int], seconds: Double, rounds: Int, progress: @escaping @Sendable (String) -> Void) {
        self.configuration = configuration.sized(for: clients.max() ?? 1)
        self.clients = clients
        self.seconds = seconds
        self.rounds = rounds
        self.progress = progress
    }

    /// Measures.
    ///
    /// - Returns: the result; look at ``Result/isSound`` first.
    /// - Throws: the first error.
    package func run() async throws -> Result {
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        let node = configuration.nodes[0].name
        try await cluster[node].execute("DROP TABLE IF EXISTS tandem_bench_payment")
        try await cluster[node].execute(
            "CREATE TABLE tandem_bench_payment (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, reference text NOT NULL, amount int, kind int NOT NULL)")
        try await cluster.fillPools()
        let idempotency = Idempotency(cluster, on: node)
        let before = try await keys(cluster, node)
        var result = Result(rounds: rounds), sent: [Line: Int] = [:]
        for count in clients {
            var rates: [Line: [Double]] = [:]
            for round in 0...rounds {
                progress(round == 0 ? "\(count) clients: warming up" : "\(count) clients: round \(round) of \(rounds)")
                for line in Line.allCases {
                    let measured = try await load(line, count, cluster, idempotency, seconds: round == 0 ? min(1, seconds) : seconds)
                    sent[line, default: 0] += measured.transactions
                    if round > 0 { rates[line, default: []].append(measured.perSecond) }
                }
            }
            var load = Result.Load(clients: count)
            for line in Line.allCases {
                let own = rates[line] ?? [], plain = rates[.plain] ?? []
                load.per_second[line.rawValue] = own.median
                load.to_plain[line.rawValue] = zip(own, plain).map { $0 / $1 }.median
            }
            result.loads.append(load)
        }
        let rows = try await cluster[node].query(
            "SELECT kind, count(*), count(DISTINCT reference) FROM tandem_bench_payment GROUP BY kind", as: Int.self, Int.self, Int.self)
        let counts = Dictionary(uniqueKeysWithValues: rows.map { ($0, ($1, $2)) })
        let isExact = Line.allCases.enumerated().allSatisfy { kind, line in counts[kind].map { $0 == (sent[line] ?? 0, sent[line] ?? 0) } ?? false }
        let stored = try await keys(cluster, node) - before
        result.rows_are_exact = isExact && stored == (sent[.known] ?? 0) + (sent[.made] ?? 0)
        try await cluster[node].execute("DROP TABLE tandem_bench_payment")
        return result
    }

    private func keys(_ cluster: Cluster, _ node: NodeName) async throws -> Int {
        // The owner of the table sees all of them; where the role is not, only rows can be counted.
        try await cluster[node].query("SELECT count(*) FROM tandem.idempotency", as: Int.self).first ?? 0
    }

    private func load(_ line: Line, _ clients: Int, _ cluster: Cluster, _ idempotency: Idempotency, seconds: Double) async throws -> Measurement {
        let start = ContinuousClock.now, end = start + .seconds(seconds)
        var total = try await withThrowingTaskGroup(of: Measurement.self) { group in
            for client in 0..<clients {
                group.addTask(executorPreference: cluster.executor(ofClient: client)) {
                    var part = Measurement(), random = FastRandom(seed: .random(in: 1 ... .max))
                    while ContinuousClock.now < end {
                        try await once(line, cluster, idempotency, &random)
                        part.transactions += 1
                    }
                    return part
                }
            }
            return try await group.reduce(into: Measurement()) { $0.add($1) }
        }
        total.seconds = (ContinuousClock.now - start).inSeconds
        return total
    }

    private func once(_ line: Line, _ cluster: Cluster, _ idempotency: Idempotency, _ random: inout FastRandom) async throws {
        let reference = "\(random.next(1 << 40))-\(random.next(1 << 40))", amount = 1 + random.next(1000)
        let kind = Line.allCases.firstIndex(of: line) ?? 0
        let insert: SQL = "INSERT INTO tandem_bench_payment (reference, amount, kind) VALUES (\(reference), \(amount), \(kind)) RETURNING id"
        let key = IdempotencyKey(scope: "bench/payments", key: reference), print = RequestFingerprint("POST", "/payments", "\(amount)")
        switch line {
        case .plain:
            var request = TransactionRequest([.init(idempotency.node, insert)])
            request.options.isRecorded = false
            _ = try await cluster.run(request)
        case .known:
            _ = try await idempotency.once(
                key, print, statements: [insert], response: StoredResponse(status: 202, headers: [.init("Location", "/payments/\(reference)")]))
        case .made:
            _ = try await idempotency.once(key, print, statements: [insert]) { results in
                StoredResponse(status: 201, headers: [.init("Location", "/payments")], body: Array("{\"id\":\(results[0].values[0][0] ?? "")}".utf8))
            }
        }
    }
}
