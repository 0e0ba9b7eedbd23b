public import TandemTransactions

/// What a middleware hands to the routes behind it.
extension Idempotency {
    /// The branch in which the current request's work has to be done, so that it commits with its key; `nil` outside of one.
    @TaskLocal public static var branch: Branch?
    /// The claim of the current request; `nil` outside of one.
    @TaskLocal public static var currentClaim: IdempotencyClaim?
}
