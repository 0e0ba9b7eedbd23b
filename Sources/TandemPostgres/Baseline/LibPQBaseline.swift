import CLibPQ
import Glibc

/// What a plain loop over libpq reaches, for the benchmark to compare the driver with: no reactor, no tasks, no checks of types.
package enum LibPQBaseline {
    /// What was read: how many rows, and a sum that depends on every value.
    package struct Sum: Sendable, Equatable {
        package var rows = 0
        package var sum: Int64 = 0

        package init() {}

        package mutating func add(_ a: Int64, _ b: Int32, _ c: Double, _ d: Bool, _ e: String, _ f: String, _ g: Int64, _ h: Int32) {
            rows += 1
            sum &+= a &+ Int64(b) &+ Int64(c) &+ (d ? 1 : 0) &+ Int64(e.utf8.count) &+ Int64(f.utf8.count) &+ g &+ Int64(h)
        }
    }

    /// Runs a query of the eight columns int8, int4, float8, bool, text, text, int8, int4 again and again and reads every value.
    ///
    /// - Parameters:
    ///   - conninfo: the server.
    ///   - text: the query.
    ///   - times: how often.
    ///   - isBinary: in which format the server sends values.
    ///   - isRowByRow: whether rows are taken as they arrive.
    /// - Returns: what was read; `nil` where the server refused it.
    package static func read(_ conninfo: String, _ text: String, times: Int, isBinary: Bool, isRowByRow: Bool) -> Sum? {
        guard let connection = PQconnectdb(conninfo) else { return nil }
        defer { PQfinish(connection) }
        guard PQstatus(connection) == CONNECTION_OK else { return nil }
        var sum = Sum()
        for _ in 0..<times {
            guard PQsendQueryParams(connection, text, 0, nil, nil, nil, nil, isBinary ? 1 : 0) == 1 else { return nil }
            if isRowByRow { PQsetSingleRowMode(connection) }
            while let result = PQgetResult(connection) {
                defer { PQclear(result) }
                let status = PQresultStatus(result)
                guard status == PGRES_TUPLES_OK || status == PGRES_SINGLE_TUPLE else { return nil }
                for row in 0..<PQntuples(result) { isBinary ? readBinary(result, row, &sum) : readText(result, row, &sum) }
            }
        }
        return sum
    }

    private static func readText(_ result: OpaquePointer, _ row: Int32, _ sum: inout Sum) {
        func cell(_ column: Int32) -> UnsafeMutablePointer<CChar>? { PQgetisnull(result, row, column) == 1 ? nil : PQgetvalue(result, row, column) }
        func string(_ column: Int32) -> String { cell(column).map { String(cString: $0) } ?? "" }
        func integer(_ column: Int32) -> Int { cell(column).map { strtol($0, nil, 10) } ?? 0 }
        sum.add(
            Int64(integer(0)), Int32(truncatingIfNeeded: integer(1)), cell(2).map { strtod($0, nil) } ?? 0, cell(3)?.pointee == 0x74, string(4), string(5),
            Int64(integer(6)), Int32(truncatingIfNeeded: integer(7)))
    }

    private static func readBinary(_ result: OpaquePointer, _ row: Int32, _ sum: inout Sum) {
        func load<Value: FixedWidthInteger>(_ column: Int32, _ type: Value.Type) -> Value {
            guard PQgetisnull(result, row, column) == 0, let bytes = PQgetvalue(result, row, column) else { return 0 }
            return Value(bigEndian: UnsafeRawPointer(bytes).loadUnaligned(as: Value.self))
        }
        func string(_ column: Int32) -> String {
            guard PQgetisnull(result, row, column) == 0, let bytes = PQgetvalue(result, row, column) else { return "" }
            return String(decoding: UnsafeRawBufferPointer(start: bytes, count: Int(PQgetlength(result, row, column))), as: UTF8.self)
        }
        sum.add(
            load(0, Int64.self), load(1, Int32.self), Double(bitPattern: load(2, UInt64.self)), load(3, UInt8.self) == 1, string(4), string(5),
            load(6, Int64.self), load(7, Int32.self))
    }
}
