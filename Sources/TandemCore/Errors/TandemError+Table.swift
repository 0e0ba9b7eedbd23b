extension TandemError.Code {
    /// What is written down about one code: the documentation of errors and the command's exit codes are made from this.
    package struct Entry: Hashable, Sendable {
        /// The code.
        package let code: TandemError.Code
        /// The number with which the command exits, see ``ExitCode``.
        package let exitCode: ExitCode
        /// What has happened, in one sentence without a full stop.
        package let meaning: String
        /// What somebody who meets it should do.
        package let whatToDo: String

        fileprivate init(_ code: TandemError.Code, _ exitCode: ExitCode, _ meaning: String, _ whatToDo: String) {
            self.code = code
            self.exitCode = exitCode
            self.meaning = meaning
            self.whatToDo = whatToDo
        }
    }

    /// The command's exit codes, on which scripts rely.
    package enum ExitCode: Int32, Sendable, CaseIterable {
        case ok = 0
        /// It failed; a transaction is rolled back.
        case failed = 1
        /// The usage or the configuration is wrong, and nothing was sent.
        case usage = 2
        /// A check found a problem.
        case problemFound = 3
        case notFound = 4
        /// A node could not be reached, or a time limit passed.
        case unreachable = 5
        /// The outcome is unknown: the caller must ask before it does anything again.
        case outcomeUnknown = 6
        case notPermitted = 7
        case refusedBySafetyRule = 8
    }

    /// What is written down about this code, or nil for a code that this version does not know.
    package var entry: Entry? { Self.table.first { $0.code == self } }

    /// One line a code.
    package static let table: [Entry] = [
        Entry(
            .configurationInvalid, .usage,
            "the configuration is wrong, and nothing was sent",
            "Correct the named key; `tandem config check` shows file and line."),
        Entry(
            .unknownNode, .usage,
            "the cluster has no node of this name",
            "Use a name of the configuration; `tandem config show` lists them."),
        Entry(
            .undeclaredNode, .usage,
            "the transaction declared its nodes, and this one is not among them",
            "Add the node to the transaction's list of nodes."),
        Entry(
            .nodeUnreachable, .unreachable,
            "no connection to the node could be made",
            "Check that the server runs and that its address is right."),
        Entry(
            .authenticationFailed, .notPermitted,
            "the node refused the login",
            "Correct the role, the password or the server's pg_hba.conf."),
        Entry(
            .databaseMissing, .notFound,
            "the server has no database of this name",
            "Create the database, or correct its name in the configuration."),
        Entry(
            .notInitialised, .problemFound,
            "the database lacks Tandem's tables",
            "Run `tandem init`."),
        Entry(
            .schemaMismatch, .problemFound,
            "the database's Tandem tables have another version than this program",
            "Run `tandem init` with the newer program, or use the newer program."),
        Entry(
            .identityMismatch, .refusedBySafetyRule,
            "the address answers as another database than the one that was registered",
            "Correct the address; after a planned move see docs/operating.md, \"A node moved\"."),
        Entry(
            .connectionLost, .unreachable,
            "the connection ended before the answer came",
            "Read the effect: none and rolledBack may run again, inDoubt must be asked for first."),
        Entry(
            .connectionClosed, .failed,
            "the connection was used after it had been closed",
            "Do not keep a branch or a connection beyond its scope."),
        Entry(
            .poolExhausted, .unreachable,
            "no connection became free in time",
            "Raise the pool's size or shorten transactions; then run it again."),
        Entry(
            .admissionTimeout, .unreachable,
            "no place in line became free in time: as many transactions run as the pools have connections",
            "Run it again; where it happens often, raise the pools' maximum or send less at a time."),
        Entry(
            .deadlineExceeded, .unreachable,
            "the transaction's time was over",
            "Run it again with more time, or find what it waited for with `tandem tx ls`."),
        Entry(
            .statementFailed, .failed,
            "the server refused a statement",
            "Read the SQLSTATE and the constraint; the transaction is rolled back."),
        Entry(
            .statementRefused, .usage,
            "the statement would end or harm the transaction, and was not sent or not accepted",
            "Leave BEGIN, COMMIT, ROLLBACK and PREPARE to the library; use savepoint { } for parts."),
        Entry(
            .expectationViolated, .failed,
            "a statement changed another number of rows than the program expects",
            "Decide what the other number means; the transaction is rolled back."),
        Entry(
            .cannotPrepare, .failed,
            "the branch holds something that PREPARE TRANSACTION refuses",
            "Remove the named cause: NOTIFY, a temporary table, a foreign table, a held cursor."),
        Entry(
            .preparedTransactionsDisabled, .problemFound,
            "the server has max_prepared_transactions = 0",
            "Set max_prepared_transactions, at least to the number of connections, and restart the server."),
        Entry(
            .preparedSlotsExhausted, .failed,
            "every slot for prepared transactions is taken",
            "Run it again; `tandem tx ls` shows who holds the slots."),
        Entry(
            .duplicateTransaction, .refusedBySafetyRule,
            "a transaction of this id has already run or is running",
            "Ask for its outcome instead of running it again."),
        Entry(
            .transactionForgotten, .refusedBySafetyRule,
            "the id is older than what the nodes remember",
            "Use a new id; the outcome of the old one can no longer be proved."),
        Entry(
            .transactionEnded, .failed,
            "the transaction has ended and takes no more statements",
            "Keep statements within the body of the transaction, and transaction control out of SQL."),
        Entry(
            .serializationFailure, .failed,
            "the transaction could not be serialised with others",
            "Run it again, from the start."),
        Entry(
            .deadlock, .failed,
            "the transaction waited in a circle with others, and was chosen to end",
            "Run it again; take rows in one order of node and key to avoid it."),
        Entry(
            .inDoubt, .outcomeUnknown,
            "the decision was sent and its outcome is not known",
            "Do not run it again; ask with `tandem tx wait ID`, recovery settles it."),
        Entry(
            .notPermitted, .notPermitted,
            "the role lacks a right",
            "Grant the right that is named; docs/operating.md lists what a program needs."),
        Entry(
            .decodingFailed, .failed,
            "a value could not be read as the type that the program asked for",
            "Ask for another type, or cast in the statement."),
        Entry(
            .encodingFailed, .usage,
            "a value could not be written for the server",
            "Correct the value: for example, text holds no zero byte."),
        Entry(
            .tooManyRows, .failed,
            "the result is more than a call that collects rows holds: 10,000 rows or 16 MiB",
            "Read it with `stream`, or add a LIMIT."),
        Entry(
            .refusedBySafetyRule, .refusedBySafetyRule,
            "the operation could decide wrongly or lose evidence, and was refused",
            "Read which rule the message names; an operator may force it where the rule says so."),
        Entry(
            .resultTooLarge, .failed,
            "what a step or a response left is longer than what is kept: 256 KiB of a saga, 1 MiB of a response",
            "Return a key, and keep the data in a table."),
        Entry(
            .idempotencyMismatch, .refusedBySafetyRule,
            "an idempotency key was used for another request",
            "Send the request that the key was made for, or make a new key."),
        Entry(
            .idempotencyClaimLost, .failed,
            "somebody else has the claim on an idempotency key",
            "Stop: whoever has it goes on at the last recovery point."),
        Entry(
            .sagaResourceLocked, .failed,
            "another saga has locked a resource that a step needs",
            "Wait for the other saga's end; `tandem saga show ID` tells how it stands."),
        Entry(
            .sagaCompensated, .failed,
            "the saga turned back, and all that was done is undone",
            "Read why; start it again once the cause is gone."),
        Entry(
            .sagaStuck, .problemFound,
            "an operator has to look at the saga",
            "Read `tandem saga show ID`, then `tandem saga retry`, `skip` or `resolve`."),
        Entry(
            .sagaStepFailed, .failed,
            "a step of a saga, or its function, threw an error of its own",
            "Read the error; the saga's other steps are undone."),
        Entry(
            .sagaMismatch, .refusedBySafetyRule,
            "a saga's function asks for other steps than those that are recorded",
            "Run it with the version that began it; a changed function needs a new version."),
        Entry(
            .sagaCancelled, .failed,
            "the saga turned back because somebody cancelled it",
            "Nothing: `tandem saga show ID` has who and why."),
        Entry(
            .sagaStepBarred, .failed,
            "the saga has turned back, and a step that comes late may not happen any more",
            "Nothing: the saga's other steps are undone."),
        Entry(
            .eventTooLarge, .failed,
            "an event is longer than what is kept: 1 MiB of payload by default, 64 KiB of headers, 1 KiB of topic or key",
            "Store the data in a table or an object store, and publish a reference to it."),
        Entry(
            .outboxRestored, .refusedBySafetyRule,
            "the database was restored or copied since its outbox was last read, so that nobody knows what of it was sent",
            "Decide from where on events are sent: `tandem outbox rebase`."),
        Entry(
            .sinkUnavailable, .failed,
            "a sink does not take events now",
            "See whether the broker or service runs; the relay goes on by itself when it does."),
        Entry(
            .eventRefused, .failed,
            "a sink does not take an event, while it takes others",
            "Read why, then `tandem outbox retry` or `drop`."),
        Entry(
            .messageTooOld, .refusedBySafetyRule,
            "a message is older than what the inbox remembers, so that nobody knows whether it was handled",
            "Look whether it was, and acknowledge it; to handle it all the same, do so without receiving it."),
        Entry(
            .notFound, .notFound,
            "there is nothing of this name or id",
            "Check the name; ids may be shortened to an unambiguous end of six or more characters."),
        Entry(
            .localNodeFailed, .failed,
            "a server that Tandem itself started on this machine failed",
            "Read the server's log, whose path is in the message."),
        Entry(
            .protocolViolation, .failed,
            "the server answered what cannot be an answer",
            "Check that nothing between program and server changes the stream (a pooler in transaction mode does)."),
    ]
}
