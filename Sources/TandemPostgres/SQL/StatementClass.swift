/// What a statement may do to the connection that it runs on, as far as its text tells.
package enum StatementClass: Sendable, Hashable {
    /// It begins, ends, prepares or divides a transaction, or changes its mode: that is the driver's business, so it is refused.
    case transactionControl
    /// It reads and writes data and leaves the session as it was.
    case dataOnly
    /// Anything else: it may leave something in the session, which has to be reset before somebody else uses it.
    case other

    /// The class of a statement.
    ///
    /// - Parameter text: The statement.
    package init(of text: String) {
        var text = text
        self = text.withUTF8 { Self.classify($0) }
    }

    /// Looks at the first keyword after white space, comments, semicolons and opening parentheses.
    private static func classify(_ bytes: UnsafeBufferPointer<UInt8>) -> StatementClass {
        var scanner = SQLScanner(bytes)
        scanner.skipToStatement()
        guard let word = scanner.word() else { return .other }
        if TransactionControl(word, &scanner) != nil { return .transactionControl }
        if word.isAny(of: "insert", "update", "delete", "merge") { return namesSessionState(bytes) ? .other : .dataOnly }
        guard word.isAny(of: "select", "with", "values", "table") else { return .other }
        return namesSessionState(bytes) || makesTemporaryTable(bytes) ? .other : .dataOnly
    }

    /// The text names `set_config` or an advisory lock, be it the call, a string or a comment: both outlive the statement.
    private static func namesSessionState(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        // Both have an underscore, which is rarer than any letter.
        for index in bytes.indices where bytes[index] == UInt8(ascii: "_") {
            if bytes.hasWord("set", endingAt: index), bytes.hasWord("config", startingAt: index + 1) { return true }
            if bytes.hasWord("advisory", endingAt: index) { return true }
        }
        return false
    }

    /// Whether some words follow each other somewhere, be it in a string.
    static func hasWords(_ bytes: UnsafeBufferPointer<UInt8>, _ first: StaticString, _ others: StaticString...) -> Bool {
        bytes.indices.contains { index in
            guard bytes.hasWord(first, startingAt: index) else { return false }
            var scanner = SQLScanner(bytes)
            scanner.position = index + first.utf8CodeUnitCount
            return others.allSatisfy { scanner.nextWord()?.isKeyword($0) == true }
        }
    }

    /// `SELECT ... INTO TEMP name` leaves a table in the session.
    static func makesTemporaryTable(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool {
        for index in bytes.indices where bytes[index] | 0x20 == UInt8(ascii: "i") && bytes.hasWord("into", startingAt: index) {
            var scanner = SQLScanner(bytes)
            scanner.position = index + 4
            if scanner.nextWord()?.isAny(of: "temp", "temporary", "local", "global") == true { return true }
        }
        return false
    }
}

/// The first keyword of a statement, for a message that refuses it.
///
/// - Parameter text: The statement.
/// - Returns: The keyword in upper case, both words where it takes two to say what the statement does (`COMMIT PREPARED`); nil where the
///   statement does not begin with a word.
package func leadingKeyword(of text: String) -> String? {
    var text = text
    return text.withUTF8 { bytes -> String? in
        var scanner = SQLScanner(bytes)
        scanner.skipToStatement()
        guard let word = scanner.word() else { return nil }
        if let control = TransactionControl(word, &scanner) { return control.rawValue }
        return String(decoding: word.map { $0.asciiLowercased }, as: UTF8.self).uppercased()
    }
}

/// Whether a statement's words say that it changes its session for longer than its transaction: SET, LISTEN, CREATE TEMP and their like.
///
/// What a function does (`set_config`, `pg_advisory_lock`) no word tells.
///
/// - Parameter text: The statement.
/// - Returns: What it does, in upper case; nil where no word says so.
package func sessionChange(of text: String) -> String? {
    var text = text
    return text.withUTF8 { bytes -> String? in
        var scanner = SQLScanner(bytes)
        scanner.skipToStatement()
        guard let word = scanner.word() else { return nil }
        let name = String(decoding: word.map { $0.asciiLowercased }, as: UTF8.self).uppercased()
        if word.isAny(of: "reset", "listen", "unlisten", "load", "discard", "prepare", "deallocate") { return name }
        if word.isAny(of: "set") { return scanner.nextWord()?.isAny(of: "local", "constraints") == true ? nil : name }
        if word.isAny(of: "declare") { return StatementClass.hasWords(bytes, "with", "hold") ? "WITH HOLD" : nil }
        if word.isAny(of: "select", "with"), StatementClass.makesTemporaryTable(bytes) { return "INTO TEMPORARY" }
        guard word.isAny(of: "create"), var next = scanner.nextWord() else { return nil }
        if next.isAny(of: "or") { next = scanner.nextWord().flatMap { _ in scanner.nextWord() } ?? next }
        let kind = next.isAny(of: "local", "global") ? scanner.nextWord() ?? next : next
        let isTemporary = kind.isAny(of: "temp", "temporary") || StatementClass.hasWords(bytes, "pg_temp")
        return isTemporary && !StatementClass.hasWords(bytes, "on", "commit", "drop") ? "CREATE TEMPORARY" : nil
    }
}

/// A statement that begins, ends, prepares or divides a transaction.
package enum TransactionControl: String, Sendable, CaseIterable {
    /// `BEGIN`
    case begin = "BEGIN"
    /// `START TRANSACTION`
    case start = "START"
    /// `COMMIT`
    case commit = "COMMIT"
    /// `END`, the same as `COMMIT`
    case end = "END"
    /// `ROLLBACK`, also to a savepoint
    case rollback = "ROLLBACK"
    /// `ABORT`, the same as `ROLLBACK`
    case abort = "ABORT"
    /// `PREPARE TRANSACTION`
    case prepareTransaction = "PREPARE TRANSACTION"
    /// `COMMIT PREPARED`
    case commitPrepared = "COMMIT PREPARED"
    /// `ROLLBACK PREPARED`
    case rollbackPrepared = "ROLLBACK PREPARED"
    /// `SAVEPOINT`
    case savepoint = "SAVEPOINT"
    /// `RELEASE` of a savepoint
    case release = "RELEASE"
    /// `SET TRANSACTION`, also with `LOCAL` or `SESSION`
    case setTransaction = "SET TRANSACTION"

    /// What a statement is.
    ///
    /// - Parameter text: The statement.
    package init?(of text: String) {
        var text = text
        let control = text.withUTF8 { bytes -> TransactionControl? in
            var scanner = SQLScanner(bytes)
            scanner.skipToStatement()
            guard let word = scanner.word() else { return nil }
            return TransactionControl(word, &scanner)
        }
        guard let control else { return nil }
        self = control
    }

    /// What to do instead of sending the statement.
    package var nextStep: String {
        switch self {
        case .begin, .start: "the transaction has begun already; leave the statement out"
        case .commit, .end: "return from the body to commit"
        case .rollback, .abort: "throw from the body to roll back, or use a savepoint's body"
        case .prepareTransaction, .commitPrepared, .rollbackPrepared: "leave two-phase commit to the transaction"
        case .savepoint, .release: "use savepoint { } of the branch"
        case .setTransaction: "use the options isolation and isReadOnly of the transaction"
        }
    }

    /// Looks at a statement's first word, and at what follows where that decides.
    init?(_ word: UnsafeBufferPointer<UInt8>, _ scanner: inout SQLScanner) {
        guard let first = word.first else { return nil }
        switch first.asciiLowercased {
        case UInt8(ascii: "a") where word.isKeyword("abort"): self = .abort
        case UInt8(ascii: "b") where word.isKeyword("begin"): self = .begin
        case UInt8(ascii: "c") where word.isKeyword("commit"): self = scanner.nextIsPrepared() ? .commitPrepared : .commit
        case UInt8(ascii: "e") where word.isKeyword("end"): self = .end
        case UInt8(ascii: "p") where word.isKeyword("prepare") && scanner.nextIsTransactionToPrepare(): self = .prepareTransaction
        case UInt8(ascii: "r") where word.isKeyword("rollback"): self = scanner.nextIsPrepared() ? .rollbackPrepared : .rollback
        case UInt8(ascii: "r") where word.isKeyword("release"): self = .release
        case UInt8(ascii: "s") where word.isKeyword("savepoint"): self = .savepoint
        case UInt8(ascii: "s") where word.isKeyword("start"): self = .start
        case UInt8(ascii: "s") where word.isKeyword("set") && scanner.nextIsTransactionMode(): self = .setTransaction
        default: return nil
        }
    }
}

extension SQLScanner {
    /// Passes over what may stand before a statement's first keyword. An empty statement may: the server drops it and runs what follows.
    mutating func skipToStatement() {
        skipSpace()
        while let byte = peek(), byte == UInt8(ascii: ";") || byte == UInt8(ascii: "(") {
            position += 1
            skipSpace()
        }
    }

    fileprivate mutating func nextIsPrepared() -> Bool { nextWord()?.isKeyword("prepared") == true }

    /// After PREPARE: the word TRANSACTION, unless it is the name of a prepared statement, which AS or its types follow.
    fileprivate mutating func nextIsTransactionToPrepare() -> Bool {
        guard nextWord()?.isKeyword("transaction") == true else { return false }
        skipSpace()
        if peek() == UInt8(ascii: "(") { return false }
        return word()?.isKeyword("as") != true
    }

    /// After SET: `TRANSACTION`, also after `LOCAL` or `SESSION`, or one of the parameters that mean the same.
    fileprivate mutating func nextIsTransactionMode() -> Bool {
        guard var word = nextWord() else { return false }
        if word.isAny(of: "local", "session") {
            guard let next = nextWord() else { return false }
            word = next
        }
        return word.isAny(of: "transaction", "transaction_isolation", "transaction_read_only", "transaction_deferrable")
    }
}

extension UnsafeBufferPointer<UInt8> {
    /// Whether these bytes are one of some keywords.
    fileprivate func isAny(of keywords: StaticString...) -> Bool {
        keywords.contains { isKeyword($0) }
    }

    /// Whether a word in lower case ends just before a place, whatever the case of the letters and whatever stands before it.
    fileprivate func hasWord(_ word: StaticString, endingAt end: Int) -> Bool {
        hasWord(word, startingAt: end - word.utf8CodeUnitCount)
    }

    /// Whether a word in lower case begins at a place, whatever the case of the letters and whatever follows it.
    fileprivate func hasWord(_ word: StaticString, startingAt start: Int) -> Bool {
        guard start >= 0, start + word.utf8CodeUnitCount <= count else { return false }
        return UnsafeBufferPointer(rebasing: self[start..<(start + word.utf8CodeUnitCount)]).isKeyword(word)
    }
}
