public import TandemCore

/// A saga as data: its steps, in which order they run, and what undoes each.
///
/// It is usually read from a file, see docs/sagas.md for the form. A saga that has begun keeps the definition that it began with.
public struct SagaDefinition: Sendable, Hashable, Codable {
    /// What happens to the other steps when one cannot be undone.
    public enum UndoFailure: String, Sendable, Hashable, Codable, CaseIterable {
        /// Those before it stay as they are, until an operator has decided.
        case halt
        /// They are undone all the same; then an operator has to look.
        case `continue`
    }

    /// The saga's name: of a kind of saga, not of one that runs.
    public var name: String
    /// Grows with each change.
    public var version: Int
    /// How long one saga may take from its start; then it turns back, unless it is past its pivot. `nil` for no limit.
    public var deadline: Duration?
    /// What happens to the other steps when one cannot be undone.
    public var undoFailure: UndoFailure
    /// The steps.
    public var steps: [Step]

    /// A definition; ``defects(nodes:)`` finds what is wrong with it.
    ///
    /// - Parameters:
    ///   - name: the saga's name.
    ///   - version: grows with each change.
    ///   - deadline: how long one saga may take from its start; `nil` for no limit.
    ///   - undoFailure: what happens to the other steps when one cannot be undone.
    ///   - steps: the steps.
    public init(_ name: String, version: Int, deadline: Duration? = nil, undoFailure: UndoFailure = .halt, steps: [Step]) {
        self.name = name
        self.version = version
        self.deadline = deadline
        self.undoFailure = undoFailure
        self.steps = steps
    }
}

extension SagaDefinition {
    /// One step.
    public struct Step: Sendable, Hashable, Codable {
        /// The step's name, with which later steps name its output.
        public var name: String
        /// The steps that must be done before; `nil` for the one that stands before it.
        public var needs: [String]?
        /// What it does.
        public var action: Action
        /// What undoes it; `nil` where the definition does not say.
        public var undo: Undo?
        /// Whether the saga only goes forward once this is done.
        public var isPivot: Bool
        /// Whether it is tried again whatever the error was: what stands behind the pivot must be.
        public var isRetriable: Bool
        /// How often and how fast it is tried again.
        public var retry: Retry
        /// How long one attempt may take.
        public var timeout: Duration
        /// A resource that no other saga has while this one runs, taken in the step's transaction; a template as in ``Request/url``.
        public var lock: String?
        /// Whether a lock that another saga has fails the step at once; else it is tried again.
        public var failsWhenLocked: Bool

        /// A step with its defaults.
        ///
        /// - Parameters:
        ///   - name: the step's name.
        ///   - action: what it does.
        ///   - undo: what undoes it; `nil` where the definition does not say.
        public init(_ name: String, _ action: Action, undo: Undo?) {
            self.name = name
            self.action = action
            self.undo = undo
            isPivot = false
            isRetriable = false
            retry = Retry()
            timeout = .seconds(30)
            failsWhenLocked = false
        }
    }

    /// What a step does.
    public enum Action: Sendable, Hashable, Codable {
        /// Statements on one node, one transaction together with the step's record. The row that the last one returns is the step's output.
        case sql(NodeName, [Statement])
        /// A request to a service.
        case http(Request)
        /// Statements on several nodes that commit together. It has no output.
        case twoPhase([Operation])
        /// An event that leaves a node with the step's record. It has no output.
        case outbox(NodeName, Event)
        /// Waits; whoever runs the saga then goes on.
        case timer(Duration)
        /// Waits until somebody sends a signal, whose data is the output; when the time is over the step fails. `nil` waits for ever.
        case signal(String, timeout: Duration?)
    }

    /// What undoes a step.
    public enum Undo: Sendable, Hashable, Codable {
        /// Nothing does, and nothing has to.
        case none
        /// Statements on the step's node, one transaction together with the record of the undoing.
        case sql([Statement])
        /// A request to a service.
        case http(Request)
        /// Statements on several nodes that commit together.
        case twoPhase([Operation])
        /// An event of the step's node that tells of the contrary.
        case outbox(Event)
    }

