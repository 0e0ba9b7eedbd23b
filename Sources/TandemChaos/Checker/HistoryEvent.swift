/// What a line of a history says beside its operations.
struct HistoryEvent {
    /// What a line tells about.
    enum Subject {
        case run, transaction, other
    }

    enum Kind: String {
        case invoke, ok, fail, info
    }

    /// The fields that matter. A line may have others, and have all of them in any order.
    enum Field: String {
        case f, type, value, process, transaction, final, nodes
    }

    var subject: Subject?
    var kind: Kind?
    var process: Int64?
    var isFinal = false
    /// Where the id stands.
    var id: Range<Int>?
    /// Where the value begins, and the list of nodes.
    var value: Int?
    var nodes: Int?
    /// Whether the value's operations have been read.
    var hasOperations = false
}

extension HistoryEvent.Field {
    /// - Parameters:
    ///   - name: where the name stands.
    ///   - scanner: in what.
    init?(_ name: Range<Int>, in scanner: borrowing ByteScanner) {
        let candidate: Self
        switch name.count {
        case 1: candidate = .f
        case 4: candidate = .type
        case 5: candidate = scanner.isText(name, "value") ? .value : scanner.isText(name, "final") ? .final : .nodes
        case 7: candidate = .process
        case 11: candidate = .transaction
        default: return nil
        }
        guard scanner.isText(name, candidate.rawValue) else { return nil }
        self = candidate
    }
}
