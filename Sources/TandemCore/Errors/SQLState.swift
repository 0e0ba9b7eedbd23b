/// A SQLSTATE: the five characters by which PostgreSQL says what kind of error it reports.
///
/// The codes are those of the manual's appendix "PostgreSQL Error Codes". Match on these and never on the text of a message, which a server
/// translates.
public struct SQLState: RawRepresentable, Hashable, Sendable, Codable, CustomStringConvertible {
    /// The five characters.
    public let rawValue: String

    /// Reads a code.
    ///
    /// - Parameter rawValue: Five bytes of `[0-9A-Z]`; the result is nil for anything else.
    public init?(rawValue: String) {
        guard rawValue.utf8.count == 5,
            rawValue.utf8.allSatisfy({ byte in
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
            })
        else { return nil }
        self.rawValue = rawValue
    }

    private init(known: String) { self.rawValue = known }

    /// The first two characters: the class of the error, for example `23` for a violated constraint.
    public var errorClass: String { String(rawValue.prefix(2)) }

    /// The five characters.
    public var description: String { rawValue }

    /// 00000: no error.
    public static let successfulCompletion = SQLState(known: "00000")
    /// 01000: a warning; one of replication is known by its routine, not by this code, which any trigger can raise.
    public static let warning = SQLState(known: "01000")
    /// 08000: something is wrong with the connection.
    public static let connectionException = SQLState(known: "08000")
    /// 08003: there is no connection.
    public static let connectionDoesNotExist = SQLState(known: "08003")
    /// 08006: the connection failed.
    public static let connectionFailure = SQLState(known: "08006")
    /// 08001: the client could not connect.
    public static let clientUnableToConnect = SQLState(known: "08001")
    /// 08P01: the two sides disagree about the protocol.
    public static let protocolViolation = SQLState(known: "08P01")
    /// 0A000: not supported; at PREPARE TRANSACTION, something that cannot be prepared.
    public static let featureNotSupported = SQLState(known: "0A000")
    /// 22023: a parameter has a value that is not allowed; a gid of 200 bytes, for one.
    public static let invalidParameterValue = SQLState(known: "22023")
    /// 22P02: a text that is not of the type it was read as.
    public static let invalidTextRepresentation = SQLState(known: "22P02")
    /// 23502: NULL where there must be a value; of the decision row, the proof that the transaction is no longer the one begun.
    public static let notNullViolation = SQLState(known: "23502")
    /// 23503: a foreign key is violated.
    public static let foreignKeyViolation = SQLState(known: "23503")
    /// 23505: a unique key is violated; of the decision row, somebody wrote first.
    public static let uniqueViolation = SQLState(known: "23505")
    /// TD208: an idempotency key was used before (`tandem.once`).
    public static let idempotencyKeyUsed = SQLState(known: "TD208")
    /// TD409: an idempotency key is in use.
    public static let idempotencyInProgress = SQLState(known: "TD409")
    /// TD412: a claim is held by somebody else, or a key was not begun.
    public static let idempotencyClaimLost = SQLState(known: "TD412")
    /// TD413: a response is too large to be stored.
    public static let idempotencyTooLarge = SQLState(known: "TD413")
    /// TD422: an idempotency key was used for another request.
    public static let idempotencyMismatch = SQLState(known: "TD422")
    /// TD423: another saga has locked the resource (`tandem.saga_take_lock`).
    public static let sagaResourceLocked = SQLState(known: "TD423")
    /// TD503: the outbox has no such sink.
    public static let outboxSinkUnknown = SQLState(known: "TD503")
    /// TD508: the node was promoted since its outbox was last read.
    public static let outboxPromoted = SQLState(known: "TD508")
    /// TD509: the outbox was restored since it was last read.
    public static let outboxRestored = SQLState(known: "TD509")
    /// TD510: events of that time are not kept any more.
    public static let outboxForgotten = SQLState(known: "TD510")
    /// TD513: an event is too large (`tandem.publish`).
    public static let eventTooLarge = SQLState(known: "TD513")
    /// TD610: a message is older than what the inbox remembers (`tandem.receive`).
    public static let messageTooOld = SQLState(known: "TD610")
    /// 23514: a check constraint is violated.
    public static let checkViolation = SQLState(known: "23514")
    /// 23P01: an exclusion constraint is violated.
    public static let exclusionViolation = SQLState(known: "23P01")
    /// 25001: the statement cannot run within a transaction.
    public static let activeTransaction = SQLState(known: "25001")
    /// 25006: the transaction is read-only.
    public static let readOnlyTransaction = SQLState(known: "25006")
    /// 25P01: there is no transaction; as a warning on a vote or decision it makes that one unknown.
    public static let noActiveTransaction = SQLState(known: "25P01")
    /// 25P02: the transaction has failed and only takes ROLLBACK.
    public static let inFailedTransaction = SQLState(known: "25P02")
    /// 25P03: the transaction was idle for too long, and the server ended the session.
    public static let idleInTransactionSessionTimeout = SQLState(known: "25P03")
    /// 28000: the login is refused.
    public static let invalidAuthorization = SQLState(known: "28000")
    /// 28P01: the password is wrong.
    public static let invalidPassword = SQLState(known: "28P01")
    /// 2D000: a transaction may not be ended here.
    public static let invalidTransactionTermination = SQLState(known: "2D000")
    /// 3D000: there is no such database.
    public static let invalidCatalogName = SQLState(known: "3D000")
    /// 3F000: there is no such schema.
    public static let invalidSchemaName = SQLState(known: "3F000")
    /// 40000: the transaction was rolled back.
    public static let transactionRollback = SQLState(known: "40000")
    /// 40001: it could not be serialised with the others; run it again.
    public static let serializationFailure = SQLState(known: "40001")
    /// 40P01: a deadlock; run it again.
    public static let deadlockDetected = SQLState(known: "40P01")
    /// 42501: the role may not do this.
    public static let insufficientPrivilege = SQLState(known: "42501")
    /// 42703: there is no such column.
    public static let undefinedColumn = SQLState(known: "42703")
    /// 42704: there is no such object; of COMMIT PREPARED, no such gid: finished by somebody, or lost.
    public static let undefinedObject = SQLState(known: "42704")
    /// 42710: the object exists already; of PREPARE TRANSACTION, the gid is in use.
    public static let duplicateObject = SQLState(known: "42710")
    /// 42883: there is no such function.
    public static let undefinedFunction = SQLState(known: "42883")
    /// 42P01: there is no such table.
    public static let undefinedTable = SQLState(known: "42P01")
    /// 42P07: the table exists already.
    public static let duplicateTable = SQLState(known: "42P07")
    /// 53100: the disk is full.
    public static let diskFull = SQLState(known: "53100")
    /// 53200: out of memory; of PREPARE TRANSACTION, no free slot for a prepared transaction.
    public static let outOfMemory = SQLState(known: "53200")
    /// 53300: the server takes no more connections.
    public static let tooManyConnections = SQLState(known: "53300")
    /// 55000: the object is in the wrong state; of COMMIT PREPARED, "not yet"; of PREPARE TRANSACTION, prepared transactions are off.
    public static let objectNotInPrerequisiteState = SQLState(known: "55000")
    /// 55006: the object is in use.
    public static let objectInUse = SQLState(known: "55006")
    /// 55P03: a lock could not be had in time.
    public static let lockNotAvailable = SQLState(known: "55P03")
    /// 57014: the statement was cancelled, by somebody or by its time limit.
    public static let queryCanceled = SQLState(known: "57014")
    /// 57P01: an administrator ended the session; what it was doing may have happened.
    public static let adminShutdown = SQLState(known: "57P01")
    /// 57P02: the server ended all sessions because another one crashed.
    public static let crashShutdown = SQLState(known: "57P02")
    /// 57P03: the server cannot be connected to now.
    public static let cannotConnectNow = SQLState(known: "57P03")
    /// 57P04: the database was dropped.
    public static let databaseDropped = SQLState(known: "57P04")
    /// 58030: the server had an input or output error.
    public static let ioError = SQLState(known: "58030")
}
