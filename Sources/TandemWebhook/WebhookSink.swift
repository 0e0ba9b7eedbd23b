import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization
import TandemCore
public import TandemMessaging

/// A service as a sink: it gets each event by an HTTP request, signed where there are secrets.
///
/// What it promises: `delivered` means that the service has answered with 2xx. The events of a key are sent one after the other, each when the one before it
/// is answered; others are sent at the same time, up to `concurrency`. An event whose answer is lost or late is sent again: a duplicate, with the event's id
/// as `Idempotency-Key`.
///
/// | Answer | What it means |
/// |---|---|
/// | 2xx | delivered |
/// | 400, 413, 415, 422 and each other 4xx not named below; `refusals` | this event is refused, and those of its key behind it are held |
/// | 401 to 405, 407 to 410, 421, 425, 426, 429; 3xx, 5xx; none in time | the service takes nothing now: the sink throws, and the relay waits |
///
/// So a wrong address, a wrong credential and a service in trouble set no events aside. Redirects are not followed: the service behind them may be another.
/// What was delivered of a batch before the trouble is known until the batch comes again, and is not sent twice; what was refused is asked again. After an
/// answer with `Retry-After` in seconds nothing is sent for that long, for a minute at most.
///
/// The headers of an event become headers `tandem-header-NAME`: so none can be one that means something, whoever chose its name. Their values are
/// percent-encoded as those of attributes are, and one whose name cannot be that of a header is left out. The structured form has them all, as they are.
public final class WebhookSink: Sink {
    /// Which event it is, and at which time of its being sent: one that is replayed has a new place.
    private struct Mark: Hashable {
        let source: String
        let place: Delivery.Place
        let id: String

        init(_ delivery: Delivery) { (source, place, id) = (delivery.source, delivery.place, delivery.event.id) }
    }

    private struct State {
        /// What the service has taken of a batch that ended with trouble, and so comes again.
        var taken: Set<Mark> = []
        /// Until when the service wants no requests.
        var restEnd: ContinuousClock.Instant?
    }

    /// The longest that `Retry-After` is heeded.
    private static let longestRest = Duration.seconds(60)
    /// Connections to one service of all sinks of the process. The `concurrency` of each bounds them: here no request is to wait for one while its time runs.
    private static let mostConnections = 1024
    /// Statuses of 4xx that say something of the service or of the moment, and nothing of the event.
    private static let general: Set<Int> = [401, 402, 403, 404, 405, 407, 408, 409, 410, 421, 425, 426, 429]

    /// One for the process, which ends with it.
    private static let client: HTTPClient = {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = WebhookSink.mostConnections
        // The relay tries again, and its log says why.
        configuration.connectionPool.retryConnectionEstablishment = false
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }()

    private let configuration: WebhookConfiguration
    private let signature: WebhookSignature?
    private let tls: TLSConfiguration?
    private let state = Mutex(State())

    /// A sink. It connects when it has something to deliver.
    ///
    /// - Parameter configuration: the service, and how it is told.
    /// - Throws: `configurationInvalid` where no request can be made of it, or the file of certificates cannot be read.
    public init(_ configuration: WebhookConfiguration) throws {
        try configuration.check()
        self.configuration = configuration
        signature = configuration.secrets.isEmpty ? nil : WebhookSignature(configuration.secrets)
        if let path = configuration.certificates { tls = try Self.trusting(path) } else { tls = nil }
    }

