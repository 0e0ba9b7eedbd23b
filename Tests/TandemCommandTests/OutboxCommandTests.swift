import Foundation
import Glibc
import Testing

extension BuiltProgram {
    @Suite("tandem outbox and tandem inbox")
    struct OutboxCommandTests {
        /// Runs a command on the nodes' configuration; its results come as a table.
        private func tabulated(_ nodes: DevNodes, _ arguments: String...) async throws -> ProgramRun.End {
            try await ProgramRun(["-c", nodes.configuration, "--output", "table"] + arguments).end()
        }

        /// The words of a table's lines, without its head.
        private func rows(_ table: String) -> [[String]] {
            table.split(separator: "\n").dropFirst().map { line in line.split(separator: " ").map { String($0) } }
        }

        /// The objects under a key of the one that was printed.
        private func list(_ key: String, _ end: ProgramRun.End) throws -> [[String: any Sendable]] {
            try #require(try end.json()[key] as? [[String: any Sendable]])
        }

        /// Publishes an event on n1, and returns its id.
        @discardableResult
        private func publish(_ topic: String, _ nodes: DevNodes, _ more: String..., input: String = "") async throws -> String {
            let end = try await nodes.start(["outbox", "publish", topic, "--node", "n1"] + more, input: input).end()
            #expect(end.code == 0, "\(end.talk)")
            return try #require(try end.json()["event"] as? String)
        }

        /// Gives the body a configuration of the nodes with these sinks.
        private func withSinks(_ sinks: String, _ nodes: DevNodes, _ body: (String) async throws -> Void) async throws {
            let path = "\(nodes.folder)-sinks.yaml"
            defer { try? FileManager.default.removeItem(atPath: path) }
            let text = try String(contentsOfFile: nodes.configuration, encoding: .utf8)
            try Data("\(text)\noutbox: {poll: 20ms, sinks: {\(sinks)}}\n".utf8).write(to: URL(fileURLWithPath: path))
            try await body(path)
        }

        /// Waits until a relay has printed so many events and its sink has all that there is, and returns the lines.
        private func lines(_ count: Int, of run: ProgramRun, _ nodes: DevNodes) async throws -> [String] {
            try await until("\(count) events are printed") {
                let lag = try await nodes.tandem("outbox", "lag")
                return lag.output.contains(#""events":0,"#) && run.output.count { $0 == "\n" } >= count
            }
            return run.output.split(separator: "\n").map { String($0) }
        }

        /// An attribute of an event's line.
        private func attribute(_ name: String, _ line: String) throws -> String {
            let event = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: any Sendable]
            return try #require(event?[name] as? String)
        }

        // MARK: Publishing and looking

