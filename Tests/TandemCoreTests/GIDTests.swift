import Testing

@testable import TandemCore

@Suite("The gid of a branch")
struct GIDTests {
    static let text = "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1"

    @Test("a gid reads and prints back")
    func roundTrip() throws {
        let gid = try #require(GID(Self.text))
        #expect(gid.cluster == "bank")
        #expect(gid.transaction.description == "018f3e2a-7c4b-7d11-9a52-0123456789ab")
        #expect(gid.node.rawValue == 2)
        #expect(gid.mode == .commitPoint)
        #expect(gid.commitPoint.rawValue == 1)
        #expect(gid.description == Self.text)
        #expect(gid.description.hasPrefix(GID.prefix(of: "bank")))
    }

    @Test("every gid that can be made reads back, and is far below the 199 bytes that PostgreSQL takes")
    func everyGID() throws {
        var random = TransactionIDTests.Sequence64(state: 11)
        let clusters: [ClusterName] = ["a", "my_app", "A.b-c_d", "0123456789abcdef", "tandem1", "-", "c1"]
        for cluster in clusters {
            for _ in 0..<200 {
                let node = try #require(NodeID(rawValue: Int16.random(in: 1...Int16.max, using: &random)))
                let point = try #require(NodeID(rawValue: Int16.random(in: 1...40, using: &random)))
                let id = TransactionID(high: random.next(), low: random.next())
                let gid = GID(cluster: cluster, transaction: id, node: node, commitPoint: point)
                #expect(GID(gid.description) == gid)
                #expect(gid.description.utf8.count <= 70)
            }
        }
    }

    static let foreign = [
        "", ":", "::::", "tandem1", "tandem1:bank", "someone else's", "pg_1_2",
        "Tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1",
        "tandem2:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1",
        "tandem1::018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1",
        "tandem1:ba:nk:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1",
        "tandem1:ba'nk:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1",
        "tandem1:ba\"k:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1",
        "tandem1:bank\n:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1",
        "tandem1:bank\0:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1",
        "tandem1:ban\u{212A}:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1",
        "tandem1:bank0123456789012:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1",
        "tandem1:bank:018F3E2A-7C4B-7D11-9A52-0123456789AB:2:c1",
        "tandem1:bank:018f3e2a7c4b7d119a520123456789ab:2:c1",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:02:c1",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:0:c1",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:V:c1",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:1000:c1",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c01",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:1",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:p1",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:C1",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:cA",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1:",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1:1.2",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1 ",
        " tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1\0",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1\u{301}",
        "tandem1:bank:018f3e2a-7c4b-7d11-9a52-0123456789ab:2\u{200B}:c1",
        String(repeating: "t", count: 200),
    ]

    @Test("a near miss is somebody else's", arguments: foreign)
    func refuses(_ text: String) {
        #expect(GID(text) == nil)
    }

    @Test("whatever reads as a gid prints back byte for byte, for every change of one byte")
    func everyByte() {
        var accepted = 0
        let bytes = Array(Self.text.utf8)
        for position in bytes.indices {
            for byte in UInt8(0)...127 {
                var changed = bytes
                changed[position] = byte
                let text = String(decoding: changed, as: UTF8.self)
                guard let gid = GID(text) else { continue }
                accepted += 1
                #expect(gid.description.utf8.elementsEqual(text.utf8))
            }
        }
        #expect(accepted > bytes.count)
    }

    @Test("one cluster's gids do not start with another's prefix")
    func prefixes() throws {
        let gid = try #require(GID("tandem1:myXapp:018f3e2a-7c4b-7d11-9a52-0123456789ab:2:c1"))
        #expect(!gid.description.hasPrefix(GID.prefix(of: "my_app")))
        #expect(!gid.description.hasPrefix(GID.prefix(of: "myX")))
    }
}
