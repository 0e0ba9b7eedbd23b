import TandemCore

/// What a chaos run is made of.
package struct ChaosOptions: Sendable, Equatable, Codable {
    /// What the schedule of faults and the clients' choices follow from.
    package var seed: UInt64
    /// How long the load lasts.
    package var seconds = 30
    /// How many nodes are started.
    package var nodes = 3
    /// How many coordinators run, each a process of its own.
    package var coordinators = 3
    /// Transactions that each coordinator runs at a time.
    package var clients = 8
    /// What the clients do.
    package var workload = Workload.listAppend
    /// Which faults happen.
    package var faults = FaultKind.allCases

    /// - Parameter seed: What the schedule of faults and the clients' choices follow from.
    package init(seed: UInt64) { self.seed = seed }

    /// The faults of this run.
    package var schedule: FaultSchedule {
        FaultSchedule(seed: seed, seconds: seconds, nodes: nodes, coordinators: coordinators, kinds: faults)
    }

    /// What is wrong with them.
    ///
    /// - Throws: `configurationInvalid`.
    package func check() throws {
        func refuse(_ what: String) -> TandemError { TandemError(.configurationInvalid, what, nextStep: "see tandem chaos run --help") }
        guard (5...86_400).contains(seconds) else { throw refuse("--seconds takes a number from 5 to 86400") }
        guard (2...9).contains(nodes) else { throw refuse("--nodes takes a number from 2 to 9") }
        guard (1...9).contains(coordinators) else { throw refuse("--coordinators takes a number from 1 to 9") }
        guard (1...64).contains(clients) else { throw refuse("--clients takes a number from 1 to 64") }
    }
}
