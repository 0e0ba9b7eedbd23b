import TandemCluster
import TandemCore
import TandemFailpoints
import TandemLocal
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("What cannot be prepared")
struct CannotPrepareTests {
    @Test(
        "is refused with its cause and the node, and leaves nothing prepared",
        arguments: [
            ["CREATE TEMP TABLE leaves (id int)"], ["NOTIFY channel"], ["LISTEN channel"], ["DECLARE c CURSOR WITH HOLD FOR SELECT 1"],
            ["SELECT pg_export_snapshot()"],
            ["SELECT pg_advisory_lock(4711)", "SELECT pg_advisory_xact_lock(4711)"],
        ])
    func refused(statements: [String]) async throws {
        try await withCluster { test in
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
                    for statement in statements { try await tx["n2"].execute(SQL(statement, parameters: [])) }
                }
            }
            #expect(error?.code == .cannotPrepare && error?.sqlState == .featureNotSupported && error?.node == "n2" && error?.effect == .rolledBack)
            #expect(error?.message.isEmpty == false && error?.gid != nil && error?.isRetrySafe == false)
            try await test.expectUntouched()
            // Neither the lock nor the cursor reaches the next transaction.
            _ = try await test.transfer()
            try await test.expectMoved()
        }
    }

    @Test("is no obstacle on the commit point, whose branch is committed and not prepared")
    func commitPoint() async throws {
        try await withCluster { test in
            _ = try await test.cluster.transaction { tx in
                try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                try await tx["n1"].execute("NOTIFY channel")
                try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
            }
            try await test.expectMoved()
        }
    }

    @Test("a deferred constraint that is violated at the end rolls back everywhere", arguments: ["n1", "n2"])
    func deferredConstraint(node: String) async throws {
        try await withCluster { test in
            let name = try NodeName(node)
            try await sql(
                try test.conninfo(name), "CREATE TABLE public.parent (id int PRIMARY KEY)",
                "CREATE TABLE public.child (parent int REFERENCES public.parent DEFERRABLE INITIALLY DEFERRED)")
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
                    try await tx[name].execute("INSERT INTO public.child VALUES (1)")
                }
            }
            #expect(error?.sqlState == .foreignKeyViolation && error?.node == name && error?.effect == .rolledBack)
            #expect(error?.constraint == "child_parent_fkey")
            try await test.expectUntouched()
            #expect(try await test.count(name, "public.child") == 0)
        }
    }

    @Test("a deferred constraint that was made after the connections were opened rolls back everywhere, too", arguments: ["n1", "n2"])
    func newDeferredConstraint(node: String) async throws {
        try await withCluster { test in
            let name = try NodeName(node)
            _ = try await test.transfer()
            try await sql(
                try test.conninfo(name), "CREATE TABLE public.parent (id int PRIMARY KEY)",
                "CREATE TABLE public.child (parent int REFERENCES public.parent DEFERRABLE INITIALLY DEFERRED)")
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
                    try await tx[name].execute("INSERT INTO public.child VALUES (1)")
                }
            }
            #expect(error?.sqlState == .foreignKeyViolation && error?.effect == .rolledBack)
            try await test.expectMoved()
        }
    }

    @Test("a write through a foreign table is refused and never committed apart")
    func foreignTable() async throws {
        try await withCluster(3) { test in
            let available = try await test.value("n2", "SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'")
            guard available == "1" else { return }
            let third = try test.local.node("n3")
            try await sql(
                try test.superuser("n2"), "CREATE EXTENSION postgres_fdw",
                "CREATE SERVER third FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '\(third.port)', dbname '\(test.database)')",
                "CREATE USER MAPPING FOR tandem SERVER third OPTIONS (user 'tandem', password '\(third.password)')",
                "CREATE FOREIGN TABLE far (id int, balance int) SERVER third OPTIONS (table_name 'account')", "GRANT ALL ON far TO tandem")
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                    try await tx["n2"].execute("UPDATE far SET balance = balance + 10 WHERE id = 1")
                }
            }
            #expect(error?.code == .cannotPrepare && error?.node == "n2")
            #expect(try await test.balance("n3", 1) == TestCluster.balance)
            try await test.expectUntouched()
        }
    }
}
