import Foundation
import Glibc
import TandemCore

extension ClusterRecord {
    /// Whether a run goes on: its start came to its end, nobody ended it since, and its owner lives if it depends on one. All of its nodes may
    /// have been killed one by one.
    func isRunning(_ directory: String) -> Bool {
        guard let run, run.isReady, access(ClusterFiles(directory).running(run), F_OK) == 0 else { return false }
        return run.isDetached || run.owner?.isAlive == true
    }

    /// Whether a start finds its work done. A detached run without any process is over for it: the machine may have been off in between.
    func isServing(_ directory: String) -> Bool {
        guard isRunning(directory), let run else { return false }
        return !run.isDetached || folders.contains { !$0.isGone }
    }

    /// The supervisor of an owner that is gone: it is about to stop the servers, or at it.
    func isEnding() -> Bool {
        guard let run, !run.isDetached, run.owner?.isAlive != true else { return false }
        return run.supervisor?.isAlive == true
    }

    /// Ends the run: from here on no keeper starts a server any more, and all that are there are stopped.
    func end(_ directory: String) async throws {
        if let run { unlink(ClusterFiles(directory).running(run)) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for folder in folders { group.addTask { try await folder.stop(isKept: !isEphemeral) } }
            try await group.waitForAll()
        }
        _ = try await poll(within: NodeFolder.limit) { !isEnding() }
    }

    /// Removes everything of the cluster but its folder and the lock in it.
    func removeData(_ directory: String) throws {
        let files = ClusterFiles(directory)
        var paths = folders.map(\.path) + [socketDirectory, files.passwords]
        if base != directory { paths.append(base) }
        // The record last: as long as it is there, a removal that was interrupted can be repeated.
        for path in paths + [files.record] where access(path, F_OK) == 0 {
            do {
                try FileManager.default.removeItem(atPath: path)
            } catch {
                throw TandemError(.localNodeFailed, "\(path) cannot be removed", nextStep: "Remove it by hand.", cause: error)
            }
        }
    }
}
