import Foundation
package import TandemCluster
import TandemCore
import TandemInbox
import TandemLocal
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTransactions

#if RabbitMQ
    import TandemRabbitMQ
#endif

/// `tandem bench outbox`: what publishing costs, how fast relays drain a backlog, and how late an event is that is sent live.
package struct OutboxBench: Sendable {
    /// What was measured.
    package struct Result: Sendable, Codable {
        /// One kind of sink.
        package struct SinkResult: Sendable, Codable {
            /// Events of the backlog that the sink had in a second.
            package var relay_per_second = 0.0
        }

        package let events: Int
        /// Events that were published in a second, one client, each in a durable transaction of its own.
        package var publish_per_second = 0.0
        /// Events of the backlog that a process behind a pipe read in a second.
        package var relay_per_second = 0.0
        package var latency_p50_ms = 0.0
        package var latency_p99_ms = 0.0
        /// Events a second while the latency was measured.
        package var live_per_second = 0.0
        /// The time of a publication for one of an insert of the same row, at synchronous_commit = off: the median of interleaved rounds.
        package var publish_cost = 0.0
        package var peak_rss_mib = 0.0
        package var sinks: [String: SinkResult] = [:]
        /// Whether a reader at REPEATABLE READ was open all the time.
        package let has_reader: Bool
        /// Whether each event was there, each key's in its order.
        package var order_is_kept = false

        /// Whether the figures count.
        package var isSound: Bool { order_is_kept }
    }

    /// How it is measured.
    package struct Options: Sendable {
        /// The backlog.
        package var events = 200_000
        package var rounds = 25
        /// How long the latency is measured.
        package var seconds = 10
        /// Events a second then.
        package var live = 1000
        /// Whether a reader at REPEATABLE READ is held open.
        package var hasReader = false

        package init() {}
    }

    private static let keys = 100
    /// Publications of one line in a round.
    private static let batch = 2000

    private let configuration: ClusterConfiguration
    private let options: Options
    private let program: String
    private let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - configuration: two nodes with the tables of outbox and inbox, which are not used otherwise.
    ///   - options: how it is measured.
    ///   - program: the path of `tandem`, which reads the lines at the other end of a pipe.
    ///   - progress: told what is being done.
    package init(_ configuration: ClusterConfiguration, options: Options, program: String, progress: @escaping @Sendable (String) -> Void) {
        self.configuration = configuration.sized(for: 16)
        self.options = options
        self.program = program
        self.progress = progress
    }

    /// Measures.
    ///
    /// - Returns: the result; look at ``Result/isSound`` first.
    /// - Throws: the first error.
    package func run() async throws -> Result {
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        let source = configuration.nodes[0].name, target = configuration.nodes[1].name
        try await cluster.fillPools()
        guard options.hasReader else { return try await run(cluster, source, target) }
        var reading = TransactionOptions()
        (reading.isolation, reading.isReadOnly, reading.timeout) = (.repeatableRead, true, .seconds(3600))
        return try await cluster[source].transaction(reading) { branch in
            try await withThrowingTaskGroup(of: Result?.self) { group in
                group.addTask { try await run(cluster, source, target) }
                group.addTask {
                    // Now and then, since the node ends a transaction that does nothing.
                    while true {
                        _ = try await branch.query("SELECT count(*) FROM tandem.outbox_sink", as: Int.self)
                        try await Task.sleep(for: .seconds(5))
                    }
                }
                defer { group.cancelAll() }
                guard let result = try await group.next() ?? nil else { throw CancellationError() }
                return result
            }
        }
    }

    private func run(_ cluster: Cluster, _ source: NodeName, _ target: NodeName) async throws -> Result {
        var result = Result(events: options.events, has_reader: options.hasReader)
        progress("publishing, beside plain inserts: \(options.rounds) rounds")
        result.publish_cost = try await cost(cluster, source)
        result.publish_per_second = try await publishing(cluster, source)
        progress("a backlog of \(options.events) events")
        try await backlog(cluster, source)
        progress("lines into a pipe")
        let lines = try await drainLines(cluster, source)
        result.relay_per_second = lines.perSecond
        result.sinks["stdout"] = .init(relay_per_second: lines.perSecond)
        progress("the inbox of \(target)")
        let inbox = try await drainInbox(cluster, source, target)
        result.sinks["postgres"] = .init(relay_per_second: inbox.perSecond)
        result.order_is_kept = lines.isOrdered && inbox.isOrdered
        #if RabbitMQ
            if LocalRabbitMQ.isInstalled {
                progress("a RabbitMQ of its own")
                let rabbit = try await drainRabbitMQ(cluster, source)
                result.sinks["rabbitmq"] = .init(relay_per_second: rabbit.perSecond)
                result.order_is_kept = result.order_is_kept && rabbit.isOrdered
            } else {
                progress("RabbitMQ is not installed, and left out")
            }
        #endif
        progress("\(options.live) events a second for \(options.seconds) s")
        let live = try await latency(cluster, source)
        result.latency_p50_ms = live.percentile(0.5)
        result.latency_p99_ms = live.percentile(0.99)
        result.live_per_second = live.perSecond
        result.peak_rss_mib = Measurement.peakMemory()
        return result
    }

    private func relay(_ cluster: Cluster, _ source: NodeName, _ name: String, _ sink: any Sink) throws -> OutboxRelay {
        var relayOptions = RelayOptions()
        relayOptions.isFromStart = true
        relayOptions.topics = ["bench"]
        return try OutboxRelay(cluster, from: source, to: name, sink, options: relayOptions)
    }

    // MARK: Publishing

    private static let pad = String(repeating: "x", count: 980)

    private static func payload(_ number: Int) -> String { "{\"n\":\(number),\"pad\":\"\(pad)\"}" }

    /// The time of a publication for one of a plain insert, one client, without waiting for the disk.
    private func cost(_ cluster: Cluster, _ source: NodeName) async throws -> Double {
        let lane = cluster.lanes[0]
        return try await withTaskExecutorPreference(lane.reactor) { try await cost(source, lane) }
    }

    @concurrent
    private func cost(_ source: NodeName, _ lane: Lane) async throws -> Double {
        guard let pool = lane.pools[source] else { return 0 }
        let connection = try await pool.lease(deadline: .now + .seconds(10))
        defer { lane.reactor.execute { pool.release(connection) } }
        func run(_ statement: Statement) async throws {
            let reply = try await connection.run(Batch([statement]), deadline: .now + .seconds(30))
            if let error = reply.only.error { throw TandemError(error, node: source) }
        }
        try await run(Statement("SET synchronous_commit = off"))
        try await run(Statement("DROP TABLE IF EXISTS tandem_bench_plain"))
        // The same columns and indexes, and the same values by default.
        try await run(
            Statement(
                """
                CREATE TABLE tandem_bench_plain (xid xid8 NOT NULL DEFAULT pg_current_xact_id(), seq bigint GENERATED ALWAYS AS IDENTITY,
                    at timestamptz NOT NULL DEFAULT clock_timestamp(), id uuid NOT NULL DEFAULT gen_random_uuid(), topic text NOT NULL, key text, headers json,
                    content_type text NOT NULL DEFAULT 'application/json', payload json NOT NULL)
                """))
        try await run(Statement("CREATE INDEX ON tandem_bench_plain (seq)"))
        try await run(Statement("CREATE INDEX ON tandem_bench_plain (xid, seq)"))
        let plain = "INSERT INTO tandem_bench_plain (topic, key, payload) VALUES ($1, $2, $3)", publish = "SELECT tandem.publish($1, $2, $3::json)"
        var ratios: [Double] = []
        for round in 0...options.rounds {
            var times: [String: Double] = [:]
            for text in round.isMultiple(of: 2) ? [plain, publish] : [publish, plain] {
                let start = ContinuousClock.now
                for number in 0..<Self.batch {
                    var parameters = ParameterBuffer()
                    for value in ["cost", "\(number % Self.keys)", Self.payload(number)] { parameters.append(text: value) }
                    try await run(Statement(text, parameters: parameters))
                }
                times[text] = (ContinuousClock.now - start).inSeconds
            }
            // The first one warms up.
            if round > 0, let one = times[publish], let other = times[plain] { ratios.append(one / other) }
        }
        try await run(Statement("DROP TABLE tandem_bench_plain"))
        try await run(Statement("SET synchronous_commit = on"))
        return ratios.median
    }

    private func publishing(_ cluster: Cluster, _ source: NodeName) async throws -> Double {
        let start = ContinuousClock.now
        for number in 0..<Self.batch {
            _ = try await cluster[source].query("SELECT tandem.publish('cost', 'cost', \(Self.payload(number))::json)::text", as: String.self)
        }
        let rate = Double(Self.batch) / (ContinuousClock.now - start).inSeconds
        // A reader keeps them there; the relays then read them, too, and leave them out by their topic.
        if !options.hasReader { try await cluster[source].execute("TRUNCATE tandem.outbox") }
        return rate
    }

    private func backlog(_ cluster: Cluster, _ source: NodeName) async throws {
        var first = 0
        while first < options.events {
            let last = min(first + 20_000, options.events) - 1
            _ = try await cluster[source].query(
                """
                SELECT count(tandem.publish('bench', (i % \(Self.keys)::int)::text, ('{"n":' || i || ',"pad":"' || \(Self.pad) || '"}')::json))
                FROM generate_series(\(first)::int, \(last)::int) i
                """, as: Int.self, timeout: .seconds(300))
            first = last + 1
        }
    }

    // MARK: Draining

    /// How fast a backlog was drained.
    private struct Drain {
        let perSecond: Double
        let isOrdered: Bool
    }

    private func drainLines(_ cluster: Cluster, _ source: NodeName) async throws -> Drain {
        let process = Process(), input = Pipe(), output = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = ["bench", "outbox-reader", "--events", "\(options.events)"]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        let handle = input.fileHandleForWriting
        let relay = try relay(cluster, source, "bench.lines", LineSink { bytes in try handle.write(contentsOf: Data(bytes)) })
        let start = ContinuousClock.now
        let work = Task { try await relay.run() }
        let text = await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)) }
        }
        let seconds = (ContinuousClock.now - start).inSeconds
        work.cancel()
        _ = await work.result
        try? handle.close()
        process.waitUntilExit()
        return Drain(perSecond: Double(options.events) / seconds, isOrdered: text.hasPrefix("\(options.events) in order"))
    }

    /// Drains the backlog.
    ///
    /// - Returns: the seconds until the sink has confirmed everything.
    private func drain(_ cluster: Cluster, _ source: NodeName, _ name: String, _ sink: any Sink) async throws -> Double {
        let relay = try relay(cluster, source, name, sink)
        let start = ContinuousClock.now
        let work = Task { try await relay.run() }
        defer { work.cancel() }
        while try await Outbox(cluster, on: source).lag().first(where: { $0.sink == name })?.events ?? 1 > 0 {
            try await Task.sleep(for: .milliseconds(20))
        }
        let seconds = (ContinuousClock.now - start).inSeconds
        work.cancel()
        _ = await work.result
        return seconds
    }

    #if RabbitMQ
        private func drainRabbitMQ(_ cluster: Cluster, _ source: NodeName) async throws -> Drain {
            let server = try await LocalRabbitMQ.start(), queue = "bench"
            var broker = RabbitMQConfiguration()
            broker.port = server.port
            broker.routing = .fixed(queue)
            try broker.declare(queue: queue)
            let seconds = try await drain(cluster, source, "bench.rabbitmq", RabbitMQSink(broker))
            progress("reading what RabbitMQ has")
            let lines = Locked(EventLines())
            let consumer = RabbitMQConsumer(broker, queue: queue, prefetch: 1000, logger: configuration.logger) { message in
                let key = message.attribute("partitionkey") ?? ""
                lines.withLock { $0.take(key: key, message.payload[...]) }
            }
            let reading = Task { try await consumer.run() }
            defer { reading.cancel() }
            let deadline = ContinuousClock.now + .seconds(300)
            while lines.withLock({ $0.count < options.events }), ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(20)) }
            reading.cancel()
            _ = await reading.result
            return Drain(perSecond: Double(options.events) / seconds, isOrdered: lines.withLock { $0.isOrdered && $0.count == options.events })
        }
    #endif

    private func drainInbox(_ cluster: Cluster, _ source: NodeName, _ target: NodeName) async throws -> Drain {
        let seconds = try await drain(cluster, source, "bench.inbox", InboxSink(cluster, on: target, queue: "bench"))
        let rows = try await cluster[target].query(
            """
            SELECT count(*), count(*) FILTER (WHERE n <= before) FROM (
                SELECT n, lag(n) OVER (PARTITION BY key ORDER BY place) AS before
                FROM (SELECT key, place, (convert_from(payload, 'UTF8')::json->>'n')::int AS n FROM tandem.inbox_queue WHERE queue = 'bench') q) o
            """, as: Int.self, Int.self, timeout: .seconds(120))
        let isOrdered = rows.first.map { $0 == (options.events, 0) } ?? false
        try await cluster[target].execute("TRUNCATE tandem.inbox_queue")
        return Drain(perSecond: Double(options.events) / seconds, isOrdered: isOrdered)
    }

    // MARK: Live

    /// Remembers when events came.
    private final class Clock: Sink {
        let begins = Locked<[String: ContinuousClock.Instant]>([:])
        let milliseconds = Locked<[Double]>([])

        func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
            let now = ContinuousClock.now
            let found = begins.withLock { begins in batch.compactMap { begins.removeValue(forKey: $0.event.key ?? "") } }
            milliseconds.withLock { $0 += found.map { (now - $0).inSeconds * 1000 } }
            return [DeliveryVerdict](repeating: .delivered, count: batch.count)
        }

        func close() async {}
    }

    /// Publishes at a rate, and measures from before each publication until the sink has it.
    private func latency(_ cluster: Cluster, _ source: NodeName) async throws -> Measurement {
        let clock = Clock(), clients = 8, start = ContinuousClock.now, end = start + .seconds(options.seconds)
        var relayOptions = RelayOptions()
        relayOptions.topics = ["live"]
        let relay = try OutboxRelay(cluster, from: source, to: "bench.live", clock, options: relayOptions)
        let work = Task { try await relay.run() }
        let interval = Duration.seconds(Double(clients) / Double(options.live)), payload = Self.payload(0)
        let count = try await withThrowingTaskGroup(of: Int.self) { group in
            for client in 0..<clients {
                group.addTask(executorPreference: cluster.executor(ofClient: client)) {
                    var number = 0, next = ContinuousClock.now
                    while ContinuousClock.now < end {
                        let key = "\(client)/\(number)"
                        clock.begins.withLock { $0[key] = .now }
                        _ = try await cluster[source].query("SELECT tandem.publish('live', \(key), \(payload)::json)::text", as: String.self)
                        number += 1
                        next += interval
                        try await Task.sleep(until: next)
                    }
                    return number
                }
            }
            return try await group.reduce(0, +)
        }
        let deadline = ContinuousClock.now + .seconds(10)
        while clock.begins.withLock({ !$0.isEmpty }), ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(10)) }
        work.cancel()
        _ = await work.result
        var measured = Measurement()
        (measured.transactions, measured.seconds) = (count, Double(options.seconds))
        // What did not come counts as late as can be.
        measured.milliseconds = clock.milliseconds.withLock { $0 } + clock.begins.withLock { $0.values.map { _ in 10_000 } }
        return measured
    }
}
