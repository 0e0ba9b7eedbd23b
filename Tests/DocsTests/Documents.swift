import Foundation

/// The documents of the package, as they lie beside the sources.
enum Documents {
    /// The folder of Package.swift.
    static let root = URL(filePath: #filePath).resolvingSymlinksInPath().appending(path: "../../..").standardizedFileURL

    static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appending(path: path), encoding: .utf8)
    }

    /// The fenced blocks of a document that are in one language, without their fences.
    static func blocks(of language: String, in document: String) -> [String] {
        var blocks: [String] = []
        var block: [Substring]?
        for line in document.split(separator: "\n", omittingEmptySubsequences: false) {
            if let lines = block {
                if line == "```" {
                    blocks.append(lines.joined(separator: "\n") + "\n")
                    block = nil
                } else {
                    block = lines + [line]
                }
            } else if line == "```\(language)" {
                block = []
            }
        }
        return blocks
    }
}
