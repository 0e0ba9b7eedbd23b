import TandemCore
import TandemMessaging
import TandemPostgres

/// Where events stand that were handed over and whose rows are not marked: sent again, they have the same places.
final class TablePlaces: Sendable {
    /// Beyond that all are forgotten. Places only help sinks to know what they have taken.
    private static let most = 20_000

    private let known = Locked<[ExactText: Delivery.Place]>([:])

    func places(of rows: [TableRow], in window: Int64) -> [Delivery.Place] {
        known.withLock { known in
            if known.count > Self.most { known = [:] }
            return rows.enumerated().map { index, row in
                let id = ExactText(row.id), place = known[id] ?? Delivery.Place(window: window, sequence: Int64(index + 1))
                known[id] = place
                return place
            }
        }
    }

    func forget(_ row: String) { known.withLock { $0[ExactText(row)] = nil } }
}
