import Foundation
import TandemCluster
import TandemCore
import TandemOutbox
import Testing

@testable import TandemConfiguration

@Suite("The section outbox of tandem.yaml")
struct OutboxSectionTests {
    /// Reads a section, which begins on line 4 of a file whose cluster has the nodes n1 and n2.
    private func read(_ section: String) throws -> OutboxSection {
        let yaml = "cluster: c\nnodes: {n1: {conninfo: dbname=x}, n2: {conninfo: dbname=y}}\noutbox:\n\(section)"
        return try withFolder(["tandem.yaml": yaml, "secrets/hook": "whsec_new whsec_old\n", "secrets/key": "BEGIN\nMII\nEND\n", "secrets/empty": "\n"]) {
            try ConfigurationFile(path: "\($0)/tandem.yaml", environment: ["MQ": "hush mq", "KAFKA": "hush kafka"]).outbox
        }
    }

    @Test("every kind of sink is read with all that is said of it")
    func everything() throws {
        let sinks = try read(
            """
              lease: 20s
              poll: 50ms
              batch: 500
              attempts: 3
              refusal: dead
              sinks:
                billing:
                  from: [n1]
                  from_start: true
                  topics: [order.*, invoice]
                  attempts: 1000
                  refusal: pause
                  shares: 64
                  postgres: {node: n2, queue: orders}
                lines: {from: [n2, n1], stdout: true}
                broker:
                  rabbitmq:
                    host: mq.example
                    vhost: shop
                    user: events
                    passwordEnv: MQ
                    tls: true
                    certificates: mq.pem
                    exchange: events
                    routing: key
                log:
                  kafka:
                    brokers:
                      - kafka-1:9092
                      - kafka-2:9092
                    topic: events
                    user: tandem
                    password: {env: KAFKA}
                    settings: {security.protocol: SASL_SSL, ssl.key.password: {env: KAFKA}, ssl.key.pem: {file: secrets/key}, ssl.ca.pem: "BEGIN\\nMII"}
                hook: {webhook: {url: "https://shop.example/events", form: structured, secretFile: secrets/hook, concurrency: 16}}
                old:
                  from: [n2]
                  attempts: 4
                  table:
                    name: shop.jobs
                    columns: {id: number, aggregate: order_id, type: kind, data: payload, headers: meta, status: state, created: written, processed: ~}
                    order: number
                    content_type: application/json
                    pending: new
                    sent: done
                    failed: lost
                  rabbitmq: {queue: orders}

            """
        ).sinks
        #expect(sinks.map(\.name) == ["billing", "lines", "broker", "log", "hook", "old"])
        try #require(sinks.count == 6)
        for sink in sinks {
            #expect(sink.options.lease == .seconds(20) && sink.options.poll == .milliseconds(50) && sink.options.batch == 500, "\(sink.name)")
        }
        #expect(sinks.map(\.options.attempts) == [1000, 3, 3, 3, 3, 4])
        #expect(sinks.map(\.options.refusal) == [.pause, .dead, .dead, .dead, .dead, .dead])
        #expect(sinks.map(\.options.shares) == [64, 1, 1, 1, 1, 1])
        #expect(sinks.map(\.options.isFromStart) == [true, false, false, false, false, false])
        #expect(sinks.map(\.options.topics) == [["order.*", "invoice"], [], [], [], [], []])
        #expect(sinks.map(\.sources) == [["n1"], ["n2", "n1"], ["n1", "n2"], ["n1", "n2"], ["n1", "n2"], ["n2"]])

        guard case .postgres(let node, let queue) = sinks[0].kind, case .lines = sinks[1].kind, case .rabbitMQ(let broker) = sinks[2].kind,
            case .key = broker.routing, case .kafka(let log) = sinks[3].kind, case .webhook(let hook) = sinks[4].kind,
            case .rabbitMQ(let plain) = sinks[5].kind, case .queue(let plainQueue) = plain.routing
        else {
            Issue.record("the kinds are others: \(sinks.map(\.kind))")
            return
        }
        #expect(node == "n2" && queue == "orders")
        #expect(broker.host == "mq.example" && broker.port == 5671 && broker.virtualHost == "shop" && broker.exchange == "events")
        #expect(broker.user == "events" && broker.password == Secret("hush mq") && broker.isEncrypted)
        let certificates = try #require(broker.certificates)
        #expect(certificates.hasPrefix("/") && certificates.hasSuffix("/mq.pem"), "a relative path is meant from the file's folder")
        #expect(log.brokers == ["kafka-1:9092", "kafka-2:9092"] && log.topic == "events")
        #expect(log.user == "tandem" && log.password == Secret("hush kafka"))
        #expect(log.settings.map(\.name) == ["security.protocol", "ssl.key.password", "ssl.key.pem", "ssl.ca.pem"])
        #expect(log.settings.map(\.value) == [Secret("SASL_SSL"), Secret("hush kafka"), Secret("BEGIN\nMII\nEND"), Secret("BEGIN\nMII")])
        #expect(hook.url == "https://shop.example/events" && hook.form == .structured && hook.concurrency == 16)
        #expect(hook.secrets == [Secret("whsec_new"), Secret("whsec_old")])
        #expect(plain.host == "127.0.0.1" && plain.port == 5672 && plain.virtualHost == "/" && plain.user == "guest")
        #expect(plain.password == nil && !plain.isEncrypted && plain.certificates == nil && plain.exchange == "" && plainQueue == "orders")

        var table = OutboxTable("jobs", schema: "shop")
        (table.columns.id, table.columns.aggregate, table.columns.type, table.columns.data) = ("number", "order_id", "kind", "payload")
        (table.columns.headers, table.columns.status, table.columns.created, table.columns.processed) = ("meta", "state", "written", nil)
        (table.order, table.contentType) = ("number", "application/json")
        (table.pending, table.sent, table.failed) = ("new", "done", "lost")
        #expect(sinks[5].table == table)
        #expect(sinks[..<5].allSatisfy { $0.table == nil })
    }

