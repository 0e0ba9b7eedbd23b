public import TandemCore
public import TandemPostgres

extension ResultSet {
    /// All rows as tuples; an error names the node, the column, the type and the row.
    @inlinable
    package func rows<each C: PostgresDecodable>(of node: NodeName, as types: repeat (each C).Type) throws -> [(repeat each C)] {
        do {
            let reader = reader, count = rowCount
            var rows: [(repeat each C)] = []
            rows.reserveCapacity(count)
            for row in 0..<count { rows.append(try reader.decodeRow(row, as: repeat each types)) }
            return rows
        } catch {
            throw Self.located(error, node)
        }
    }

    /// All rows as values of a `Decodable` type.
    func rows<T: Decodable>(of node: NodeName, decoding type: T.Type) throws -> [T] {
        do {
            let decoder = RowDecoder(reader)
            return try (0..<rowCount).map { try decoder.decode(type, row: $0) }
        } catch {
            throw Self.located(error, node)
        }
    }

    @usableFromInline
    static func located(_ error: any Error, _ node: NodeName) -> any Error { (error as? TandemError)?.with(node: node) ?? error }
}
