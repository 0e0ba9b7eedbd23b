import Logging
public import TandemCluster
public import TandemCore
import TandemFailpoints
public import TandemMessaging
import TandemPostgres
import TandemTransactions

/// Sends the rows of a table of another outbox to a sink, at least once and in the order of each aggregate, and marks them as sent.
///
/// Nothing of the table is changed but the status and the processed time of its rows, and nothing else is written. Any number may run, in any number of processes, beside the programs
/// that have drained the table so far: one relay has the turn at a time, for one batch. A table has one sink, since a row is sent once.
///
/// ```swift
/// let relay = try TableRelay(cluster, from: "orders", table: OutboxTable("outbox"), to: "broker", sink)
/// try await relay.run()
/// ```
///
/// A batch is one transaction of the node, which is open until the sink has answered: its rows are locked for as long, and batches are of such a size that a sink needs about a second. What
/// was delivered and whose marks did not commit is sent again, under the same ids. Another relay, or the next one, gives it new places, so ``TandemMessaging/Delivery/place`` tells no
/// duplicates here.
public struct TableRelay: Sendable {
    let cluster: Cluster
    let node: NodeName
    let table: OutboxTable
    let name: String
    let sink: any Sink
    let options: RelayOptions
    let telemetry: Telemetry

    /// A relay.
    ///
    /// - Parameters:
    ///   - cluster: whose node it is.
    ///   - node: the node of the table.
    ///   - table: the table.
    ///   - name: the sink's name, for metrics and logs. 1 to 63 letters, digits, `-`, `_` and `.`.
    ///   - sink: where events go.
    ///   - options: lease, batches, attempts. ``RelayOptions/refusal`` and ``RelayOptions/isFromStart`` mean nothing here: ``OutboxTable/failed`` says what becomes of a row that was refused
    ///     often enough, and all that is pending is sent.
    /// - Throws: `unknownNode`; `configurationInvalid` where the name is none, or where ``RelayOptions/topics`` are given: what is left out would stay pending for ever.
    public init(
        _ cluster: Cluster, from node: NodeName, table: OutboxTable, to name: String, _ sink: any Sink, options: RelayOptions = RelayOptions()
    ) throws {
        try OutboxRelay.check(name, from: node, in: cluster)
        guard options.topics.isEmpty else {
            throw TandemError(.configurationInvalid, "a table is drained as a whole, whatever the topics", node: node, nextStep: "leave the topics out")
        }
        guard options.shares == 1 else {
            throw TandemError(.configurationInvalid, "a table has no shares", node: node, nextStep: "leave the shares out")
        }
        self.cluster = cluster
        self.node = node
        self.table = table
        self.name = name
        self.sink = sink
        self.options = options
        telemetry = Telemetry(cluster.configuration, node, name)
    }

    /// Relays until the task is cancelled.
    ///
    /// A node or a sink that is down is waited for, as is a table that has changed since the beginning: the log says so.
    ///
    /// - Throws: `configurationInvalid` or `notPermitted` where the table is another one than is said, as long as it has never been found as it should be. Cancellation rolls back
    ///   what is under way, which leaves its rows pending, and ends without an error.
    public func run() async throws {
        var run = TableRun(relay: self)
        do { try await run.run() } catch {
            await sink.close()
            throw error
        }
        await sink.close()
    }
}
