import TandemCluster
import TandemCore
import TandemPostgres

/// Why a branch said no, in words that help (R6).
enum VoteFailure {
    static func error(_ error: ServerError, node: NodeName, phase: String, gid: GID?) -> TandemError {
        func vote(_ code: TandemError.Code, _ message: String, isRetrySafe: Bool = false, _ next: String) -> TandemError {
            TandemError(
                code, message, effect: .rolledBack, isRetrySafe: isRetrySafe, node: node, sqlState: error.sqlState, nextStep: next,
                constraint: error.constraint,
                phase: phase, gid: gid)
        }
        switch error.sqlState {
        case .featureNotSupported:
            // The server names the cause: NOTIFY, temporary objects, foreign tables, WITH HOLD cursors, exported snapshots, locks at both levels.
            return vote(.cannotPrepare, error.message, "do this outside of global transactions: see docs/guarantees.md, \"What cannot be prepared\"")
        case .objectNotInPrerequisiteState where phase == "prepare":
            return vote(
                .preparedTransactionsDisabled, error.message, "set max_prepared_transactions (at least the connections of all pools) and restart the server")
        case .outOfMemory where phase == "prepare":
            return vote(
                .preparedSlotsExhausted, error.message, isRetrySafe: true,
                "look for forgotten prepared transactions (`tandem tx ls`), raise max_prepared_transactions, or send less at a time")
        case .duplicateObject:
            return vote(.duplicateTransaction, error.message, "the transaction's id is in use; give each transaction an id of its own")
        case .uniqueViolation where error.schema == "tandem" && error.constraint == "branch_pkey":
            return vote(
                .duplicateTransaction, "the register already has a row of this transaction", "ask for its outcome: it was sent before, or recovery ended it")
        case .notNullViolation where error.schema == "tandem" && error.table == "branch" && error.column == "node":
            return vote(
                .transactionEnded, "the branch is not in the transaction that it began, or the transaction is too old",
                "leave transaction control to Tandem; give a transaction a new id when it is sent again after the retention")
        default:
            return TandemError(error, node: node, effect: .rolledBack, phase: phase)
        }
    }
}
