import Synchronization
import TandemPostgres

/// The sagas that run in this process, whose leases have to be extended.
final class HeldSagas: Sendable {
    /// One saga here; whoever runs it asks whether it still is.
    final class Holding: Sendable {
        let epoch: Int64
        private let lost = Atomic<Bool>(false)
        private let since: Locked<ContinuousClock.Instant>

        fileprivate init(epoch: Int64) {
            self.epoch = epoch
            since = Locked(.now)
        }

        /// Whether it belongs to somebody else.
        var isLost: Bool { lost.load(ordering: .relaxed) }

        fileprivate func lose() { lost.store(true, ordering: .relaxed) }

        /// Since when its lease is known to run.
        fileprivate var age: ContinuousClock.Instant {
            get { since.withLock { $0 } }
            set { since.withLock { $0 = newValue } }
        }
    }

    private let state = Locked<[SagaID: Holding]>([:])

    func add(_ saga: SagaRecord) -> Holding {
        let holding = Holding(epoch: saga.epoch)
        state.withLock { $0[saga.id] = holding }
        return holding
    }

    func remove(_ saga: SagaRecord) {
        state.withLock { state in
            if state[saga.id]?.epoch == saga.epoch { state[saga.id] = nil }
        }
    }

    /// Those whose lease has run for a time.
    func older(than age: Duration) -> [(id: SagaID, epoch: Int64)] {
        let limit = ContinuousClock.now - age
        return state.withLock { $0.compactMap { $1.age <= limit ? ($0, $1.epoch) : nil } }
    }

    /// Notes which were extended from a time on; the others of them belong to somebody else.
    func extended(_ asked: [(id: SagaID, epoch: Int64)], kept: Set<SagaID>, from time: ContinuousClock.Instant) {
        state.withLock { state in
            for saga in asked {
                guard let holding = state[saga.id], holding.epoch == saga.epoch else { continue }
                if kept.contains(saga.id) { holding.age = time } else { holding.lose() }
            }
        }
    }
}
