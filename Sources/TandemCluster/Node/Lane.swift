import Logging
package import TandemCore
package import TandemPostgres

/// One reactor with its connections to every node. A transaction stays on one lane, so it never changes threads.
package final class Lane: Sendable {
    package let reactor: Reactor
    package let admission: Admission
    package let pools: [NodeName: Pool]

    init(number: Int, of width: Int, nodes: [NodeRuntime], logger: Logger) {
        let reactor = Reactor(name: "tandem-\(number)")
        self.reactor = reactor
        var pools: [NodeName: Pool] = [:]
        var places: [NodeName: Int] = [:]
        for node in nodes {
            let share = node.configuration.pool.share(of: number, among: width)
            pools[node.name] = node.pool(on: reactor, options: share, logger: logger)
            places[node.name] = share.maximum
        }
        self.pools = pools
        admission = Admission(reactor: reactor, places: places)
    }

    /// Closes the connections once the transactions that are under way have ended, and calls `closed` then.
    func close(_ closed: @escaping @Sendable () -> Void) {
        reactor.execute { [pools, admission] in
            admission.close {
                pools.values.forEach { $0.close() }
                closed()
            }
        }
    }
}

extension NodeRuntime {
    /// A pool of checked connections to this node.
    func pool(on reactor: Reactor, options: PoolOptions, logger: Logger) -> Pool {
        Pool(node: name, reactor: reactor, options: options, connector: connector, reset: reset, logger: logger) { [self] in prepare($0, $1) }
    }
}

extension PoolOptions {
    /// The part of a node's connections that one of `width` lanes may open; the parts add up to the whole.
    func share(of number: Int, among width: Int) -> PoolOptions {
        func part(_ whole: Int) -> Int { whole / width + (number < whole % width ? 1 : 0) }
        return PoolOptions(minimum: part(minimum), maximum: part(maximum), idleTime: idleTime)
    }
}
