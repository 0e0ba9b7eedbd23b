import Foundation
import Glibc
import Testing

extension BuiltProgram {
    @Suite("Events on standard output")
    struct StandardOutputTests {
        /// Gives the body a node, the path of a pipe with a descriptor that holds it open, and a configuration with two sinks: standard output, and the node's own inbox.
        private func withPipe(_ body: (_ nodes: DevNodes, _ pipe: String, _ descriptor: Int32, _ configuration: String) async throws -> Void) async throws {
            try await withNodes(1) { nodes in
                let pipe = "\(nodes.folder)/lines", configuration = "\(nodes.folder)/events.yaml"
                // What is not of `tandem dev` it would leave there, and with it the folder.
                defer { for path in [pipe, configuration] { unlink(path) } }
                #expect(mkfifo(pipe, 0o600) == 0)
                let descriptor = open(pipe, O_RDWR | O_CLOEXEC)
                defer { close(descriptor) }
                let sinks = """

                    outbox:
                      sinks:
                        lines: {from_start: true, stdout: true}
                        copies: {from_start: true, postgres: {node: n1, queue: copies}}

                    """
                try (try String(contentsOfFile: nodes.configuration, encoding: .utf8) + sinks).write(toFile: configuration, atomically: true, encoding: .utf8)
                try await body(nodes, pipe, descriptor, configuration)
            }
        }

        private func publish(_ count: Int, of size: Int = 1000, on nodes: DevNodes) async throws {
            try await nodes.sql("n1", "SELECT count(tandem.publish('t', NULL, to_json(repeat('x', \(size))))) FROM generate_series(1, \(count))")
        }

        /// The ids of all events, in their order.
        private func published(on nodes: DevNodes) async throws -> [String] {
            try await nodes.sql("n1", "SELECT string_agg(id::text, ',' ORDER BY seq) FROM tandem.outbox").split(separator: ",").map(String.init)
        }

        /// The ids of the lines that can be read.
        private func ids(_ lines: String) throws -> [String] {
            lines.split(separator: "\n").compactMap { line in
                (try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])?["id"] as? String
            }
        }

        @Test("who does not read what is written stops no other sink, and the program ends in order all the same")
        func unread() async throws {
            try await withPipe { nodes, pipe, descriptor, configuration in
                try await publish(200, on: nodes)
                let run = try ProgramRun(["outbox", "run", "-c", configuration], output: pipe)
                defer { run.send(SIGKILL) }
                try await until("the pipe is full") {
                    var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                    _ = try await nodes.sql("n1", "SELECT 1")
                    return poll(&state, 1, 0) == 0
                }
                try await until("the other sink has everything") { try await nodes.sql("n1", "SELECT count(*) FROM tandem.inbox_queue") == "200" }
                run.send(SIGTERM)
                let end = await run.end()
                #expect(end.code == 0, "\(end.talk)")
            }
        }

        @Test("each line comes whole and once through a pipe that refuses what does not fit")
        func impatient() async throws {
            try await withPipe { nodes, pipe, descriptor, configuration in
                try await publish(200, on: nodes)
                let run = try ProgramRun(["outbox", "run", "-c", configuration], output: pipe, isPatient: false)
                defer { run.send(SIGKILL) }
                try await until("the other sink has everything") { try await nodes.sql("n1", "SELECT count(*) FROM tandem.inbox_queue") == "200" }
                var lines: [UInt8] = [], buffer = [UInt8](repeating: 0, count: 65536)
                #expect(fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0)
                try await until("all lines are there") {
                    let count = read(descriptor, &buffer, buffer.count)
                    if count > 0 { lines += buffer.prefix(count) }
                    return count <= 0 && lines.count { $0 == UInt8(ascii: "\n") } >= 200
                }
                #expect(try ids(String(decoding: lines, as: UTF8.self)) == (try await published(on: nodes)))
                run.send(SIGTERM)
                #expect(await run.end().code == 0)
                #expect(read(descriptor, &buffer, buffer.count) <= 0)
            }
        }

        @Test("a line that was begun when the file could not grow any more ruins none behind it")
        func full() async throws {
            try await withPipe { nodes, pipe, _, configuration in
                let file = "\(pipe).file"
                try Data().write(to: URL(fileURLWithPath: file))
                defer { unlink(file) }
                let run = try ProgramRun(["outbox", "run", "-c", configuration], output: file)
                defer { run.send(SIGKILL) }
                // Far more than the program says on standard error, which the limit is for as well.
                try await publish(1, of: 100_000, on: nodes)
                try await until("the first line is there") { try String(contentsOfFile: file, encoding: .utf8).contains("\n") }
                // In the midst of the next line, which is the first one of its batch: no whole one of it comes before.
                try run.limitFiles(to: try Data(contentsOf: URL(fileURLWithPath: file)).count + 500)
                try await publish(99, on: nodes)
                try await until("nothing more fits") { run.talk.contains("a sink takes no events now") }
                try run.limitFiles(to: nil)
                let all = try await published(on: nodes)
                try await until("all are there") { try Set(ids(try String(contentsOfFile: file, encoding: .utf8))).count == all.count }
                run.send(SIGTERM)
                #expect(await run.end().code == 0)
                let text = try String(contentsOfFile: file, encoding: .utf8)
                #expect(try Set(ids(text)) == Set(all))
                #expect(try ids(text).count == text.split(separator: "\n").count - 1, "one line was cut")
            }
        }
    }
}
