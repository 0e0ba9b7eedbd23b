public import TandemCore

/// One local PostgreSQL server: where it listens, and how to get in.
public struct LocalNode: Sendable, CustomStringConvertible {
    /// The node's name in its cluster.
    public let name: NodeName
    /// The port on 127.0.0.1; it stays the same while the cluster runs, also when the node is killed and started again.
    public let port: Int
    /// The database of the cluster.
    public let database: String
    /// The role that owns the database; not a superuser.
    public let user: String
    /// The password of `user`.
    public let password: String
    /// A password file in libpq's format (readable only by its owner) with the passwords of `user` and of the superuser.
    public let passfile: String
    /// The server's data directory.
    public let dataDirectory: String
    /// The folder of the server's Unix socket.
    public let socketDirectory: String
    /// The server's log.
    public let logFile: String

    /// The superuser's name, who may connect over the same addresses with the password of `passfile`.
    public static let superuser = "postgres"

    /// The connection string for libpq, without the password itself: it names the password file.
    public var conninfo: String {
        Self.conninfo(host: "127.0.0.1", port: port, database: database, user: user, passfile: passfile)
    }

    /// The same through the Unix socket.
    public var socketConninfo: String {
        Self.conninfo(host: socketDirectory, port: port, database: database, user: user, passfile: passfile)
    }

    /// The superuser's connection string for libpq, through the Unix socket.
    public var superuserConninfo: String {
        Self.conninfo(host: socketDirectory, port: port, database: database, user: Self.superuser, passfile: passfile)
    }

    /// The connection address with the password in it.
    public var url: String {
        "postgresql://\(user):\(password)@127.0.0.1:\(port)/\(database)"
    }

    /// The node's name and port.
    public var description: String {
        "\(name) on 127.0.0.1:\(port)"
    }

    /// The servers offer neither TLS nor GSS; saying so saves each connection the round trips that would ask for them.
    private static func conninfo(host: String, port: Int, database: String, user: String, passfile: String) -> String {
        "host=\(quoted(host)) port=\(port) dbname=\(quoted(database)) user=\(quoted(user)) passfile=\(quoted(passfile)) "
            + "sslmode=disable gssencmode=disable"
    }

    private static func quoted(_ value: String) -> String {
        var text = "'"
        for character in value {
            if character == "'" || character == "\\" { text.append("\\") }
            text.append(character)
        }
        return text + "'"
    }
}
