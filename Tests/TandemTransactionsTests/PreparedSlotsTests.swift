import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("Slots for prepared transactions")
struct PreparedSlotsTests {
    @Test(
        "a coordinator's share is what others have not taken, less the reserve, divided by the coordinators",
        arguments: [
            (PreparedSlots(maximum: 100, taken: 0, coordinators: 1), 0, 5, 95),
            (PreparedSlots(maximum: 100, taken: 30, coordinators: 1), 30, 5, 95),  // all taken ones are its own
            (PreparedSlots(maximum: 100, taken: 30, coordinators: 1), 10, 5, 75),
            (PreparedSlots(maximum: 100, taken: 30, coordinators: 3), 10, 5, 25),
            (PreparedSlots(maximum: 2, taken: 2, coordinators: 1), 0, 5, 0),
            (PreparedSlots(maximum: 0, taken: 0, coordinators: 0), 0, 0, 0),
        ])
    func share(slots: PreparedSlots, own: Int, reserve: Int, expected: Int) {
        #expect(slots.share(own: own, reserve: reserve) == expected)
    }

    @Test("each coordinator is counted once on a server, whatever its sessions do, and no longer than it is there")
    func presence() async throws {
        try await withCluster { test in
            func isPresent(_ cluster: Cluster, on node: NodeName) async throws -> Bool {
                let number = UInt32(bitPattern: cluster.presence.number)
                let text = "SELECT count(DISTINCT objid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND objid = \(number)"
                return try await test.value(node, text) == "1"
            }
            let other = try test.another()
            _ = try await test.transfer()
            // DISCARD ALL gives every advisory lock up; the session takes it again before its next owner gets it.
            try await other.transaction { tx in
                for node in ["n1", "n2"] as [NodeName] { try await tx[node].execute("SET work_mem = '1MB'") }
            }
            _ = try await test.transfer(on: other)
            for node in ["n1", "n2"] as [NodeName] {
                #expect(try await isPresent(test.cluster, on: node))
                #expect(try await isPresent(other, on: node))
                let slots = PreparedSlots(try await test.cluster.runControl(node, Batch([Presence.slots]), within: .seconds(10)).only)
                #expect((slots?.coordinators ?? 0) >= 2 && (slots?.maximum ?? 0) > 0)
            }
            other.close()
            for node in ["n1", "n2"] as [NodeName] {
                try await wait(for: "the other coordinator's end") { try await !isPresent(other, on: node) }
                #expect(try await isPresent(test.cluster, on: node))
            }
        }
    }

    @Test("slots that somebody else has taken leave a smaller share, which the next second's first vote reads")
    func others() async throws {
        let permits = PreparedPermits(), id = TransactionID.fresh()
        try await withCluster { test in
            _ = try await test.transfer()
            let identity = try #require(test.cluster.nodes["n2"]?.identity)
            #expect(permits.mustRead(identity) == 0)
            #expect(permits.mustRead(identity) == nil)
            permits.note(PreparedSlots(maximum: 3, taken: 1, coordinators: 1), of: identity, before: 0, reserve: 0)
            let reactor = test.cluster.lanes[0].reactor
            for _ in 1...2 { #expect(await permits.take([identity], for: id, reserve: 0, deadline: .now + .seconds(30), reactor: reactor)) }
            #expect(await !permits.take([identity], for: id, reserve: 0, deadline: .now, reactor: reactor))
            // The third waits until one comes back, or until the server has more.
            async let third = permits.take([identity], for: id, reserve: 0, deadline: .now + .seconds(30), reactor: reactor)
            permits.note(PreparedSlots(maximum: 4, taken: 3, coordinators: 1), of: identity, before: 2, reserve: 0)
            #expect(await third)
            for _ in 1...3 { permits.release(identity, of: id) }
        }
    }
}
