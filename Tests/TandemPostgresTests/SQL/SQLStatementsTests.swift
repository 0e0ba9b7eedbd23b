import Testing

@testable import TandemPostgres

@Suite("The statements of a script")
struct SQLStatementsTests {
    @Test(
        "a semicolon parts statements, and only there where the server would see one",
        arguments: [
            ("SELECT 1; SELECT 2", ["SELECT 1", "SELECT 2"]),
            (" ;; -- nothing; here\n SELECT 1 /* ; /* ; */ ; */ ;;\n-- end;", ["SELECT 1 /* ; /* ; */ ; */ "]),
            ("SELECT ';', \"a;b\", E'\\';'; SELECT 'it''s;'", ["SELECT ';', \"a;b\", E'\\';'", "SELECT 'it''s;'"]),
            ("DO $$ BEGIN; END $$; DO $x$ $$;$$ $x$", ["DO $$ BEGIN; END $$", "DO $x$ $$;$$ $x$"]),
            (
                "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b); SELECT 1",
                ["CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b)", "SELECT 1"]
            ),
            (
                "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END; SELECT 2",
                ["CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END", "SELECT 2"]
            ),
            ("CREATE TABLE begin_end (begin int); SELECT 1", ["CREATE TABLE begin_end (begin int)", "SELECT 1"]),
            ("SELECT 'open; to the end", ["SELECT 'open; to the end"]), ("", []), ("-- only words", []),
        ])
    func parts(script: String, expected: [String]) {
        #expect(sqlStatements(in: script) == expected)
    }
}
