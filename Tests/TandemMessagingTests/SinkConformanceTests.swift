import TandemPostgres
import TandemCore
import TandemMessaging
import TandemTestSupport
import Testing

/// What ``Sink`` promises, of each kind of sink.
@Suite("Every sink", .serialized)
struct SinkConformanceTests {
    /// An event with a number, at the place of that number.
    private func delivery(_ number: Int, _ topic: String, _ key: String?, _ change: (inout Event) -> Void = { _ in }) -> Delivery {
        var event = Event(
            id: "0198c0de-0000-7000-8000-\(String(1_000_000_000_000 + number).suffix(12))", topic: topic, key: key, payload: Array("{\"n\":\(number)}".utf8),
            time: "2026-01-01T00:00:00.123456Z")
        change(&event)
        return Delivery(event, from: "/test/n1", to: "test", at: .init(window: 1, sequence: Int64(number)))
    }

    private func isDelivered(_ verdict: DeliveryVerdict) -> Bool { if case .delivered = verdict { true } else { false } }

    private func isHeld(_ verdict: DeliveryVerdict) -> Bool { if case .held = verdict { true } else { false } }

    /// Delivers as a relay does: again and again, until there is an answer.
    private func insist(_ sink: any Sink, _ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        var verdicts: [DeliveryVerdict] = []
        try await wait(for: "the receiver", within: .seconds(60)) {
            do { verdicts = try await sink.deliver(batch) } catch is TandemError { return false }
            return true
        }
        return verdicts
    }

    /// The ids of each key, each once, in the order of their first arrival.
    private func order(_ events: [Event]) -> [String: [String]] {
        var seen: Set<String> = []
        return Dictionary(grouping: events.filter { $0.key != nil && seen.insert($0.id).inserted }) { $0.key ?? "" }.mapValues { $0.map(\.id) }
    }

    @Test("an event arrives with all that it has, whatever that is", arguments: SinkKind.allCases)
    func whole(_ kind: SinkKind) async throws {
        try await kind.with { receiver in
            let sink = try receiver.sink()
            let sent = [
                delivery(1, receiver.topic, "a") { $0.headers = [.init("trace", "1"), .init("other", "two words, \"quoted\"; 100%")] },
                delivery(2, receiver.topic, nil) {
                    $0.payload = [0, 1, 255, 10, 13, 0]
                    $0.contentType = "application/octet-stream"
                },
                delivery(3, receiver.topic, "schlüssel / ключ \"x\"") { $0.headers = [.init("name", "wert mit ä")] },
                delivery(4, receiver.topic, "empty") {
                    $0.payload = []
                    $0.contentType = "text/plain"
                },
                delivery(5, receiver.topic, "large") { $0.payload = Array("{\"x\":\"\(String(repeating: "y", count: 900_000))\"}".utf8) },
                delivery(6, receiver.topic, "type") {
                    $0.payload = Array("<a/>".utf8)
                    $0.contentType = "application/xml; charset=utf-8"
                },
            ]
            let verdicts = try await sink.deliver(sent)
            #expect(verdicts.count == sent.count && verdicts.allSatisfy(isDelivered))
            let arrived = Dictionary(grouping: try await receiver.arrived(atLeast: sent.count)) { $0.id }
            for event in sent.map(\.event) {
                let got = arrived[event.id]?.first
                #expect(arrived[event.id]?.count == 1 && got?.topic == event.topic && got?.key == event.key && got?.contentType == event.contentType)
                #expect(got?.payload == event.payload && got?.time == event.time)
                #expect(got?.headers.sorted { $0.name < $1.name } == event.headers.sorted { $0.name < $1.name })
            }
            await sink.close()
        }
    }

    @Test("the events of a key arrive in order, over batches of many keys", arguments: SinkKind.allCases)
    func ordered(_ kind: SinkKind) async throws {
        try await kind.with { receiver in
            let sink = try receiver.sink(), sent = (1...300).map { delivery($0, receiver.topic, $0 % 10 == 0 ? nil : "k\($0 % 7)") }
            for begin in stride(from: 0, to: sent.count, by: 60) {
                let verdicts = try await sink.deliver(Array(sent[begin..<(begin + 60)]))
                #expect(verdicts.count == 60 && verdicts.allSatisfy(isDelivered))
            }
            let arrived = try await receiver.arrived(atLeast: sent.count)
            #expect(arrived.count == sent.count && order(arrived) == order(sent.map(\.event)))
            await sink.close()
        }
    }

