import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// Lists of numbers over all nodes: key k lies on the node with the number k mod N.
///
/// Source: Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations" (2020).
struct ListAppendWorkload: Sendable {
    static let schema = ["CREATE TABLE chaos_list (key bigint PRIMARY KEY, elements bigint[] NOT NULL) WITH (fillfactor = 50)"]

    /// Keys that are in use at a time, and how long they are: a list that only grows would be read in ever more time.
    private static let keys = 36, epochMilliseconds = 800

    let cluster: Cluster
    let nodes: [NodeName]

    static func node(of key: Int, among count: Int) -> Int { key % count }

    /// The next transaction of a client.
    ///
    /// - Parameters:
    ///   - random: the client's numbers.
    ///   - elapsed: milliseconds since the run began, by which keys change.
    ///   - element: gives a number that nobody else appends.
    /// - Returns: its steps, without what will be read.
    func next(_ random: inout FastRandom, elapsed: Int, element: () -> Int) -> [MicroOperation] {
        let epoch = elapsed / Self.epochMilliseconds
        var steps: [MicroOperation] = []
        for _ in 0..<(1 + random.next(4)) {
            // Some still look at the keys of the last epoch.
            let base = random.next(8) == 0 ? max(0, epoch - 1) : epoch
            let key = base * Self.keys + random.next(Self.keys)
            steps.append(random.next(2) == 0 ? .read(key: key, elements: nil) : .append(key: key, element: element()))
        }
        // Most lock in one order, as programs should; the rest waits for each other now and then.
        guard random.next(16) != 0 else { return steps }
        return steps.enumerated().sorted {
            ($0.element.key % nodes.count, $0.element.key, $0.offset) < ($1.element.key % nodes.count, $1.element.key, $1.offset)
        }
        .map(\.element)
    }

    /// Runs a transaction.
    ///
    /// - Parameters:
    ///   - steps: what it does.
    ///   - id: its id.
    ///   - asData: whether it goes as data where it only appends; otherwise as a body.
    ///   - timeout: how long it may take.
    /// - Returns: the steps, with what was read.
    /// - Throws: what the transaction throws.
    @concurrent
    func run(_ steps: [MicroOperation], id: TransactionID, asData: Bool, timeout: Duration) async throws -> [MicroOperation] {
        var options = TransactionOptions()
        options.id = id
        options.timeout = timeout
        let appends = steps.compactMap { if case .append(let key, let element) = $0 { (key, element) } else { nil } }
        if asData, appends.count == steps.count {
            let operations = appends.map { TransactionRequest.Operation(node($0.0), Self.append($0.0, $0.1), expectedRows: 1...1) }
            _ = try await cluster.run(TransactionRequest(operations, options: options))
            return steps
        }
        let receipt = try await cluster.transaction(options) { transaction in
            var done: [MicroOperation] = []
            for step in steps {
                switch step {
                case .append(let key, let element):
                    try await transaction[node(key)].execute(Self.append(key, element), rows: 1...1)
                    done.append(step)
                case .read(let key, _):
                    let rows = try await transaction[node(key)].query("SELECT elements FROM chaos_list WHERE key = \(key)", as: [Int].self)
                    done.append(.read(key: key, elements: rows.first ?? []))
                }
            }
            return done
        }
        return receipt.value
    }

    private func node(_ key: Int) -> NodeName { nodes[Self.node(of: key, among: nodes.count)] }

    private static func append(_ key: Int, _ element: Int) -> SQL {
        """
        INSERT INTO chaos_list (key, elements) VALUES (\(key), ARRAY[\(element)::bigint]) \
        ON CONFLICT (key) DO UPDATE SET elements = chaos_list.elements || EXCLUDED.elements
        """
    }
}
