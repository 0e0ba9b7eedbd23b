import Foundation

/// The faults that Tandem is tested against. Which of them have a test stands in the first table of docs/proof.md, and why the others have none in the second.
enum FaultMatrix {
    /// All rows: A what happens to a coordinator, B to a node, C to a connection, D to a clock, E to those who recover, F to later capabilities, G to versions.
    static let rows: [String] =
        numbers("A", 17) + numbers("B", 26) + numbers("C", 8) + numbers("D", 1) + numbers("E", 3) + numbers("F", 8) + numbers("G", 3)

    /// One line of the table: its rows, and the files of tests that it names.
    struct Entry {
        let rows: [String]
        let files: [String]
    }

    static let root = URL(filePath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func numbers(_ section: String, _ count: Int) -> [String] { (1...count).map { "\(section)\($0)" } }

    private static func text() throws -> String { try String(contentsOf: root.appending(path: "docs/proof.md"), encoding: .utf8) }

    static func table() throws -> [Entry] {
        let line = try Regex(#"^\| ([A-G][0-9]+(?:, [A-G][0-9]+)*) \| [^|]+ \| ([^|]+) \|$"#, as: (Substring, Substring, Substring).self)
            .anchorsMatchLineEndings()
        let file = try Regex("`([A-Za-z]+)`", as: (Substring, Substring).self)
        return try text().matches(of: line).map { match in
            Entry(
                rows: match.output.1.split(separator: ", ").map(String.init), files: match.output.2.matches(of: file).map { String($0.output.1) })
        }
    }

    /// The rows without a test, and why.
    static func reasons() throws -> [(rows: [String], reason: String)] {
        let line = try Regex(#"^\| ([A-G][0-9]+(?:, [A-G][0-9]+)*) \| ([^|]+) \|$"#, as: (Substring, Substring, Substring).self).anchorsMatchLineEndings()
        return try text().matches(of: line).map { ($0.output.1.split(separator: ", ").map(String.init), String($0.output.2)) }
    }
}
