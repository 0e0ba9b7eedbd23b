import Foundation
import Logging
import Synchronization
package import TandemCore
package import TandemPostgres

/// Several PostgreSQL databases that change together.
///
/// ```swift
/// let cluster = try Cluster(configuration)
/// let receipt = try await cluster.transaction { tx in
///     try await tx["bankA"].execute("UPDATE account SET balance = balance - \(amount) WHERE id = \(from)", rows: 1...1)
///     try await tx["bankB"].execute("UPDATE account SET balance = balance + \(amount) WHERE id = \(to)", rows: 1...1)
/// }
/// ```
///
/// A cluster opens connections when they are needed and keeps them until ``close()``.
public final class Cluster: Sendable {
    /// What the cluster was made from.
    public let configuration: ClusterConfiguration
    /// Its nodes by name.
    package let nodes: [NodeName: NodeRuntime]
    /// Its reactors, each with its own connections.
    package let lanes: [Lane]
    /// One connection a node that no transaction ever takes: recovery and everything that looks after transactions.
    package let control: [NodeName: Pool]
    /// What this process writes beside its decisions, for whoever reads the register: host, process and a random part.
    package let coordinator: String

    /// By what the coordinators of a server count each other.
    package let presence: Presence

    private let turn = Atomic<Int>(0)
    private let rooms = Locked<[ObjectIdentifier: any Sendable]>([:])

    /// A cluster that has not connected to anything yet.
    ///
    /// - Parameter configuration: the nodes and the times that hold for all of them.
    /// - Throws: `configurationInvalid` when a connection string cannot be read.
    public init(_ configuration: ClusterConfiguration) throws {
        self.configuration = configuration
        let presence = Presence()
        self.presence = presence
        var nodes: [NodeName: NodeRuntime] = [:]
        for node in configuration.nodes {
            // A connection string is either `key=value` words or a URL; what libpq cannot read would fail later and say less.
            guard ConnectionParameters.parse(node.conninfo) != nil else {
                throw TandemError(
                    .configurationInvalid, "the connection string cannot be read", node: node.name,
                    nextStep: "write it as `host=... dbname=... user=...` or `postgresql://user@host/database`")
            }
            nodes[node.name] = try NodeRuntime(node, cluster: configuration.name, presence: presence)
        }
        self.nodes = nodes
        // A lane without a connection to some node could run nothing: no more lanes than the smallest pool has connections.
        let smallest = configuration.nodes.map(\.pool.maximum).min() ?? 1
        let width = max(1, min(configuration.reactors, smallest))
        let lanes = (0..<width).map { Lane(number: $0, of: width, nodes: configuration.nodes.compactMap { nodes[$0.name] }, logger: configuration.logger) }
        self.lanes = lanes
        control = nodes.mapValues { $0.pool(on: lanes[0].reactor, options: PoolOptions(maximum: 3), logger: configuration.logger) }
        for (name, pool) in control { nodes[name]?.setControl(pool) }
        coordinator = "\(ProcessInfo.processInfo.hostName):\(ProcessInfo.processInfo.processIdentifier):\(String(UInt32.random(in: 0 ... .max), radix: 16))"
    }

    deinit {
        Self.close(lanes, Array(control.values))
        for lane in lanes { lane.reactor.stop() }
    }

    /// Refuses new transactions, and closes the connections once those under way have ended, which need them to finish what they prepared. It does not
    /// wait for them.
    public func close() {
        Self.close(lanes, Array(control.values))
    }

    private static func close(_ lanes: [Lane], _ control: [Pool]) {
        let open = Locked(lanes.count)
        for lane in lanes {
            lane.close {
                let isLast = open.withLock { open in
                    open -= 1
                    return open == 0
                }
                // Who asks the register, or finishes a branch for which the lane has no connection, uses these.
                if isLast { lanes[0].reactor.execute { control.forEach { $0.close() } } }
            }
        }
    }

    /// The node of this name.
    package func node(_ name: NodeName) throws -> NodeRuntime {
        guard let node = nodes[name] else {
            throw TandemError(
                .unknownNode, "there is no node \(name)", node: name,
                nextStep: "the configuration has \(configuration.nodes.map(\.name.rawValue).joined(separator: ", "))")
        }
        return node
    }

    /// The lane for new work: the caller's own where it already runs on one of the reactors, so that it changes no thread; else each in turn.
    package func pickLane() -> Lane {
        if let own = lanes.first(where: { $0.reactor.isCurrent }) { return own }
        return lanes[turn.wrappingAdd(1, ordering: .relaxed).oldValue % lanes.count]
    }

    /// Where a client of many that always has something to do runs best: on one of the cluster's own threads, the clients one after the other.
    package func executor(ofClient number: Int) -> any TaskExecutor { lanes[number % lanes.count].reactor }

    /// What another part of the library keeps for this cluster, made when it is first asked for.
    package func room<Room: Sendable>(_ type: Room.Type, make: () -> Room) -> Room {
        rooms.withLock { rooms in
            if let room = rooms[ObjectIdentifier(type)] as? Room { return room }
            let room = make()
            rooms[ObjectIdentifier(type)] = room
            return room
        }
    }

    /// Opens every connection that the pools may have, and waits for all of them.
    package func fillPools() async throws {
        let deadline = ContinuousClock.now + .seconds(60)
        for lane in lanes {
            for pool in lane.pools.values {
                var leased: [Connection] = []
                let count = pool.maximum
                try await withThrowingTaskGroup(of: Connection.self) { group in
                    for _ in 0..<count { group.addTask { try await pool.lease(deadline: deadline) } }
                    for try await connection in group { leased.append(connection) }
                }
                let all = leased
                lane.reactor.execute { all.forEach { pool.release($0) } }
            }
        }
    }

    /// Connections that are open, over all nodes and lanes.
    package func openConnections() async -> Int {
        var sum = 0
        for lane in lanes {
            sum += await withCheckedContinuation { continuation in
                lane.reactor.execute { continuation.resume(returning: lane.pools.values.reduce(0) { $0 + $1.count }) }
            }
        }
        return sum
    }

    /// As ``runControl(_:_:within:)``, but to its end also in a cancelled task: for questions whose answer is needed whoever still waits for it.
    package func runControlToTheEnd(_ node: NodeName, _ batch: Batch, within limit: Duration) async throws -> BatchReply {
        try await Task { try await runControl(node, batch, within: limit) }.value
    }

    /// Runs a batch on the node's control connection, which no transaction ever takes.
    package func runControl(_ node: NodeName, _ batch: Batch, within limit: Duration) async throws -> BatchReply {
        let runtime = try self.node(node)
        guard let pool = control[node] else { throw TandemError(.unknownNode, "there is no node \(node)", node: node) }
        let deadline = ContinuousClock.now + limit
        let connection = try await pool.lease(deadline: deadline)
        defer { pool.reactor.execute { pool.release(connection) } }
        do {
            guard let statement = runtime.serverGuard(on: connection) else { return try await connection.run(batch, deadline: deadline) }
            let guarded = GuardedBatch(batch, guard: statement)
            return guarded.answer(try await connection.run(guarded.batch, deadline: deadline))
        } catch let failure as ConnectionFailure {
            throw TandemError(failure, node: node)
        }
    }
}
