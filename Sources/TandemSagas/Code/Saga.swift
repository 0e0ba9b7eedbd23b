import Foundation

/// A saga in Swift: a function whose steps are remembered, so that another process goes on behind the last one that is done.
///
/// ```swift
/// let transfer = Saga("transfer", version: 1) { (saga, input: Transfer) async throws -> Int64 in
///     let hold = try await saga.step("hold", on: "bankA") { branch in
///         try await branch.query("INSERT INTO hold (amount) VALUES (\(input.amount)) RETURNING id", as: Int64.self)[0]
///     } undo: { branch, hold in
///         if let hold { try await branch.execute("DELETE FROM hold WHERE id = \(hold)") }
///     }
///     try await saga.step("credit", on: "bankB") { branch in
///         try await branch.execute("UPDATE account SET balance = balance + \(input.amount) WHERE id = \(input.to)", rows: 1...1)
///     } undo: { branch, _ in
///         try await branch.execute("UPDATE account SET balance = balance - \(input.amount) WHERE id = \(input.to)")
///     }
///     return hold
/// }
/// ```
///
/// The function runs anew in another process, or after a long pause: steps that are done then answer with what they left, and do nothing. So it has to ask for the same
/// steps by the same names when they answer the same: what changes from run to run (time, random numbers, what a service says) it takes from ``SagaContext``.
/// What if it asks for others? Then the saga parks, with an error that says which steps are recorded and which were asked for; a changed function needs a new version.
public struct Saga<Input: Codable & Sendable, Output: Codable & Sendable>: Sendable {
    /// The saga's name: of a kind of saga, not of one that runs.
    public let name: String
    /// Grows with each change; a process runs the versions that it has registered.
    public let version: Int
    /// How long one saga may take from its start; then it turns back, unless it is past its pivot. `nil` for no limit.
    public var deadline: Duration?
    /// What happens to the other steps when one cannot be undone.
    public var undoFailure = SagaDefinition.UndoFailure.halt
    let body: @Sendable (SagaContext, Input) async throws -> Output

    /// A saga.
    ///
    /// - Parameters:
    ///   - name: of the kind of saga.
    ///   - version: grows with each change.
    ///   - deadline: how long one saga may take from its start.
    ///   - body: its steps. An error that it throws turns the saga back.
    public init(
        _ name: String, version: Int, deadline: Duration? = nil, _ body: @escaping @Sendable (_ saga: SagaContext, _ input: Input) async throws -> Output
    ) {
        self.name = name
        self.version = version
        self.deadline = deadline
        self.body = body
    }

    var erased: CodeSaga {
        let body = body
        return CodeSaga(name: name, version: version, deadline: deadline, undoFailure: undoFailure) { context, input in
            let input = try SagaJSON.decode(Input.self, input)
            return try SagaJSON.encode(try await body(context, input))
        }
    }
}

/// A saga in Swift, whatever its types.
struct CodeSaga: Sendable {
    let name: String
    let version: Int
    let deadline: Duration?
    let undoFailure: SagaDefinition.UndoFailure
    let run: @Sendable (SagaContext, String) async throws -> String

    /// The text by which it is known: a program has the function, nobody else does.
    var text: String { "swift \(version) \(name)" }
}

/// Values of Swift as the JSON that is kept of them.
enum SagaJSON {
    static func encode(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    static func decode<Value: Decodable>(_ type: Value.Type, _ text: String) throws -> Value {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        return try decoder.decode(type, from: Data(text.utf8))
    }
}
