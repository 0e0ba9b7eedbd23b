public import TandemCore

/// What an examination of the nodes has found.
public struct DoctorReport: Sendable, Codable {
    /// How a check ended.
    public enum Status: String, Sendable, Codable, Comparable {
        /// As it should be.
        case ok
        /// Works, and deserves a look.
        case notice
        /// Wrong: transactions fail, or are less safe than they should be.
        case problem

        /// In the order of their weight.
        public static func < (lhs: Status, rhs: Status) -> Bool { lhs.weight < rhs.weight }

        private var weight: Int {
            switch self {
            case .ok: 0
            case .notice: 1
            case .problem: 2
            }
        }
    }

    /// One check of one node.
    public struct Finding: Sendable, Codable {
        /// The node.
        public let node: NodeName
        /// What was looked at, one word: `version`, `slots`, `rights`, ...
        public let check: String
        /// How it ended.
        public let status: Status
        /// What was seen.
        public let message: String
        /// The SQL that mends it, where SQL does.
        public let sql: String?

        package init(_ node: NodeName, _ check: String, _ status: Status, _ message: String, sql: String? = nil) {
            self.node = node
            self.check = check
            self.status = status
            self.message = message
            self.sql = sql
        }
    }

    /// The findings, node by node in the configuration's order.
    public let findings: [Finding]

    /// A report of findings.
    package init(findings: [Finding]) { self.findings = findings }

    /// The gravest of them.
    public var status: Status { findings.map(\.status).max() ?? .ok }
}
