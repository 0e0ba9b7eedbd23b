import Foundation
import TandemMessaging
import TandemPostgres
import TandemTestSupport
import Testing

@Suite("The thread that delivers for libraries whose calls block")
struct DeliveryThreadTests {
    /// A sink whose first connection takes until it is let go.
    private final class SlowStart: Sendable {
        let thread = DeliveryThread()
        let isLetGo = DispatchSemaphore(value: 0)
        private let wake = DispatchSemaphore(value: 0)
        let begun = Locked(0)
        /// How many batches have been registered, and cancelled.
        let told = Locked(0)

        func deliver(_ number: Int) async throws -> Int {
            let event = Event(id: "\(number)", topic: "t", key: nil, headers: [], contentType: "text/plain", payload: [], time: "")
            let batch = [Delivery](repeating: Delivery(event, from: "/a/b", to: "c", at: .init(window: 1, sequence: 1)), count: number)
            return try await thread.deliver(batch) {
                told.withLock { $0 += 1 }
                Thread.detachNewThread { self.work() }
            } wake: {
                self.told.withLock { $0 += 1 }
                self.wake.signal()
            }.count
        }

        func close() { thread.close { wake.signal() } }

        private func work() {
            var isConnected = false
            while true {
                switch thread.next() {
                case .deliver(let batch):
                    let result = Result<[DeliveryVerdict], any Error> {
                        if !isConnected {
                            try thread.prepare {
                                begun.withLock { $0 += 1 }
                                isLetGo.wait()
                            }
                        }
                        isConnected = true
                        return batch.map { _ in .delivered }
                    }
                    thread.end(result)
                case .wait: wake.wait()
                case .end: return
                }
            }
        }
    }

    @Test("whoever waits for a connection is let go when he is cancelled, also behind one who was; the next batch gets its own answer")
    func prepares() async throws {
        let sink = SlowStart()
        defer { sink.close() }
        for number in 1...2 {
            let before = sink.told.withLock { $0 }, delivery = Task { try await sink.deliver(number) }
            try await wait(for: "the thread") { sink.told.withLock { $0 } > before && sink.begun.withLock { $0 } == 1 }
            let end = Locked<Result<Int, any Error>?>(nil)
            Task { [delivery] in
                let result = await delivery.result
                end.withLock { $0 = result }
            }
            delivery.cancel()
            try await wait(for: "the end of \(number)") { end.withLock { $0 } != nil }
            #expect(throws: CancellationError.self) { try end.withLock { _ = try $0?.get() } }
        }
        #expect(sink.begun.withLock { $0 } == 1, "it is still at the first one")
        let delivery = Task { try await sink.deliver(3) }
        for _ in 1...2 { sink.isLetGo.signal() }
        #expect(try await delivery.value == 3)
    }
}
