import Glibc
import Synchronization
import TandemCluster
import TandemConfiguration
import TandemCore
import TandemTransactions
import UnixSignals

/// Transactions that come as lines and are answered by lines.
struct TransactionLines: Sendable {
    let cluster: Cluster
    let input: LineSource
    let name: String
    let clients: Int

    private enum Kind {
        case committed, rolledBack, inDoubt
        /// The line is no transaction.
        case wrong
    }

    private struct Counts {
        var committed = 0, rolledBack = 0, inDoubt = 0, wrong = 0
        var isInterrupted = false

        mutating func count(_ kind: Kind) {
            switch kind {
            case .committed: committed += 1
            case .rolledBack: rolledBack += 1
            case .inDoubt: inDoubt += 1
            case .wrong: wrong += 1
            }
        }
    }

    private final class Tally: Sendable {
        let counts = Mutex(Counts())
    }

    /// Runs every line, and answers with the exit code.
    func run() async throws -> Int32 {
        let sink = LineSink(), tally = Tally()
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        await withTaskGroup(of: Void.self) { group in
            let cluster = cluster, input = input
            // What a killed predecessor left in doubt may hold rows that these transactions need.
            group.addTask { try? await cluster.run() }
            group.addTask {
                for await _ in signals {
                    // From here on the system's own action holds: whoever insists is not made to wait.
                    signal(SIGINT, SIG_DFL)
                    signal(SIGTERM, SIG_DFL)
                    tally.counts.withLock { $0.isInterrupted = true }
                    Talk.say("interrupted: no more lines are read, those that run end in order; once more ends it at once")
                    input.close()
                }
            }
            await withTaskGroup(of: Void.self) { workers in
                for number in 0..<clients {
                    workers.addTask(executorPreference: cluster.executor(ofClient: number)) { await work(sink, tally) }
                }
            }
            group.cancelAll()
        }
        sink.end()
        let end = tally.counts.withLock { $0 }
        Talk.say("\(end.committed) committed, \(end.rolledBack) rolled back, \(end.inDoubt) in doubt, \(end.wrong) wrong")
        if let failure = input.failure { throw failure }
        if end.isInterrupted { return Ending.interrupted.code }
        let code: TandemError.Code.ExitCode = end.inDoubt > 0 ? .outcomeUnknown : end.wrong > 0 ? .usage : end.rolledBack > 0 || sink.isBroken ? .failed : .ok
        return code.rawValue
    }

    /// One client: the next line when the last has been answered.
    @concurrent
    private func work(_ sink: LineSink, _ tally: Tally) async {
        while let line = await input.next() {
            let (answer, kind) = await answer(line)
            tally.counts.withLock { $0.count(kind) }
            await sink.put(answer)
            // Results that nobody takes are no reason to go on.
            if sink.isBroken { input.close() }
        }
    }

    private func answer(_ line: LineSource.Line) async -> (String, Kind) {
        let parsed = TransactionLine(line.bytes, file: name, line: line.number)
        let reference: [(String, JSON)] = parsed.reference.map { [("ref", .raw($0))] } ?? [("line", .number(line.number))]
        do {
            let report = try await TransactionRun(try parsed.request.get(), on: cluster).performToTheEnd()
            let kind: Kind =
                switch report.outcome {
                case .committed: .committed
                case .rolledBack: .rolledBack
                case .inDoubt: .inDoubt
                }
            return (JSON.object(reference + report.fields).text, kind)
        } catch {
            // Nothing was sent.
            let error = error as? TandemError ?? TandemError(.protocolViolation, "\(error)")
            return (JSON.object(reference + [("outcome", .string("rolled_back")), ("error", .error(error))]).text, .wrong)
        }
    }
}
