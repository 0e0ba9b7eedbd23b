import Glibc
import TandemCore

/// The exclusive right to change a cluster's folder; the system takes it back when this process ends, however it ends.
struct DirectoryLock: ~Copyable {
    private let descriptor: Int32

    static func take(_ path: String, within limit: Duration) async throws -> DirectoryLock {
        var descriptor: Int32 = -1
        let isTaken = try await poll(within: limit) {
            descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else {
                throw TandemError(
                    .localNodeFailed, "\(path) cannot be opened: \(lastSystemError())", nextStep: "Choose a folder that you may write to.")
            }
            // The file may have been removed, with its folder, between open and flock: then the lock would be on nothing.
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0, let place = FileIdentity(path: path),
                place == FileIdentity(descriptor: descriptor)
            {
                return true
            }
            close(descriptor)
            return false
        }
        guard isTaken else {
            throw TandemError(
                .localNodeFailed, "another process has been changing the cluster of \(path) for longer than \(limit)",
                nextStep: "Wait for it, or find it with: fuser \(path)")
        }
        return DirectoryLock(descriptor: descriptor)
    }

    private init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }
}
