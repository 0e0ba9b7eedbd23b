public import HTTPTypes
public import Hummingbird
import NIOCore
import TandemCore
public import TandemIdempotency
import TandemTransactions

/// The header `Idempotency-Key` for the routes behind it: a request that is sent again is answered as the first time, and does nothing.
///
/// ```swift
/// let router = Router()
/// router.group("payments").add(middleware: IdempotencyMiddleware(idempotency) { request, _ in "shop/\(request.uri.path)" })
///     .post { request, context in
///         guard let branch = Idempotency.branch else { throw HTTPError(.internalServerError) }
///         try await branch.execute("INSERT INTO payment ...")
///         return Response(status: .created)
///     }
/// ```
///
/// The routes' work is done in ``TandemIdempotency/Idempotency/branch``, so that it commits with the key. Where it makes foreign calls, ``Mode/phased`` claims the key before, and the
/// routes pass recovery points with ``TandemIdempotency/Idempotency/currentClaim``.
///
/// Stored are responses below 500, bytes and headers. One of 500 and above, or an error, rolls back and frees the key. A response's body is collected before it is sent.
public struct IdempotencyMiddleware<Context: RequestContext>: RouterMiddleware {
    /// How the work is done.
    public enum Mode: Sendable {
        /// In one transaction of the node that keeps the keys.
        case once
        /// With foreign calls: the key is claimed for a time, and who comes after a crash goes on at the last recovery point.
        case phased(hold: Duration)
    }

    /// What may be another way.
    public struct Options: Sendable {
        /// The header with the key.
        public var header = HTTPField.Name("Idempotency-Key") ?? .retryAfter
        /// The header that marks a response that was given before.
        public var replayHeader = HTTPField.Name("Idempotent-Replayed") ?? .retryAfter
        /// Requests that need a key; others pass.
        public var methods: Set<HTTPRequest.Method> = [.post, .patch]
        /// Whether a request without a key is refused; else it passes.
        public var isRequired = true
        /// The status of a request without a key.
        public var missing = HTTPResponse.Status.badRequest
        /// The status where the key was used for another request.
        public var mismatch = HTTPResponse.Status.unprocessableContent
        /// The status while the first one is being done; with `Retry-After`.
        public var inProgress = HTTPResponse.Status.conflict
        /// The most bytes of a request's body.
        public var maximumBody = 1 << 20
        /// Headers whose values belong to what the request is.
        public var fingerprintHeaders: [HTTPField.Name] = [.contentType]
        /// How the work is done.
        public var mode = Mode.once

        /// Options with their defaults.
        public init() {}
    }

    private let idempotency: Idempotency
    private let options: Options
    private let scope: @Sendable (Request, Context) throws -> String

    /// The middleware.
    ///
    /// - Parameters:
    ///   - idempotency: where keys are kept; its `patience` is how long a duplicate waits before it is told to ask again.
    ///   - options: what may be another way.
    ///   - scope: whose keys a request's are: at least the tenant, since senders choose their keys. The method is added.
    public init(_ idempotency: Idempotency, options: Options = Options(), scope: @escaping @Sendable (Request, Context) throws -> String) {
        self.idempotency = idempotency
        self.options = options
        self.scope = scope
    }

    /// Answers a request, or lets the routes behind do so.
    ///
    /// - Parameters:
    ///   - request: the request.
    ///   - context: its context.
    ///   - next: the routes behind.
    /// - Returns: the response, made now or before.
    /// - Throws: `HTTPError` with one of the statuses; what the routes throw; `TandemError` of the node.
    @concurrent
    public func handle(_ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response) async throws -> Response {
        guard options.methods.contains(request.method) else { return try await next(request, context) }
        guard let value = request.headers[options.header], !value.isEmpty else {
            if options.isRequired { throw HTTPError(options.missing, message: "The header \(options.header.canonicalName) is missing") }
            return try await next(request, context)
        }
        var request = request
        let body = try await request.collectBody(upTo: options.maximumBody)
        let key = IdempotencyKey(scope: "\(request.method.rawValue) \(try scope(request, context))", key: value)
        let headers = options.fingerprintHeaders.map { Array("\($0.canonicalName): \(request.headers[$0] ?? "")".utf8) }
        let print = RequestFingerprint([Array(request.method.rawValue.utf8), Array(request.uri.description.utf8)] + headers + [Array(body.readableBytesView)])
        do {
            switch options.mode {
            case .once: return try await once(key, print, request, context, next)
            case .phased(let hold): return try await phased(key, print, hold, request, context, next)
            }
        } catch let failed as Failed {
            return failed.response
        } catch let error as TandemError where error.code == .idempotencyMismatch {
            throw HTTPError(options.mismatch, message: "The key was used for another request")
        }
    }

    /// What the routes answered must not be stored.
    private struct Failed: Error {
        let response: Response
    }

    private func once(
        _ key: IdempotencyKey, _ print: RequestFingerprint, _ request: Request, _ context: Context,
        _ next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        let outcome = try await idempotency.once(key, print) { branch in
            let response = try await Idempotency.$branch.withValue(branch) { try await next(request, context) }
            if response.status.kind == .serverError { throw Failed(response: response) }
            return try await StoredResponse(response)
        }
        switch outcome {
        case .first(let response): return try Response(response)
        case .replayed(let response): return try replayed(response)
        case .inProgress(let time): return wait(time)
        }
    }

    private func phased(
        _ key: IdempotencyKey, _ print: RequestFingerprint, _ hold: Duration, _ request: Request, _ context: Context,
        _ next: @concurrent (Request, Context) async throws -> Response
    ) async throws -> Response {
        switch try await idempotency.claim(key, print, hold: hold) {
        case .replayed(let response): return try replayed(response)
        case .inProgress(let time, _): return wait(time)
        case .claimed(let claim):
            do {
                let response = try await Idempotency.$currentClaim.withValue(claim) { try await next(request, context) }
                if response.status.kind == .serverError { throw Failed(response: response) }
                let stored = try await StoredResponse(response)
                try await claim.complete(stored)
                return try Response(stored)
            } catch {
                // Whoever sends it again goes on at the last recovery point.
                try? await claim.release()
                throw error
            }
        }
    }

    private func replayed(_ stored: StoredResponse) throws -> Response {
        var response = try Response(stored)
        response.headers[options.replayHeader] = "true"
        return response
    }

    private func wait(_ time: Duration) -> Response {
        let seconds = max(1, time.components.seconds + (time.components.attoseconds > 0 ? 1 : 0))
        return Response(status: options.inProgress, headers: [.retryAfter: String(seconds)])
    }
}

extension StoredResponse {
    /// A response with its whole body.
    fileprivate init(_ response: Response) async throws {
        let collector = Collector()
        try await response.body.write(collector)
        self.init(
            status: response.status.code, headers: response.headers.map { Header($0.name.rawName, $0.value) }, body: Array(collector.buffer.readableBytesView))
    }
}

extension Response {
    fileprivate init(_ stored: StoredResponse) throws {
        var headers = HTTPFields()
        for header in stored.headers {
            guard let name = HTTPField.Name(header.name) else { continue }
            headers.append(HTTPField(name: name, value: header.value))
        }
        self.init(status: .init(code: stored.status), headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: stored.body)))
    }
}

/// Collects what a body writes.
private final class Collector: ResponseBodyWriter {
    private(set) var buffer = ByteBuffer()

    func write(_ buffer: ByteBuffer) async throws { self.buffer.writeImmutableBuffer(buffer) }
    consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
}