        @Test("an event is published as it is given, in whichever way its payload comes, and what is wrong with one is told")
        func publishes() async throws {
            try await withNodes(1) { nodes in
                let said = try await tabulated(
                    nodes, "outbox", "publish", "order.created", "--node", "n1", "--key", "customer-1", "--data", #"{"id": 7}"#, "--header", "trace=a=b")
                #expect(said.code == 0, "\(said.talk)")
                let words = said.output.split(whereSeparator: \.isWhitespace)
                #expect(words.count == 2 && words.first == "event" && UUID(uuidString: String(words.last ?? "")) != nil, "\(said.output)")

                let file = "\(nodes.folder)-payload.json"
                defer { try? FileManager.default.removeItem(atPath: file) }
                try Data("[1.50]".utf8).write(to: URL(fileURLWithPath: file))
                try await publish("order.paid", nodes, "--data", "@\(file)")
                try await publish("order.sent", nodes, "--data", "-", input: #""by post""#)
                let last = try await publish("order.noted", nodes)
                #expect(UUID(uuidString: last) != nil)
                let stored = try await nodes.sql(
                    "n1",
                    """
                    SELECT string_agg(concat_ws(' ', topic, key, headers ->> 'trace', content_type, convert_from(payload, 'UTF8')), '|' ORDER BY seq)
                    FROM tandem.outbox
                    """)
                let type = "application/json"
                #expect(
                    stored.components(separatedBy: "|") == [
                        #"order.created customer-1 a=b \#(type) {"id": 7}"#, "order.paid \(type) [1.50]", #"order.sent \#(type) "by post""#,
                        "order.noted \(type) null",
                    ])

                let large = "\"\(String(repeating: "a", count: 1_100_000))\""
                let wrong: [(arguments: [String], code: Int32, error: String)] = [
                    (["--node", "n1", "--data", "nonsense"], 2, "configurationInvalid"), (["--node", "n9"], 2, "unknownNode"),
                    (["--node", "n1", "--data", "-"], 1, "eventTooLarge"),
                ]
                for (arguments, code, name) in wrong {
                    let end = try await nodes.start(["outbox", "publish", "t"] + arguments, input: large).end()
                    let error = try #require(try end.json()["error"] as? [String: any Sendable])
                    #expect(end.code == code && error["code"] as? String == name, "\(end.talk)")
                }
                #expect(try await nodes.sql("n1", "SELECT count(*) FROM tandem.outbox") == "4")
            }
        }

        @Test("`lag` tells how far each sink is behind, of the nodes that answer: 5 where one is down, 3 where one has no outbox")
        func behind() async throws {
            try await withNodes { nodes in
                let unread = try await tabulated(nodes, "outbox", "lag")
                #expect(unread.code == 0 && unread.output.isEmpty && unread.talk.contains("no sink"), "\(unread.talk)")
                for node in ["n1", "n2"] { try await nodes.sql(node, "SELECT tandem.outbox_add_sink('shop', 1::int2, false)") }
                for topic in ["order.created", "order.paid"] { try await publish(topic, nodes) }

                let all = try await nodes.tandem("outbox", "lag")
                #expect(all.code == 0, "\(all.talk)")
                let sinks = try list("sinks", all)
                #expect(sinks.compactMap { $0["node"] as? String } == ["n1", "n2"])
                #expect(sinks.compactMap { $0["events"] as? Int } == [2, 0])
                #expect(sinks.allSatisfy { $0["sink"] as? String == "shop" && $0["shares"] as? Int == 1 && $0["led"] as? Int == 0 && $0["relay"] == nil })
                let first = try await tabulated(nodes, "outbox", "lag", "--node", "n1")
                let words = rows(first.output)
                #expect(first.code == 0 && words.count == 1 && words.first?.count == 8, "\(first.output)")
                #expect(words.first?.prefix(3) == ["n1", "shop", "2"] && words.first?.suffix(4) == ["0", "0", "1", "-"], "\(first.output)")
                let unknown = try await nodes.tandem("outbox", "lag", "--node", "n9")
                #expect(unknown.code == 2 && unknown.talk.contains("n9"), "\(unknown.talk)")

                try await nodes.fault("kill", "n2")
                let down = try await tabulated(nodes, "outbox", "lag")
                #expect(down.code == 5 && down.talk.contains("n2"), "\(down.talk)")
                #expect(rows(down.output).map { $0[0] } == ["n1"])
                let object = try await nodes.tandem("outbox", "lag")
                #expect(object.code == 5 && object.output.contains(#""node":"n1","#), "\(object.output)")
                for command in ["outbox", "inbox"] {
                    let end = try await nodes.tandem(command, "ls")
                    #expect(end.code == 5 && end.talk.contains("n2"), "\(end.talk)")
                    let answering = try await nodes.tandem(command, "ls", "--node", "n1")
                    #expect(answering.code == 0, "\(answering.talk)")
                }
                try await nodes.fault("start", "n2")

                try await nodes.sql("n2", "CREATE DATABASE bare OWNER tandem", superuser: true)
                let text = try String(contentsOfFile: nodes.configuration, encoding: .utf8)
                let second = try #require(text.range(of: "  n2:")).lowerBound
                let path = "\(nodes.folder)-bare.yaml"
                defer { try? FileManager.default.removeItem(atPath: path) }
                try Data((String(text[..<second]) + String(text[second...]).replacing("dbname='tandem'", with: "dbname='bare'")).utf8)
                    .write(to: URL(fileURLWithPath: path))
                let partial = try await tandem("outbox", "lag", "-c", path)
                #expect(partial.code == 3 && partial.talk.contains("tandem init"), "\(partial.talk)")
                #expect(rows(partial.output).map { $0[0] } == ["n1"])
            }
        }

        // MARK: Deciding

        /// Sets an event of n1 aside, as a relay does.
        private func park(_ id: String, _ nodes: DevNodes, _ state: String, attempts: Int, due: String, error: String) async throws {
            try await nodes.sql(
                "n1",
                """
                INSERT INTO tandem.outbox_parked (sink, seq, share, number, state, attempts, due_at, error, at, id, topic, key, headers, content_type, payload)
                SELECT 'shop', seq, 0, 1, '\(state)', \(attempts), \(due), \(error), at, id, topic, key, headers, content_type, payload
                FROM tandem.outbox WHERE id = '\(id)'
                """)
        }

        @Test("what a sink has not taken is listed with 3, dropped, or tried again and then printed in its order; 4 says that there was none")
        func setAside() async throws {
            try await withNodes(1) { nodes in
                let empty = try await nodes.tandem("outbox", "ls")
                #expect(empty.code == 0 && empty.output == #"{"events":[]}"# + "\n")
                var ids: [String] = []
                for key in ["a", "a", "b"] { ids.append(try await publish("order.created", nodes, "--key", key)) }
                try await nodes.sql("n1", "SELECT tandem.outbox_add_sink('shop', 1::int2, false)")
                try await park(ids[0], nodes, "parked", attempts: 8, due: "'infinity'", error: "'eventRefused: no such customer'")
                try await park(ids[1], nodes, "parked", attempts: 0, due: "clock_timestamp()", error: "NULL")
                try await park(ids[2], nodes, "dead", attempts: 8, due: "'infinity'", error: "'eventRefused: too much'")

                let all = try await ProgramRun(["outbox", "ls", "-c", nodes.configuration, "--output", "json"]).end()
                #expect(all.code == 3, "\(all.talk)")
                let events = try list("events", all)
                #expect(events.compactMap { $0["id"] as? String } == ids)
                #expect(events.compactMap { $0["state"] as? String } == ["parked", "parked", "dead"])
                #expect(events.compactMap { $0["attempts"] as? Int } == [8, 0, 8])
                #expect(events.map { $0["dueAt"] is String } == [false, true, false])
                #expect(events.map { $0["error"] as? String } == ["eventRefused: no such customer", nil, "eventRefused: too much"])
                let table = try await tabulated(nodes, "outbox", "ls", "--node", "n1", "--limit", "1")
                #expect(table.code == 3, "\(table.talk)")
                let words = rows(table.output)
                #expect(words.count == 1 && words.first?.prefix(8) == [ids[0], "n1", "shop", "order.created", "a", "parked", "8", "-"], "\(table.output)")
                let other = try await nodes.tandem("outbox", "ls", "--sink", "other")
                #expect(other.code == 0 && other.output == #"{"events":[]}"# + "\n")
                let lag = try await nodes.tandem("outbox", "lag")
                let sinks = try list("sinks", lag)
                #expect(lag.code == 0 && sinks.first?["parked"] as? Int == 2 && sinks.first?["dead"] as? Int == 1, "\(lag.output)")

                for arguments in [["retry", "other"], ["retry", "shop", UUID().uuidString], ["drop", "other", ids[2]], ["drop", "shop", UUID().uuidString]] {
                    let none = try await nodes.start(["outbox"] + arguments).end()
                    #expect(none.code == 4 && none.output == #"{"events":0}"# + "\n", "\(arguments)")
                }
                let dropped = try await tabulated(nodes, "outbox", "drop", "shop", ids[2])
                #expect(dropped.code == 0 && dropped.output.hasPrefix("1 events "), "\(dropped.talk)")
                let again = try await nodes.tandem("outbox", "drop", "shop", ids[2])
                #expect(again.code == 4, "\(again.output)")
                let retried = try await nodes.tandem("outbox", "retry", "shop", ids[0])
                #expect(retried.code == 0 && retried.output == #"{"events":1}"# + "\n", "\(retried.talk)")
                let rest = try await tabulated(nodes, "outbox", "retry", "shop")
                #expect(rest.code == 0 && rest.output.hasPrefix("2 events "), "\(rest.talk)")

                try await withSinks("shop: {stdout: true}", nodes) { path in
                    let run = try ProgramRun(["outbox", "run", "-c", path])
                    defer { if run.isRunning { run.send(SIGKILL) } }
                    try await until("nothing is set aside") { try await nodes.tandem("outbox", "ls").code == 0 }
                    run.send(SIGTERM)
                    let end = await run.end()
                    #expect(end.code == 0, "\(end.talk)")
                    let printed = try end.output.split(separator: "\n").map { try attribute("id", String($0)) }
                    #expect(printed == Array(ids.prefix(2)))
                }
                let nothing = try await tabulated(nodes, "outbox", "retry", "shop")
                #expect(nothing.code == 4 && nothing.output.hasPrefix("0 events "), "\(nothing.talk)")
                let left = try await tabulated(nodes, "outbox", "ls")
                #expect(left.code == 0 && left.output.isEmpty && left.talk.contains("no event is set aside"), "\(left.talk)")
            }
        }

        @Test("messages that were given up are listed with 3, put back into their queue or dropped; 4 says that there was none")
        func givenUp() async throws {
            try await withNodes(1) { nodes in
                let empty = try await tabulated(nodes, "inbox", "ls")
                #expect(empty.code == 0 && empty.output.isEmpty && empty.talk.contains("no message was given up"), "\(empty.talk)")
                let ids = (0..<2).map { _ in UUID().uuidString.lowercased() }
                for id in ids {
                    let isDead = try await nodes.sql(
                        "n1",
                        """
                        SELECT is_dead FROM tandem.inbox_fail('billing', '\(id)', 'no such customer', 1, '/dev/n1', 'order.created', 'customer-1', NULL,
                            'application/json', '{"id": 7}')
                        """)
                    #expect(isDead == "t")
                }

                let all = try await nodes.tandem("inbox", "ls")
                #expect(all.code == 3, "\(all.talk)")
                let messages = try list("messages", all)
                #expect(messages.compactMap { $0["id"] as? String } == ids)
                #expect(messages.allSatisfy { $0["node"] as? String == "n1" && $0["consumer"] as? String == "billing" && $0["reason"] as? String == "failed" })
                #expect(messages.allSatisfy { $0["attempts"] as? Int == 1 && $0["error"] as? String == "no such customer" && $0["at"] is String })
                let table = try await tabulated(nodes, "inbox", "ls", "--node", "n1", "--consumer", "billing", "--limit", "1")
                let words = rows(table.output)
                #expect(table.code == 3 && words.count == 1, "\(table.output)")
                #expect(words.first?.prefix(7) == [ids[0], "n1", "billing", "order.created", "customer-1", "failed", "1"], "\(table.output)")
                let other = try await nodes.tandem("inbox", "ls", "--consumer", "other")
                #expect(other.code == 0 && other.output == #"{"messages":[]}"# + "\n")

                for (command, consumer, id) in [("retry", "other", ids[0]), ("retry", "billing", UUID().uuidString), ("drop", "other", ids[0])] {
                    let none = try await nodes.tandem("inbox", command, "--node", "n1", consumer, id)
                    #expect(none.code == 4 && none.output == #"{"messages":0}"# + "\n", "\(command) \(consumer)")
                }
                let unknown = try await nodes.tandem("inbox", "retry", "--node", "n9", "billing", ids[0])
                #expect(unknown.code == 2 && unknown.talk.contains("n9"), "\(unknown.talk)")

                let retried = try await nodes.tandem("inbox", "retry", "--node", "n1", "billing", ids[0])
                #expect(retried.code == 0 && retried.output == #"{"messages":1}"# + "\n", "\(retried.talk)")
                let queued = try await nodes.sql(
                    "n1", "SELECT concat_ws(' ', queue, id, source, topic, key, content_type, convert_from(payload, 'UTF8')) FROM tandem.inbox_queue")
                #expect(queued == #"billing \#(ids[0]) /dev/n1 order.created customer-1 application/json {"id": 7}"#)
                let dropped = try await tabulated(nodes, "inbox", "drop", "--node", "n1", "billing", ids[1])
                #expect(dropped.code == 0 && dropped.output.hasPrefix("1 messages "), "\(dropped.talk)")
                for command in ["retry", "drop"] {
                    let none = try await tabulated(nodes, "inbox", command, "--node", "n1", "billing", ids[0], ids[1])
                    #expect(none.code == 4 && none.output.hasPrefix("0 messages "), "\(none.output)")
                }
                #expect(try await nodes.sql("n1", "SELECT tandem.receive('billing', '\(ids[1])')") == "f", "what is dropped counts as handled")
                #expect(try await nodes.tandem("inbox", "ls").code == 0)
            }
        }

        // MARK: Sending

        @Test("events are printed as lines until SIGTERM, which ends it with 0; a sink gets them again, or is forgotten; a node is rebased")
        func sends() async throws {
            try await withNodes(1) { nodes in
                try await withSinks("lines: {from_start: true, stdout: true}", nodes) { path in
                    let run = try ProgramRun(["outbox", "run", "-c", path])
                    defer { if run.isRunning { run.send(SIGKILL) } }
                    try await until("there is a place to replay from") { try await nodes.sql("n1", "SELECT count(*) > 0 FROM tandem.outbox_history") == "t" }
                    let id = try await publish("order.created", nodes, "--key", "customer-1", "--data", #"{"id": 7}"#, "--header", "trace=abc")
                    let first = try await lines(1, of: run, nodes), line = try #require(first.first)
                    #expect(first.count == 1)
                    let parts = [
                        #""id":"\#(id)""#, #""type":"order.created""#, #""source":"/dev/n1""#, #""partitionkey":"customer-1""#,
                        #""headers":{"trace":"abc"}"#, #""data":{"id": 7}"#,
                    ]
                    for part in parts { #expect(line.contains(part), "\(line)") }
                    let led = try await nodes.tandem("outbox", "lag")
                    #expect(led.output.contains(#""led":1,"#), "\(led.output)")
                    run.send(SIGTERM)
                    let end = await run.end()
                    #expect(end.code == 0 && end.output == line + "\n", "\(end.talk)")
                    let left = try await nodes.tandem("outbox", "lag")
                    #expect(left.output.contains(#""led":0,"#), "its lease is given back: \(left.output)")

                    try await nodes.sql(
                        "n1", "UPDATE tandem.outbox_history SET at = at - interval '1 hour' WHERE at = (SELECT min(at) FROM tandem.outbox_history)")
                    for arguments in [["lines", "--since", "2h"], ["other", "--since", "30m"]] {
                        let refused = try await nodes.start(["outbox", "replay"] + arguments).end()
                        let error = try #require(try refused.json()["error"] as? [String: any Sendable])
                        #expect(refused.code == 4 && error["code"] as? String == "notFound", "\(refused.talk)")
                    }
                    let replay = try await nodes.tandem("outbox", "replay", "lines", "--since", "30m")
                    #expect(replay.code == 0, "\(replay.talk)")
                    let begins = try #require(try replay.json()["replayed"] as? [String: String])
                    #expect(Array(begins.keys) == ["n1"])
                    let repeated = try await tabulated(nodes, "outbox", "replay", "lines", "--since", "30m", "--node", "n1")
                    #expect(repeated.code == 0 && repeated.output.hasPrefix("n1: "), "\(repeated.talk)")

                    let serve = try ProgramRun(["serve", "--only", "outbox", "-c", path])
                    defer { if serve.isRunning { serve.send(SIGKILL) } }
                    let second = try await lines(1, of: serve, nodes), copy = try #require(second.first)
                    #expect(second.count == 1)
                    let ids = try [line, copy].map { try attribute("id", $0) }
                    #expect(ids == [id, id])
                    let places = try [line, copy].map { try attribute("sequence", $0) }
                    #expect(places[0] < places[1], "it has a new place")
                    serve.send(SIGTERM)
                    let served = await serve.end()
                    #expect(served.code == 0, "\(served.talk)")
                }
                try await rebases(nodes)
                try await forgets(nodes)
            }
        }

        private func rebases(_ nodes: DevNodes) async throws {
            let number = try await nodes.sql("n1", "SELECT max(seq) FROM tandem.outbox")
            let kept = try await tabulated(nodes, "outbox", "rebase", "--node", "n1", "--from", "0", "--yes")
            #expect(kept.code == 0 && kept.output.hasPrefix("1 events "), "\(kept.talk)")
            let removed = try await nodes.tandem("outbox", "rebase", "--node", "n1", "--from", number, "--yes")
            #expect(removed.code == 0 && removed.output == #"{"events":0}"# + "\n", "\(removed.talk)")
            let left = try await nodes.sql("n1", "SELECT count(*) FROM tandem.outbox")
            #expect(left == "0")
            let unknown = try await nodes.tandem("outbox", "rebase", "--node", "n9", "--from", "0", "--yes")
            #expect(unknown.code == 2 && unknown.talk.contains("n9"), "\(unknown.talk)")
        }

        private func forgets(_ nodes: DevNodes) async throws {
            try await nodes.sql("n1", "SELECT tandem.outbox_add_sink('old', 1::int2, true)")
            let removed = try await tabulated(nodes, "outbox", "remove", "old", "--yes")
            #expect(removed.code == 0 && removed.output.hasPrefix("n1: "), "\(removed.talk)")
            let object = try await nodes.tandem("outbox", "remove", "lines", "--yes", "--node", "n1")
            #expect(object.code == 0 && object.output == #"{"nodes":["n1"]}"# + "\n", "\(object.talk)")
            let again = try await tabulated(nodes, "outbox", "remove", "lines", "--yes")
            #expect(again.code == 4 && again.output.isEmpty, "\(again.talk)")
            let lag = try await nodes.tandem("outbox", "lag")
            #expect(lag.code == 0 && lag.output == #"{"sinks":[]}"# + "\n")
        }
    }
}

@Suite("A mistake on the command line of tandem outbox and tandem inbox")
struct OutboxUsageTests {
    @Test(
        "what is missing, is written wrongly, or needs --yes is 2, says how it is written, and asks no node",
        arguments: [
            ["outbox", "publish", "t"], ["outbox", "publish", "t", "--node", "n1", "--header", "x"], ["outbox", "ls", "--limit", "many"], ["outbox", "retry"],
            ["outbox", "drop", "s"], ["outbox", "replay", "s"], ["outbox", "replay", "s", "--since", "5"], ["outbox", "remove", "s"],
            ["outbox", "rebase", "--node", "n1", "--from", "0"], ["outbox", "rebase", "--node", "n1", "--yes"], ["inbox", "retry", "c", "m"],
            ["inbox", "retry", "--node", "n1", "c"], ["inbox", "drop", "--node", "n1", "c"], ["serve", "--only", "boxes"],
        ])
    func mistaken(arguments: [String]) async throws {
        let end = try await ProgramRun(arguments).end()
        #expect(end.code == 2)
        #expect(end.output == "")
        #expect(end.talk.contains("Usage: tandem"), "\(end.talk)")
    }
}
