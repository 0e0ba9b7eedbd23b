import Foundation
import Glibc
import TandemCore

/// The operating system account that the servers run as: this process's own, or another one when this process is root.
struct ServerAccount: Sendable {
    let userID: uid_t
    let groupID: gid_t
    /// What precedes a command so that it runs under this account.
    let prefix: [String]

    init(user: String) throws {
        guard geteuid() == 0 else {
            self.init(userID: geteuid(), groupID: getegid(), prefix: [])
            return
        }
        guard let entry = Self.entry(of: user) else {
            throw TandemError(
                .localNodeFailed, "the account \(user), which the servers would run as, does not exist",
                nextStep: "Name another account with --user, or: sudo apt-get install -y postgresql")
        }
        guard entry.userID != 0 else {
            throw TandemError(.localNodeFailed, "PostgreSQL does not run as root", nextStep: "Name another account with --user.")
        }
        guard let setpriv = Executable.find("setpriv", in: Executable.searchPath) else {
            throw TandemError(
                .localNodeFailed, "setpriv is missing, which starts the servers as \(user)",
                nextStep: "sudo apt-get install -y util-linux, or run this as an ordinary user.")
        }
        let (userID, groupID) = entry
        self.init(userID: userID, groupID: groupID, prefix: [setpriv, "--reuid=\(userID)", "--regid=\(groupID)", "--init-groups", "--"])
    }

    private init(userID: uid_t, groupID: gid_t, prefix: [String]) {
        (self.userID, self.groupID, self.prefix) = (userID, groupID, prefix)
    }

    /// `getpwnam` answers in one buffer for all threads.
    private static func entry(of user: String) -> (userID: uid_t, groupID: gid_t)? {
        lock.withLock { getpwnam(user).map { ($0.pointee.pw_uid, $0.pointee.pw_gid) } }
    }
    private static let lock = NSLock()

    var isOurs: Bool { prefix.isEmpty }

    /// Whether programs of this account can get into the folder; asked of the system itself, so that access lists count.
    func canReach(_ directory: String) async throws -> Bool {
        guard !isOurs else { return true }
        let child = try ChildProcess.spawn(prefix + ["/bin/sh", "-c", #"cd -- "$1""#, "sh", directory])
        return try await child.status(within: .seconds(10)) == 0
    }
}
