import NIOCore
import NIOPosix
import Synchronization

/// A proxy between a program and a PostgreSQL server that does to their connection what networks do: it drops, cuts, delays and resets, at the statement that a test
/// names.
///
/// It reads the protocol, so it works with TLS off only: a client that asks for encryption is told that there is none.
///
/// ```swift
/// try await withFaultProxy(to: .init(host: "127.0.0.1", port: 5432)) { proxy in
///     proxy.arm(FaultRule(on: .execute("COMMIT PREPARED"), .dropReply))
///     // connect to 127.0.0.1, proxy.port
///     try await proxy.hasFired(1)
/// }
/// ```
public final class FaultProxy: Sendable {
    /// Where a server listens.
    public struct Address: Sendable {
        /// Its name or address.
        public let host: String
        /// Its port.
        public let port: Int

        /// - Parameters:
        ///   - host: its name or address.
        ///   - port: its port.
        public init(host: String, port: Int) {
            self.host = host
            self.port = port
        }
    }

    private struct State {
        var rules: [Armed] = []
        var fired = 0
        var isPartitioned = false
        var waiters: [(count: Int, continuation: CheckedContinuation<Void, Never>)] = []
        var connections: [ObjectIdentifier: ProxyConnection] = [:]
    }

    private struct Armed {
        let rule: FaultRule
        var seen = 0
        var fired = 0
    }

    /// The port on 127.0.0.1 where clients connect.
    public let port: Int
    let server: Address
    private let listener: NIOAsyncChannel<any Channel, Never>
    private let state = Mutex(State())

    init(to server: Address) async throws {
        self.server = server
        // A client is read from once it is served: one that nobody gets to when the proxy ends has no reader that would have to be finished.
        listener = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup).serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.autoRead, value: false)
            .bind(host: "127.0.0.1", port: 0) { channel in channel.eventLoop.makeSucceededFuture(channel) }
        guard let port = listener.channel.localAddress?.port else { throw ChannelError.unknownLocalAddress }
        self.port = port
    }

    // MARK: Faults

    /// Adds a rule. Rules are looked at in the order in which they were armed; the first one that is due happens.
    ///
    /// - Parameter rule: when, and what.
    public func arm(_ rule: FaultRule) { state.withLock { $0.rules.append(Armed(rule: rule)) } }

    /// Takes all rules back. What has happened to connections stays.
    public func disarm() { state.withLock { $0.rules = [] } }

    /// Cuts program and server apart: nothing arrives any more on connections that are open, and new ones are accepted and never answered.
    ///
    /// - Returns: how many connections were open.
    @discardableResult
    public func partition() -> Int {
        state.withLock { state in
            state.isPartitioned = true
            for connection in state.connections.values { connection.silence() }
            return state.connections.count
        }
    }

    /// Ends a partition: the connections that it silenced are reset, as they are when hosts see each other again; new ones go through.
    public func heal() {
        let silenced = state.withLock { state in
            state.isPartitioned = false
            return state.connections.values.filter(\.isSilent)
        }
        for connection in silenced { connection.reset() }
    }

    /// Resets every connection.
    ///
    /// - Returns: how many there were.
    @discardableResult
    public func resetAll() -> Int {
        let connections = state.withLock { Array($0.connections.values) }
        for connection in connections { connection.reset() }
        return connections.count
    }

    /// How many faults have happened.
    public var fired: Int { state.withLock { $0.fired } }

    /// Waits until so many faults have happened.
    ///
    /// - Parameter count: how many, since the proxy was started.
    public func hasFired(_ count: Int) async {
        await withCheckedContinuation { continuation in
            let isOver = state.withLock { state in
                if state.fired >= count { return true }
                state.waiters.append((count, continuation))
                return false
            }
            if isOver { continuation.resume() }
        }
    }

    /// The action that an event sets off, if it does.
    func action(on event: Conversation.Event?) -> FaultRule.Action? {
        let (action, due) = state.withLock { state -> (FaultRule.Action?, [CheckedContinuation<Void, Never>]) in
            for index in state.rules.indices {
                let isMeant = if let event { state.rules[index].rule.trigger.matches(event) } else { state.rules[index].rule.trigger.isConnect }
                guard isMeant else { continue }
                state.rules[index].seen += 1
                let rule = state.rules[index].rule
                guard state.rules[index].seen > rule.skipped, state.rules[index].fired < rule.count ?? .max else { continue }
                state.rules[index].fired += 1
                state.fired += 1
                let fired = state.fired
                let due = state.waiters.filter { $0.count <= fired }.map(\.continuation)
                state.waiters.removeAll { $0.count <= fired }
                return (rule.action, due)
            }
            return (nil, [])
        }
        for continuation in due { continuation.resume() }
        return action
    }

    // MARK: Connections

    /// Serves clients until the task is cancelled.
    func run() async throws {
        try await listener.executeThenClose { clients in
            try await withThrowingDiscardingTaskGroup { group in
                for try await client in clients {
                    group.addTask { await self.serve(client) }
                }
            }
        }
    }

    private func serve(_ channel: any Channel) async {
        guard let client = try? await channel.eventLoop.submit({ try ProxyConnection.wrap(channel) }).get() else { return channel.close(promise: nil) }
        channel.setOption(.autoRead, value: true).whenSuccess { channel.read() }
        let connection = ProxyConnection(client, through: self)
        let isSilent = state.withLock { state in
            state.connections[ObjectIdentifier(connection)] = connection
            return state.isPartitioned
        }
        if isSilent { connection.silence() }
        await connection.run()
        state.withLock { $0.connections[ObjectIdentifier(connection)] = nil }
    }
}

/// Gives the body a proxy to a server, and ends it afterwards with every connection.
///
/// - Parameters:
///   - server: where the server listens.
///   - body: connects to `127.0.0.1` and the proxy's port.
/// - Returns: what the body returns.
/// - Throws: what the body throws, and what binding a port throws.
public func withFaultProxy<Value: Sendable>(
    to server: FaultProxy.Address, _ body: @Sendable @escaping (FaultProxy) async throws -> Value
) async throws -> Value {
    let proxy = try await FaultProxy(to: server)
    return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask(executorPreference: ProxyExecutor.shared) { try await proxy.run() }
        defer { group.cancelAll() }
        return try await body(proxy)
    }
}
