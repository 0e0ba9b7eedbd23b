import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

/// Several programs, each with a login of its own, and one NOLOGIN role that owns what they prepare (docs/operating.md, "Roles and rights").
@Suite("A role that owns prepared branches")
struct RoleTests {
    private struct Roles {
        let test: TestCluster
        let one: String, two: String, owner: String

        /// The cluster as a program that logs in as `login` sees it.
        func cluster(_ login: String, owning: Bool = true) throws -> Cluster {
            try test.another { configuration in
                for index in configuration.nodes.indices {
                    configuration.nodes[index].conninfo += " user=\(login) password=x"
                    configuration.nodes[index].role = owning ? owner : nil
                }
            }
        }
    }

    private func withRoles(_ body: (Roles) async throws -> Void) async throws {
        try await withCluster { test in
            let suffix = UUID().uuidString.prefix(8).lowercased()
            let roles = Roles(test: test, one: "one_\(suffix)", two: "two_\(suffix)", owner: "Owner \"\(suffix)\"")
            let owner = try quoteIdentifier(roles.owner)
            let all = [roles.one, roles.two, owner].joined(separator: ", ")
            for node in test.configuration.nodes {
                for text in try [
                    "CREATE ROLE \(owner) NOLOGIN", "CREATE ROLE \(roles.one) LOGIN PASSWORD 'x' IN ROLE \(owner)",
                    "CREATE ROLE \(roles.two) LOGIN PASSWORD 'x' IN ROLE \(owner)",
                    "GRANT SELECT, UPDATE ON account TO \(roles.one), \(roles.two)", "CREATE TABLE trail (who text DEFAULT current_user)",
                    "GRANT INSERT ON trail TO \(roles.one), \(roles.two)",
                ] + CoreSchema.grants(to: roles.owner) { try await test.value(node.name, text) }
            }
            do { try await body(roles) } catch {
                try? await remove(roles, all)
                throw error
            }
            try await remove(roles, all)
        }
    }

    private func remove(_ roles: Roles, _ all: String) async throws {
        for node in roles.test.configuration.nodes {
            try await roles.test.value(node.name, "DROP OWNED BY \(all)")
            try await roles.test.value(node.name, "DROP ROLE \(all)")
        }
    }

    private func transfer(_ cluster: Cluster) async throws {
        _ = try await cluster.transaction { tx in
            for (node, amount) in [("n1", -10), ("n2", 10)] as [(NodeName, Int)] {
                try await tx[node].execute("UPDATE account SET balance = balance + \(amount) WHERE id = 1", rows: 1...1)
                try await tx[node].execute("INSERT INTO trail DEFAULT VALUES")
            }
        }
    }

    @Test("statements run as the program's own login, with a body and as data, and the branch commits everywhere")
    func commits() async throws {
        try await withRoles { roles in
            let cluster = try roles.cluster(roles.one)
            try await transfer(cluster)
            _ = try await cluster.run(
                TransactionRequest([
                    .init("n1", "INSERT INTO trail DEFAULT VALUES", expectedRows: 1...1), .init("n2", "INSERT INTO trail DEFAULT VALUES"),
                ]))
            try await roles.test.expectMoved()
            for node in ["n1", "n2"] as [NodeName] {
                #expect(try await roles.test.value(node, "SELECT string_agg(who, ',') FROM trail") == "\(roles.one),\(roles.one)")
                #expect(try await roles.test.count(node, "tandem.branch") == 2)
            }
            cluster.close()
        }
    }

    @Test("what one login prepared, another one finishes as the role they share, and cannot without it")
    func finishes() async throws {
        try await withRoles { roles in
            let test = roles.test
            let id = TransactionID.fresh()
            let owner = try quoteIdentifier(roles.owner)
            try await sql(
                try test.conninfo("n2") + " user=\(roles.one) password=x", "BEGIN", "UPDATE account SET balance = balance + 10 WHERE id = 1",
                "SET LOCAL ROLE \(owner)", "INSERT INTO tandem.branch (transaction_id, node) VALUES ('\(id)', \(try test.id("n2")))",
                "PREPARE TRANSACTION '\(try test.gid(id, "n2", commitPoint: "n1"))'")
            #expect(try await test.value("n2", "SELECT owner FROM pg_prepared_xacts WHERE database = current_database()") == roles.owner)
            try await test.decide(id)
            let without = try roles.cluster(roles.two, owning: false)
            let report = await without.recover(grace: .zero)
            #expect(report.remaining == 1 && report.settled == 0)
            #expect(try await test.prepared().count == 1)
            let with = try roles.cluster(roles.two)
            #expect(await with.recover(grace: .zero).branches.map(\.settlement) == ["committed"])
            try await test.expectMoved()
            without.close()
            with.close()
        }
    }

    @Test("a transaction that is rolled back by a vote leaves nothing prepared, whoever owns it")
    func rollsBack() async throws {
        try await withRoles { roles in
            let cluster = try roles.cluster(roles.one)
            let error = await refusal {
                try await cluster.run(
                    TransactionRequest([
                        .init("n1", "UPDATE account SET balance = balance + 10 WHERE id = 1"),
                        .init("n2", "UPDATE account SET balance = balance - 5000 WHERE id = 1"),
                    ]))
            }
            #expect(error?.sqlState == .checkViolation && error?.effect == .rolledBack)
            try await roles.test.expectUntouched()
            cluster.close()
        }
    }
}
