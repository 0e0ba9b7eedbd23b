import TandemCore
import TandemOutbox

/// The table of another outbox that a sink gets its events from, as a configuration says it.
///
/// ```yaml
/// table: {name: outbox}
/// table:
///   name: shop.outbox_events
///   columns: {aggregate: order_id, data: payload, processed: null}
///   order: created_at
///   pending: new
///   sent: done
///   failed: failed
/// ```
extension OutboxTable {
    /// - Throws: `configurationInvalid` with file, line and key.
    init(_ place: LocatedNode) throws {
        let section = try place.section(["name", "columns", "order", "content_type", "pending", "sent", "failed"])
        let name = try section.required("name"), parts = try name.text("a table").split(separator: ".", omittingEmptySubsequences: false).map { String($0) }
        guard (1...2).contains(parts.count), parts.allSatisfy({ (1...63).contains($0.utf8.count) }) else {
            throw name.error("that is no name of a table", next: "write `name: schema.table`, as the catalog has it, without quotes")
        }
        self.init(parts[parts.count - 1], schema: parts.count == 2 ? parts[0] : "public")
        if let place = section["columns"] { columns = try Self.columns(place) }
        order = try section["order"]?.text("a column")
        contentType = try section["content_type"]?.text("a media type")
        if let value = section["pending"] { pending = try value.text("a status") }
        if let value = section["sent"] { sent = try value.text("a status") }
        failed = try section["failed"]?.text("a status")
        let states = [pending, sent] + (failed.map { [$0] } ?? [])
        guard Set(states).count == states.count else {
            throw place.error("two states have the same value", next: "write `pending`, `sent` and `failed` as the table has them")
        }
    }

    /// A column that is not named has its usual name; one that there is not is `null`.
    private static func columns(_ place: LocatedNode) throws -> Columns {
        let section = try place.section(["id", "aggregate", "type", "data", "headers", "status", "created", "processed"])
        let missing = Set(try place.entries().filter { $0.value.isNull }.map(\.name))
        if let name = missing.subtracting(["headers", "created", "processed"]).min() {
            throw place.error("the column `\(name)` is missing", next: "write `\(name): COLUMN`; only headers, created and processed may be null")
        }
        var columns = Columns()
        func read(_ key: String, _ usual: String) throws -> String { try section[key]?.text("a column") ?? usual }
        columns.id = try read("id", columns.id)
        columns.aggregate = try read("aggregate", columns.aggregate)
        columns.type = try read("type", columns.type)
        columns.data = try read("data", columns.data)
        columns.status = try read("status", columns.status)
        columns.headers = try section["headers"]?.text("a column")
        if missing.contains("created") { columns.created = nil } else if let value = section["created"] { columns.created = try value.text("a column") }
        if missing.contains("processed") { columns.processed = nil } else if let value = section["processed"] { columns.processed = try value.text("a column") }
        return columns
    }
}
