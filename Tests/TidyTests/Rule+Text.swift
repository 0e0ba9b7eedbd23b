import Foundation

extension Rule {
    static let text: [Rule] = [nothingIsPostponed, nothingIsPrinted, readmeIsShort, metricsAreListed, linksResolve]

    static let nothingIsPostponed = Rule("nothing in the sources is postponed") { house in
        let marks = Pattern(#"\b(TODO|FIXME|XXX)\b"#)
        return house.sources.flatMap { file in
            marks.matches(in: file.text).map { "\(file.path):\($0.line): \($0.text) belongs into an issue" }
        }
    }

    static let nothingIsPrinted = Rule("only the command, the benchmark and the examples print") { house in
        let rooms: Set = ["TandemCommand", "TandemBench"]
        let printing = Pattern(#"(?<![.\w`])(?<!func )(print|debugPrint|dump)\s*\("#)
        return house.sources.filter { !rooms.contains($0.room ?? "") }.flatMap { $0.violations(of: printing, "belongs into the command") }
    }

    static let readmeIsShort = Rule("the README has at most 150 lines") { house in
        guard let readme = house.file("README.md") else { return [] }
        let lines = readme.text.split(separator: "\n", omittingEmptySubsequences: false).count - (readme.text.hasSuffix("\n") ? 1 : 0)
        return lines > 150 ? ["README.md has \(lines) lines"] : []
    }

    static let metricsAreListed = Rule("docs/metrics.md lists every metric of the sources, and no other") { house in
        let name = Pattern(#""(tandem_[a-z_]+)""#), row = Pattern(#"^\| `(tandem_[a-z_]+)`"#)
        let made = Set(house.sources.filter { $0.path.hasSuffix("/Telemetry.swift") }.flatMap { name.matches(in: $0.text).map(\.text) })
        let listed = Set(house.file("docs/metrics.md").map { row.matches(in: $0.text).map(\.text) } ?? [])
        return made.subtracting(listed).sorted().map { "docs/metrics.md does not list \($0)" }
            + listed.subtracting(made).sorted().map { "docs/metrics.md lists \($0), which nobody makes" }
    }

    static let linksResolve = Rule("every relative link of a Markdown file leads to a file of the package") { house in
        let link = Pattern(#"\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)|^\[[^\]^\n]+\]:\s*<?([^\s>]+)"#)
        let scheme = Pattern(#"\A[A-Za-z][A-Za-z0-9+.-]*:"#, options: [])
        return house.files.filter { $0.path.hasSuffix(".md") }.flatMap { file in
            link.matches(in: withoutCode(file.text)).filter { !scheme.isFound(in: $0.text) && !$0.text.hasPrefix("#") }
                .filter { match in target(of: match.text, from: file).map { !house.paths.contains($0) } ?? true }
                .map { "\(file.path):\($0.line): the link \($0.text) leads nowhere" }
        }
    }

    /// The path that a link names, or nil where it leaves the package.
    private static func target(of link: String, from file: SourceFile) -> String? {
        let written = String(link.prefix { $0 != "#" && $0 != "?" })
        let path = written.removingPercentEncoding ?? written
        var folders = path.hasPrefix("/") ? [] : Array(file.components.dropLast())
        for component in path.split(separator: "/") where component != "." {
            if component != ".." {
                folders.append(String(component))
            } else if folders.popLast() == nil {
                return nil
            }
        }
        // The top of the package is there.
        return folders.isEmpty ? file.path : folders.joined(separator: "/")
    }

    /// Markdown without fenced blocks and code spans, in which nothing is a link; lines keep their numbers.
    private static func withoutCode(_ markdown: String) -> String {
        var isFenced = false
        return markdown.split(separator: "\n", omittingEmptySubsequences: false).map { line -> String in
            let isFence = ["```", "~~~"].contains { line.drop { $0 == " " }.hasPrefix($0) }
            if isFence { isFenced.toggle() }
            guard !isFence, !isFenced else { return "" }
            let parts = line.split(separator: "`", omittingEmptySubsequences: false)
            guard parts.count % 2 == 1 else { return String(line) }
            return stride(from: 0, to: parts.count, by: 2).map { String(parts[$0]) }.joined(separator: " ")
        }.joined(separator: "\n")
    }
}
