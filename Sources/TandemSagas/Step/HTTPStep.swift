import TandemCore

/// A step that asks a service.
struct HTTPStep: Sendable {
    let request: SagaDefinition.Request
    private let url: SagaTemplate
    private let headers: [(name: String, value: SagaTemplate)]
    private let body: JSON?

    init(_ request: SagaDefinition.Request) {
        self.request = request
        url = SagaTemplate(request.url)
        headers = request.headers.sorted { $0.key < $1.key }.map { ($0.key, SagaTemplate($0.value)) }
        body = request.body.flatMap { try? JSON(reading: $0) }
    }

    /// Sends it once.
    ///
    /// - Parameters:
    ///   - client: who sends.
    ///   - key: the same for each attempt, so that the service acts once.
    ///   - scope: the values.
    ///   - timeout: how long it may take.
    /// - Returns: what came of it: 2xx is done; a refusal fails the step; nobody knows what became of anything else, and it is sent again under the same key.
    /// - Throws: `CancellationError`; `configurationInvalid` where a value has no name.
    func send(_ client: any HTTPStepClient, key: String, _ scope: SagaScope, timeout: Duration) async throws -> StepOutcome {
        var headers = try headers.map { (name: $0.name, value: try $0.value.text(scope)) }
        headers.append(("Idempotency-Key", key))
        let body = try body.map { Array(try $0.filled(scope).text.utf8) } ?? []
        if !body.isEmpty && !headers.contains(where: { $0.name.lowercased() == "content-type" }) { headers.append(("Content-Type", "application/json")) }
        let url = try url.text(scope, isAddress: true)
        let response: HTTPStepResponse
        do {
            response = try await client.send(
                HTTPStepRequest(method: request.method, url: url, headers: headers, body: body, timeout: timeout), limit: KeptJSON.most)
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            return .retry(TandemError(.connectionLost, "\(request.method) got no answer: \(error)", isRetrySafe: true, phase: "step", cause: error))
        }
        return judge(response)
    }

    private func judge(_ response: HTTPStepResponse) -> StepOutcome {
        func error(_ message: String) -> TandemError { TandemError(.statementFailed, message, nextStep: "look at the service's log", phase: "step") }
        switch response.status {
        case 200..<300:
            if response.body.isEmpty { return .done("null") }
            guard let text = String(validating: response.body, as: UTF8.self) else { return .done(JSON.object([("bytes", .number(response.body.count))]).text) }
            return .done((try? JSON(reading: text)) != nil ? text : JSON.string(text).text)
        case let status where request.refusals.contains(status): return .failed(error("the service refused with \(status)"))
        case 408, 409, 425, 429: return .retry(error("the service answered with \(response.status)"), after: response.retryAfter)
        case 400..<500: return .failed(error("the service refused with \(response.status)"))
        default: return .retry(error("the service answered with \(response.status)"), after: response.retryAfter)
        }
    }
}
