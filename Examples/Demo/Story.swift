import Foundation
import Tandem
import TandemConfiguration
import TandemLocal

/// What the demonstration does, step by step. Every number that it prints is measured in this run.
struct Story: Sendable {
    private static let clients = 32
    /// Transfers that must have gone through before the next thing happens.
    private static let warm = 1_000, meanwhile = 100, after = 300

    let tandem: String
    let screen: Screen

    /// Tells it and says whether every claim held.
    func tell() async throws -> Bool {
        let folder = "\(Self.temporaryFolder)/tandem-demo-\(UUID().uuidString.lowercased())"
        screen.say("starting three PostgreSQL servers in \(folder)")
        let servers = try await LocalCluster.start(LocalClusterOptions(directory: folder, nodeCount: 3))
        do {
            let isSound = try await tell(servers)
            try await LocalCluster.reset(directory: folder)
            screen.title(isSound ? "Every claim held." : "Not every claim held.")
            screen.say("the servers are stopped and their data is removed")
            return isSound
        } catch {
            try? await LocalCluster.reset(directory: folder)
            throw error
        }
    }

    /// As root the servers run as another user, who reaches few of root's folders.
    private static var temporaryFolder: String {
        getuid() == 0 ? "/var/tmp" : URL(fileURLWithPath: NSTemporaryDirectory()).standardizedFileURL.path
    }

    private func tell(_ servers: LocalCluster) async throws -> Bool {
        let scratch = try Scratch()
        defer { scratch.remove() }
        for node in servers.nodes { screen.say("  \(node)") }
        let program = TandemProgram(
            path: tandem, configuration: try scratch.write("tandem.yaml", configuration(servers)), folder: scratch.path)
        try expect(await program.run("init"), status: 0, "tandem init")
        let cluster = try Cluster(ConfigurationFile.load(path: program.configuration))
        defer { cluster.close() }
        let bank = Bank(cluster), tally = Tally()
        try await bank.open()
        let before = try await bank.money()
        screen.say("\(Bank.accounts) accounts on each of \(bank.nodes.map(\.rawValue).joined(separator: ", ")): \(before) in all")

        try await fromFiles(bank, tally, program, scratch)
        try await fromSwift(bank, tally, servers)
        let settled = try await withoutCoordinator(bank, tally, program, scratch)
        return try await close(bank, tally, before, settled)
    }

    private func configuration(_ servers: LocalCluster) -> String {
        // The single quotes of a conninfo stand in a YAML block, which needs no escapes.
        let nodes = servers.nodes.map { "  \($0.name):\n    conninfo: >-\n      \($0.conninfo)\n" }
        return "cluster: bank\ndefaults:\n  pool: {maximum: 32}\nnodes:\n\(nodes.joined())recovery: {interval: 500ms, grace: 2s}\n"
    }

    // MARK: Transfers from files

    private func fromFiles(_ bank: Bank, _ tally: Tally, _ program: TandemProgram, _ scratch: Scratch) async throws {
        screen.say("transfers from a YAML file: tandem tx run transfer.yaml")
        for _ in 0..<3 {
            let transfer = bank.randomTransfer()
            try expect(await program.run("tx", "run", try scratch.write("transfer.yaml", bank.yaml(transfer))), status: 0, "tandem tx run")
            tally.note(transfer, .committed)
        }
        let tooMuch = 2 * Bank.balance
        let transfer = Bank.Transfer(
            number: bank.nextNumber(),
            parts: [.init(node: bank.nodes[1], account: 1, amount: tooMuch), .init(node: bank.nodes[0], account: 1, amount: -tooMuch)])
        try expect(await program.run("tx", "run", try scratch.write("transfer.yaml", bank.yaml(transfer))), status: 1, "an overdraft")
        tally.note(transfer, .rolledBack)
        screen.say("  \(tally.committed) committed; \(tally.rolledBack) that asked for more than there was is rolled back on both nodes")
    }

    // MARK: Transfers from Swift, and a node that dies

