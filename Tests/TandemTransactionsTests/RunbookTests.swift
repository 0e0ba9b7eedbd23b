import Foundation
import TandemCluster
import TandemCore
import TandemTestSupport
import Testing

@testable import TandemTransactions

/// The statements of docs/recovery-runbook.md, executed by psql as they stand there.
@Suite("The runbook for psql")
struct RunbookTests {
    private struct Block {
        let place: String
        let text: String
    }

    private static func blocks() throws -> [Block] {
        let path = URL(filePath: #filePath).resolvingSymlinksInPath().appending(path: "../../../docs/recovery-runbook.md").standardizedFileURL
        let parts = try String(contentsOf: path, encoding: .utf8).components(separatedBy: "\n```sql\n").dropFirst()
        return try parts.map { part in
            let text = try #require(part.components(separatedBy: "\n```").first)
            let first = try #require(text.split(separator: "\n").first)
            return Block(place: String(first), text: text)
        }
    }

    /// Runs a block as the cluster's plain role and returns what psql printed.
    private func psql(_ test: TestCluster, _ node: NodeName, _ block: Block, _ id: TransactionID) throws -> String {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", try test.conninfo(node)]
        let input = Pipe(), output = Pipe(), errors = Pipe()
        (process.standardInput, process.standardOutput, process.standardError) = (input, output, errors)
        try process.run()
        input.fileHandleForWriting.write(Data((block.text.replacing("018f3e2a-7c4b-7d11-9a52-0123456789ab", with: id.description) + "\n").utf8))
        try input.fileHandleForWriting.close()
        let printed = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        let wrong = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        guard process.terminationStatus == 0, wrong.isEmpty else { throw TestFailure("psql on \(node): \(wrong)\n\(block.text)") }
        return printed
    }

    @Test("its statements find a transaction, ask for its decision and finish it", arguments: [true, false])
    func settles(isCommitted: Bool) async throws {
        let blocks = try Self.blocks()
        func block(_ part: String) throws -> Block { try #require(blocks.first { $0.text.contains(part) }, "\(part)") }
        try await withCluster { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            if isCommitted { try await test.decide(id) }
            let list = try block("owner, gid FROM tandem.in_doubt")
            #expect(try psql(test, "n1", list, id).isEmpty)
            #expect(try psql(test, "n2", list, id).hasPrefix("\(id)|n2|n1|"))
            #expect(try psql(test, "n1", try block("SELECT tandem.tombstone"), id) == (isCommitted ? "W\n" : "A\n"))
            _ = try psql(test, "n2", try block(isCommitted ? "SELECT to_commit" : "SELECT to_roll_back"), id)
            #expect(try await test.prepared() == [])
            try await isCommitted ? test.expectMoved() : test.expectUntouched()
            // The others run as well, wherever they may be used.
            for block in blocks where !block.text.contains("tombstone") {
                for node in ["n1", "n2"] as [NodeName] { _ = try psql(test, node, block, id) }
            }
            let rows = try block("LEFT JOIN tandem.branch")
            #expect(try psql(test, "n1", rows, id).hasPrefix(isCommitted ? "n1|W|" : "n1|A|"))
            #expect(try psql(test, "n2", rows, id).hasPrefix(isCommitted ? "n2|W|" : "n2||"))
            #expect(try await test.count("n1", "tandem.operation WHERE transaction_id = '\(id)' AND who = 'tandem'") == 1)
        }
    }

    @Test("every block says where it runs")
    func places() throws {
        let blocks = try Self.blocks()
        #expect(blocks.count >= 7)
        for block in blocks { #expect(block.place.hasPrefix("-- on "), "\(block.text)") }
    }
}
