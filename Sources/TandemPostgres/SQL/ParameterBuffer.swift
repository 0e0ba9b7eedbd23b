/// The parameters of one statement in one piece of memory, ready for `PQsendQueryPrepared`.
///
/// Each value is followed by a NUL, which ends the text ones and gives an empty binary one an address.
package struct ParameterBuffer: Sendable, Hashable {
    /// The most parameters that the protocol can count.
    package static let maximumCount = 65_535
    /// The longest value that the server takes.
    package static let maximumLength = 1 << 30

    private struct Entry: Sendable, Hashable {
        /// Where the value begins, or -1 for NULL.
        var offset: Int
        var length: Int32
        var type: PostgresType
        var format: PostgresFormat
    }

    /// All values, one after the other.
    var bytes: [UInt8] = []
    private var entries: [Entry] = []

    /// No parameters.
    package init() {}

    /// How many parameters there are.
    package var count: Int { entries.count }

    /// How many bytes all values take.
    package var byteCount: Int { bytes.count }

    /// The types as they are declared to the server; `unspecified` ones it infers.
    package var types: [PostgresType] { entries.map(\.type) }

    /// Gives the arrays that libpq wants, which are only there during the call.
    ///
    /// The counts and types are those of the parameters; the pointers are nil where there are no parameters.
    ///
    /// - Parameter body: Takes the number of parameters, types, values, lengths and formats.
    /// - Returns: What the body returns.
    /// - Throws: What the body throws.
    package func withPointers<R>(
        _ body: (
            _ count: Int32, _ types: UnsafePointer<UInt32>?, _ values: UnsafePointer<UnsafePointer<CChar>?>?,
            _ lengths: UnsafePointer<Int32>?, _ formats: UnsafePointer<Int32>?
        ) throws -> R
    ) rethrows -> R {
        guard !entries.isEmpty else { return try body(0, nil, nil, nil, nil) }
        let count = entries.count
        return try bytes.withUnsafeBufferPointer { bytes in
            try withUnsafeTemporaryAllocation(of: UnsafePointer<CChar>?.self, capacity: count) { values in
                try withUnsafeTemporaryAllocation(of: Int32.self, capacity: count * 3) { numbers in
                    for (index, entry) in entries.enumerated() {
                        values.initializeElement(at: index, to: Self.address(of: entry, in: bytes))
                        numbers.initializeElement(at: index, to: Int32(bitPattern: entry.type.rawValue))
                        numbers.initializeElement(at: count + index, to: entry.length)
                        numbers.initializeElement(at: count * 2 + index, to: entry.format.rawValue)
                    }
                    guard let values = UnsafePointer(values.baseAddress), let numbers = UnsafePointer(numbers.baseAddress) else {
                        preconditionFailure("an allocation of at least one element has an address")
                    }
                    return try numbers.withMemoryRebound(to: UInt32.self, capacity: count) { types in
                        try body(Int32(count), types, values, numbers + count, numbers + count * 2)
                    }
                }
            }
        }
    }

    /// One parameter's value for a test or a message; nil is NULL.
    ///
    /// - Parameter index: Its place, from 0.
    /// - Returns: Its bytes, without the NUL that follows.
    package func value(at index: Int) -> [UInt8]? {
        let entry = entries[index]
        return entry.offset < 0 ? nil : Array(bytes[entry.offset..<(entry.offset + Int(entry.length))])
    }

    /// One parameter's format.
    ///
    /// - Parameter index: Its place, from 0.
    /// - Returns: How its bytes are written.
    package func format(at index: Int) -> PostgresFormat { entries[index].format }

    private static func address(of entry: Entry, in bytes: UnsafeBufferPointer<UInt8>) -> UnsafePointer<CChar>? {
        guard entry.offset >= 0, let base = bytes.baseAddress else { return nil }
        return UnsafeRawPointer(base + entry.offset).assumingMemoryBound(to: CChar.self)
    }
}

extension ParameterBuffer {
    /// Adds NULL.
    mutating func appendNull() {
        entries.append(Entry(offset: -1, length: 0, type: .unspecified, format: .text))
    }

    /// Makes a parameter of all bytes from a place to the end.
    ///
    /// - Parameters:
    ///   - start: Where the value begins.
    ///   - type: The type that is declared to the server.
    ///   - format: How the bytes are written.
    /// - Returns: Whether the value is short enough to be sent.
    mutating func close(from start: Int, type: PostgresType, format: PostgresFormat) -> Bool {
        let length = bytes.count - start
        bytes.append(0)
        guard length <= Self.maximumLength else {
            bytes.removeSubrange(start...)
            appendNull()
            return false
        }
        entries.append(Entry(offset: start, length: Int32(length), type: type, format: format))
        return true
    }

    /// Adds the parameters of another statement.
    mutating func append(_ other: ParameterBuffer) {
        let shift = bytes.count
        bytes.append(contentsOf: other.bytes)
        for var entry in other.entries {
            if entry.offset >= 0 { entry.offset += shift }
            entries.append(entry)
        }
    }

    /// Forgets the parameters after the first ones.
    mutating func truncate(to count: Int) {
        if entries.count > count { entries.removeLast(entries.count - count) }
    }
}
