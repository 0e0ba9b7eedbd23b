import TandemCore

/// What a program prints, when it ends well.
package enum ProgramOutput {
    /// Runs a program and returns everything that it printed.
    ///
    /// Foundation's `Process` hands its own signal mask down, and a program that waits for SIGALRM (as pgbench does) would never end.
    ///
    /// - Parameters:
    ///   - arguments: the program's path and its arguments.
    ///   - environment: variables beside the few that are always handed down, as `NAME=value`; secrets belong here and never into `arguments`.
    ///   - limit: when the program is ended.
    /// - Returns: standard output and standard error.
    /// - Throws: `localNodeFailed`, with the last lines, when it cannot be started, ends with another status than 0, or not in time.
    ///   Cancellation ends the program.
    package static func of(_ arguments: [String], environment: [String] = [], within limit: Duration) async throws -> String {
        let output = try TemporaryFile()
        defer { output.remove() }
        let program = try ChildProcess.spawn(arguments, output: output.descriptor, extraEnvironment: environment)
        let status = try await program.status(within: limit)
        let text = output.text
        guard status == 0 else {
            throw TandemError(.localNodeFailed, "\(arguments[0]) ended with status \(status): \(text.suffix(500))")
        }
        return text
    }
}
