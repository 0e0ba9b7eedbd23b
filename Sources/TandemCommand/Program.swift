import ArgumentParser
import Foundation
import Glibc
import TandemCore
import TandemFailpoints

/// The program's first and last steps: standard descriptors, failpoints, the command line, and the exit code.
@main
struct Program {
    static func main() async {
        StandardDescriptors.prepare()
        let code = await run(Array(CommandLine.arguments.dropFirst()), environment: ProcessInfo.processInfo.environment)
        // Without the handlers of `exit`: OpenSSL's frees what a reactor's thread that is still connecting uses, and that ends the program with a signal.
        fflush(nil)
        _exit(code)
    }

    /// Runs one command and answers with the exit code.
    static func run(_ arguments: [String], environment: [String: String]) async -> Int32 {
        var format = OutputFormat.table
        do {
            try armFailpoints(environment)
            let command = try await Root.asyncParseAsRoot(GlobalArguments.moved(arguments))
            format = (command as? any Reporting)?.global.format ?? .table
            try await execute(command)
            return TandemError.Code.ExitCode.ok.rawValue
        } catch {
            return report(error, format)
        }
    }

    private static func execute(_ command: sending any ParsableCommand) async throws {
        if var command = command as? any AsyncParsableCommand {
            try await command.run()
        } else {
            var command = command
            try command.run()
        }
    }

    /// Nothing but this variable arms a failpoint, and whoever set it is told so: a forgotten one must not pass for a fault.
    private static func armFailpoints(_ environment: [String: String]) throws {
        guard let specification = environment["TANDEM_FAILPOINTS"], !specification.isEmpty else { return }
        do {
            try Failpoints.arm(specification)
        } catch {
            throw TandemError(.configurationInvalid, "TANDEM_FAILPOINTS: \(error)", nextStep: "correct or unset it")
        }
        Talk.say("failpoints are armed by TANDEM_FAILPOINTS: \(specification)")
    }

    /// Says what went wrong, and finds the exit code for it.
    private static func report(_ error: any Error, _ format: OutputFormat) -> Int32 {
        switch error {
        case let ending as Ending:
            return ending.code
        case let error as TandemError:
            Talk.say(error)
            if format == .json { try? Output.write(JSON.object([("error", .error(error))])) }
            return error.exitCode.rawValue
        case is CancellationError:
            Talk.say("interrupted")
            return Ending.interrupted.code
        default:
            return reportUsage(error)
        }
    }

    /// What argument-parser throws: help and versions are data, mistakes are talk, and its 64 is our 2.
    private static func reportUsage(_ error: any Error) -> Int32 {
        let message = Root.fullMessage(for: error)
        guard Root.exitCode(for: error).isSuccess else {
            Talk.write(message)
            return TandemError.Code.ExitCode.usage.rawValue
        }
        do {
            try Output.write(text: message)
            return TandemError.Code.ExitCode.ok.rawValue
        } catch {
            return report(error, .table)
        }
    }
}

/// The end of a command that has said all there is to say.
struct Ending: Error {
    let code: Int32

    init(_ code: TandemError.Code.ExitCode) { self.code = code.rawValue }
    init(number: Int32) { code = number }

    /// By SIGINT, with nothing left behind: what a shell reports of a program that the signal ended.
    static let interrupted = Ending(number: 128 + SIGINT)
}
