import Synchronization

/// The columns of a result, asked for once and not for every row.
@usableFromInline
package final class ResultShape: Sendable {
    @usableFromInline package let names: [String]
    @usableFromInline package let types: [PostgresType]
    @usableFromInline package let formats: [PostgresFormat]
    /// Made when the first row is read by names.
    private let byName = Mutex<[String: Int?]?>(nil)

    package init(names: [String], types: [PostgresType], formats: [PostgresFormat]) {
        self.names = names
        self.types = types
        self.formats = formats
    }

    /// Which column has a name; nil inside for a name that several columns have.
    var columnsByName: [String: Int?] {
        byName.withLock { known in
            if let known { return known }
            let columns: [String: Int?] = names.enumerated().reduce(into: [:]) { columns, next in
                columns.updateValue(columns.keys.contains(next.element) ? nil : next.offset, forKey: next.element)
            }
            known = columns
            return columns
        }
    }
}
