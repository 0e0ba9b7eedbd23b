import Foundation
import TandemMessaging
import TandemPostgres
import TandemTestSupport

/// Lines in memory.
final class LinesUnderTest: SinkUnderTest {
    let topic = uniqueName()
    private let written = Locked<[UInt8]>([])
    private let isDown = Locked(false)

    func sink() -> any Sink {
        LineSink { bytes in
            if self.isDown.withLock({ $0 }) { throw TestFailure("the pipe is closed") }
            self.written.withLock { $0 += bytes }
        }
    }

    func takeDown() { isDown.withLock { $0 = true } }

    func bringBack() { isDown.withLock { $0 = false } }

    func withoutAnswer(_ body: (any Sink, @escaping @Sendable () async throws -> Bool) async throws -> Void) async throws {
        let isAsked = Locked(false)
        let sink = LineSink { _ in
            isAsked.withLock { $0 = true }
            while true {
                try Task.checkCancellation()
                await tick()
            }
        }
        try await body(sink) { isAsked.withLock { $0 } }
    }

    func arrived(atLeast count: Int) throws -> [Event] {
        try written.withLock { $0 }.split(separator: UInt8(ascii: "\n")).map { line in
            guard let object = try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any] else { throw TestFailure("it is no object") }
            func text(_ name: String) -> String? { object[name] as? String }
            // As it was written, to the byte: what stands behind the last name, up to the object's end.
            let start = Data(line).range(of: Data("\"data\":".utf8)).map { line.index(line.startIndex, offsetBy: $0.upperBound) }
            let payload = text("data_base64").map { Array(Data(base64Encoded: $0) ?? Data()) } ?? start.map { Array(line[$0...].dropLast()) }
            guard let payload, let id = text("id"), let type = text("type"), let time = text("time") else { throw TestFailure("an attribute is missing") }
            return Event(
                id: id, topic: type, key: text("partitionkey"), headers: (object["headers"] as? [String: String] ?? [:]).map { .init($0.key, $0.value) },
                contentType: text("datacontenttype") ?? "", payload: payload, time: time)
        }
    }
}
