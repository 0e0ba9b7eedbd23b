import Foundation
import Glibc
import Testing

extension BuiltProgram {
    @Suite("Events on standard output")
    struct StandardOutputTests {
        @Test("who does not read what is written stops no other sink, and the program ends in order all the same")
        func unread() async throws {
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
                try await nodes.sql("n1", "SELECT count(tandem.publish('t', NULL, to_json(repeat('x', 1000)))) FROM generate_series(1, 200)")
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
    }
}
