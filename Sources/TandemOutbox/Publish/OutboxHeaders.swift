import Foundation
import TandemCore
import TandemMessaging

/// Headers as the outbox keeps them: an object of JSON.
enum OutboxHeaders {
    /// The text; `nil` for none.
    static func json(_ headers: [Event.Header]) -> String? {
        if headers.isEmpty { return nil }
        var last: [String: String] = [:]
        for header in headers { last[header.name] = header.value }
        return JSON.object(last.sorted { $0.key < $1.key }.map { ($0.key, .string($0.value)) }).text
    }

    /// Reads what any language may have written: a value that is no text stands as its JSON.
    static func read(_ text: String?) -> [Event.Header] {
        guard let text, case .object(let entries)? = try? JSON(reading: text) else { return [] }
        return entries.map { name, value in
            if case .string(let text) = value { Event.Header(name, text) } else { Event.Header(name, value.text) }
        }
    }
}