    private func fromSwift(_ bank: Bank, _ tally: Tally, _ servers: LocalCluster) async throws {
        let clients = Clients(bank, tally)
        // As a long-running program does: it finishes what others, or an earlier run of it, left behind.
        let recovery = Task { try await bank.cluster.run() }
        defer { recovery.cancel() }
        async let work: Void = clients.run(Self.clients)
        do {
            try await killNode(bank, tally, servers)
        } catch {
            clients.stop()
            // A client that ended with an error of its own says more than what was waited for in vain.
            try await work
            throw error
        }
        clients.stop()
        try await work
        screen.say("  clients stopped: \(tally.committed) committed, \(tally.rolledBack) rolled back, \(tally.inDoubt) in doubt so far")
        let failures = tally.failures.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        screen.say("  why they failed: \(failures.joined(separator: ", "))")
        try await wait(for: "recovery has nothing left to do", within: .seconds(20)) { try await bank.prepared() == 0 }
        recovery.cancel()
        _ = await recovery.result
    }

    private func killNode(_ bank: Bank, _ tally: Tally, _ servers: LocalCluster) async throws {
        let victim = bank.nodes[1]
        screen.say("transfers from Swift: \(Self.clients) clients at a time")
        let start = tally.committed, began = ContinuousClock.now
        try await wait(for: "\(Self.warm) transfers", within: .seconds(20)) { tally.committed - start >= Self.warm }
        let (committed, time) = (tally.committed - start, ContinuousClock.now - began)
        screen.say("  \(committed) committed, \(Int(Double(committed) / (time / .seconds(1)))) a second")
        try await kill(victim, bank, tally, servers)
        let onVictim = tally.committed(on: victim)
        try await wait(for: "\(Self.after) transfers that \(victim) takes part in", within: .seconds(30)) {
            tally.committed(on: victim) - onVictim >= Self.after
        }
        screen.say("  \(tally.committed(on: victim) - onVictim) committed with \(victim) since")
    }

    private func kill(_ victim: NodeName, _ bank: Bank, _ tally: Tally, _ servers: LocalCluster) async throws {
        try await servers.kill(victim)
        let killed = ContinuousClock.now
        let (committed, failed) = (tally.committed, tally.rolledBack + tally.inDoubt)
        screen.say("kill -9: all processes of \(victim)")
        try await wait(for: "clients see it, and the other nodes go on", within: .seconds(20)) {
            tally.committed - committed >= Self.meanwhile && tally.rolledBack + tally.inDoubt > failed
        }
        screen.say(
            "  meanwhile \(tally.committed - committed) more committed on the others, \(tally.rolledBack + tally.inDoubt - failed) failed")
        try await servers.start(victim)
        screen.say("\(victim) is started again, \(Int((ContinuousClock.now - killed) / .milliseconds(1))) ms after it was killed")
    }

    // MARK: A coordinator that dies

