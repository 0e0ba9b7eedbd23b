extension TandemError {
    /// What kind of failure it is: a stable word to switch on.
    ///
    /// More codes may come with later versions; treat one that you do not know by the error's ``TandemError/effect``.
    public struct Code: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
        /// The word, in camel case.
        public let rawValue: String

        /// The code of this word.
        ///
        /// - Parameter rawValue: The word; a word that this version does not know is kept as it is.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// The word.
        public var description: String { rawValue }

        /// The configuration is wrong, and nothing was sent.
        public static let configurationInvalid = Code(rawValue: "configurationInvalid")
        /// The cluster has no node of this name.
        public static let unknownNode = Code(rawValue: "unknownNode")
        /// The transaction declared its nodes, and this one is not among them.
        public static let undeclaredNode = Code(rawValue: "undeclaredNode")
        /// No connection to the node could be made.
        public static let nodeUnreachable = Code(rawValue: "nodeUnreachable")
        /// The node refused the login.
        public static let authenticationFailed = Code(rawValue: "authenticationFailed")
        /// The server has no database of this name.
        public static let databaseMissing = Code(rawValue: "databaseMissing")
        /// The database lacks Tandem's tables.
        public static let notInitialised = Code(rawValue: "notInitialised")
        /// The database's Tandem tables have another version than this program.
        public static let schemaMismatch = Code(rawValue: "schemaMismatch")
        /// The address answers as another database than the one that was registered.
        public static let identityMismatch = Code(rawValue: "identityMismatch")
        /// The connection ended before the answer came.
        public static let connectionLost = Code(rawValue: "connectionLost")
        /// The connection was used after it had been closed.
        public static let connectionClosed = Code(rawValue: "connectionClosed")
        /// No connection became free in time.
        public static let poolExhausted = Code(rawValue: "poolExhausted")
        /// No slot for a prepared transaction became free in time.
        public static let admissionTimeout = Code(rawValue: "admissionTimeout")
        /// The transaction's time was over.
        public static let deadlineExceeded = Code(rawValue: "deadlineExceeded")
        /// The server refused a statement.
        public static let statementFailed = Code(rawValue: "statementFailed")
        /// The statement would end or harm the transaction, and was not sent or not accepted.
        public static let statementRefused = Code(rawValue: "statementRefused")
        /// A statement changed another number of rows than the program expects.
        public static let expectationViolated = Code(rawValue: "expectationViolated")
        /// The branch holds something that PREPARE TRANSACTION refuses.
        public static let cannotPrepare = Code(rawValue: "cannotPrepare")
        /// The server has max_prepared_transactions = 0.
        public static let preparedTransactionsDisabled = Code(rawValue: "preparedTransactionsDisabled")
        /// Every slot for prepared transactions is taken.
        public static let preparedSlotsExhausted = Code(rawValue: "preparedSlotsExhausted")
        /// A transaction of this id has already run or is running.
        public static let duplicateTransaction = Code(rawValue: "duplicateTransaction")
        /// The id is older than what the nodes remember.
        public static let transactionForgotten = Code(rawValue: "transactionForgotten")
        /// The transaction has ended and takes no more statements.
        public static let transactionEnded = Code(rawValue: "transactionEnded")
        /// The transaction could not be serialised with others.
        public static let serializationFailure = Code(rawValue: "serializationFailure")
        /// The transaction waited in a circle with others, and was chosen to end.
        public static let deadlock = Code(rawValue: "deadlock")
        /// The decision was sent and its outcome is not known.
        public static let inDoubt = Code(rawValue: "inDoubt")
        /// The role lacks a right.
        public static let notPermitted = Code(rawValue: "notPermitted")
        /// A value could not be read as the type that the program asked for.
        public static let decodingFailed = Code(rawValue: "decodingFailed")
        /// A value could not be written for the server.
        public static let encodingFailed = Code(rawValue: "encodingFailed")
        /// The result is more than a call that collects rows holds.
        public static let tooManyRows = Code(rawValue: "tooManyRows")
        /// The operation could decide wrongly or lose evidence, and was refused.
        public static let refusedBySafetyRule = Code(rawValue: "refusedBySafetyRule")
        /// What a step or a response left is longer than what is kept.
        public static let resultTooLarge = Code(rawValue: "resultTooLarge")
        /// An idempotency key was used for another request.
        public static let idempotencyMismatch = Code(rawValue: "idempotencyMismatch")
        /// Somebody else has the claim on an idempotency key.
        public static let idempotencyClaimLost = Code(rawValue: "idempotencyClaimLost")
        /// Another saga has locked a resource that a step needs.
        public static let sagaResourceLocked = Code(rawValue: "sagaResourceLocked")
        /// The saga turned back, and all that was done is undone.
        public static let sagaCompensated = Code(rawValue: "sagaCompensated")
        /// An operator has to look at the saga.
        public static let sagaStuck = Code(rawValue: "sagaStuck")
        /// A step of a saga, or its function, threw an error of its own.
        public static let sagaStepFailed = Code(rawValue: "sagaStepFailed")
        /// A saga's function asks for other steps than those that are recorded.
        public static let sagaMismatch = Code(rawValue: "sagaMismatch")
        /// The saga turned back because somebody cancelled it.
        public static let sagaCancelled = Code(rawValue: "sagaCancelled")
        /// The saga has turned back, and a step that comes late may not happen any more.
        public static let sagaStepBarred = Code(rawValue: "sagaStepBarred")
        /// An event is longer than what is kept.
        public static let eventTooLarge = Code(rawValue: "eventTooLarge")
        /// The database was restored since its outbox was last read.
        public static let outboxRestored = Code(rawValue: "outboxRestored")
        /// A sink does not take events now.
        public static let sinkUnavailable = Code(rawValue: "sinkUnavailable")
        /// A sink does not take an event, while it takes others.
        public static let eventRefused = Code(rawValue: "eventRefused")
        /// A message is older than what the inbox remembers.
        public static let messageTooOld = Code(rawValue: "messageTooOld")
        /// There is nothing of this name or id.
        public static let notFound = Code(rawValue: "notFound")
        /// A server that Tandem itself started on this machine failed.
        public static let localNodeFailed = Code(rawValue: "localNodeFailed")
        /// The server answered what cannot be an answer.
        public static let protocolViolation = Code(rawValue: "protocolViolation")

        /// Every code that this version knows, in the order of the documentation.
        public static let all: [Code] = table.map(\.code)
    }
}
