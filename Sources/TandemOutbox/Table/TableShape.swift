import TandemPostgres

/// What the catalog says of a table.
struct TableShape: Sendable {
    /// What kind of id rows have.
    enum ID: Sendable {
        case uuid
        case text
        case number
    }

    /// What kind of payload.
    enum Data: Sendable {
        case json
        case text
        case bytes
    }

    /// What kind of times.
    enum Clock: Sendable {
        case zoned
        case plain

        /// The present time as one.
        var now: SQL {
            switch self {
            case .zoned: "pg_catalog.clock_timestamp()"
            case .plain: "(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC')"
            }
        }
    }

    let id: ID
    let data: Data
    let created: Clock?
    let processed: Clock?
    /// By which column rows are in order, before their ids; `nil` for the id alone.
    let order: String?
    /// Whether an index finds the next pending rows in their order.
    let isIndexed: Bool
    /// What would make such an index.
    let index: String
}
