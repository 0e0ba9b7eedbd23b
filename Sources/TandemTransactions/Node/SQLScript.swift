import Foundation
package import TandemCluster
package import TandemCore
import TandemPostgres

/// Statements of a file, to be run on nodes that have nothing to do with each other.
package struct SQLScript: Sendable {
    /// What became of it on one node.
    package struct End: Sendable {
        /// The node.
        package let node: NodeName
        /// Statements that were run, and stay.
        package let statements: Int
        /// Rows that each of them touched.
        package let rows: [Int]
        /// Why the rest was not.
        package let error: TandemError?
    }

    private let statements: [SQL]

    /// Reads a file; `-` is standard input.
    ///
    /// - Throws: `configurationInvalid` where it cannot be read, or holds nothing.
    package static func load(path: String) throws -> SQLScript {
        let data: Data?
        do {
            data = path == "-" ? try FileHandle.standardInput.readToEnd() : try Data(contentsOf: URL(fileURLWithPath: path))
        } catch {
            throw TandemError(.configurationInvalid, "\(path) cannot be read", nextStep: "name a file, or `-` for standard input", cause: error)
        }
        guard let text = String(data: data ?? Data(), encoding: .utf8) else {
            throw TandemError(.configurationInvalid, "\(path) is not a text in UTF-8", nextStep: "save it as UTF-8")
        }
        let script = SQLScript(text)
        guard !script.statements.isEmpty else {
            throw TandemError(.configurationInvalid, "\(path) holds no statement", nextStep: "write one, ended by a semicolon")
        }
        return script
    }

    package init(_ text: String) {
        statements = sqlStatements(in: text).map { SQL($0, parameters: []) }
    }

    /// Runs it on each node at the same time.
    ///
    /// - Parameters:
    ///   - nodes: the nodes.
    ///   - cluster: their cluster.
    ///   - isSingle: whether each statement commits on its own.
    ///   - timeout: how long one node may take.
    /// - Returns: what became of it on each.
    /// - Throws: `unknownNode` before anything is sent; `statementRefused` where the file would end a transaction; `CancellationError`.
    package func run(on nodes: [NodeName], of cluster: Cluster, isSingle: Bool, timeout: Duration) async throws -> [End] {
        for node in nodes { _ = try cluster.node(node) }
        for statement in statements {
            guard let control = TransactionControl(of: statement.text) else { continue }
            throw TandemError(
                .statementRefused, "\(control.rawValue) stands in the file, which is one transaction on each node", nextStep: "leave it out, or use psql")
        }
        let ends = try await withThrowingTaskGroup(of: (Int, End).self) { group in
            for (index, node) in nodes.enumerated() {
                group.addTask { (index, try await isSingle ? each(on: cluster[node], timeout) : together(on: cluster[node], timeout)) }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        return ends.sorted { $0.0 < $1.0 }.map(\.1)
    }

    private func together(on node: Node, _ timeout: Duration) async throws -> End {
        var options = TransactionOptions()
        options.timeout = timeout
        do {
            let rows = try await node.transaction(options) { branch in
                var rows: [Int] = []
                for statement in statements { rows.append(try await branch.execute(statement)) }
                return rows
            }
            return End(node: node.name, statements: rows.count, rows: rows, error: nil)
        } catch let error as TandemError {
            return End(node: node.name, statements: 0, rows: [], error: error)
        }
    }

    private func each(on node: Node, _ timeout: Duration) async throws -> End {
        let deadline = ContinuousClock.now + timeout
        var rows: [Int] = []
        do {
            for statement in statements { rows.append(try await node.execute(statement, timeout: deadline - .now)) }
            return End(node: node.name, statements: rows.count, rows: rows, error: nil)
        } catch let error as TandemError {
            return End(node: node.name, statements: rows.count, rows: rows, error: error)
        }
    }
}
