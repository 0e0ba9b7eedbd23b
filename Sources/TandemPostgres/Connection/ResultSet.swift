import CLibPQ
import TandemCore

/// The rows and the command tag of one statement. Rows stay where libpq put them and are decoded when they are asked for.
@usableFromInline
package final class ResultSet: @unchecked Sendable {
    // Never changed once it is read, so any thread may read it; cleared with its last owner.
    let handle: OpaquePointer

    init(adopting result: OpaquePointer) {
        handle = result
    }

    deinit {
        PQclear(handle)
    }

    @usableFromInline package var rowCount: Int { Int(PQntuples(handle)) }

    /// Whether a call that collects rows has to refuse it.
    var isTooLarge: Bool { rowCount > ResultLimit.rows || PQresultMemorySize(handle) > ResultLimit.bytes }

    /// Whether the statement took the session's prepared statements away.
    var hasDroppedStatements: Bool {
        // Asked for every result: few tags begin with a D, and only then the whole tag is looked at.
        guard PQcmdStatus(handle)?.pointee == 68 else { return false }
        return tag == "DEALLOCATE ALL" || tag == "DISCARD ALL"
    }

    /// `UPDATE 1`, `COMMIT`, `PREPARE TRANSACTION`, ...
    package var tag: String { String(cString: PQcmdStatus(handle)) }

    /// How many rows the statement touched or returned, as its tag says; 0 for tags without a count.
    package var affectedRows: Int {
        var value = 0
        var text = PQcmdTuples(handle)
        while let byte = text?.pointee, byte >= 48, byte <= 57 {
            value = value &* 10 &+ Int(byte &- 48)
            text = text?.advanced(by: 1)
        }
        return value
    }

    package var columnCount: Int { Int(PQnfields(handle)) }

    /// Its columns, asked anew.
    package var shape: ResultShape { ResultShape(of: handle) }

    /// Reads its rows.
    @usableFromInline package var reader: ResultReader { ResultReader(self) }

    /// The text of a cell; `nil` for NULL. For results in text format.
    package func text(_ row: Int, _ column: Int) -> String? {
        if PQgetisnull(handle, Int32(row), Int32(column)) == 1 { return nil }
        return PQgetvalue(handle, Int32(row), Int32(column)).map { String(cString: $0) }
    }
}