    private static func trusting(_ path: String) throws -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        do {
            tls.additionalTrustRoots = [.certificates(try NIOSSLCertificate.fromPEMFile(path))]
        } catch {
            throw TandemError(
                .configurationInvalid, "the file of certificates \(path) cannot be read: \(error)", nextStep: "name a file of certificates in PEM")
        }
        return tls
    }

    // MARK: Delivering

    /// Sends events and waits for the answers.
    ///
    /// - Parameter batch: the events.
    /// - Returns: a verdict for each.
    /// - Throws: `sinkUnavailable` where the service takes nothing now; what is under way then is waited for, and nothing new is begun.
    ///   `CancellationError`: nobody knows what became of the requests that were under way.
    public func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        try Task.checkCancellation()
        let (taken, rest) = state.withLock { ($0.taken, $0.restEnd) }
        if let rest, rest > .now { throw unavailable("wants no requests for a while", "wait: it said for how long") }
        let round = await withTaskGroup(of: (index: Int, outcome: Outcome).self, returning: Round.self) { group in
            var round = Round(batch) { taken.contains(Mark($0)) }
            var underWay = 0
            while true {
                while underWay < configuration.concurrency, let index = round.next() {
                    group.addTask { (index: index, outcome: await self.send(batch[index])) }
                    underWay += 1
                }
                guard let answer = await group.next() else { return round }
                underWay -= 1
                round.note(answer.outcome, of: answer.index)
            }
        }
        guard let trouble = round.trouble else {
            state.withLock { $0 = State() }
            return round.verdicts.compactMap { $0 }
        }
        let marks = Set(round.delivered.map { Mark(batch[$0]) }), restEnd = trouble.rest.map { ContinuousClock.now + $0 }
        state.withLock { $0 = State(taken: marks, restEnd: restEnd) }
        throw trouble.error
    }

    /// Does nothing: connections are the process's, and end when they are not used for a while.
    public func close() async {}

    // MARK: One request

    /// What became of one request.
    private enum Outcome: Sendable {
        case delivered
        case refused(TandemError)
        /// Nothing of the event: the service takes nothing, at least for so long, or this task has to end.
        case trouble(any Error, rest: Duration?)
    }

    private func send(_ delivery: Delivery) async -> Outcome {
        if Task.isCancelled { return .trouble(CancellationError(), rest: nil) }
        guard let request = message(of: delivery) else {
            return .refused(
                TandemError(.eventRefused, "the event's content type cannot be a header", nextStep: "`tandem outbox drop` it, or send the structured form"))
        }
        let deadline = ContinuousClock.now + configuration.timeout
        let response: HTTPClientResponse
        do {
            response = try await Self.client.execute(request, timeout: TimeAmount(configuration.timeout))
        } catch {
            if Task.isCancelled { return .trouble(CancellationError(), rest: nil) }
            return .trouble(unavailable("gave no answer: \(reason(error))", "see whether it runs, and whether the address is right"), rest: nil)
        }
        await drain(response.body, until: deadline)
        return judge(response, delivery.event)
    }

    private func message(of delivery: Delivery) -> HTTPClientRequest? {
        let event = delivery.event, id = Self.encoded(event.id)
        var request = HTTPClientRequest(url: configuration.url)
        request.method = .POST
        request.tlsConfiguration = tls
        for header in configuration.headers { request.headers.add(name: header.name, value: header.value) }
        request.headers.add(name: "Idempotency-Key", value: id)
        var body: [UInt8]
        switch configuration.form {
        case .binary:
            guard WebhookConfiguration.isFieldValue(event.contentType) else { return nil }
            body = event.payload
            request.headers.add(name: "Content-Type", value: event.contentType)
            for attribute in CloudEvent.attributes(of: delivery) { request.headers.add(name: "ce-\(attribute.name)", value: Self.encoded(attribute.value)) }
            for header in event.headers where WebhookConfiguration.isToken(header.name) {
                request.headers.add(name: WebhookConfiguration.headerPrefix + header.name, value: Self.encoded(header.value))
            }
        case .structured:
            body = []
            CloudEvent.append(delivery, to: &body)
            request.headers.add(name: "Content-Type", value: "\(CloudEvent.contentType); charset=utf-8")
        }
        if let signature {
            let now = WebhookSignature.now
            request.headers.add(name: "webhook-id", value: id)
            request.headers.add(name: "webhook-timestamp", value: "\(now)")
            request.headers.add(name: "webhook-signature", value: signature.sign(body, id: id, timestamp: now))
        }
        request.body = .bytes(body)
        return request
    }

    private static let hexadecimal = Array("0123456789ABCDEF".utf8)

    /// A text as the HTTP binding of CloudEvents wants it: what is no visible ASCII is percent-encoded, and so are quotes and percent signs.
    static func encoded(_ text: String) -> String {
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0...0x20, UInt8(ascii: "\""), UInt8(ascii: "%"), 0x7F...0xFF:
                bytes.append(contentsOf: [UInt8(ascii: "%"), hexadecimal[Int(byte >> 4)], hexadecimal[Int(byte & 15)]])
            default: bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Reads what is left of an answer, so that its connection can be used again. The client's own time limit ends with the head of an answer.
    private func drain(_ body: HTTPClientResponse.Body, until deadline: ContinuousClock.Instant) async {
        let limit = configuration.responseLimit
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                var count = 0
                do {
                    for try await part in body {
                        count += part.readableBytes
                        if count > limit { return }
                    }
                } catch {
                    // The answer is known: only the connection is lost.
                }
            }
            group.addTask { try? await Task.sleep(until: deadline, clock: .continuous) }
            _ = await group.next()
            group.cancelAll()
        }
    }

    // MARK: Answers

    private func judge(_ response: HTTPClientResponse, _ event: Event) -> Outcome {
        let status = Int(response.status.code)
        if (200..<300).contains(status) { return .delivered }
        if configuration.refusals.contains(status) || (400..<500).contains(status) && !Self.general.contains(status) {
            return .refused(
                TandemError(
                    .eventRefused, "\(configuration) refuses it with \(status)", nextStep: "see the service's log, then `tandem outbox retry` or `drop`"))
        }
        let location = response.headers.first(name: "Location").map { ", and names \(WebhookConfiguration.origin(of: $0) ?? "another path")" } ?? ""
        let rest = response.headers.first(name: "Retry-After").flatMap { Int64($0) }.map { min(.seconds(max(0, $0)), Self.longestRest) }
        return .trouble(unavailable("answers with \(status) to the event \(event.id)\(location)", Self.advice(status)), rest: rest)
    }

    private static func advice(_ status: Int) -> String {
        switch status {
        case 300..<400: "write the address that it names: redirects are not followed"
        case 401, 403, 407: "see whether the service knows the headers and secrets"
        case 404, 405, 421: "see whether the address is right"
        case 410: "it wants no more events: write its new address, or take the sink out"
        default: "see the service's log; where it is this event that it cannot take, let it answer with 422, or name the status in `refusals`"
        }
    }

    private func reason(_ error: any Error) -> String {
        // Others describe what was sent, too.
        guard let error = error as? HTTPClientError else { return "\(error)" }
        return error == .deadlineExceeded ? "none within \(configuration.timeout)" : error.shortDescription
    }

    private func unavailable(_ problem: String, _ next: String) -> TandemError { TandemError(.sinkUnavailable, "\(configuration) \(problem)", nextStep: next) }

    // MARK: Order

    /// Says what of a batch is sent next: of each key one event at a time, and nothing new after trouble.
    private struct Round {
        /// What is known of each event.
        private(set) var verdicts: [DeliveryVerdict?]
        /// The first trouble.
        private(set) var trouble: (error: any Error, rest: Duration?)?
        /// The next event of the same key, for each.
        private var following: [Int?]
        /// Those whose turn it is; the last one is sent first.
        private var ready: [Int] = []

        /// - Parameters:
        ///   - batch: the events in their order.
        ///   - isTaken: whether the service has one already.
        init(_ batch: [Delivery], isTaken: (Delivery) -> Bool) {
            verdicts = Array(repeating: nil, count: batch.count)
            following = Array(repeating: nil, count: batch.count)
            var first: [String: Int] = [:]
            for index in batch.indices.reversed() {
                if isTaken(batch[index]) {
                    verdicts[index] = .delivered
                } else if let key = batch[index].event.key {
                    following[index] = first.updateValue(index, forKey: key)
                } else {
                    ready.append(index)
                }
            }
            ready = (ready + first.values).sorted(by: >)
        }

        /// The events that the service has.
        var delivered: [Int] { verdicts.indices.filter { if case .delivered? = verdicts[$0] { true } else { false } } }

        mutating func next() -> Int? { trouble == nil ? ready.popLast() : nil }

        mutating func note(_ outcome: Outcome, of index: Int) {
            switch outcome {
            case .delivered:
                verdicts[index] = .delivered
                // At once: a key with many events would take longest if it were begun last.
                if let next = following[index] { ready.append(next) }
            case .refused(let error):
                verdicts[index] = .refused(error)
                var next = following[index]
                while let held = next {
                    verdicts[held] = .held
                    next = following[held]
                }
            case .trouble(let error, let rest):
                if trouble == nil { trouble = (error, rest) }
            }
        }
    }
}
