import Foundation
import Glibc
import TandemCore
import Testing

@testable import TandemLocal

/// The owner of these clusters is a process of its own.
@Suite struct OwnerEndTests {
    @Test("the servers stop when their owner is killed, and their data stays")
    func killedOwner() async throws {
        try await withClusterFolder { directory in
            await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String] in
                let cluster = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 2))
                try await psql(cluster.nodes[0].conninfo, "CREATE TABLE kept ()")
                try await cluster.pause("n2")
                raise(SIGKILL)
            }
            for folder in try folders(directory) { #expect(try await folder.end()) }
            let cluster = try await LocalCluster.start(LocalClusterOptions(directory: directory))
            #expect(cluster.isOwner)
            #expect(try await psql(cluster.nodes[0].conninfo, "SELECT count(*) FROM kept") == "0")
            try await cluster.stop()
        }
    }

    @Test("an ephemeral cluster is removed when its owner is killed")
    func killedEphemeralOwner() async throws {
        try await withClusterFolder { directory in
            await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String] in
                let options = LocalClusterOptions(directory: directory, nodeCount: 1, isEphemeral: true)
                _ = try await LocalCluster.start(options)
                symlink(try #require(try ClusterRecord.read(directory)).base, "\(directory)-base")
                raise(SIGKILL)
            }
            defer { unlink("\(directory)-base") }
            let isRemoved = try await poll(within: .seconds(60)) { access("\(directory)-base", F_OK) != 0 && access(directory, F_OK) != 0 }
            #expect(isRemoved)
        }
    }

    @Test("the supervisor stops the servers when the holder of its pipe is killed")
    func supervisor() async throws {
        try await withClusterFolder { directory in
            _ = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 2, isDetached: true))
            let record = try #require(try ClusterRecord.read(directory))
            let running = ClusterFiles(directory).running(try #require(record.run))
            let holder = try ChildProcess.spawn(
                [
                    "/bin/sh", "-c",
                    #"""
                    fifo=$1 script=$2
                    shift 2
                    mkfifo "$fifo"
                    /bin/sh -c "$script" tandem-supervisor "$@" <"$fifo" &
                    exec 3>"$fifo"
                    : >"$fifo.held"
                    exec sleep 600
                    """#, "sh", "\(directory)/fifo", Scripts.supervisor, running, "fast", directory, "",
                ] + record.folders.map(\.path))
            let isHeld = try await poll(within: .seconds(10)) { access("\(directory)/fifo.held", F_OK) == 0 }
            #expect(isHeld)
            #expect(record.folders.map(\.isReady) == [true, true])
            kill(holder.processID, SIGKILL)
            #expect(try await holder.status(within: .seconds(10)) == 128 + SIGKILL)
            for folder in record.folders { #expect(try await folder.end()) }
            #expect(access(running, F_OK) != 0)
            for name in ["fifo", "fifo.held"] { unlink("\(directory)/\(name)") }
        }
    }

    @Test("detached servers go on after their owner, and stop for whoever attaches")
    func detached() async throws {
        try await withClusterFolder { directory in
            await #expect(processExitsWith: .success) { [directory = directory as String] in
                _ = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 1, isDetached: true))
            }
            let cluster = try await LocalCluster.attach(directory: directory)
            #expect(try await psql(cluster.nodes[0].conninfo, "SELECT 1") == "1")
            try await cluster.kill("n1")
            try await LocalCluster.attach(directory: directory).start("n1")
            #expect(try await psql(cluster.nodes[0].conninfo, "SELECT 1") == "1")
            try await cluster.stop()
            #expect(cluster.status().map(\.state) == [.stopped])
            await #expect(throws: TandemError.self) { try await LocalCluster.attach(directory: directory) }
        }
    }

    @Test("the next start cleans up after the owner and its supervisor were killed, with or without the servers", arguments: [true, false])
    func killedEverything(serversToo: Bool) async throws {
        try await withClusterFolder { directory in
            await #expect(processExitsWith: .signal(SIGKILL)) { [directory = directory as String, serversToo = serversToo as Bool] in
                let cluster = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 2))
                let supervisor = try #require(try ClusterRecord.read(directory)?.run?.supervisor)
                try await psql(cluster.nodes[0].conninfo, "CREATE TABLE kept ()")
                kill(supervisor.processID, SIGKILL)
                if serversToo {
                    for folder in try folders(directory) { for process in folder.processes() { kill(process, SIGKILL) } }
                }
                raise(SIGKILL)
            }
            await #expect(throws: TandemError.self) { try await LocalCluster.attach(directory: directory) }
            let cluster = try await LocalCluster.start(LocalClusterOptions(directory: directory))
            #expect(cluster.isOwner)
            #expect(try await psql(cluster.nodes[0].conninfo, "SELECT count(*) FROM kept") == "0")
            try await cluster.stop()
        }
    }

    @Test("a pid file that names a live server of another node hinders nothing and harms nobody")
    func foreignPidFile() async throws {
        try await withClusterFolder { directory in
            let cluster = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 2, isEphemeral: true))
            let other = try #require(cluster.status()[1].processID)
            try await cluster.kill("n1")
            let folder = try folders(directory)[0]
            var content = lines(of: folder.postmasterFile)
            content[0] = String(other)
            try content.joined(separator: "\n").write(toFile: folder.postmasterFile, atomically: false, encoding: .utf8)
            try await cluster.kill("n1")
            try await cluster.start("n1")
            #expect(cluster.status().map(\.state) == [.running, .running])
            #expect(cluster.status()[1].processID == other)
            try await cluster.stop()
        }
    }
}
