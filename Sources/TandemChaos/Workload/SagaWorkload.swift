import TandemCluster
import TandemCore
import TandemPostgres
import TandemSagas
import TandemTransactions

/// Sagas that move money between two nodes, with a last step on a third one that refuses some of them. Each effect leaves an entry, and there is no key that would
/// hide a second one.
struct SagaWorkload: Sendable {
    /// Accounts on each node.
    static let accounts = 200

    static let schema = [
        // Without a limit: what a saga has moved may be gone when it turns back.
        "CREATE TABLE chaos_account (id integer PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 50)",
        "INSERT INTO chaos_account SELECT n, 0 FROM generate_series(1, \(accounts)) n",
        "CREATE TABLE chaos_effect (saga_id uuid NOT NULL, step text NOT NULL, op text NOT NULL, amount bigint NOT NULL)",
    ]

    /// How sagas run here: a worker that is gone is missed soon.
    static func options(_ concurrency: Int) -> SagaOptions {
        var options = SagaOptions()
        options.lease = .seconds(2)
        options.poll = .milliseconds(50)
        options.patience = .seconds(2)
        options.concurrency = concurrency
        return options
    }

    let sagas: Sagas
    let nodes: [NodeName]

    /// A saga and its input.
    func next(_ random: inout FastRandom) -> (definition: SagaDefinition, input: String, nodes: [NodeName]) {
        let from = random.next(nodes.count), to = (from + 1 + random.next(nodes.count - 1)) % nodes.count, last = random.next(nodes.count)
        let input =
            #"{"from":\#(1 + random.next(Self.accounts)),"to":\#(1 + random.next(Self.accounts)),"amount":\#(1 + random.next(50)),"divisor":\#(random.next(4) == 0 ? 0 : 1)}"#
        return (Self.definition(nodes[from], nodes[to], nodes[last], isParallel: random.next(3) == 0), input, [nodes[from], nodes[to], nodes[last]])
    }

    private static func definition(_ from: NodeName, _ to: NodeName, _ last: NodeName, isParallel: Bool) -> SagaDefinition {
        func step(_ name: String, _ node: NodeName, _ account: String, _ sign: String, _ back: String) -> SagaDefinition.Step {
            func effect(_ op: String, _ sign: String) -> SagaDefinition.Statement {
                .init("INSERT INTO chaos_effect (saga_id, step, op, amount) VALUES (:saga_id, '\(name)', '\(op)', \(sign):input.amount::int8)")
            }
            return .init(
                name,
                .sql(
                    node,
                    [
                        .init("UPDATE chaos_account SET balance = balance \(sign) :input.amount WHERE id = :input.\(account)", expectedRows: 1...1),
                        effect("do", sign),
                    ]),
                undo: .sql([.init("UPDATE chaos_account SET balance = balance \(back) :input.amount WHERE id = :input.\(account)"), effect("undo", back)]))
        }
        var steps = [
            step("debit", from, "from", "-", "+"), step("credit", to, "to", "+", "-"),
            .init(
                "judge", .sql(last, [.init("INSERT INTO chaos_effect (saga_id, step, op, amount) VALUES (:saga_id, 'judge', 'do', 0 / :input.divisor::int8)")]),
                undo: .sql([.init("INSERT INTO chaos_effect (saga_id, step, op, amount) VALUES (:saga_id, 'judge', 'undo', 0)")])),
        ]
        if isParallel { (steps[1].needs, steps[2].needs) = ([], ["debit", "credit"]) }
        for index in steps.indices {
            steps[index].retry = .init(attempts: 100, base: .milliseconds(20), cap: .seconds(1))
            // A commit whose answer is lost is waited for so long, also by a coordinator that is told to end.
            steps[index].timeout = .seconds(4)
        }
        return SagaDefinition("chaos \(from) \(to) \(last)\(isParallel ? " parallel" : "")", version: 1, steps: steps)
    }
}
