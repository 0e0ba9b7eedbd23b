import CLibPQ

/// Fills ``RowBlock``s with the rows of one stream. Confined to the reactor of its connection.
final class RowBlockBuilder {
    /// A block is handed over once it has so many rows, values or bytes, and before that when the server has nothing more for now.
    static let rows = 256, cells = 4096, bytes = 1 << 16

    private var shape: ResultShape?
    private var columnCount: Int32 = 0
    private var cells: UnsafeMutablePointer<RowBlock.Cell>?
    private var cell = 0
    private var bytes: UnsafeMutableRawPointer?
    private var capacity = 0
    private(set) var byteCount = 0
    private(set) var rowCount = 0
    private var rowsBefore = 0

    deinit { drop() }

    var isFull: Bool { rowCount >= Self.rows || byteCount >= Self.bytes || cell + Int(columnCount) > Self.cells }

    /// Copies the only row of a result.
    func append(_ result: OpaquePointer) {
        if shape == nil {
            shape = ResultShape(of: result)
            columnCount = PQnfields(result)
        }
        let cells = cells ?? .allocate(capacity: max(Self.cells, Int(columnCount)))
        self.cells = cells
        if bytes == nil { grow(for: 0) }
        for column in 0..<columnCount {
            let length = PQgetlength(result, 0, column)
            // Of most values the length says that they are not NULL.
            let isNull = length == 0 && PQgetisnull(result, 0, column) == 1
            cells[cell] = RowBlock.Cell(start: UInt32(byteCount), length: isNull ? -1 : length)
            cell += 1
            if byteCount + Int(length) > capacity { grow(for: Int(length)) }
            if let bytes { (bytes + byteCount).copyMemory(from: PQgetvalue(result, 0, column), byteCount: Int(length)) }
            byteCount += Int(length)
        }
        rowCount += 1
    }

    private func grow(for count: Int) {
        capacity = max(byteCount + count, 2 * capacity, Self.bytes / 4)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 1)
        if let bytes {
            larger.copyMemory(from: bytes, byteCount: byteCount)
            bytes.deallocate()
        }
        bytes = larger
    }

    /// The rows since the last block, if there are any.
    func take() -> RowBlock? {
        guard let shape, let cells, let bytes, rowCount > 0 else { return nil }
        defer {
            rowsBefore += rowCount
            (self.cells, self.bytes) = (nil, nil)
            (cell, capacity, byteCount, rowCount) = (0, 0, 0, 0)
        }
        return RowBlock(shape, rowsBefore: rowsBefore, rowCount: rowCount, cells: cells, bytes: bytes, byteCount: byteCount)
    }

    /// Drops the rows since the last block.
    func drop() { _ = take() }
}

extension ResultShape {
    /// The columns of libpq's result.
    convenience init(of result: OpaquePointer) {
        let columns = 0..<PQnfields(result)
        self.init(
            names: columns.map { String(cString: PQfname(result, $0)) }, types: columns.map { PostgresType(rawValue: PQftype(result, $0)) },
            formats: columns.map { PQfformat(result, $0) == 0 ? .text : .binary })
    }
}
