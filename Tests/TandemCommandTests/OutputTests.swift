import Testing

@testable import TandemCommand

@Suite("What is printed for people")
struct OutputTests {
    @Test("a table's columns stand under each other, and no line ends in blanks")
    func table() {
        var table = TextTable("NODE", "STATE")
        table.add("n1", "committed")
        table.add("long-name", "x")
        #expect(table.text() == "NODE       STATE\nn1         committed\nlong-name  x\n")
        #expect(table.text(isColoured: true).contains("\u{1B}[32mcommitted\u{1B}[0m"))
    }

    @Test("a value of a database moves no cursor")
    func control() {
        var table = TextTable("A")
        table.add("a\u{1B}[2Jb\nc\td")
        #expect(table.text() == "A\na\u{FFFD}[2Jb\\nc\\td\n")
    }

    @Test("global options may stand before the command, and what follows -- is left alone")
    func globalArguments() {
        #expect(GlobalArguments.moved(["-c", "x", "--json", "tx", "run", "f"]) == ["tx", "run", "f", "-c", "x", "--json"])
        #expect(
            GlobalArguments.moved(["--config=x", "dev", "psql", "n1", "--", "-c", "y"]) == [
                "dev", "psql", "n1", "--config=x", "--", "-c", "y",
            ])
        #expect(GlobalArguments.moved(["tx", "run", "-c", "x"]) == ["tx", "run", "-c", "x"])
        #expect(GlobalArguments.moved(["--help"]) == ["--help"])
        #expect(GlobalArguments.moved(["-c"]) == ["-c"])
    }

    @Test("a name with a line break stays on the comment's line of the SQL that mends, and in its row of a table")
    func oneLine() {
        #expect(DoctorCommand.onOneLine("gid a\nDROP TABLE b;\r--\u{85}x") == "gid a DROP TABLE b; -- x")
    }
}
