import TandemCore

/// Lines of a history, in the form of Jepsen's: an event each, and what it says stands in it.
///
/// A transaction is written down before it is sent (`invoke`), and again when its outcome is told: `ok` is acknowledged, `fail` is rolled back for good, `info` is
/// unknown. Without a second line it is unknown as well.
enum HistoryLine {
    /// How a transaction ended, as its caller was told.
    enum End: String {
        case ok, fail, info
    }

    static func invoke(_ process: Int, _ kind: String, _ value: String, _ transaction: TransactionID, nodes: [NodeName]) -> String {
        let nodes = nodes.map { "\"\($0)\"" }.joined(separator: ",")
        return
            #"{"process":\#(process),"type":"invoke","f":"\#(kind)","value":\#(value),"time":\#(now()),"transaction":"\#(transaction)","nodes":[\#(nodes)]}"#
    }

    static func end(_ end: End, _ process: Int, _ kind: String, _ value: String, _ transaction: TransactionID, error: TandemError? = nil) -> String {
        let reason = error.map { #","error":"\#($0.code)","sqlstate":"\#($0.sqlState?.rawValue ?? "")","phase":"\#($0.phase ?? "")""# } ?? ""
        return
            #"{"process":\#(process),"type":"\#(end.rawValue)","f":"\#(kind)","value":\#(value),"time":\#(now()),"transaction":"\#(transaction)"\#(reason)}"#
    }

    /// What is there at the end, read from the nodes themselves.
    static func final(_ kind: String, node: NodeName, _ value: String) -> String {
        #"{"process":-1,"type":"ok","f":"\#(kind)","final":true,"node":"\#(node)","value":\#(value),"time":\#(now())}"#
    }

    /// What recovery says became of a transaction whose caller was told nothing.
    static func outcome(_ transaction: TransactionID, _ outcome: Outcome) -> String {
        #"{"process":-1,"type":"info","f":"outcome","value":"\#(outcome.rawValue)","time":\#(now()),"transaction":"\#(transaction)"}"#
    }

    static func fault(_ kind: FaultKind, target: String, isHealed: Bool) -> String {
        #"{"process":-1,"type":"info","f":"nemesis","value":"\#(kind.rawValue)","target":"\#(target)","healed":\#(isHealed),"time":\#(now())}"#
    }

    /// Nanoseconds of the clock that all processes of the machine share and nobody sets.
    static func now() -> UInt64 { UInt64(max(0, MonotonicTime.now)) }
}