    /// One statement, whose values have names: `:saga_id`, `:input.key`, `:STEP.key` for a step's output, and in an undo `:output.key` for its own step's.
    public struct Statement: Sendable, Hashable, Codable {
        /// The text.
        public var sql: String
        /// How many rows it must touch or return; any number by default.
        public var expectedRows: ClosedRange<Int>?

        /// A statement.
        ///
        /// - Parameters:
        ///   - sql: the text.
        ///   - expectedRows: how many rows it must touch or return.
        public init(_ sql: String, expectedRows: ClosedRange<Int>? = nil) {
            self.sql = sql
            self.expectedRows = expectedRows
        }
    }

    /// One statement on one node.
    public struct Operation: Sendable, Hashable, Codable {
        /// The node.
        public var node: NodeName
        /// The statement.
        public var statement: Statement

        /// A statement on a node.
        ///
        /// - Parameters:
        ///   - node: the node.
        ///   - statement: the statement.
        public init(_ node: NodeName, _ statement: Statement) {
            self.node = node
            self.statement = statement
        }
    }

    /// A request of HTTP. It carries the header `Idempotency-Key`, the same for each attempt.
    public struct Request: Sendable, Hashable, Codable {
        /// `POST`, `PUT`, ...
        public var method: String
        /// A template: `{input.key}`, `{saga_id}`, `{STEP.key}` stand for values.
        public var url: String
        /// Headers; their values are templates.
        public var headers: [String: String]
        /// A JSON text, in which a string that is one `{name}` stands for that value, and others are templates; `nil` for none.
        public var body: String?
        /// Statuses that mean that the service refuses for good: the step fails. Other 4xx do, too, except 408, 409, 425 and 429.
        public var refusals: [Int]

        /// A request.
        ///
        /// - Parameters:
        ///   - method: `POST`, `PUT`, ...
        ///   - url: a template.
        ///   - headers: their values are templates.
        ///   - body: a JSON text.
        ///   - refusals: statuses that mean that the service refuses for good.
        public init(_ method: String, _ url: String, headers: [String: String] = [:], body: String? = nil, refusals: [Int] = []) {
            self.method = method
            self.url = url
            self.headers = headers
            self.body = body
            self.refusals = refusals
        }
    }

    /// How often and how fast something is tried again, with full jitter.
    public struct Retry: Sendable, Hashable, Codable {
        /// How often it may run in all.
        public var attempts: Int
        /// The bound of the first wait, which doubles each time.
        public var base: Duration
        /// The bound that no wait exceeds.
        public var cap: Duration
        /// SQLSTATEs, or their first two characters, that are tried again beside those of connections, locks and serialisation.
        public var errors: [String]
        /// SQLSTATEs, or their first two characters, that fail the step at once.
        public var failures: [String]

        /// A policy.
        ///
        /// - Parameters:
        ///   - attempts: how often it may run in all.
        ///   - base: the bound of the first wait.
        ///   - cap: the bound that no wait exceeds.
        ///   - errors: SQLSTATEs that are tried again beside the usual ones.
        ///   - failures: SQLSTATEs that fail the step at once.
        public init(attempts: Int = 10, base: Duration = .milliseconds(200), cap: Duration = .seconds(30), errors: [String] = [], failures: [String] = []) {
            self.attempts = attempts
            self.base = base
            self.cap = cap
            self.errors = errors
            self.failures = failures
        }

        /// How long to wait after a number of failed attempts.
        func delay(after count: Int) -> Duration {
            Backoff(base: base, cap: cap).delay(attempt: count - 1, random: .random(in: 0..<1)) + .milliseconds(1)
        }

        /// For what undoes a step, and for steps behind the pivot: about an hour and a half.
        static let persistent = Retry(attempts: 25, base: .milliseconds(500), cap: .seconds(300))
    }
}
