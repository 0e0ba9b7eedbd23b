import TandemPostgres

/// What a server says about its slots for prepared transactions, which all of its databases share.
struct PreparedSlots: Sendable, Equatable {
    /// `max_prepared_transactions`.
    let maximum: Int
    /// How many are taken, by whomever: branches of this process, of other coordinators, of other programs, and those that nobody looks after.
    let taken: Int
    /// How many coordinators are at work on the server, this one included.
    var coordinators: Int
    /// Whether it has synchronous standbys.
    var hasStandby = false

    init(maximum: Int, taken: Int, coordinators: Int) {
        self.maximum = maximum
        self.taken = taken
        self.coordinators = coordinators
    }

    /// The answer to `Presence.slots`; `nil` for anything else.
    init?(_ reply: SegmentReply) {
        guard reply.error == nil, let result = reply.results.last, result.rowCount == 1, let maximum = result.text(0, 0).flatMap({ Int($0) }),
            let taken = result.text(0, 1).flatMap({ Int($0) }), let coordinators = result.text(0, 2).flatMap({ Int($0) })
        else { return nil }
        self.init(maximum: maximum, taken: taken, coordinators: coordinators)
        hasStandby = result.text(0, 3) == "t"
    }

    /// The share of one coordinator (B7): what others have not taken, less the reserve, divided by the coordinators.
    ///
    /// - Parameters:
    ///   - own: how many of the taken ones are this process's own, at most.
    ///   - reserve: what is left to others.
    /// - Returns: how many branches this process may have prepared; 0 where nothing is left.
    func share(own: Int, reserve: Int) -> Int {
        max(0, (maximum - reserve - max(0, taken - own)) / max(1, coordinators))
    }
}
