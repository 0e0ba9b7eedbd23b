import Foundation
import Testing

/// The guides show code that is compiled: each block stands, line by line, in the file of the same name below Examples/Guides.
@Suite("The guides")
struct GuidesTests {
    private static let guides: [String] = {
        let folder = Documents.root.appending(path: "docs/Tandem.docc").path
        return ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { $0.hasSuffix(".md") && $0 != "Tandem.md" }.sorted()
    }()

    private func lines(_ text: String) -> [String] {
        text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }

    @Test("are there")
    func found() { #expect(Self.guides.count >= 4) }

    @Test("show what is compiled, and nothing else", arguments: guides)
    func blocks(guide: String) throws {
        let blocks = Documents.blocks(of: "swift", in: try Documents.text("docs/Tandem.docc/\(guide)"))
        let source = lines(try Documents.text("Examples/Guides/\(guide.dropLast(3)).swift"))
        #expect(!blocks.isEmpty)
        for block in blocks.map(lines) {
            let isFound = source.indices.contains { start in source[start...].starts(with: block) }
            #expect(isFound, "\(guide): \(block.first ?? "") ...")
        }
    }
}
