import TandemCore
import TandemPostgres
import TandemTransactions

/// Compares a table with what is said of it.
struct TableInspection {
    private struct Column {
        let name: String
        let number: Int
        let type: String
        let isFilled: Bool
        let mayRead: Bool
        let mayWrite: Bool
    }

    private static let integers: Set = ["smallint", "integer", "bigint"]
    private static let texts: Set = ["text", "character varying"]
    private static let times: [String: TableShape.Clock] = ["timestamp with time zone": .zoned, "timestamp without time zone": .plain]

    let table: OutboxTable
    let branch: Branch

    func shape() async throws -> TableShape {
        let (oid, isPartitioned, role) = try await find()
        let all = try await columns(of: oid)
        func column(_ name: String, _ meaning: String, of types: Set<String>? = nil) throws -> Column { try self.column(name, meaning, of: types, among: all) }
        let names = table.columns
        let id = try column(names.id, "id", of: Self.integers.union(Self.texts).union(["uuid", "numeric"]))
        let data = try column(names.data, "data", of: Self.texts.union(["json", "jsonb", "bytea"])), status = try column(names.status, "status")
        var read = [id, data, status, try column(names.aggregate, "aggregate"), try column(names.type, "type")], written = [status]
        let created = try names.created.map { try column($0, "created", of: Set(Self.times.keys)) }
        let processed = try names.processed.map { try column($0, "processed", of: Set(Self.times.keys)) }
        if let headers = names.headers { read.append(try column(headers, "headers", of: Self.texts.union(["json", "jsonb"]))) }
        read += [created, processed].compactMap(\.self)
        written += [processed].compactMap(\.self)
        let order = try order(id, created, among: all)
        if let order { read.append(order) }
        try permit(read, written, role)
        try await identify(id, oid, isPartitioned)
        let isIndexed = try await isIndexed(id, order)
        return TableShape(
            id: id.type == "uuid" ? .uuid : Self.texts.contains(id.type) ? .text : .number,
            data: data.type == "bytea" ? .bytes : Self.texts.contains(data.type) ? .text : .json, created: created.flatMap { Self.times[$0.type] },
            processed: processed.flatMap { Self.times[$0.type] }, order: order?.name, isIndexed: isIndexed, index: try index(id, order))
    }

    private func invalid(_ problem: String, next: String) -> TandemError { TandemError(.configurationInvalid, problem, node: branch.node, nextStep: next) }

    // MARK: The table

    private func find() async throws -> (oid: String, isPartitioned: Bool, role: String) {
        let found = try await branch.query(
            """
            SELECT c.oid::text, c.relkind::text, pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.quote_ident(current_user)
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = \(table.schema) AND c.relname = \(table.name)
            """, as: String.self, String.self, Bool.self, String.self)
        guard let (oid, kind, isReachable, role) = found.first else {
            throw invalid("there is no table \(table.title)", next: "name it with its schema as the catalog has it, case included: `name: schema.table`")
        }
        guard kind == "r" || kind == "p" else {
            throw invalid("\(table.title) is no table", next: "name the table itself: the rows of a view or of another server cannot be locked")
        }
        guard isReachable else {
            throw TandemError(
                .notPermitted, "the role \(role) may not use the schema \(table.schema)", node: branch.node,
                nextStep: "GRANT USAGE ON SCHEMA \(try quoteIdentifier(table.schema)) TO \(role)")
        }
        return (oid, kind == "p", role)
    }

    /// Events are known by the ids of their rows, and rows are marked by them.
    private func identify(_ id: Column, _ oid: String, _ isPartitioned: Bool) async throws {
        let isUnique = try await branch.query(
            """
            SELECT EXISTS (SELECT FROM pg_catalog.pg_index i
                WHERE i.indrelid = \(oid)::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
                    AND (i.indnkeyatts = 1 AND i.indkey[0] = \(id.number)::int OR \(isPartitioned)::bool AND \(id.number)::int = ANY (i.indkey::int2[])))
            """, as: Bool.self)
        guard isUnique == [true] else {
            throw invalid(
                "no unique index says that `\(id.name)` of \(table.title) tells rows apart", next: "name the column of the primary key: `columns: {id: ...}`")
        }
    }

    // MARK: Columns

    private func columns(of oid: String) async throws -> [Column] {
        try await branch.query(
            """
            SELECT a.attname::text, a.attnum::int, pg_catalog.format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL), a.attnotnull OR t.typnotnull,
                pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT'), pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'UPDATE')
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = \(oid)::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
            """, as: String.self, Int.self, String.self, Bool.self, Bool.self, Bool.self
        ).map { Column(name: $0, number: $1, type: $2, isFilled: $3, mayRead: $4, mayWrite: $5) }
    }

