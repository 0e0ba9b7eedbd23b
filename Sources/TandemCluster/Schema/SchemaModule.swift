package import TandemCore
import TandemPostgres

/// The tables of one capability in the schema `tandem` of a node: a program names those that it uses when it initialises its nodes.
///
/// ```swift
/// try await Initialiser(configuration, modules: [.sagas, .idempotency]).run()
/// ```
public struct SchemaModule: Sendable {
    /// One version's step.
    package struct Step: Sendable {
        /// The version to which the step leads.
        package let version: Int
        /// The lowest version of a program's module that works with the tables from then on.
        package let needs: Int
        /// Statements; each ends with a semicolon before an empty line, and has none of these elsewhere.
        package let sql: String

        package init(version: Int, needs: Int, sql: [UInt8]) {
            self.version = version
            self.needs = needs
            self.sql = String(decoding: sql, as: UTF8.self)
        }
    }

    /// The module's name, as `tandem.module` has it.
    public let name: String
    package let steps: [Step]
    /// What removes the tables, whether or not all of them are there.
    package let removal: [String]
    /// What a program's role needs, with `ROLE` where its quoted name belongs.
    private let grants: [String]

    package init(_ name: String, steps: [Step], removal: [String], grants: [String]) {
        self.name = name
        self.steps = steps
        self.removal = removal
        self.grants = grants
    }

    /// The version that this program works with.
    package var version: Int { steps.map(\.version).max() ?? 0 }

    /// What gives a role the rights that a program needs.
    ///
    /// - Parameter role: the role's name.
    /// - Returns: the statements, which may be executed again.
    /// - Throws: `encodingFailed` where it cannot be a name.
    package func grants(to role: String) throws -> [String] {
        let role = try quoteIdentifier(role)
        return grants.map { $0.replacing("ROLE", with: role) }
    }

    /// Why this program does not work with the module's tables on a node; `nil` when it does.
    ///
    /// - Parameters:
    ///   - version: the version there; `nil` where there are no tables.
    ///   - leastProgram: the lowest version of the program that they serve.
    ///   - node: the node.
    /// - Returns: an error that says what to do.
    package func mismatch(version: Int?, leastProgram: Int, node: NodeName) -> TandemError? {
        guard let version else {
            return TandemError(.notInitialised, "the database has no tables of the module \(name)", node: node, nextStep: "run `tandem init`")
        }
        if version < self.version {
            return TandemError(
                .schemaMismatch, "the module \(name) has version \(version), this program works with \(self.version)", node: node, nextStep: "run `tandem init`"
            )
        }
        if leastProgram > self.version {
            return TandemError(
                .schemaMismatch, "the module \(name) has version \(version) and serves programs from \(leastProgram) on; this one has version \(self.version)",
                node: node, nextStep: "upgrade this program")
        }
        return nil
    }
}
