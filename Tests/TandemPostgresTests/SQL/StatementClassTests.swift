import TandemPostgres
import Testing

@Suite("Statement classes")
struct StatementClassTests {
    @Test(
        "statements that control the transaction are found",
        arguments: [
            ("BEGIN", "BEGIN"), ("begin work", "BEGIN"), ("START TRANSACTION", "START"), ("COMMIT", "COMMIT"), ("commit;", "COMMIT"),
            ("END", "END"), ("ROLLBACK TO SAVEPOINT a", "ROLLBACK"), ("abort", "ABORT"), ("SAVEPOINT a", "SAVEPOINT"),
            ("RELEASE a", "RELEASE"), ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"), ("COMMIT PREPARED 'x'", "COMMIT PREPARED"),
            ("ROLLBACK\tPREPARED'x'", "ROLLBACK PREPARED"), ("SET TRANSACTION READ ONLY", "SET TRANSACTION"),
            ("SET LOCAL TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SET TRANSACTION"),
            ("set session transaction read only", "SET TRANSACTION"),
            ("SET transaction_isolation TO 'serializable'", "SET TRANSACTION"), ("  \n\t\r\u{c}\u{b}COMMIT", "COMMIT"),
            ("-- a comment\nCOMMIT", "COMMIT"), ("-- a comment\rCOMMIT", "COMMIT"), ("/* a */COMMIT", "COMMIT"),
            ("/* a /* b */ c */ -- d\n/**/ CoMmIt -- e", "COMMIT"), ("/***/commit", "COMMIT"), ("/*/**/*/commit", "COMMIT"),
            (";COMMIT", "COMMIT"), (" ; /* */ ; COMMIT", "COMMIT"), ("COMMIT/**/PREPARED 'x'", "COMMIT PREPARED"),
            ("PREPARE -- x\n TRANSACTION E'x'", "PREPARE TRANSACTION"), ("(COMMIT)", "COMMIT"), ("commit\u{0}", "COMMIT"),
        ])
    func control(text: String, keyword: String) {
        #expect(StatementClass(of: text) == .transactionControl)
        #expect(leadingKeyword(of: text) == keyword)
        #expect(TransactionControl(of: text)?.rawValue == keyword)
    }

    @Test(
        "statements that only touch data are found",
        arguments: [
            "SELECT 1", "select'x'", "(SELECT 1) UNION (SELECT 2)", "((select 1))", "INSERT INTO t VALUES (1)", "update t set a = 1",
            "DELETE FROM t", "MERGE INTO t USING s ON true WHEN MATCHED THEN DELETE", "VALUES (1)", "TABLE t",
            "WITH x AS (DELETE FROM t RETURNING *) INSERT INTO u SELECT * FROM x", "/* COMMIT */ SELECT 1", "-- COMMIT\nSELECT 1",
            "SELECT committed FROM t", "SELECT 'commit'", "SELECT temp, into_x FROM t", "SELECT setconfig",
        ])
    func data(text: String) {
        #expect(StatementClass(of: text) == .dataOnly)
        #expect(TransactionControl(of: text) == nil)
    }

    @Test(
        "everything else may leave something in the session",
        arguments: [
            "SELECT set_config('a.b', 'c', false)", "SELECT Set_Config('a.b', 'c', false)",
            "SELECT pg_catalog.\"set_config\"('a', 'b', true)",
            "SELECT pg_advisory_lock(1)", "SELECT PG_TRY_ADVISORY_LOCK(1)", "WITH x AS (SELECT pg_advisory_lock_shared(1)) SELECT 1",
            "INSERT INTO t SELECT pg_advisory_lock(1)", "SELECT 1 INTO TEMP t", "select 1 into /* x */ temporary table t",
            "CREATE TABLE t ()",
            "SET search_path = x", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET LOCAL lock_timeout = 1", "LISTEN x",
            "DO $$ $$",
            "PREPARE p AS SELECT 1", "PREPARE transaction AS SELECT 1", "PREPARE transaction(int) AS SELECT 1", "CALL p()", "", " ",
            "-- COMMIT",
            "/* COMMIT", "/* /* */ COMMIT", "committed", "commit_x", "commit$1", "commité", "\"commit\"", "'commit'", "$1", "1",
            "\u{FEFF}COMMIT", "\u{a0}COMMIT",
            "ＣＯＭＭＩＴ", "EXPLAIN SELECT 1", "COPY t FROM STDIN", "LOCK TABLE t", "-", "/", "starting", "ended", "set",
        ])
    func other(text: String) {
        #expect(StatementClass(of: text) == .other)
        #expect(TransactionControl(of: text) == nil)
    }

    @Test("the keyword of any statement can be told")
    func keywords() {
        #expect(leadingKeyword(of: "/* x */ (select 1)") == "SELECT")
        #expect(leadingKeyword(of: "prepare p as select 1") == "PREPARE")
        #expect(leadingKeyword(of: "") == nil)
        #expect(leadingKeyword(of: "'x'") == nil)
    }
}
