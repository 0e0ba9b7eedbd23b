import TandemCore
import TandemCluster
import TandemPostgres
import TandemTransactions

/// The record of one step on its node, which makes that it happens once.
///
/// It is the first statement of the step's transaction, so a rival waits for it, and then fails with a violated key; and it commits with the effect, so it is there exactly
/// when that is. Undoing has a record of its own.
struct StepRecord: Sendable {
    /// What is recorded.
    enum Operation: String, Sendable {
        case `do` = "d"
        case undo = "u"
    }

    /// What a record says.
    enum Status: Sendable {
        case absent
        case done(output: String)
        case barred
    }

    /// The key that a second record violates.
    static let constraint = "saga_step_pkey"
    let saga: SagaID
    let step: String
    let epoch: Int64

    /// Writes the record, or violates ``constraint``.
    func insert(_ operation: Operation) -> SQL {
        SQL(
            "INSERT INTO tandem.saga_step (saga_id, step, op, epoch) VALUES ($1, $2, $3, $4)",
            parameters: [.text(saga.description), .text(step), .text(operation.rawValue), .text(String(epoch))])
    }

    /// Adds the output to the record that this transaction has written.
    func setOutput(_ output: String) throws -> SQL {
        try KeptJSON.checkSize(output, "the output of the step \(step)", effect: .rolledBack)
        return SQL(
            "UPDATE tandem.saga_step SET output = $3 WHERE saga_id = $1 AND step = $2 AND op = 'd'",
            parameters: [.text(saga.description), .text(step), .text(output)])
    }

    /// Records the step as done without doing it, unless it is recorded already: an operator has seen to it.
    func resolve(_ output: String) -> SQL {
        SQL(
            "INSERT INTO tandem.saga_step (saga_id, step, op, epoch, output) VALUES ($1, $2, 'd', $3, $4) ON CONFLICT DO NOTHING",
            parameters: [.text(saga.description), .text(step), .text(String(epoch)), .text(output)])
    }

    /// Takes a resource for the saga, or fails with TD423 where another one has it.
    func takeLock(_ resource: String) -> SQL {
        SQL("SELECT tandem.saga_take_lock($1, $2, $3)", parameters: [.text(resource), .text(saga.description), .text(step)])
    }

    /// What is recorded of the step itself.
    func read(on node: Node) async throws -> Status {
        let result = try await node.result(of: reading)
        guard result.rowCount > 0 else { return .absent }
        return Self.status(result.text(0, 0), output: result.text(0, 1))
    }

    /// Bars the step, unless it is recorded already.
    ///
    /// - Parameters:
    ///   - node: the step's node.
    ///   - cluster: its cluster.
    /// - Returns: what is recorded then; never that nothing is.
    /// - Throws: what a transaction of one node throws: whether it is barred is not known then, and it may be barred again.
    func bar(on node: NodeName, _ cluster: Cluster) async throws -> Status {
        let insert = SQL(
            "INSERT INTO tandem.saga_step (saga_id, step, op, status, epoch) VALUES ($1, $2, 'd', 'b', $3) ON CONFLICT DO NOTHING",
            parameters: [.text(saga.description), .text(step), .text(String(epoch))])
        // Read by a statement of its own, which sees what the first one has waited for.
        var request = TransactionRequest([.init(node, insert), .init(node, reading)])
        request.options.isRecorded = false
        let results = try await cluster.run(request).value
        guard let row = results.last?.values.first, let status = row.first ?? nil else {
            throw TandemError(.protocolViolation, "the record of the step \(step) is not there", node: node)
        }
        return Self.status(status, output: row.last.flatMap(\.self))
    }

    /// What is recorded of the step itself.
    private var reading: SQL {
        SQL(
            "SELECT status, coalesce(output, 'null') FROM tandem.saga_step WHERE saga_id = $1 AND step = $2 AND op = 'd'",
            parameters: [.text(saga.description), .text(step)])
    }

    private static func status(_ status: String?, output: String?) -> Status { status == "b" ? .barred : .done(output: output ?? "null") }
}
