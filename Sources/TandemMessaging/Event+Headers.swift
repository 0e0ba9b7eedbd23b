package import TandemCore

/// Headers as databases keep them: an object of JSON.
extension Event.Header {
    /// The text of headers; `nil` for none.
    package static func json(_ headers: [Event.Header]) -> String? {
        headers.isEmpty ? nil : JSON.object(headers.map { ($0.name, .string($0.value)) }).text
    }

    /// Reads what any language may have written, in the order in which it stands there, names that come twice included: a value that is no text stands as its JSON.
    ///
    /// - Parameter text: an object of JSON, or `null`; empty or `nil` for none.
    /// - Returns: the headers.
    /// - Throws: where it is neither.
    package static func read(_ text: String?) throws(JSONError) -> [Event.Header] {
        guard let text, !text.isEmpty else { return [] }
        if text.utf8.first != UInt8(ascii: "{"), text.utf8.count < 64, case .null? = try? JSON(reading: text) { return [] }
        return try JSON.texts(ofObject: text).map { Event.Header($0.name, $0.text) }
    }

    /// Reads headers that were checked when they were written.
    package static func stored(_ text: String?) -> [Event.Header] { (try? read(text)) ?? [] }
}