    private func column(_ name: String, _ meaning: String, of types: Set<String>?, among all: [Column]) throws -> Column {
        guard let column = all.first(where: { $0.name == name }) else {
            throw invalid(
                "\(table.title) has no column `\(name)`, which stands for `\(meaning)`",
                next: "name it: `columns: {\(meaning): ...}`; there are \(all.map(\.name).joined(separator: ", "))")
        }
        if let types, !types.contains(column.type) {
            throw invalid(
                "the column `\(name)` of \(table.title), which stands for `\(meaning)`, is of the type \(column.type)",
                next: "name one of \(types.sorted().joined(separator: ", "))")
        }
        return column
    }

    /// The column that gives the order before the id; `nil` for the id alone.
    private func order(_ id: Column, _ created: Column?, among all: [Column]) throws -> Column? {
        let column: Column?
        if let name = table.order {
            column = try self.column(name, "order", of: nil, among: all)
        } else {
            column = Self.integers.contains(id.type) ? id : created
        }
        guard let column else {
            throw invalid("nothing says in which order the rows of \(table.title) are", next: "name a column: `order: ...`")
        }
        guard column.isFilled && id.isFilled else {
            throw invalid(
                "the column `\(column.isFilled ? id.name : column.name)` of \(table.title) may be NULL, and gives no order",
                next: "make it NOT NULL, or name another column: `order: ...`")
        }
        return column.name == id.name ? nil : column
    }

    private func permit(_ read: [Column], _ written: [Column], _ role: String) throws {
        guard let column = read.first(where: { !$0.mayRead }) ?? written.first(where: { !$0.mayWrite }) else { return }
        let name = "\(try quoteIdentifier(table.schema)).\(try quoteIdentifier(table.name))"
        let columns = try written.map { try quoteIdentifier($0.name) }.joined(separator: ", ")
        throw TandemError(
            .notPermitted, "the role \(role) may not \(column.mayRead ? "write" : "read") the column `\(column.name)` of \(table.title)", node: branch.node,
            nextStep: "GRANT SELECT, UPDATE (\(columns)) ON \(name) TO \(role)")
    }

    // MARK: The index

    /// Looks whether the states are values of their column, and whether what is pending is found in order without reading anything else.
    private func isIndexed(_ id: Column, _ order: Column?) async throws -> Bool {
        // With the settings that claims have then. Statistics do not matter: what cannot be avoided is still in the plan.
        _ = try await branch.query(
            """
            SELECT pg_catalog.concat(pg_catalog.set_config('enable_seqscan', 'off', true), pg_catalog.set_config('enable_bitmapscan', 'off', true),
                pg_catalog.set_config('enable_sort', 'off', true))
            """, as: String.self)
        var isIndexed = false
        for value in [table.pending, table.sent] + (table.failed.map { [$0] } ?? []) {
            let literal = try quoteLiteral(value), last: SQL = "\(identifier: "o", id.name)"
            let places: SQL = order.map { column -> SQL in "\(identifier: "o", column.name), \(sql: last)" } ?? last
            do {
                // Without FOR UPDATE, which would show the condition of a partial index again.
                let plan = try await branch.query(
                    """
                    EXPLAIN (FORMAT JSON) SELECT \(sql: last) FROM \(identifier: table.schema, table.name) o
                    WHERE \(identifier: "o", table.columns.status) = \(unsafe: literal) ORDER BY \(sql: places) LIMIT 1
                    """, as: String.self)
                if value == table.pending, let text = plan.first, let plan = try? JSON(reading: text) { isIndexed = Self.isByIndex(plan) }
            } catch let error as TandemError where error.sqlState == .invalidTextRepresentation {
                throw invalid(
                    "the column `\(table.columns.status)` of \(table.title) cannot be `\(value)`",
                    next: "write `pending`, `sent` and `failed` as the table has them")
            }
        }
        return isIndexed
    }

    /// Whether a plan finds rows in their order by an index alone: nothing is sorted, left out or read as a whole.
    private static func isByIndex(_ plan: JSON) -> Bool {
        switch plan {
        case .array(let values): values.allSatisfy { isByIndex($0) }
        case .object(let entries):
            entries.allSatisfy { name, value in
                switch (name, value) {
                case ("Filter", _), ("Node Type", .string("Sort")), ("Node Type", .string("Seq Scan")): false
                default: isByIndex(value)
                }
            }
        case .null, .bool, .number, .string, .raw: true
        }
    }

    private func index(_ id: Column, _ order: Column?) throws -> String {
        let columns = try ((order.map { [$0] } ?? []) + [id]).map { try quoteIdentifier($0.name) }.joined(separator: ", ")
        return """
            CREATE INDEX CONCURRENTLY ON \(try quoteIdentifier(table.schema)).\(try quoteIdentifier(table.name)) (\(columns)) \
            WHERE \(try quoteIdentifier(table.columns.status)) = \(try quoteLiteral(table.pending))
            """
    }
}
