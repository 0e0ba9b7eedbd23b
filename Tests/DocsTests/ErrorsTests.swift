import Foundation
import TandemCore
import Testing

@Suite("docs/errors.md")
struct ErrorsTests {
    @Test("lists every code with exit code, meaning and advice, in the order of the table in the code, and no other")
    func table() throws {
        let document = try Documents.text("docs/errors.md")
        let head = "| Code | Exit code | Meaning | What to do |"
        let lines = document.split(separator: "\n", omittingEmptySubsequences: false)
        let start = try #require(lines.firstIndex { $0 == head }, "the table of codes has the head \(head)")
        let written = lines[start...].dropFirst(2).prefix { $0.hasPrefix("|") }.map(String.init)
        let known = TandemError.Code.table.map { "| `\($0.code)` | \($0.exitCode.rawValue) | \($0.meaning) | \($0.whatToDo) |" }
        #expect(written == known)
    }

    @Test("lists every exit code")
    func exitCodes() throws {
        let document = try Documents.text("docs/errors.md")
        let list = try #require(document.components(separatedBy: "## Exit codes of the command").last)
        for code in TandemError.Code.ExitCode.allCases {
            #expect(list.contains("\n| \(code.rawValue) | "), "\(code.rawValue), which is \(code)")
        }
    }
}
