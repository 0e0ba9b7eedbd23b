import TandemCore
import Testing

@Suite("Who waits for whom")
struct WaitGraphTests {
    private static func id(_ number: UInt64) -> TransactionID { .make(milliseconds: 1_000 + number, random: (number, number)) }
    private static func transaction(_ number: UInt64) -> WaitEdge.Vertex { .transaction(id(number)) }

    /// A wait of one transaction for another, in a session that is named after both.
    private func wait(_ waiter: UInt64, for blocker: UInt64, on node: NodeName, by process: Int32? = nil, since: String = "12:00", kind: WaitEdge.Kind = .lock)
        -> WaitEdge
    {
        let session = WaitEdge.Session(process: Int32(waiter * 10) + (node == "n1" ? 1 : 2), start: "11:00", application: "a", waitStart: since)
        return WaitEdge(
            Self.transaction(waiter), for: Self.transaction(blocker), on: node, session: session,
            blockingProcess: process ?? Int32(blocker * 10) + (node == "n1" ? 1 : 2), kind: kind)
    }

    private func permit(_ waiter: UInt64, for holder: UInt64) -> WaitEdge {
        WaitEdge(Self.transaction(waiter), for: Self.transaction(holder), on: "n1", session: nil)
    }

    private func victims(_ edges: [WaitEdge], confirmedBy second: [WaitEdge]? = nil) -> [TransactionID] {
        var graph = WaitGraph(edges, confirmedBy: second ?? edges)
        return graph.deadlocks().map(\.victim).sorted()
    }

    @Test("two that wait for each other on two nodes are a deadlock; the younger gives way, and the circle is told")
    func two() {
        let edges = [wait(1, for: 2, on: "n1"), wait(2, for: 1, on: "n2")]
        var graph = WaitGraph(edges, confirmedBy: edges)
        let found = graph.deadlocks()
        #expect(found.count == 1 && found.first?.victim == Self.id(2) && found.first?.edge == edges[1])
        #expect(Set(found.first?.cycle ?? []) == Set(edges))
    }

    @Test("a chain, however long, is none, and who waits for a deadlock is no victim of it")
    func chains() {
        #expect(victims([wait(1, for: 2, on: "n1"), wait(2, for: 3, on: "n2"), wait(3, for: 4, on: "n1")]) == [])
        #expect(victims([wait(9, for: 1, on: "n1"), wait(1, for: 2, on: "n1"), wait(2, for: 1, on: "n2")]) == [Self.id(2)])
    }

    @Test("a wait counts that is the same in both looks: gone, new or begun anew it is none")
    func confirmation() {
        let one = wait(1, for: 2, on: "n1"), two = wait(2, for: 1, on: "n2")
        #expect(victims([one, two], confirmedBy: [one]) == [])
        #expect(victims([one], confirmedBy: [one, two]) == [])
        #expect(victims([one, two], confirmedBy: [one, wait(2, for: 1, on: "n2", since: "12:01")]) == [])
    }

    @Test("a circle on one node is the server's own, unless one transaction is two sessions there")
    func local() {
        #expect(victims([wait(1, for: 2, on: "n1"), wait(2, for: 1, on: "n1")]) == [])
        // A session waits for another one of its own transaction, in another database of the server.
        #expect(victims([wait(1, for: 1, on: "n1", by: 99)]) == [Self.id(1)])
        // It hides none that is over two nodes.
        let edges = [wait(1, for: 2, on: "n1"), wait(2, for: 1, on: "n1"), wait(3, for: 4, on: "n1"), wait(4, for: 3, on: "n2")]
        #expect(victims(edges) == [Self.id(4)])
    }

    @Test("several deadlocks have a victim each, and one that is in two of them is enough")
    func several() {
        let apart = [wait(1, for: 2, on: "n1"), wait(2, for: 1, on: "n2"), wait(3, for: 4, on: "n1"), wait(4, for: 3, on: "n2")]
        #expect(victims(apart) == [Self.id(2), Self.id(4)])
        let shared = [wait(9, for: 1, on: "n1"), wait(1, for: 9, on: "n2"), wait(9, for: 2, on: "n1"), wait(2, for: 9, on: "n2")]
        #expect(victims(shared) == [Self.id(9)])
    }

    @Test("a session that is no branch may be part of a circle, and is no victim")
    func outsiders() {
        let session = WaitEdge.Vertex.session(node: "n2", process: 7, start: "10:00")
        let waiting = WaitEdge.Session(process: 7, start: "10:00", application: "psql", waitStart: "12:00")
        let edges = [
            wait(1, for: 2, on: "n1"), WaitEdge(session, for: Self.transaction(1), on: "n2", session: waiting, blockingProcess: 12),
            WaitEdge(
                Self.transaction(2), for: session, on: "n2", session: WaitEdge.Session(process: 22, start: "s", application: "a", waitStart: "w"),
                blockingProcess: 7),
        ]
        #expect(victims(edges) == [Self.id(2)])
    }

    @Test("who stands in a row's queue before a deadlocked one does not give way: it holds nothing that anybody needs")
    func queues() {
        // 1 holds a row that 9 waits for and 3 behind it; 1 waits for 3 on the other node.
        let edges = [wait(9, for: 1, on: "n1"), wait(3, for: 9, on: "n1", kind: .turn), wait(1, for: 3, on: "n2")]
        #expect(victims(edges) == [Self.id(3)])
    }

    @Test("a wait that cannot be cancelled is part of a circle, and its transaction no victim")
    func others() {
        #expect(victims([wait(1, for: 2, on: "n1"), wait(2, for: 1, on: "n2", kind: .other)]) == [Self.id(1)])
    }

    @Test("a long queue for one row is looked through in no time that would matter")
    func many() {
        var edges: [WaitEdge] = []
        for waiter in UInt64(1)...120 {
            for blocker in 0..<waiter { edges.append(wait(waiter, for: blocker, on: "n1", kind: blocker == 0 ? .lock : .turn)) }
        }
        #expect(victims(edges) == [])
        // The first one of all waits for the last one, on the other node.
        #expect(victims(edges + [wait(0, for: 120, on: "n2")]).count == 1)
    }

    @Test("who waits for one of several permits is deadlocked only when all of their holders are")
    func permits() {
        // 1 waits for a permit that 2 and 3 hold; 2 waits for a lock of 1, and 3 goes on.
        #expect(victims([permit(1, for: 2), permit(1, for: 3), wait(2, for: 1, on: "n2")]) == [])
        #expect(victims([permit(1, for: 2), permit(1, for: 3), wait(2, for: 1, on: "n2"), wait(3, for: 1, on: "n2")]) == [Self.id(2), Self.id(3)])
        // Nobody of a circle of permits alone has a statement that could be cancelled; its deadline ends it.
        #expect(victims([permit(1, for: 2), permit(2, for: 1)]) == [])
    }
}
