import TandemCluster
public import TandemCore
import TandemPostgres

/// One transaction over several nodes: each node that its body touches gets a branch, and all branches commit or none does.
///
/// It is valid inside the body that it is handed to, and refuses everything afterwards.
public final class GlobalTransaction: Sendable {
    private struct State {
        var branches: [BranchSession] = []
        var isEnded = false
    }

    /// The transaction's id, in gids, tables, logs and on the command line.
    public let id: TransactionID

    let cluster: Cluster
    let lane: Lane
    let options: TransactionOptions
    let deadline: ContinuousClock.Instant
    let site: CallSite
    private let state = Locked(State())

    init(id: TransactionID, cluster: Cluster, lane: Lane, options: TransactionOptions, deadline: ContinuousClock.Instant, site: CallSite) {
        self.id = id
        self.cluster = cluster
        self.lane = lane
        self.options = options
        self.deadline = deadline
        self.site = site
    }

    /// The branch on a node. It begins with its first statement; a name that the cluster does not have fails there.
    ///
    /// - Parameter node: the node's name.
    public subscript(_ node: NodeName) -> Branch { Branch(transaction: self, node: node) }

    /// The branches in the order in which they were first touched.
    var branches: [BranchSession] { state.withLock { $0.branches } }

    /// The session of a branch, made when it is first asked for.
    func session(_ name: NodeName) throws -> BranchSession {
        site.noteLongJob(on: lane.reactor, cluster.configuration.logger)
        if let known = try state.withLock({ (state) throws(TandemError) in
            guard !state.isEnded else {
                throw TandemError(
                    .transactionEnded, "the transaction has ended", node: name, nextStep: "use it inside its body only")
            }
            return state.branches.first { $0.name == name }
        }) {
            return known
        }
        let node = try cluster.node(name)
        guard options.nodes.isEmpty || options.nodes.contains(name) else {
            throw TandemError(
                .undeclaredNode, "the transaction was started for \(options.nodes.map(\.rawValue).joined(separator: ", ")) only", node: name,
                nextStep: "add the node to the options' nodes, or leave them empty")
        }
        let fresh = BranchSession(cluster, node: node, transaction: id, lane: lane, options: options, deadline: deadline)
        return state.withLock { state in
            if let other = state.branches.first(where: { $0.name == name }) { return other }
            state.branches.append(fresh)
            return fresh
        }
    }

    /// No statement may start any more; those under way have ended when this returns.
    func end() async -> [BranchSession] {
        let branches = state.withLock { state in
            state.isEnded = true
            return state.branches
        }
        for branch in branches {
            await branch.takeTurn()
            branch.leaveTurn()
        }
        return branches
    }
}
