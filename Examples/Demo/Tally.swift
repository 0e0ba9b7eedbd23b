import Synchronization
import Tandem

/// What the clients were told about each transfer, by its number.
final class Tally: Sendable {
    /// What a client knows of its transfer.
    enum Fate: Sendable, Equatable {
        /// It was told that it is committed.
        case committed
        /// It was told that nothing happened.
        case rolledBack
        /// It was told that nobody knows yet.
        case inDoubt(TransactionID)
    }

    private struct State {
        var fates: [Int64: Fate] = [:]
        var transfers: [Int64: Bank.Transfer] = [:]
        var committed: [NodeName: Int] = [:]
        var failures: [String: Int] = [:]
        var counts = (committed: 0, rolledBack: 0, inDoubt: 0)
    }

    private let state = Mutex(State())

    func note(_ transfer: Bank.Transfer, _ fate: Fate) {
        state.withLock { state in
            state.fates[transfer.number] = fate
            state.transfers[transfer.number] = transfer
            switch fate {
            case .committed:
                state.counts.committed += 1
                for part in transfer.parts { state.committed[part.node, default: 0] += 1 }
            case .rolledBack: state.counts.rolledBack += 1
            case .inDoubt: state.counts.inDoubt += 1
            }
        }
    }

    func note(_ transfer: Bank.Transfer, _ error: TandemError) {
        state.withLock { $0.failures[error.code.rawValue, default: 0] += 1 }
        switch error.effect {
        case .none, .rolledBack: note(transfer, .rolledBack)
        case .inDoubt(let id): note(transfer, .inDoubt(id))
        }
    }

    /// How often each kind of failure was seen.
    var failures: [String: Int] { state.withLock { $0.failures } }
    var committed: Int { state.withLock { $0.counts.committed } }
    var rolledBack: Int { state.withLock { $0.counts.rolledBack } }
    var inDoubt: Int { state.withLock { $0.counts.inDoubt } }
    var fates: [Int64: Fate] { state.withLock { $0.fates } }
    var transfers: [Int64: Bank.Transfer] { state.withLock { $0.transfers } }

    /// Committed transfers that a node had a part in.
    func committed(on node: NodeName) -> Int { state.withLock { $0.committed[node, default: 0] } }
}

/// Concurrent clients, each sending one transfer after the other until they are told to stop.
final class Clients: Sendable {
    private static let rest = Duration.milliseconds(50)

    let bank: Bank
    let tally: Tally
    private let isStopping = Atomic<Bool>(false)

    init(_ bank: Bank, _ tally: Tally) {
        self.bank = bank
        self.tally = tally
    }

    /// Each client finishes what it is at.
    func stop() { isStopping.store(true, ordering: .relaxed) }

    func run(_ count: Int) async throws {
        try await withThrowingTaskGroup { group in
            for _ in 0..<count { group.addTask { try await self.client() } }
            try await group.waitForAll()
        }
    }

    private func client() async throws {
        while !isStopping.load(ordering: .relaxed) {
            let transfer = bank.randomTransfer()
            do {
                try await bank.run(transfer)
                tally.note(transfer, .committed)
            } catch let error as TandemError {
                tally.note(transfer, error)
                // A client that was refused does not come back at once.
                try await Task.sleep(for: Self.rest)
            }
        }
    }
}
