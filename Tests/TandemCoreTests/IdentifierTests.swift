import Testing

@testable import TandemCore

@Suite("Names and numbers")
struct IdentifierTests {
    /// What must never pass for a name, or stand in a gid.
    static let hostile = [
        "", " ", "a b", "a'b", "a\"b", "a;b", "a:b", "a\nb", "a\r\n", "a\0", "\0", "a%b", "a\\b", "a/b", "ä", "a\u{301}", "\u{212A}", "名",
        "🏦",
        "a\u{200B}", "a\u{202E}b", String(repeating: "x", count: 200),
    ]

    @Test("a hostile text is no name", arguments: hostile)
    func refusesHostileNames(_ text: String) {
        #expect(throws: NodeName.Invalid(text: text)) { try NodeName(text) }
        #expect(throws: ClusterName.Invalid(text: text)) { try ClusterName(text) }
    }

    @Test("the name of a node has 1 to 63 bytes and starts with a letter or digit")
    func nodeNameBounds() throws {
        let longest = String(repeating: "n", count: 63)
        #expect(try NodeName(longest).rawValue == longest)
        #expect(throws: NodeName.Invalid.self) { try NodeName(longest + "n") }
        for text in ["-a", ".a", "_a"] { #expect(throws: NodeName.Invalid.self) { try NodeName(text) } }
        for text in ["a", "0", "bank-a", "n.1_x"] { #expect(try NodeName(text).description == text) }
    }

    @Test("the name of a cluster has 1 to 16 bytes")
    func clusterNameBounds() throws {
        let longest = String(repeating: "c", count: 16)
        #expect(try ClusterName(longest).rawValue == longest)
        #expect(throws: ClusterName.Invalid.self) { try ClusterName(longest + "c") }
        for text in ["_", "my_app", "-", "9.x"] { #expect(try ClusterName(text).description == text) }
    }

    @Test("what is said of a refused name is short, on one line, and printable ASCII", arguments: hostile)
    func refusalIsPrintable(_ text: String) {
        let description = NodeName.Invalid(text: text).description
        let printable = UInt8(ascii: " ")...UInt8(ascii: "~")
        #expect(description.utf8.allSatisfy(printable.contains))
        #expect(description.utf8.count < 600)
    }

    @Test("a literal is a name")
    func literals() throws {
        let node: NodeName = "bank-a"
        let cluster: ClusterName = "bank"
        let nodeText = "bank-a"
        let clusterText = "bank"
        #expect(try node == NodeName(nodeText))
        #expect(try cluster == ClusterName(clusterText))
    }

    @Test("names are ordered by their bytes")
    func nameOrder() {
        let names: [NodeName] = ["b", "a", "B", "a-b", "10", "2"]
        #expect(names.sorted().map(\.rawValue) == ["10", "2", "B", "a", "a-b", "b"])
    }

    @Test("the id of a node is 1 to 32767")
    func nodeIDBounds() {
        #expect(NodeID(rawValue: 0) == nil)
        #expect(NodeID(rawValue: -1) == nil)
        #expect(NodeID(rawValue: .min) == nil)
        #expect(NodeID(rawValue: 1)?.rawValue == 1)
        #expect(NodeID(rawValue: .max)?.rawValue == 32767)
    }

    @Test("every id of a node reads back from base 32")
    func base32() {
        for number in Int16(1)...Int16.max {
            let id = NodeID(rawValue: number)
            #expect(id != nil && id == NodeID(base32: id?.base32 ?? ""))
        }
        #expect(NodeID(rawValue: 31)?.base32 == "v")
        #expect(NodeID(rawValue: 32)?.base32 == "10")
        #expect(NodeID(rawValue: .max)?.base32 == "vvv")
    }

    @Test(
        "another way of writing a number is no id",
        arguments: ["", "0", "00", "01", "001", "A", "V", "w", "z", "1000", "-1", "+1", " 1", "1 ", "1\0", "١"])
    func refusesBase32(_ text: String) {
        #expect(NodeID(base32: text) == nil)
    }

    @Test("a SQLSTATE is five of 0-9 and A-Z")
    func sqlState() {
        #expect(SQLState(rawValue: "23505") == .uniqueViolation)
        #expect(SQLState(rawValue: "40P01") == .deadlockDetected)
        #expect(SQLState.uniqueViolation.errorClass == "23")
        for text in ["", "2350", "235055", "4000a", "40 01", "4000\n", "4000é"] { #expect(SQLState(rawValue: text) == nil) }
    }
}
