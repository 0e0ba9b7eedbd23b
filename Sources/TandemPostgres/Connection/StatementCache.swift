/// The prepared statements of one session, by text, with a bound: the one used longest ago makes room.
struct StatementCache {
    /// A plan and its statement cost the server some tens of kilobytes each.
    static let capacity = 256

    private struct Entry {
        let name: String
        var lastUse: UInt64
    }

    private var entries: [StatementText: Entry] = [:]
    private var clock: UInt64 = 0
    private var named: UInt64 = 0

    /// The name under which `text` is prepared, if it is.
    mutating func name(for text: StatementText) -> String? {
        guard let index = entries.index(forKey: text) else { return nil }
        clock &+= 1
        entries.values[index].lastUse = clock
        return entries.values[index].name
    }

    /// A name that this session has not used yet, and that no `PREPARE` of a user takes by chance.
    mutating func freshName() -> String {
        named += 1
        return "tandem_\(named)"
    }

    /// Remembers a statement once the server has said that it is prepared.
    mutating func insert(_ text: StatementText, name: String) {
        clock &+= 1
        entries[text] = Entry(name: name, lastUse: clock)
    }

    /// Forgets a statement, and returns the name that it had.
    mutating func remove(_ text: StatementText) -> String? { entries.removeValue(forKey: text)?.name }

    mutating func removeAll() { entries.removeAll(keepingCapacity: true) }

    /// The statement that has to go when there is no room, which the caller deallocates at the server.
    mutating func evict() -> String? {
        guard let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse }) else { return nil }
        entries[oldest.key] = nil
        return oldest.value.name
    }

    var count: Int { entries.count }
}
