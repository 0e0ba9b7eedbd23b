/// How the bytes of a value are written.
public enum PostgresFormat: Int32, Hashable, Sendable {
    /// As text, the form that `psql` shows.
    case text = 0
    /// As the server's binary form, in network byte order.
    case binary = 1
}
