/// What the clients of a chaos run do.
package enum Workload: String, CaseIterable, Sendable, Codable {
    /// Money is moved between accounts of two nodes, with an entry in a ledger on both.
    case bank
    /// Numbers are appended to lists, and lists are read: from what was read the order of the transactions follows.
    case listAppend = "list-append"
    /// Sagas move money between two nodes, and a third one refuses some of them; the coordinators run them for each other.
    case saga

    /// What is created on each node before the run.
    var schema: [String] {
        switch self {
        case .bank: BankWorkload.schema
        case .listAppend: ListAppendWorkload.schema
        case .saga: SagaWorkload.schema
        }
    }
}
