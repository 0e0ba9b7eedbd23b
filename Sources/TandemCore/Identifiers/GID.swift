/// The global identifier under which one branch stands in `pg_prepared_xacts`.
///
/// The text alone tells recovery everything that it must know: whose branch it is, of which transaction, and which node knows the decision.
/// It is unique for each branch, never reused, and has one fixed form of at most 70 bytes (PostgreSQL allows 199):
///
/// ```
/// tandem1:<cluster>:<transaction>:<node>:c<commit point>
/// tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1
/// ```
public struct GID: Hashable, Sendable, CustomStringConvertible {
    /// How the transaction commits.
    public enum Mode: String, Sendable, CaseIterable {
        /// The commit of one ordinary branch, at the commit point, is the decision.
        case commitPoint = "c"
    }

    /// The cluster that the branch belongs to.
    public let cluster: ClusterName
    /// The global transaction.
    public let transaction: TransactionID
    /// The node that the branch is on; two databases of one server share a list of gids, so the node makes it unique.
    public let node: NodeID
    /// How the transaction commits.
    public let mode: Mode
    /// The node whose commit is the decision.
    public let commitPoint: NodeID

    /// The gid of one branch.
    ///
    /// - Parameters:
    ///   - cluster: The cluster that the branch belongs to.
    ///   - transaction: The global transaction.
    ///   - node: The node that the branch is on.
    ///   - mode: How the transaction commits.
    ///   - commitPoint: The node whose commit is the decision.
    public init(cluster: ClusterName, transaction: TransactionID, node: NodeID, mode: Mode = .commitPoint, commitPoint: NodeID) {
        self.cluster = cluster
        self.transaction = transaction
        self.node = node
        self.mode = mode
        self.commitPoint = commitPoint
    }

    /// Reads a gid, of whatever cluster.
    ///
    /// R1: a text counts as ours only if it is, byte for byte, what we would have written. A near miss (upper case, a leading zero, a colon
    /// within a field, a character that merely looks the same) is somebody else's: finishing it would decide a transaction that is not
    /// ours.
    ///
    /// - Parameter text: A gid of `pg_prepared_xacts`; the result is nil where it is foreign.
    public init?(_ text: String) {
        let fields = text.utf8.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard fields.count == 5, Array(fields[0]) == Array(Self.form.utf8),
            let clusterText = String(fields[1]), let cluster = try? ClusterName(clusterText),
            let transaction = TransactionID(utf8: fields[2]),
            let nodeText = String(fields[3]), let node = NodeID(base32: nodeText),
            let modeText = String(fields[4].prefix(1)), let mode = Mode(rawValue: modeText),
            let commitPointText = String(fields[4].dropFirst()), let commitPoint = NodeID(base32: commitPointText)
        else { return nil }
        self.init(cluster: cluster, transaction: transaction, node: node, mode: mode, commitPoint: commitPoint)
        // The bytes are compared, since equal strings may be different bytes (canonical equivalence).
        guard description.utf8.elementsEqual(text.utf8) else { return nil }
    }

    private static let form = "tandem1"

    /// The text with which every gid of one cluster starts.
    ///
    /// Select with `starts_with`, never with `LIKE`, where the `_` of a cluster's name stands for any character.
    ///
    /// - Parameter cluster: The cluster.
    /// - Returns: `tandem1:<cluster>:`.
    public static func prefix(of cluster: ClusterName) -> String { "\(form):\(cluster.rawValue):" }

    /// The text that stands in `pg_prepared_xacts`; its alphabet is `[A-Za-z0-9_.:-]`, so it needs no escaping in a quoted literal.
    public var description: String {
        // As bytes: two are written for each branch that is prepared.
        var bytes: [UInt8] = []
        bytes.reserveCapacity(72)
        bytes.append(contentsOf: Self.form.utf8)
        bytes.append(UInt8(ascii: ":"))
        bytes.append(contentsOf: cluster.rawValue.utf8)
        bytes.append(UInt8(ascii: ":"))
        transaction.appendText(to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        node.appendBase32(to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        bytes.append(contentsOf: mode.rawValue.utf8)
        commitPoint.appendBase32(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}
