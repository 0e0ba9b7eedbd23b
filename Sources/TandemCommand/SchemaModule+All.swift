import TandemCluster
import TandemIdempotency
import TandemInbox
import TandemOutbox
import TandemSagas

extension SchemaModule {
    /// The tables of all capabilities that this program has.
    static let all: [SchemaModule] = [.sagas, .idempotency, .outbox, .inbox]
}
