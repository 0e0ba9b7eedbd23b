/// A named place in the commit protocol where a test may stop, fail, delay or hold the program.
///
/// One case for each arrow of the protocol: where a message leaves, where its answer arrives, and between a durable step and the
/// next one. The raw value is the name in a specification; it is part of what operators and tests type, so it does not change.
package enum Failpoint: String, CaseIterable, Hashable, Sendable {
    // MARK: admission and work

    /// Before a global transaction asks for its place among those admitted.
    case beforeAdmission = "before_admission"
    /// A branch has begun; no vote was sent.
    case afterBegin = "after_begin"

    // MARK: votes

    /// All work is done; the next message carries a PREPARE TRANSACTION.
    case beforePrepare = "before_prepare"
    /// A PREPARE TRANSACTION has left; its answer is not known.
    case afterPrepareSent = "after_prepare_sent"
    /// A branch answered that it is prepared.
    case afterPrepare = "after_prepare"

    // MARK: decision

    /// Every vote is yes; the decision has not left.
    case beforeDecision = "before_decision"
    /// The decision has left; its answer is not known.
    case afterDecisionSent = "after_decision_sent"
    /// The decision is known to be durable; nobody else has been told.
    case afterDecision = "after_decision"

    // MARK: phase two

    /// Before a COMMIT PREPARED leaves.
    case beforeCommitPrepared = "before_commit_prepared"
    /// A COMMIT PREPARED has left; its answer is not known.
    case afterCommitPreparedSent = "after_commit_prepared_sent"
    /// A branch answered that it is committed.
    case afterCommitPrepared = "after_commit_prepared"
    /// Before a ROLLBACK PREPARED leaves.
    case beforeRollbackPrepared = "before_rollback_prepared"
    /// A branch answered that it is rolled back.
    case afterRollbackPrepared = "after_rollback_prepared"
    /// Everything is done; the caller has not been told.
    case beforeAcknowledgement = "before_acknowledgement"

    // MARK: recovery

    /// Recovery has read a node's list of prepared transactions, which grows old from here on.
    case recoveryAfterList = "recovery_after_list"
    /// Before recovery asks the register of the commit point.
    case recoveryBeforeVerdict = "recovery_before_verdict"
    /// Recovery knows the verdict and has not acted on it.
    case recoveryAfterVerdict = "recovery_after_verdict"
    /// Before recovery finishes a prepared branch.
    case recoveryBeforeFinish = "recovery_before_finish"
    /// Recovery has finished a prepared branch.
    case recoveryAfterFinish = "recovery_after_finish"

    /// Armed with `error`, recovery is wrong on purpose: it rolls back every prepared branch that it finds, without asking the register and whatever its age. What
    /// `tandem chaos` is worth shows in whether it finds that.
    case recoveryPresumesAbort = "recovery_presumes_abort"

    // MARK: sagas

    /// Before a step of a saga is sent.
    case sagaBeforeStep = "saga_before_step"
    /// A step of a saga is done; nobody but its own record knows.
    case sagaAfterStep = "saga_after_step"
    /// A saga is about to turn back.
    case sagaBeforeTurn = "saga_before_turn"
    /// It is durable that a saga has turned back; nothing is undone yet.
    case sagaAfterTurn = "saga_after_turn"
    /// Before what undoes a step is sent.
    case sagaBeforeUndo = "saga_before_undo"
    /// A step is undone; nobody but its own record knows.
    case sagaAfterUndo = "saga_after_undo"
    /// All steps are done or undone; the saga's row does not say so yet.
    case sagaBeforeEnd = "saga_before_end"
    /// The saga's end is durable; nobody has been told.
    case sagaAfterEnd = "saga_after_end"

    // MARK: outbox

    /// Events are about to be handed to a sink.
    case relayBeforeDelivery = "relay_before_delivery"
    /// A sink has events of a window, and nothing says so yet.
    case relayAfterDelivery = "relay_after_delivery"
    /// It is noted how far a sink has a window.
    case relayAfterNote = "relay_after_note"

    // MARK: forgetting

    /// Before the horizon is raised.
    case beforeForget = "before_forget"
    /// The horizon is raised on every node; the rows below it are still there.
    case afterHorizon = "after_horizon"
    /// The rows below the horizon are gone.
    case afterForget = "after_forget"
}
