import TandemCore

/// A request that a step of a saga sends.
public struct HTTPStepRequest: Sendable {
    /// `POST`, `PUT`, ...
    public let method: String
    /// Where it goes.
    public let url: String
    /// Its headers, `Idempotency-Key` among them.
    public let headers: [(name: String, value: String)]
    /// Its body, JSON; empty for none.
    public let body: [UInt8]
    /// How long it may take, its answer included.
    public let timeout: Duration
}

/// The answer to a request.
public struct HTTPStepResponse: Sendable {
    /// The status.
    public let status: Int
    /// What the service says about when to ask again, from now; `nil` where it does not.
    public let retryAfter: Duration?
    /// The body, as far as it was read.
    public let body: [UInt8]

    /// An answer.
    ///
    /// - Parameters:
    ///   - status: the status.
    ///   - retryAfter: the header `Retry-After`, as a time from now.
    ///   - body: the body.
    public init(status: Int, retryAfter: Duration? = nil, body: [UInt8] = []) {
        self.status = status
        self.retryAfter = retryAfter
        self.body = body
    }
}

/// Sends the requests of sagas. A product `TandemHTTPSteps` has one that uses AsyncHTTPClient.
public protocol HTTPStepClient: Sendable {
    /// Sends a request and waits for the answer.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - limit: the most bytes of a body that are wanted; more is an error.
    /// - Returns: the answer, whatever its status.
    /// - Throws: anything, where no answer came; whether the service has acted is not known then. Cancellation ends it.
    func send(_ request: HTTPStepRequest, limit: Int) async throws -> HTTPStepResponse
}