    /// Returns how many transactions were in doubt and then recovered.
    private func withoutCoordinator(_ bank: Bank, _ tally: Tally, _ program: TandemProgram, _ scratch: Scratch) async throws -> Int {
        let ends: [(failpoint: String, when: String, fate: Tally.Fate)] = [
            ("after_prepare", "before its decision", .rolledBack), ("after_decision", "after its decision", .committed),
        ]
        var orphans: [(id: TransactionID, transfer: Bank.Transfer, fate: Tally.Fate)] = []
        for (index, end) in ends.enumerated() {
            let id = TransactionID.make(
                milliseconds: UInt64(Date().timeIntervalSince1970 * 1000), random: (.random(in: 0 ... .max), .random(in: 0 ... .max)))
            let transfer = Bank.Transfer(
                number: bank.nextNumber(),
                parts: zip(bank.nodes, [-20, 12, 8]).map { .init(node: $0, account: Bank.accounts - index, amount: $1) })
            let file = try scratch.write("transfer.yaml", bank.yaml(transfer, id: id))
            let ending = try await program.run("tx", "run", file, failpoints: "\(end.failpoint)=kill")
            guard ending.signal == SIGKILL else { throw Broken("tandem tx run should have died at \(end.failpoint): \(ending)") }
            screen.say("a coordinator over three nodes is killed \(end.when): TANDEM_FAILPOINTS=\(end.failpoint)=kill tandem tx run")
            orphans.append((id, transfer, end.fate))
        }
        let inDoubt = await bank.cluster.transactionsInDoubt()
        guard inDoubt.unreachable.isEmpty, Set(inDoubt.transactions.map(\.transaction)) == Set(orphans.map(\.id)) else {
            throw Broken("the two of them should be in doubt, and nothing else: \(inDoubt)")
        }
        screen.say("tandem tx ls --in-doubt")
        screen.quote(try await program.run("tx", "ls", "--in-doubt").output)
        screen.say("tandem recover --once --grace 0s")
        let recovery = try await program.run("recover", "--once", "--grace", "0s")
        screen.quote(recovery.output)
        try expect(recovery, status: 0, "tandem recover")
        for orphan in orphans {
            let description = try await bank.cluster.describe(orphan.id)
            let outcome = orphan.fate == .committed ? Outcome.committed : .rolledBack
            guard description.outcome == outcome, !description.isInDoubt else {
                throw Broken("\(orphan.id) should be \(outcome.rawValue): \(description)")
            }
            tally.note(orphan.transfer, orphan.fate)
        }
        screen.say("  the first is rolled back everywhere, the second is committed everywhere")
        return orphans.count
    }

    // MARK: The end

    private func close(_ bank: Bank, _ tally: Tally, _ before: Int64, _ settled: Int) async throws -> Bool {
        // Whoever was told "in doubt" asks: now that all nodes are there, each has an answer.
        var fates = tally.fates
        var answered = 0
        for (number, fate) in fates {
            guard case .inDoubt(let id) = fate else { continue }
            switch try await bank.cluster.outcome(of: id, within: .seconds(5)) {
            case .committed: fates[number] = .committed
            case .rolledBack: fates[number] = .rolledBack
            case .inDoubt: continue
            }
            answered += 1
        }
        let result = try await Audit(bank: bank, moneyBefore: before, fates: fates, transfers: tally.transfers).run()
        let unanswered = fates.values.count { if case .inDoubt = $0 { true } else { false } }
        screen.title("What happened to \(fates.count) transfers")
        screen.table([
            ("committed", "\(fates.values.count { $0 == .committed })"), ("rolled back", "\(fates.values.count { $0 == .rolledBack })"),
            ("of these first in doubt, then recovered", "\(settled + answered)"), ("still in doubt", "\(unanswered)"),
            ("money before", "\(before)"),
            ("money after", "\(result.money)"), ("prepared transactions left", "\(result.prepared)"),
        ])
        screen.title("What must hold")
        let checks =
            result.checks + [
                Audit.Check(claim: "nobody is left in doubt", finding: unanswered == 0 ? nil : "\(unanswered) transfers without an answer")
            ]
        for check in checks {
            screen.write("  \(check.finding == nil ? "ok     " : "FAILED ") \(check.claim)\(check.finding.map { ": \($0)" } ?? "")")
        }
        return checks.allSatisfy { $0.finding == nil }
    }

    private func expect(_ ending: TandemProgram.Ending, status: Int32, _ what: String) throws {
        guard ending.status == status else {
            throw Broken(
                "\(what) should end with \(status): \(ending.status.map { "it ended with \($0)" } ?? "a signal ended it")\n\(ending.output)\(ending.talk)"
            )
        }
    }
}

/// A folder for files that only this run needs.
struct Scratch: Sendable {
    let path: String

    init() throws {
        path = URL(fileURLWithPath: NSTemporaryDirectory()).appending(path: "tandem-demo-files-\(UUID().uuidString.lowercased())").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    /// Writes a file and returns its path.
    func write(_ name: String, _ text: String) throws -> String {
        let file = "\(path)/\(name)"
        try Data(text.utf8).write(to: URL(fileURLWithPath: file))
        return file
    }

    func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }
}
