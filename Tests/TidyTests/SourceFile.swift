/// One text file of the package.
struct SourceFile: Sendable {
    /// Relative to the package, with '/' between folders.
    let path: String
    let text: String
    /// The file seen as Swift code; nil for files in another language.
    let swift: SourceText?

    init(path: String, text: String) {
        self.path = path
        self.text = text
        swift = path.hasSuffix(".swift") ? SourceText(text) : nil
    }

    /// The folders on the way to the file, and its name.
    var components: [String] {
        path.split(separator: "/").map(String.init)
    }

    /// The target that the file belongs to: the folder under Sources or Tests, or "Examples"; nil for a file at the top.
    var room: String? {
        switch components.first {
        case "Sources", "Tests": components.count > 2 ? components[1] : nil
        case "Examples": "Examples"
        default: nil
        }
    }

    func isIn(_ folders: String...) -> Bool {
        folders.contains { path.hasPrefix($0 + "/") }
    }

    /// The modules that the file imports, with the line.
    var imports: [(line: Int, module: String)] {
        guard let swift else { return [] }
        return Self.importLine.matches(in: swift.code).map { ($0.line, $0.text) }
    }

    /// What `pattern` finds in the code of the file, each as "path:line: found".
    func violations(of pattern: Pattern, _ complaint: String) -> [String] {
        guard let swift else { return [] }
        return pattern.matches(in: swift.code).map { "\(path):\($0.line): \($0.text) \(complaint)" }
    }

    private static let importLine = Pattern(
        #"^[ \t]*(?:@\w+(?:\([^)\n]*\))?[ \t]+)*(?:(?:public|package|internal|fileprivate|private)[ \t]+)?import[ \t]+"#
            + #"(?:(?:struct|class|enum|protocol|actor|func|var|let|typealias)[ \t]+)?([A-Za-z_]\w*)"#)
}
