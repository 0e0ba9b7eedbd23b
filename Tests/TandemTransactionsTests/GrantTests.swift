import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

/// Every other test of transactions runs as such a role; these say what it can not do.
@Suite("What a granted role may do")
struct GrantTests {
    private func denied(_ test: TestCluster, _ statement: String) async throws -> Bool {
        do {
            try await sql(try test.conninfo("n1"), statement)
            return false
        } catch let error as ServerError {
            return error.sqlState == .insufficientPrivilege
        }
    }

    @Test("it writes no tombstone but through the function, and changes and removes no row")
    func register() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            for statement in [
                "INSERT INTO tandem.branch (transaction_id, node, kind) VALUES ('\(id)', 1, 'A')",
                "INSERT INTO tandem.branch (transaction_id, node, xid) VALUES ('\(id)', 1, '7')",
                "UPDATE tandem.branch SET kind = 'W'", "DELETE FROM tandem.branch", "TRUNCATE tandem.branch",
                "UPDATE tandem.node SET forgotten = '\(id)'", "INSERT INTO tandem.member (node_id, name) VALUES (9, 'x')",
                "INSERT INTO tandem.operation (who, what, reason) VALUES ('somebody else', 'x', 'y')", "DELETE FROM tandem.operation",
                "CREATE TABLE tandem.mine (id int)", "ALTER TABLE tandem.branch ALTER COLUMN kind SET DEFAULT 'A'",
                "CREATE OR REPLACE FUNCTION tandem.tombstone(transaction_id uuid, coordinator text DEFAULT NULL) RETURNS \"char\" LANGUAGE sql AS 'SELECT NULL'",
            ] {
                let isDenied = try await denied(test, statement)
                #expect(isDenied, "\(statement)")
            }
            #expect(try await sql(try test.conninfo("n1"), "SELECT tandem.tombstone('\(id)')") == "A")
            #expect(try await test.row(id, "n1") == "A")
        }
    }

    @Test("the functions ask nothing of the caller's search path, and nobody else may call them")
    func functions() async throws {
        try await withCluster { test in
            // What a caller plants where an unqualified name would find it first.
            let planted = """
                CREATE SCHEMA trap; CREATE FUNCTION trap.coalesce_(text) RETURNS text LANGUAGE sql AS 'SELECT NULL';
                CREATE FUNCTION trap.session_user_() RETURNS text LANGUAGE sql AS 'SELECT NULL';
                CREATE FUNCTION trap.current_setting(text) RETURNS text LANGUAGE sql AS $$SELECT 'serializable'$$
                """
            for statement in planted.split(separator: ";") { try await sql(try test.conninfo("n1"), String(statement)) }
            let id = TransactionID.fresh()
            #expect(try await sql(try test.conninfo("n1"), "SET search_path = trap, pg_catalog", "SELECT tandem.tombstone('\(id)')") == "A")
            let level = await #expect(throws: ServerError.self) {
                try await sql(try test.conninfo("n1"), "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT tandem.tombstone('\(id)')")
            }
            #expect(level?.sqlState.rawValue == "25001")
            // Its settings hold until the commit, which is the barrier.
            let synchronous = try await sql(
                try test.conninfo("n1"), "SET synchronous_commit = off", "BEGIN", "SELECT tandem.tombstone('\(id)')",
                "SELECT current_setting('synchronous_commit')")
            #expect(synchronous == "on")
            #expect(
                try await test.value(
                    "n1", "SELECT count(*) FROM pg_proc WHERE pronamespace = 'tandem'::regnamespace AND has_function_privilege('public', oid, 'execute')")
                    == "0")
            let future = await #expect(throws: ServerError.self) {
                try await sql(try test.conninfo("n1"), "SELECT tandem.raise_horizon('ffffffff-ffff-7fff-bfff-ffffffffffff')")
            }
            #expect(future?.sqlState.rawValue == "22023")
        }
    }

    @Test("tandem.in_doubt shows what is prepared for the cluster, and the SQL that finishes it")
    func view() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            // Of another cluster, and no gid of ours although it begins like one.
            let others = ["tandem1:other:\(TransactionID.fresh()):2:c1", "tandem1:test:\(TransactionID.fresh()):2:c01", "tandem1:test:not-an-id:2:c1"]
            for gid in others { try await sql(try test.conninfo("n2"), "BEGIN", "SELECT pg_current_xact_id()", "PREPARE TRANSACTION '\(gid)'") }
            let session = try await RawSession.open(try test.conninfo("n2"))
            let rows = try await session.run(
                "SELECT transaction_id, node, commit_point, owner, gid, to_commit, to_roll_back, age >= '0' FROM tandem.in_doubt")
            let gid = try test.gid(id, "n2", commitPoint: "n1").description
            #expect(
                rows == [["\(id)", "n2", "n1", "tandem", gid, "COMMIT PREPARED '\(gid)'", "ROLLBACK PREPARED '\(gid)'", "t"]])
            try await session.run(try #require(rows.first?[6]))
            for gid in others { try await session.run("ROLLBACK PREPARED '\(gid)'") }
            #expect(try await session.run("SELECT * FROM tandem.in_doubt").isEmpty)
            await session.close()
            #expect(try await test.balance("n2", 1) == TestCluster.balance)
        }
    }

    @Test("numbers of nodes are read in base 32")
    func base32() async throws {
        try await withCluster(1) { test in
            for (number, text) in [(1, "1"), (31, "v"), (32, "10"), (1024, "100"), (32767, "vvv")] {
                #expect(NodeID(rawValue: Int16(number))?.base32 == text)
                try await test.value("n1", "UPDATE tandem.node SET node_id = \(number)")
                let gid = "tandem1:test:\(TransactionID.fresh()):\(text):c\(text)"
                try await sql(try test.conninfo("n1"), "BEGIN", "SELECT pg_current_xact_id()", "PREPARE TRANSACTION '\(gid)'")
                #expect(
                    try await test.value("n1", "SELECT gid || ' ' || commit_point FROM tandem.in_doubt") == "\(gid) \(number == 1 ? "n1" : "number \(number)")")
                try await sql(try test.conninfo("n1"), "ROLLBACK PREPARED '\(gid)'")
            }
        }
    }
}
