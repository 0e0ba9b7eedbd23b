import Foundation
import Glibc
import Testing

/// Each script is read by its shell, and asked as the shell asks when somebody presses the tab key.
@Suite("tandem completion")
struct CompletionTests {
    private static func path(_ shell: String) -> String? {
        ["/bin/\(shell)", "/usr/bin/\(shell)", "/usr/local/bin/\(shell)"].first { access($0, X_OK) == 0 }
    }

    private static let questions = [
        // bash puts its answers into COMPREPLY.
        (
            "bash",
            """
            source "$1"
            COMP_WORDS=(tandem tx r) COMP_CWORD=2 COMP_LINE='tandem tx r' COMP_POINT=11
            _tandem tandem r tx
            printf '%s\\n' "${COMPREPLY[@]}"
            """
        ),
        ("fish", "source $argv[1]; complete --do-complete 'tandem tx r'"),
        // zsh answers only in a terminal: the script is read, and names the commands.
        ("zsh", "autoload -Uz compinit; compinit -u -D; source $1; whence -w _tandem; functions _tandem_tx | grep -o 'resolve\\|run'"),
    ]

    @Test("each shell reads its script, and completes commands", arguments: questions.filter { path($0.0) != nil })
    func completes(shell: String, question: String) async throws {
        let script = try await tandem("completion", shell)
        #expect(script.code == 0 && script.talk.isEmpty)
        let file = FileManager.default.temporaryDirectory.appending(path: "tandem-completion-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try script.output.write(to: file, atomically: true, encoding: .utf8)
        let process = Process(), output = Pipe()
        process.executableURL = URL(filePath: try #require(Self.path(shell)))
        process.arguments = shell == "fish" ? ["-c", question, file.path] : ["-c", question, shell, file.path]
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0 && text.contains("run") && text.contains("resolve"), "\(text)")
    }

    @Test("another shell is a mistake on the command line that names those there are")
    func others() async throws {
        let end = try await tandem("completion", "tcsh")
        #expect(end.code == 2 && end.talk.contains("bash") && end.talk.contains("fish"))
    }
}
