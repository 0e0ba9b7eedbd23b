import AsyncHTTPClient
import NIOCore
import NIOHTTP1
public import TandemSagas

/// Sends the requests of sagas with AsyncHTTPClient.
///
/// ```swift
/// var options = SagaOptions()
/// options.http = AsyncHTTPStepClient()
/// ```
///
/// It follows no redirects (another address may be another service, which has not seen the key), and keeps connections open for the next request.
public struct AsyncHTTPStepClient: HTTPStepClient {
    /// One for the process, which ends with it.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    /// A client; all of a process share their connections.
    public init() {}

    /// Sends a request and waits for the answer.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - limit: the most bytes of a body that are read; more is an error.
    /// - Returns: the answer, whatever its status.
    /// - Throws: where no answer came in time or at all; whether the service has acted is not known then. Cancellation ends it.
    public func send(_ request: HTTPStepRequest, limit: Int) async throws -> HTTPStepResponse {
        var message = HTTPClientRequest(url: request.url)
        message.method = HTTPMethod(rawValue: request.method)
        for (name, value) in request.headers { message.headers.add(name: name, value: value) }
        if !request.body.isEmpty { message.body = .bytes(request.body) }
        let milliseconds = request.timeout.components.seconds * 1000 + request.timeout.components.attoseconds / 1_000_000_000_000_000
        let response = try await Self.client.execute(message, timeout: .milliseconds(max(1, milliseconds)))
        let body = try await response.body.collect(upTo: limit)
        return HTTPStepResponse(
            status: Int(response.status.code), retryAfter: response.headers.first(name: "Retry-After").flatMap { Int64($0) }.map { .seconds($0) },
            body: Array(body.readableBytesView))
    }
}
