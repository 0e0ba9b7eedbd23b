import TandemCluster
import TandemCore

/// What the nodes say about one transaction, put together. It judges and never asks.
struct Evidence: Sendable {
    /// What one node says.
    struct Node: Sendable {
        let name: NodeName
        /// Why it did not answer; then nothing else here means anything.
        var failure: TandemError?
        /// The branch as `pg_prepared_xacts` lists it.
        var prepared: PreparedBranch?
        /// A session of the node is in the transaction right now.
        var isOpen = false
        /// Sessions of the node that are in some transaction and do not say in which: this one's, perhaps.
        var unnamed: Set<UnnamedSession> = []
        var row = Row.absent
        var rowAge: Double?
        var coordinator: String?
        /// The members that a 'W' row names.
        var members: [NodeID] = []
    }

    let transaction: TransactionID
    /// Every node of the configuration, in its order.
    var nodes: [Node]
    /// Nodes by number, those included that did not answer, and those that are no longer configured.
    let names: [NodeID: NodeName]

    // MARK: The decision

    /// Where a branch committed.
    var work: Node? { nodes.first { $0.row == .work } }
    /// Where a tombstone stands. Only the register of the commit point is ever asked, so that node is the commit point.
    var tombstone: Node? { nodes.first { $0.row == .tombstone } }

    /// The decision, as far as the rows tell. A tombstone beside a committed branch contradicts it: one of the two was forced, or a node lost
    /// the end of its log.
    var outcome: Outcome {
        switch (work != nil, tombstone != nil) {
        case (true, false): .committed
        case (false, true): .rolledBack
        case (true, true), (false, false): .inDoubt
        }
    }

    var isContradictory: Bool { work != nil && tombstone != nil }

    // MARK: Traces

    var prepared: [PreparedBranch] { nodes.compactMap(\.prepared) }
    var isOpen: Bool { nodes.contains(where: \.isOpen) }
    var unnamed: Set<UnnamedSession> { nodes.reduce(into: []) { $0.formUnion($1.unnamed) } }
    var failure: TandemError? { nodes.lazy.compactMap(\.failure).first }
    var isForgotten: Bool { nodes.contains { $0.row == .forgotten } }
    /// Whether some node knows the transaction.
    var hasTrace: Bool { isOpen || work != nil || tombstone != nil || !prepared.isEmpty }

    /// The numbers of the commit points that the gids name: one, or something is very wrong.
    var commitPoints: Set<NodeID> { Set(prepared.map(\.gid.commitPoint)) }

    func node(_ id: NodeID) -> Node? {
        guard let name = names[id] else { return nil }
        return nodes.first { $0.name == name }
    }

    func id(of name: NodeName) -> NodeID? { names.first { $0.value == name }?.key }

    // MARK: For people

    var description: TransactionDescription {
        let commitPoint = commitPoints.count == 1 ? commitPoints.first.flatMap { names[$0] } : tombstone?.name
        let members = Set(nodes.flatMap(\.members).compactMap { names[$0] })
        let branches = nodes.compactMap { node -> TransactionDescription.Branch? in
            // Where no row tells the members, a node that did not answer may be one.
            let isMember = members.contains(node.name) || node.name == commitPoint || (members.isEmpty && node.failure != nil)
            let isSeen = node.prepared != nil || node.isOpen || node.row == .work || node.row == .tombstone
            return isMember || isSeen ? branch(node) : nil
        }
        return TransactionDescription(
            transaction: transaction, outcome: outcome, ageSeconds: transaction.age.inSeconds, commitPoint: commitPoint,
            coordinator: nodes.lazy.filter { $0.row == .work }.compactMap(\.coordinator).first, branches: branches)
    }

    private func branch(_ node: Node) -> TransactionDescription.Branch {
        let state = state(of: node)
        let prepared = state == "prepared" ? node.prepared : nil
        return TransactionDescription.Branch(
            node: node.name, gid: prepared?.gid.description, row: Self.text(of: node), state: state,
            ageSeconds: prepared?.age.inSeconds ?? node.rowAge,
            blocked: prepared?.blocked ?? 0, owner: prepared?.owner)
    }

    /// The list of gids was read before the row: a branch that is listed and has a visible row has been committed in between.
    private func state(of node: Node) -> String {
        if node.failure != nil { return "unreachable" }
        if node.row == .work { return "committed" }
        if node.prepared != nil { return "prepared" }
        if node.row == .tombstone { return "rolled_back" }
        // Nothing open, nothing prepared, and no row: where the transaction can never commit, this branch is gone.
        return outcome == .rolledBack && !node.isOpen ? "rolled_back" : "unknown"
    }

    private static func text(of node: Node) -> String {
        if node.failure != nil { return "unreachable" }
        return switch node.row {
        case .work: "W"
        case .tombstone: "A"
        case .absent: "none"
        case .forgotten: "forgotten"
        case .unreachable: "unreachable"
        }
    }
}

extension TransactionID {
    /// The time since the id was made, by this machine's clock.
    var age: Duration { .milliseconds(max(0, Int64(TransactionID.fresh().milliseconds) - Int64(milliseconds))) }
}
