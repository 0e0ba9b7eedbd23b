import TandemCore

/// Headers as databases keep them: an object of JSON.
extension Event.Header {
    /// The text of headers; `nil` for none.
    package static func json(_ headers: [Event.Header]) -> String? {
        headers.isEmpty ? nil : JSON.object(headers.map { ($0.name, .string($0.value)) }).text
    }

    /// Reads what any language may have written: a value that is no text stands as its JSON.
    package static func read(_ text: String?) -> [Event.Header] {
        guard let text, case .object(let entries)? = try? JSON(reading: text) else { return [] }
        return entries.map { name, value in
            if case .string(let text) = value { Event.Header(name, text) } else { Event.Header(name, value.text) }
        }
    }
}
