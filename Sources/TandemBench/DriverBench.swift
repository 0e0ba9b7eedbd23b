import Foundation
package import TandemCluster
import TandemCore
import TandemLocal
import TandemPostgres
import TandemTransactions

/// `tandem bench driver`: rows and bulk data through the driver, beside a plain loop over libpq and psql's `\copy`.
package struct DriverBench: Sendable {
    /// A rate, and what it is compared with.
    package struct Line: Sendable, Codable {
        /// Rows a second.
        package let rows_per_second: Double
        /// The same of the plain loop, or of psql.
        package let baseline_per_second: Double
        /// The median of the rounds' ratios, and how far they spread.
        package let ratio: CommitBench.Ratio
    }

    /// What was measured.
    package struct Result: Sendable, Codable {
        package let rows: Int
        package let rounds: Int
        package var lines: [String: Line] = [:]
    }

    private static let rounds = 5
    private static let patience = Duration.seconds(120)
    /// As many as a call that collects rows may hold: read again and again.
    private static let page = 10_000

    private let configuration: ClusterConfiguration
    private let rows: Int
    private let psqlPath: String?
    private let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - configuration: the first node is used, on which a table `tandem_bench_row` is made anew.
    ///   - rows: how many rows each line reads or writes a round.
    ///   - psqlPath: the server's `psql`, or `nil` to leave the lines of COPY out.
    ///   - progress: told what is being done.
    package init(_ configuration: ClusterConfiguration, rows: Int, psqlPath: String?, progress: @escaping @Sendable (String) -> Void) {
        self.configuration = configuration
        self.rows = rows
        self.psqlPath = psqlPath
        self.progress = progress
    }

    /// Measures: in each round every line and its baseline, one after the other.
    package func run() async throws -> Result {
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        let node = cluster[configuration.nodes[0].name]
        progress("filling \(rows) rows")
        try await node.execute("DROP TABLE IF EXISTS tandem_bench_row")
        try await node.execute("CREATE TABLE tandem_bench_row (a int8, b int4, c float8, d bool, e text, f text, g int8, h int4)")
        try await node.execute(
            """
            INSERT INTO tandem_bench_row
            SELECT i, i % 1000, i * 0.5, i % 2 = 0, 'text ' || i % 100, repeat('x', 30), i * 1000000007::int8, -i FROM generate_series(1, \(rows)) i
            """, timeout: Self.patience)
        try await node.execute("VACUUM ANALYZE tandem_bench_row", timeout: Self.patience)
        try await node.execute("DROP TABLE IF EXISTS tandem_bench_page")
        try await node.execute("CREATE TABLE tandem_bench_page AS SELECT * FROM tandem_bench_row LIMIT \(Self.page)")
        var measured: [String: [(own: Double, other: Double)]] = [:]
        for round in 1...Self.rounds {
            progress("round \(round) of \(Self.rounds)")
            for isBinary in [false, true] {
                for isRowByRow in [false, true] {
                    let name = "\(isRowByRow ? "streamed" : "buffered")_\(isBinary ? "binary" : "text")"
                    measured[name, default: []].append(try await compareRows(cluster, isBinary: isBinary, isRowByRow: isRowByRow))
                }
            }
            if let psqlPath {
                let (out, `in`) = try await compareCopy(node, psqlPath)
                measured["copy_out", default: []].append(out)
                measured["copy_in", default: []].append(`in`)
            }
        }
        try await node.execute("DROP TABLE tandem_bench_row, tandem_bench_page")
        var result = Result(rows: rows, rounds: Self.rounds)
        for (name, values) in measured {
            result.lines[name] = Line(
                rows_per_second: values.map(\.own).median, baseline_per_second: values.map(\.other).median,
                ratio: CommitBench.Ratio(values.map { $0.own / $0.other }))
        }
        return result
    }

    // MARK: Rows

    private func compareRows(_ cluster: Cluster, isBinary: Bool, isRowByRow: Bool) async throws -> (own: Double, other: Double) {
        let text = isRowByRow ? "SELECT * FROM tandem_bench_row" : "SELECT * FROM tandem_bench_page"
        let times = isRowByRow ? 1 : max(1, rows / Self.page)
        let conninfo = configuration.nodes[0].conninfo, password = configuration.nodes[0].password?.value
        let start = ContinuousClock.now
        let other = LibPQBaseline.read(
            password.map { "\(conninfo) password='\($0)'" } ?? conninfo, text, times: times, isBinary: isBinary, isRowByRow: isRowByRow)
        let middle = ContinuousClock.now
        let lane = cluster.lanes[0]
        let own = try await withTaskExecutorPreference(lane.reactor) {
            try await read(lane, Statement(text, resultFormat: isBinary ? .binary : .text), times: times, isRowByRow: isRowByRow)
        }
        let end = ContinuousClock.now
        guard let other, own == other else {
            throw TandemError(.protocolViolation, "the driver read other values than a plain loop", node: configuration.nodes[0].name, phase: "bench")
        }
        return (Double(own.rows) / (end - middle).inSeconds, Double(other.rows) / (middle - start).inSeconds)
    }

    @concurrent
    private func read(_ lane: Lane, _ statement: Statement, times: Int, isRowByRow: Bool) async throws -> LibPQBaseline.Sum {
        guard let pool = lane.pools[configuration.nodes[0].name] else { return LibPQBaseline.Sum() }
        let connection = try await pool.lease(deadline: .now + Self.patience)
        defer { lane.reactor.execute { pool.release(connection) } }
        var sum = LibPQBaseline.Sum()
        for _ in 0..<times {
            if isRowByRow {
                let rows = RowStream()
                let flight = connection.launch(Batch([statement]), into: rows, deadline: .now + Self.patience)
                for try await row in RowSequence(rows, on: lane.reactor, describe: { $0 }) {
                    let v = try row.decode(as: Int64.self, Int32.self, Double.self, Bool.self, String.self, String.self, Int64.self, Int32.self)
                    sum.add(v.0, v.1, v.2, v.3, v.4, v.5, v.6, v.7)
                }
                _ = try await flight.answers()[0].get()
            } else {
                let reply = try await connection.run(Batch([statement], isBounded: true), deadline: .now + Self.patience).only
                if let error = reply.error { throw error }
                guard let result = reply.results.last else { continue }
                let reader = result.reader
                for row in 0..<result.rowCount {
                    let v = try reader.decodeRow(row, as: Int64.self, Int32.self, Double.self, Bool.self, String.self, String.self, Int64.self, Int32.self)
                    sum.add(v.0, v.1, v.2, v.3, v.4, v.5, v.6, v.7)
                }
            }
        }
        return sum
    }

    // MARK: COPY

    private func compareCopy(_ node: Node, _ psql: String) async throws -> (out: (own: Double, other: Double), in: (own: Double, other: Double)) {
        let folder = FileManager.default.temporaryDirectory
        let file = folder.appendingPathComponent("tandem-bench-\(UUID().uuidString).copy")
        defer { try? FileManager.default.removeItem(at: file) }
        let count = Double(rows)
        func timed(_ body: () async throws -> Void) async throws -> Double {
            let start = ContinuousClock.now
            try await body()
            return count / (ContinuousClock.now - start).inSeconds
        }
        let otherOut = try await timed { try await run(psql, "\\copy tandem_bench_row TO '\(file.path)'") }
        let ownOut = try await timed {
            _ = FileManager.default.createFile(atPath: file.path, contents: nil)
            let handle = try FileHandle(forWritingTo: file)
            try await node.copyOut("COPY tandem_bench_row TO STDOUT", timeout: Self.patience) { rows in
                for try await chunk in rows { try handle.write(contentsOf: chunk) }
            }
            try handle.close()
        }
        try await node.execute("TRUNCATE tandem_bench_row")
        let otherIn = try await timed { try await run(psql, "\\copy tandem_bench_row FROM '\(file.path)'") }
        try await node.execute("TRUNCATE tandem_bench_row")
        let ownIn = try await timed {
            let handle = try FileHandle(forReadingFrom: file)
            let source = AsyncThrowingStream<Data, any Error>(unfolding: {
                let data = try handle.read(upToCount: 1 << 16) ?? Data()
                return data.isEmpty ? nil : data
            })
            let written = try await node.copyIn("COPY tandem_bench_row FROM STDIN", from: source, timeout: Self.patience)
            guard written == rows else { throw TandemError(.protocolViolation, "\(written) of \(rows) rows were copied", node: node.name, phase: "bench") }
        }
        return ((ownOut, otherOut), (ownIn, otherIn))
    }

    private func run(_ psql: String, _ command: String) async throws {
        let node = configuration.nodes[0]
        _ = try await ProgramOutput.of(
            [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", command, node.conninfo], environment: node.password.map { ["PGPASSWORD=\($0.value)"] } ?? [],
            within: Self.patience)
    }
}
