import Foundation
import TandemCluster
import TandemConfiguration
import TandemCore
import TandemFailpoints
import TandemPostgres
import TandemTransactions

// What the crash sweep ends at its failpoints, where the command has no such thing: a transaction whose body sends one statement after the other, and
// the removal of old rows.
//
//     TandemCrashProbe body|forget CONFIGURATION [ACCOUNT]
//
// TANDEM_FAILPOINTS arms the failpoints. Exit codes: 0 acknowledged, 1 refused.

let arguments = CommandLine.arguments
let configuration = try ConfigurationFile.load(path: arguments[2])
if let specification = ProcessInfo.processInfo.environment["TANDEM_FAILPOINTS"] { try Failpoints.arm(specification) }
do {
    let cluster = try Cluster(configuration)
    switch arguments[1] {
    case "body":
        let account = Int(arguments[3]) ?? 0
        _ = try await cluster.transaction { tx in
            _ = try await tx["n3"].query("SELECT balance FROM account WHERE id = \(account)", as: Int.self)
            try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = \(account)", rows: 1...1)
            try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = \(account)", rows: 1...1)
        }
    case "forget":
        _ = try await cluster.forget()
    default:
        exit(2)
    }
} catch {
    FileHandle.standardError.write(Data("\(error)\n".utf8))
    exit(1)
}
