import CLibPQ
import TandemCore

/// The rows and the command tag of one statement. Rows stay where libpq put them and are decoded when they are asked for.
package final class ResultSet: @unchecked Sendable, ResultColumns {
    // Never changed once it is read, so any thread may read it; cleared with its last owner.
    private let result: OpaquePointer

    init(adopting result: OpaquePointer) {
        self.result = result
    }

    deinit {
        PQclear(result)
    }

    package var rowCount: Int { Int(PQntuples(result)) }
    package var columnCount: Int { Int(PQnfields(result)) }

    package var columnNames: [String] {
        (0..<PQnfields(result)).map { String(cString: PQfname(result, $0)) }
    }

    /// Whether a call that collects rows has to refuse it.
    var isTooLarge: Bool { rowCount > ResultLimit.rows || PQresultMemorySize(result) > ResultLimit.bytes }

    /// Whether the statement took the session's prepared statements away.
    var hasDroppedStatements: Bool {
        // Asked for every result: few tags begin with a D, and only then the whole tag is looked at.
        guard PQcmdStatus(result)?.pointee == 68 else { return false }
        return tag == "DEALLOCATE ALL" || tag == "DISCARD ALL"
    }

    /// `UPDATE 1`, `COMMIT`, `PREPARE TRANSACTION`, ...
    package var tag: String { String(cString: PQcmdStatus(result)) }

    /// How many rows the statement touched or returned, as its tag says; 0 for tags without a count.
    package var affectedRows: Int {
        var value = 0
        var text = PQcmdTuples(result)
        while let byte = text?.pointee, byte >= 48, byte <= 57 {
            value = value &* 10 &+ Int(byte &- 48)
            text = text?.advanced(by: 1)
        }
        return value
    }

    package func type(of column: Int) -> PostgresType { PostgresType(rawValue: PQftype(result, Int32(column))) }

    package func format(of column: Int) -> PostgresFormat { PQfformat(result, Int32(column)) == 0 ? .text : .binary }

    package func withCell<R>(row: Int, column: Int, _ body: (RawSpan?) throws -> R) rethrows -> R {
        let row = Int32(row), column = Int32(column)
        if PQgetisnull(result, row, column) == 1 { return try body(nil) }
        let bytes = UnsafeRawBufferPointer(start: PQgetvalue(result, row, column), count: Int(PQgetlength(result, row, column)))
        return try body(bytes.bytes)
    }

    /// The text of a cell; `nil` for NULL. For results in text format.
    package func text(_ row: Int, _ column: Int) -> String? {
        if PQgetisnull(result, Int32(row), Int32(column)) == 1 { return nil }
        return PQgetvalue(result, Int32(row), Int32(column)).map { String(cString: $0) }
    }
}