    @Test("what is not said has the library's defaults, and where nothing is said there are no sinks")
    func defaults() throws {
        let usual = RelayOptions()
        let sinks = try read("  sinks:\n    billing: {postgres: {node: n2}}\n    jobs: {from: [n1], table: {name: jobs}, stdout: true}\n").sinks
        try #require(sinks.count == 2)
        let billing = sinks[0]
        #expect(billing.sources == ["n1", "n2"] && billing.table == nil && billing.options.topics.isEmpty && !billing.options.isFromStart)
        #expect(billing.options.lease == usual.lease && billing.options.poll == usual.poll && billing.options.batch == usual.batch)
        #expect(billing.options.attempts == usual.attempts && billing.options.refusal == usual.refusal && billing.options.shares == 1)
        guard case .postgres(let node, let queue) = billing.kind else {
            Issue.record("the kind is another: \(billing.kind)")
            return
        }
        #expect(node == "n2" && queue == "billing", "the queue is named as the sink is")
        #expect(sinks[1].table == OutboxTable("jobs"))
        for nothing in ["", "  poll: 1s\n", "  sinks:\n", "  sinks: {}\n"] {
            let section = try read(nothing)
            #expect(section.sinks.isEmpty, "\(nothing)")
        }
    }

    @Test("what it cannot mean is refused with file, line and key, and no secret is told", arguments: Refusal.all)
    func refused(_ refusal: Refusal) throws {
        let error = try #require(throws: TandemError.self) { try read(refusal.section) }
        #expect(error.code == .configurationInvalid && error.exitCode == .usage)
        let start = try #require(error.message.range(of: "tandem.yaml")).lowerBound
        let message = String(error.message[start...])
        #expect(message.hasPrefix("tandem.yaml:\(refusal.place): "), "\(message)")
        #expect(message.contains(refusal.problem), "\(message)")
        #expect(!error.nextStep.isEmpty)
        #expect(!"\(error)".contains("hush"), "\(error)")
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        let section: String
        /// Line and key.
        let place: String
        /// A part of the message.
        let problem: String
        var testDescription: String { "\(place): \(problem)" }

        init(_ section: String, _ place: String, _ problem: String) { (self.section, self.place, self.problem) = (section, place, problem) }

        /// A mistake in what is said of the sink s, from line 6 on.
        private static func sink(_ lines: String..., at place: String, _ problem: String) -> Refusal {
            Refusal("  sinks:\n    s:\n" + lines.map { "      \($0)\n" }.joined(), place, problem)
        }

        private static let aTable = ["from: [n1]", "table: {name: jobs}", "stdout: true"]

        /// What a sink with a table does not take.
        private static func withTable(_ line: String, _ key: String) -> Refusal {
            sink(aTable[0], aTable[1], line, aTable[2], at: "8: outbox.sinks.s.\(key)", "a table is drained as a whole, from its start")
        }

        private static func table(_ text: String, at key: String, _ problem: String) -> Refusal {
            sink("from: [n1]", "table: \(text)", "stdout: true", at: "7: outbox.sinks.s.table\(key)", problem)
        }

        static let all: [Refusal] = common + sinks + tables + brokers

        private static let common: [Refusal] = [
            Refusal("  pol: 1s\n", "4: outbox.pol", "there is no key `pol` here"),
            Refusal("  lease: -5s\n", "4: outbox.lease", "`-5s` is not a time"),
            Refusal("  lease: 0s\n", "4: outbox.lease", "the time must be longer than nothing"),
            Refusal("  lease: 999ms\n", "4: outbox.lease", "a relay could not keep it"),
            Refusal("  lease: 5\n", "4: outbox.lease", "`5` has no unit"),
            Refusal("  poll: 0s\n", "4: outbox.poll", "the time must be longer than nothing"),
            Refusal("  batch: 0\n", "4: outbox.batch", "0 is out of bounds"),
            Refusal("  batch: 10001\n", "4: outbox.batch", "10001 is out of bounds"),
            Refusal("  attempts: 0\n", "4: outbox.attempts", "0 is out of bounds"),
            Refusal("  refusal: drop\n", "4: outbox.refusal", "`drop` is not one of `pause`, `dead`"),
            Refusal("  sinks: [s]\n", "4: outbox.sinks", "keys with values is expected here, not a list"),
            Refusal("  sinks:\n    a b: {stdout: true}\n", "5: outbox.sinks.a b", "`a b` cannot be the name of a sink"),
            Refusal(
                "  sinks:\n    \(String(repeating: "x", count: 64)): {stdout: true}\n", "5: outbox.sinks.\(String(repeating: "x", count: 64))",
                "cannot be the name of a sink"),
        ]

        private static let sinks: [Refusal] = [
            sink("topic: [a]", "stdout: true", at: "6: outbox.sinks.s.topic", "there is no key `topic` here"),
            sink("shares: 0", "stdout: true", at: "6: outbox.sinks.s.shares", "0 is out of bounds"),
            sink("shares: 65", "stdout: true", at: "6: outbox.sinks.s.shares", "65 is out of bounds"),
            sink("shares: four", "stdout: true", at: "6: outbox.sinks.s.shares", "`four` is not a whole number"),
            sink("attempts: 1001", "stdout: true", at: "6: outbox.sinks.s.attempts", "1001 is out of bounds"),
            sink("refusal: never", "stdout: true", at: "6: outbox.sinks.s.refusal", "`never` is not one of"),
            sink("topics: order", "stdout: true", at: "6: outbox.sinks.s.topics", "a list of topics is expected here, not a single value"),
            sink("from: n1", "stdout: true", at: "6: outbox.sinks.s.from", "a list of nodes is expected here, not a single value"),
            sink("from: [n1, n9]", "stdout: true", at: "6: outbox.sinks.s.from[1]", "`n9` is not one of `n1`, `n2`"),
            sink("from: []", "stdout: true", at: "6: outbox.sinks.s.from", "each source stands once, and there is at least one"),
            sink("from: [n1, n1]", "stdout: true", at: "6: outbox.sinks.s.from", "each source stands once, and there is at least one"),
            sink("postgres: {node: n9}", at: "6: outbox.sinks.s.postgres.node", "`n9` is not one of `n1`, `n2`"),
            sink("postgres: {queue: orders}", at: "5: outbox.sinks.s", "the node is missing"),
            sink("stdout: true", "postgres: {node: n1}", at: "5: outbox.sinks.s", "it says no kind of sink, or more than one"),
            sink("from: [n1]", at: "5: outbox.sinks.s", "it says no kind of sink, or more than one"),
            sink("stdout: false", at: "6: outbox.sinks.s.stdout", "a sink that is none"),
            sink("stdout: lines", at: "6: outbox.sinks.s.stdout", "`lines` is not one of `true`, `false`"),
        ]

        private static let tables: [Refusal] = [
            withTable("shares: 2", "shares"), withTable("topics: [a]", "topics"), withTable("from_start: true", "from_start"),
            withTable("refusal: dead", "refusal"),
            sink("table: {name: jobs}", "stdout: true", at: "5: outbox.sinks.s", "it is not said where the table is"),
            table("{}", at: "", "the key `name` is missing"),
            table("{name: a.b.c}", at: ".name", "that is no name of a table"),
            table("{name: jobs, columns: {payload: data}}", at: ".columns.payload", "there is no key `payload` here"),
            table("{name: jobs, columns: {id: ~}}", at: ".columns", "the column `id` is missing"),
            table("{name: jobs, pending: new, sent: new}", at: "", "two states have the same value"),
            Refusal(
                "  sinks:\n    s: {from: [n1], table: {name: jobs}, stdout: true}\n    t: {from: [n2, n1], table: {name: public.jobs}, stdout: true}\n",
                "6: outbox.sinks.t", "`s` drains the same table"),
        ]

        private static let brokers: [Refusal] = [
            sink("kafka: {topic: events}", at: "6: outbox.sinks.s.kafka", "the key `brokers` is missing"),
            sink("kafka: {brokers: []}", at: "6: outbox.sinks.s.kafka", "there are no brokers"),
            sink(
                "kafka: {brokers: [kafka], settings: {sasl.password: hush}}", at: "6: outbox.sinks.s.kafka.settings.sasl.password",
                "sasl.password does not stand in this file"),
            sink(
                "kafka: {brokers: [kafka], settings: {ssl.key.pem: hush}}", at: "6: outbox.sinks.s.kafka.settings.ssl.key.pem",
                "ssl.key.pem does not stand in this file"),
            sink(
                "kafka: {brokers: [kafka], settings: {ssl.key.pem: {file: secrets/empty}}}", at: "6: outbox.sinks.s.kafka.settings.ssl.key.pem.file",
                "does not hold anything"),
            sink(
                "kafka: {brokers: [kafka], settings: {sasl.password: {file: secrets/key}}}", at: "6: outbox.sinks.s.kafka.settings.sasl.password.file",
                "does not hold one line"),
            sink("kafka: {brokers: [kafka], password: hush}", at: "6: outbox.sinks.s.kafka.password", "a password does not stand in this file"),
            sink(
                "kafka: {brokers: [kafka], passwordEnv: KAFKA, passwordFile: secrets/hook}", at: "6: outbox.sinks.s.kafka.passwordFile",
                "the password is given twice"),
            sink("rabbitmq: {host: mq.example, routing: key}", at: "6: outbox.sinks.s.rabbitmq", "it is not said where events go there"),
            sink("rabbitmq: {exchange: events, queue: orders}", at: "6: outbox.sinks.s.rabbitmq.queue", "a queue is reached by the default exchange"),
            sink("rabbitmq: {exchange: events, routing: fanout}", at: "6: outbox.sinks.s.rabbitmq.routing", "`fanout` is not one of `topic`, `key`"),
            sink("rabbitmq: {queue: orders, port: 65536}", at: "6: outbox.sinks.s.rabbitmq.port", "65536 is out of bounds"),
            sink("rabbitmq: {queue: orders, certificates: mq.pem}", at: "6: outbox.sinks.s.rabbitmq.certificates", "certificates without TLS"),
            sink("rabbitmq: {queue: orders, password: hush}", at: "6: outbox.sinks.s.rabbitmq.password", "a password does not stand in this file"),
            sink("rabbitmq: {queue: orders, passwordEnv: NONE}", at: "6: outbox.sinks.s.rabbitmq.passwordEnv", "the environment variable NONE is not set"),
            sink(
                "rabbitmq: {queue: orders, passwordEnv: MQ, passwordFile: secrets/hook}", at: "6: outbox.sinks.s.rabbitmq.passwordFile",
                "the password is given twice"),
            sink("webhook: {url: shop.example}", at: "6: outbox.sinks.s.webhook.url", "it is no address of a web service"),
            sink(
                "webhook: {url: \"https://shop.example\", secretEnv: MQ, secretFile: secrets/hook}", at: "6: outbox.sinks.s.webhook.secretFile",
                "the secret is given twice"),
        ]
    }
}
