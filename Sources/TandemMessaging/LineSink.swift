/// Writes each event as one line of JSON, a CloudEvent in structured form: for standard output, and for files.
///
/// Delivered is what the closure has taken. What reads the lines may see some twice after a crash, and knows them by `id`.
public struct LineSink: Sink {
    private let write: @Sendable ([UInt8]) async throws -> Void

    /// A sink.
    ///
    /// - Parameter write: takes whole lines, each with its line feed; returns when they are written.
    public init(_ write: @escaping @Sendable ([UInt8]) async throws -> Void) { self.write = write }

    /// Writes a line each.
    ///
    /// - Parameter batch: the events.
    /// - Returns: that all are delivered.
    /// - Throws: what the closure throws.
    public func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(batch.reduce(0) { $0 + $1.event.payload.count + 256 })
        for delivery in batch {
            CloudEvent.append(delivery, to: &bytes)
            bytes.append(UInt8(ascii: "\n"))
        }
        try await write(bytes)
        return [DeliveryVerdict](repeating: .delivered, count: batch.count)
    }

    /// Does nothing: what is written to is the caller's.
    public func close() async {}
}
