package import TandemCluster

extension Cluster {
    /// How often this process has asked a node whether anybody waits there.
    package var deadlockProbes: Int { TransactionRuntime.of(self).deadlocks.probeCount }
}