    @Test("nothing comes of an empty batch; what is sent again bears the same id", arguments: SinkKind.allCases)
    func again(_ kind: SinkKind) async throws {
        try await kind.with { receiver in
            let sink = try receiver.sink(), batch = [delivery(1, receiver.topic, "a"), delivery(2, receiver.topic, "b")]
            #expect(try await sink.deliver([]).isEmpty)
            for _ in 0..<2 { #expect(try await sink.deliver(batch).allSatisfy(isDelivered)) }
            #expect(try await sink.deliver([delivery(3, receiver.topic, "a")]).allSatisfy(isDelivered))
            let arrived = try await receiver.arrived(atLeast: 3)
            #expect(Set(arrived.map(\.id)) == Set((1...3).map { delivery($0, receiver.topic, nil).event.id }))
            await sink.close()
        }
    }

    @Test("one that is refused is refused alone, those of its key behind it come no earlier, and others arrive", arguments: SinkKind.allCases)
    func refused(_ kind: SinkKind) async throws {
        try await kind.with { receiver in
            guard let topic = receiver.refusedTopic else { return }
            let sink = try receiver.sink()
            let verdicts = try await sink.deliver([
                delivery(1, receiver.topic, "a"), delivery(2, topic, "b"), delivery(3, receiver.topic, "a"), delivery(4, receiver.topic, nil),
                delivery(5, topic, nil),
                delivery(6, topic, "b"),
            ])
            guard verdicts.count == 6, case .refused(let error) = verdicts[1], case .refused = verdicts[4] else { throw TestFailure("\(verdicts)") }
            #expect(error.code == .eventRefused && !error.nextStep.isEmpty)
            #expect([0, 2, 3].allSatisfy { isDelivered(verdicts[$0]) } && !isDelivered(verdicts[5]))
            let arrived = try await receiver.arrived(atLeast: 3)
            #expect(Set(arrived.map(\.id)) == Set([1, 3, 4].map { delivery($0, receiver.topic, nil).event.id }))
            await sink.close()
        }
    }

    @Test("a receiver that is gone makes the sink throw; when it is back all arrives, in order", arguments: SinkKind.allCases)
    func down(_ kind: SinkKind) async throws {
        try await kind.with { receiver in
            guard receiver.isOurs else { return }
            let sink = try receiver.sink(), first = (1...20).map { delivery($0, receiver.topic, "k\($0 % 3)") },
                second = (21...40).map { delivery($0, receiver.topic, "k\($0 % 3)") }
            #expect(try await sink.deliver(first).allSatisfy(isDelivered))
            try await receiver.takeDown()
            await #expect(throws: (any Error).self) { try await sink.deliver(second) }
            try await receiver.bringBack()
            #expect(try await insist(sink, second).allSatisfy(isDelivered))
            let arrived = try await receiver.arrived(atLeast: 40)
            #expect(order(arrived) == order((first + second).map(\.event)))
            await sink.close()
        }
    }

    @Test("a delivery that nobody answers ends when it is cancelled", arguments: SinkKind.allCases)
    func unanswered(_ kind: SinkKind) async throws {
        try await kind.with { receiver in
            try await receiver.withoutAnswer { sink, isAsked in
                let batch = (1...3).map { delivery($0, receiver.topic, "k") }, end = Locked<Result<[DeliveryVerdict], any Error>?>(nil)
                let work = Task {
                    let result: Result<[DeliveryVerdict], any Error>
                    do { result = .success(try await sink.deliver(batch)) } catch { result = .failure(error) }
                    end.withLock { $0 = result }
                }
                try await wait(for: "the receiver", until: isAsked)
                #expect(end.withLock { $0 } == nil)
                work.cancel()
                try await wait(for: "the end") { end.withLock { $0 } != nil }
                #expect(throws: CancellationError.self) { try end.withLock { try $0?.get() } }
            }
        }
    }

    @Test("a cancelled delivery ends, and the sink can be used again", arguments: SinkKind.allCases)
    func cancelled(_ kind: SinkKind) async throws {
        try await kind.with { receiver in
            let sink = try receiver.sink(), batch = (1...500).map { delivery($0, receiver.topic, "k\($0 % 3)") }
            let work = Task { try await sink.deliver(batch) }
            work.cancel()
            // It may have been done already.
            if case .success(let verdicts) = await work.result { #expect(verdicts.count == batch.count) }
            #expect(try await insist(sink, batch).allSatisfy(isDelivered))
            let arrived = try await receiver.arrived(atLeast: batch.count)
            #expect(Set(arrived.map(\.id)) == Set(batch.map(\.event.id)))
            await sink.close()
        }
    }
}
