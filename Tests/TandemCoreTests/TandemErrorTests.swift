import Testing

@testable import TandemCore

@Suite("Errors")
struct TandemErrorTests {
    static let id = TransactionID(high: 1, low: 2)

    @Test("every code is listed once, with a meaning, advice and an exit code that is a failure")
    func table() {
        let codes = TandemError.Code.all
        #expect(codes.count == 49)
        #expect(Set(codes).count == codes.count)
        for code in codes {
            let first = code.rawValue.utf8.first ?? 0
            #expect(UInt8(ascii: "a")...UInt8(ascii: "z") ~= first)
            #expect(code.entry?.meaning.isEmpty == false)
            #expect(code.entry?.meaning.hasSuffix(".") == false)
            #expect(code.entry?.whatToDo.hasSuffix(".") == true)
            #expect(code.entry?.exitCode != .ok)
        }
        #expect(TandemError.Code.inDoubt.entry?.exitCode == .outcomeUnknown)
        #expect(codes.filter { $0.entry?.exitCode == .outcomeUnknown } == [.inDoubt])
        #expect(TandemError.Code(rawValue: "fromTheFuture").entry == nil)
    }

    @Test("a transaction in doubt always exits with 6 and is never safe to run again")
    func inDoubt() {
        for code in TandemError.Code.all {
            let error = TandemError(code, "lost", effect: .inDoubt(Self.id), isRetrySafe: true)
            #expect(error.exitCode.rawValue == 6)
            #expect(!error.isRetrySafe)
        }
        let safe = TandemError(.connectionLost, "lost", effect: .rolledBack, isRetrySafe: true)
        #expect(safe.isRetrySafe)
        #expect(safe.exitCode == .unreachable)
        #expect(!safe.with(effect: .inDoubt(Self.id)).isRetrySafe)
        #expect(TandemError(TandemError.Code(rawValue: "fromTheFuture"), "?").exitCode == .failed)
    }

    @Test("the description names everything that helps")
    func description() throws {
        let gid = try #require(GID(GIDTests.text))
        let error = TandemError(
            .statementFailed, "a unique key is violated", effect: .rolledBack, node: "bank-a", sqlState: .uniqueViolation,
            nextStep: "Use another number.", constraint: "accounts_pkey", phase: "prepare", gid: gid)
        #expect(
            error.description
                == "statementFailed: a unique key is violated (phase prepare, node bank-a, gid \(GIDTests.text), SQLSTATE 23505, "
                + "constraint accounts_pkey); the transaction is rolled back. Next: Use another number.")
        let doubtful = TandemError(.inDoubt, "no answer", effect: .inDoubt(Self.id)).description
        #expect(doubtful.contains(Self.id.description))
        #expect(doubtful.contains("tandem tx wait"))
    }

    @Test("a message cannot forge a second line", arguments: ["\n", "\r", "\u{2028}", "\u{85}", "\u{1B}[2K", "\0", "\u{202E}"])
    func oneLine(_ separator: String) {
        let error = TandemError(.statementFailed, "a\(separator)b", constraint: "c\(separator)d")
        #expect(!error.description.contains(separator))
        #expect(error.description.split(whereSeparator: \.isNewline).count == 1)
    }

    @Test("what is added later replaces only what it names")
    func with() throws {
        let gid = try #require(GID(GIDTests.text))
        let error = TandemError(
            .deadlock, "waited in a circle", isRetrySafe: true, sqlState: .deadlockDetected, constraint: "c", cause: SQLStateCause())
        let placed = error.with(effect: .rolledBack, node: "n", phase: "vote", gid: gid)
        #expect(placed.code == .deadlock && placed.message == error.message && placed.constraint == "c")
        #expect(placed.effect == .rolledBack && placed.node == "n" && placed.phase == "vote" && placed.gid == gid)
        #expect(placed.isRetrySafe && placed.sqlState == .deadlockDetected && placed.cause is SQLStateCause)
        #expect(placed.with(isRetrySafe: false).effect == .rolledBack)
        #expect(!placed.with(isRetrySafe: false).isRetrySafe)
    }

    struct SQLStateCause: Error {}
}
