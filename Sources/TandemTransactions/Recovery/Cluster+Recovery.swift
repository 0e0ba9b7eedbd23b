import Metrics
import Logging
public import TandemCluster
import TandemCore
import TandemPostgres

extension Cluster {
    /// Looks after the transactions of this cluster until the task is cancelled: finishes branches that were left prepared, whoever left them,
    /// removes rows that nobody needs any more, compares what is committed on one node with its other nodes, and ends deadlocks that no single node can see.
    ///
    /// Any number of processes may run it, next to each other and to any coordinators. It never fails because a node is down: it looks again.
    @concurrent
    public func run() async throws {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.lookAfterBranches() }
            group.addTask { await self.lookForDeadlocks() }
            // Everything that the registers remember may take long, and branches wait for nobody.
            group.addTask { await self.compareRegisters() }
        }
    }

    private func compareRegisters() async {
        var comparison = ComparisonPass(cluster: self)
        while !Task.isCancelled {
            do { try await comparison.run() } catch let error as TandemError where error.code == .refusedBySafetyRule {
                configuration.logger.critical("a node seems to have lost commits", metadata: ["tandem.reason": "\(error)"])
            } catch {
                if !Task.isCancelled { configuration.logger.warning("registers were not compared", metadata: ["tandem.reason": "\(error)"]) }
            }
            do { try await Task.sleep(for: configuration.auditInterval) } catch { return }
        }
    }

    private func lookForDeadlocks() async {
        let pass = DeadlockPass(cluster: self)
        while !Task.isCancelled {
            let start = ContinuousClock.now
            await pass.run()
            // One after another, and never more than one a second.
            do { try await Task.sleep(until: start + DeadlockPass.interval) } catch { return }
        }
    }

    private func lookAfterBranches() async {
        let runtime = TransactionRuntime.of(self), telemetry = runtime.telemetry
        runtime.runnerStarted()
        defer { runtime.runnerEnded() }
        let retention = RetentionPass(cluster: self)
        var nextRetention = ContinuousClock.now + retention.interval
        while !Task.isCancelled {
            let wakes = runtime.wakes
            _ = await RecoveryPass(cluster: self, grace: configuration.recoveryGrace, isDryRun: false).run()
            if telemetry.isMeasured { await GaugePass(cluster: self, telemetry: telemetry).run() }
            telemetry.passes.increment()
            if ContinuousClock.now >= nextRetention {
                // What it could not do now (a node is down, a transaction is open) it does next time.
                do { telemetry.rowsRemoved.increment(by: try await retention.run()) } catch {
                    if !Task.isCancelled { configuration.logger.warning("rows of the register stay for now", metadata: ["tandem.reason": "\(error)"]) }
                }
                nextRetention = .now + retention.interval
            }
            await runtime.pause(for: configuration.recoveryInterval, after: wakes)
        }
    }

    /// Looks once at every prepared branch of the cluster and settles what can be settled.
    ///
    /// - Parameters:
    ///   - grace: how young an undecided branch is left alone; the configuration's by default. Zero is safe, and rolls back transactions that are
    ///     just being committed by others.
    ///   - isDryRun: whether to look only, and to say what would become of each branch.
    /// - Returns: what was found and done.
    @concurrent
    public func recover(grace: Duration? = nil, isDryRun: Bool = false) async -> RecoveryReport {
        await RecoveryPass(cluster: self, grace: grace ?? configuration.recoveryGrace, isDryRun: isDryRun).run()
    }

    /// Removes rows of the register that are older than the retention and that no node needs any more.
    ///
    /// - Returns: how many rows were removed.
    /// - Throws: `nodeUnreachable` and kin: every node has to be asked, or nothing is removed.
    @concurrent
    public func forget() async throws -> Int {
        try await RetentionPass(cluster: self).run()
    }
}
