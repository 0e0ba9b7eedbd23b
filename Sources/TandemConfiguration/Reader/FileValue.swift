import Yams

/// A value of a file, whether it is written in YAML or in JSON: each scalar with the characters that stand there.
struct FileValue: Sendable {
    enum Content: Sendable {
        /// An empty value, `~` or `null` without quotes.
        case null
        /// A text: in quotes, or tagged as one.
        case text(String)
        /// Without quotes: what it is depends on where it stands.
        case plain(String)
        /// A number as JSON writes it.
        case number(String)
        case list([FileValue])
        case section([(name: FileValue, value: FileValue)])
        /// A reference of YAML that leads nowhere.
        case dangling
    }

    let content: Content
    /// From 1; `nil` where it is not known, and that of what stands around it counts.
    let line: Int?
}

extension FileValue {
    /// The value of a YAML node.
    init(_ node: Node) {
        content =
            switch node {
            case .scalar(let scalar): Self.content(of: scalar, node)
            case .sequence(let nodes): .list(nodes.map { FileValue($0) })
            case .mapping(let pairs): .section(pairs.map { (FileValue($0), FileValue($1)) })
            case .alias: .dangling
            }
        line = node.mark?.line
    }

    private static func content(of scalar: Node.Scalar, _ node: Node) -> Content {
        if node.tag == Tag(.null) || (scalar.style == .plain && scalar.string.isEmpty) { return .null }
        return scalar.style == .plain && scalar.tag.rawValue != Tag.Name.str.rawValue ? .plain(scalar.string) : .text(scalar.string)
    }
}
