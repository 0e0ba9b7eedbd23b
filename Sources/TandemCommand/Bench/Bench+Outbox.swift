import ArgumentParser
import Foundation
import TandemBench
import TandemCore
import TandemInbox
import TandemOutbox

extension Bench {
    /// `tandem bench outbox`
    struct Outbox: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "What publishing costs, how fast a backlog is sent, and how late events are that are sent live.",
            discussion: """
                Events are 1 KiB of JSON. The backlog is drained into a pipe behind which another process reads and checks the order, into another node's inbox, and into a RabbitMQ of its own, where one is installed. \
                Exit code 3 where an event is missing or a key's order is not kept.
                """)

        @OptionGroup var global: GlobalOptions

        @Option(help: "Events of the backlog.")
        var events = 200_000

        @Option(help: "Seconds of live events.")
        var seconds = 10

        @Option(help: "Rounds of publications beside plain inserts.")
        var rounds = 25

        @Flag(help: "Hold a reader at REPEATABLE READ open all the time.")
        var reader = false

        func validate() throws {
            guard (1000...10_000_000).contains(events) else { throw ValidationError("--events takes a number from 1000 to 10000000.") }
            guard (1...3600).contains(seconds) else { throw ValidationError("--seconds takes a number from 1 to 3600.") }
            guard (1...100).contains(rounds) else { throw ValidationError("--rounds takes a number from 1 to 100.") }
        }

        mutating func run() async throws {
            var options = OutboxBench.Options()
            (options.events, options.seconds, options.rounds, options.hasReader) = (events, seconds, rounds, reader)
            let chosen = options, program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            let result = try await BenchNodes.with(global, count: 2, modules: [.outbox, .inbox]) { configuration, _ in
                try await OutboxBench(configuration, options: chosen, program: program) { Talk.say($0) }.run()
            }
            if global.format == .json {
                try Output.write(text: BenchOutput.json(result))
            } else {
                try Output.write(
                    text: """
                        a publication takes \(BenchOutput.text(result.publish_cost, 2)) of a plain insert; \(BenchOutput.text(result.publish_per_second, 0)) durable ones a second, one client
                        \(BenchOutput.text(result.relay_per_second, 0)) events a second into a pipe, \
                        \(BenchOutput.text(result.sinks["postgres"]?.relay_per_second ?? 0, 0)) into an inbox\(result.sinks["rabbitmq"].map { ", \(BenchOutput.text($0.relay_per_second, 0)) into RabbitMQ" } ?? ""); each key \(result.order_is_kept ? "in order" : "NOT IN ORDER")
                        live, \(BenchOutput.text(result.live_per_second, 0)) a second: \(BenchOutput.text(result.latency_p50_ms, 1)) ms at the median, \
                        \(BenchOutput.text(result.latency_p99_ms, 1)) ms at 99 %; \(BenchOutput.text(result.peak_rss_mib, 0)) MiB at most
                        """)
            }
            if !result.isSound { throw Ending(.problemFound) }
        }
    }

    /// The reader behind the pipe of `tandem bench outbox`.
    struct OutboxReader: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "outbox-reader", abstract: "Count event lines and check their order.", shouldDisplay: false)

        @Option(help: "Lines to wait for.")
        var events: Int

        mutating func run() throws {
            var lines = EventLines(), rest: [UInt8] = []
            while lines.count < events {
                let data = FileHandle.standardInput.availableData
                if data.isEmpty { break }
                rest += data
                var start = 0
                while let end = rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
                    lines.take(rest[start..<end])
                    start = end + 1
                }
                rest.removeFirst(start)
            }
            try Output.write(text: "\(lines.count) \(lines.isOrdered ? "in order" : "not in order")")
        }
    }
}
