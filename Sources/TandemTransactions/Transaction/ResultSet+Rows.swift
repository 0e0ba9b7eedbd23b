import TandemCore
import TandemPostgres

extension ResultSet {
    /// All rows as tuples; an error names the node, the column, the type and the row.
    func rows<each C: PostgresDecodable>(of node: NodeName, as types: repeat (each C).Type) throws -> [(repeat each C)] {
        do {
            return try (0..<rowCount).map { try decodeRow($0, as: repeat each types) }
        } catch let error as TandemError {
            throw error.with(node: node)
        }
    }

    /// All rows as values of a `Decodable` type.
    func rows<T: Decodable>(of node: NodeName, decoding type: T.Type) throws -> [T] {
        do {
            let decoder = RowDecoder(self)
            return try (0..<rowCount).map { try decoder.decode(type, row: $0) }
        } catch let error as TandemError {
            throw error.with(node: node)
        }
    }
}
