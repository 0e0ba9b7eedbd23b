/// How much of an answer a call that collects rows may hold. Whoever has more reads them as a stream.
package enum ResultLimit {
    /// The most rows of one result.
    package static let rows = 10_000
    /// The most memory of one result, and the most that is read from the socket for one message before its end is there.
    package static let bytes = 16 << 20
    /// The most bytes of payloads, as `bytea`, that are asked for in one result: as text a byte is two, and there is more in a row.
    package static let payloads = 6 << 20

    /// What every read of a busy connection takes at least, if there is as much: libpq keeps that room free.
    static let leastRead = 8192
}
