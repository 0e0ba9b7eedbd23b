public import Foundation
import TandemCore
public import TandemMessaging
import TandemPostgres
public import TandemTransactions

/// Publishing in the transaction of the cause.
extension Branch {
    /// Publishes an event: it leaves the database if and only if the transaction commits.
    ///
    /// ```swift
    /// try await tx["orders"].execute("INSERT INTO orders ...")
    /// try await tx["orders"].publish(topic: "order.created", key: "\(customer)", payload: Order(...))
    /// ```
    ///
    /// Events of one key arrive in the order of their transactions where these exclude each other by a lock of that key, as an update of the key's row is. Without such a lock
    /// they arrive in the order in which their transactions ended.
    ///
    /// - Parameters:
    ///   - topic: what kind of event it is; at most 1,024 bytes.
    ///   - key: whose event it is; `nil` for one without an order.
    ///   - payload: a value, encoded as JSON.
    ///   - headers: what travels beside it; a second one of a name replaces the first.
    ///   - id: a UUID that the caller has chosen; a new one of version 7 by default.
    ///   - time: when it is to leave the database at the earliest; at once by default.
    /// - Returns: the event's id.
    /// - Throws: `eventTooLarge`; `notInitialised` where the node has no outbox; what `Branch.query` and encoding the payload throw.
    @discardableResult
    public func publish(
        topic: String, key: String?, payload: some Encodable, headers: [Event.Header] = [], id: UUID? = nil, notBefore time: Date? = nil
    ) async throws -> UUID {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        return try await publish(
            topic: topic, key: key, bytes: [UInt8](try encoder.encode(payload)), contentType: Event.json, headers: headers, id: id, notBefore: time)
    }

    /// An object has each name once.
    private static func lastOfEach(_ headers: [Event.Header]) -> [Event.Header] {
        var last: [String: String] = [:]
        for header in headers { last[header.name] = header.value }
        return last.sorted { $0.key < $1.key }.map { Event.Header($0.key, $0.value) }
    }

    /// Publishes an event whose payload is bytes, as ``publish(topic:key:payload:headers:id:notBefore:)`` does.
    ///
    /// - Parameters:
    ///   - topic: what kind of event it is.
    ///   - key: whose event it is.
    ///   - bytes: the payload.
    ///   - contentType: what it is, as a media type; bytes that are said to be JSON are not checked.
    ///   - headers: what travels beside it.
    ///   - id: a UUID that the caller has chosen.
    ///   - time: when it is to leave the database at the earliest.
    /// - Returns: the event's id.
    /// - Throws: as the other one does.
    @discardableResult
    public func publish(
        topic: String, key: String?, bytes: [UInt8], contentType: String, headers: [Event.Header] = [], id: UUID? = nil, notBefore time: Date? = nil
    ) async throws -> UUID {
        do {
            let ids = try await query(
                """
                SELECT tandem.publish_bytes(\(topic), \(key)::text, \(bytes)::bytea, \(contentType), \(Event.Header.json(Self.lastOfEach(headers)))::json, \(id)::uuid, \(time)::timestamptz)
                """, as: UUID.self)
            guard let id = ids.first else { throw TandemError(.protocolViolation, "the server sent no id", node: node) }
            return id
        } catch let error as TandemError {
            throw OutboxError.named(error)
        }
    }
}
