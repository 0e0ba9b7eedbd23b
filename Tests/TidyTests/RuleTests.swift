import Testing

/// A rule that finds nothing is worth nothing: each is shown a house in which it is broken, and one in which it only looks so.
@Suite("The rules of the house find what breaks them")
struct RuleTests {
    struct Example: Sendable, CustomTestStringConvertible {
        let rule: Rule
        let house: House
        var testDescription: String { "\(rule.claim): \(house.files.first.map { "\($0.path): \($0.text.prefix(80))" } ?? "")" }

        init(_ rule: Rule, _ files: KeyValuePairs<String, String>) {
            self.rule = rule
            house = House(files)
        }
    }

    @Test("a broken rule is found", arguments: broken)
    func isFound(example: Example) {
        #expect(!example.rule.violations(example.house).isEmpty)
    }

    @Test("what only looks like a violation is none", arguments: kept)
    func isLeftAlone(example: Example) {
        #expect(example.rule.violations(example.house) == [])
    }

    @Test("every rule was shown both")
    func isComplete() {
        for rule in Rule.all {
            #expect(Self.broken.contains { $0.rule.claim == rule.claim }, "\(rule.claim)")
            #expect(Self.kept.contains { $0.rule.claim == rule.claim }, "\(rule.claim)")
        }
    }

    private static let core = "Sources/TandemCore/A.swift"
    private static let driver = "Sources/TandemPostgres/A.swift"
    private static let cluster = "Sources/TandemCluster/A.swift"
    private static let command = "Sources/TandemCommand/A.swift"
    private static let test = "Tests/TandemCoreTests/A.swift"
    private static let example = "Examples/Transfer/main.swift"

    private static let broken: [Example] = [
        Example(.importsAreDoors, [core: "import Foundation"]),
        Example(.importsAreDoors, [core: "public import struct Foundation.Date"]),
        Example(.importsAreDoors, [core: "import Synchronization"]),
        Example(.importsAreDoors, ["Sources/TandemFailpoints/A.swift": "import TandemCore"]),
        Example(.importsAreDoors, [driver: "import Logging\n@preconcurrency package import TandemCluster"]),
        Example(.importsAreDoors, ["Sources/Tandem/Tandem.swift": "@_exported public import TandemConfiguration"]),
        Example(.importsAreDoors, [command: "import TandemPostgres"]),
        Example(.importsAreDoors, ["Sources/TandemAttic/A.swift": "let attic = 1"]),
        Example(.importsAreDoors, ["Sources/A.swift": "let homeless = 1"]),
        Example(.reservedModules, [cluster: "import CLibPQ"]),
        Example(.reservedModules, ["Tests/TandemPostgresTests/A.swift": "internal import CLibPQ"]),
        Example(.reservedModules, [command: "import Yams"]),
        Example(.reservedModules, [example: "import TandemCommand"]),
        Example(.reservedModules, ["Tests/TandemBenchTests/A.swift": "@testable import TandemCommand"]),
        Example(.coreOnlyDecides, [core: "func ask() async {}"]),
        Example(.coreOnlyDecides, [core: "let now = ContinuousClock.now"]),
        Example(.coreOnlyDecides, [core: "let bits = UInt64.random(in: 0...9)"]),
        Example(.commandHoldsNoSQL, [command: #"let sql = "SELECT 1""#]),
        Example(.commandHoldsNoSQL, [command: "let sql = \"\"\"\n    select gid\n    from pg_prepared_xacts\n    \"\"\""]),
        Example(.commandHoldsNoSQL, [command: #"let sql = "UPDATE account SET balance = 0""#]),
        Example(.commandHoldsNoSQL, [command: ##"let sql = #"COMMIT PREPARED '\#(gid)'"#"##]),
        Example(.commandHoldsNoSQL, ["Sources/TandemCommand/list.sql": ""]),
        Example(.unsafePointers, [cluster: "func take(_ bytes: UnsafeRawPointer) {}"]),
        Example(.unsafePointers, [cluster: "array.withUnsafeBytes { $0.count }"]),
        Example(.unsafePointers, [cluster: "let type = unsafeBitCast(other, to: Int.self)"]),
        Example(.uncheckedSendable, [cluster: "final class Box: @unchecked Sendable {}"]),
        Example(.uncheckedSendable, [cluster: "nonisolated(unsafe) var count = 0"]),
        Example(.uncheckedSendable, ["Sources/TandemPostgres/Locked.swift": "", "Sources/TandemCluster/Locked.swift": ""]),
        Example(.noDetachedTasks, [cluster: "Task.detached { }"]),
        Example(.noDetachedTasks, [test: "Task<Void, Never>.detached(priority: .low) { }"]),
        Example(.noTasksInInitialisers, [cluster: "init() { Task { await run() } }"]),
        Example(
            .noTasksInInitialisers,
            [cluster: "init?<T: P>(_ t: T, f: () -> Int = { 0 }) async throws(E) where T: Q {\n  t = Task(priority: .low) {}\n}"]),
        Example(.noTasksInInitialisers, [cluster: "convenience init() throws { if x { Task.detached { } } }"]),
        Example(.noSleepsInTests, [test: "try await Task.sleep(for: .seconds(1))"]),
        Example(.noSleepsInTests, [test: "try await clock.sleep(until: then)"]),
        Example(.noSleepsInTests, ["Tests/Support/A.swift": "usleep(10)"]),
        Example(.noSleepsInSources, [cluster: "try await Task.sleep(nanoseconds: 1)"]),
        Example(.noSleepsInSources, [driver: "sleep(1)"]),
        Example(.pathsDifferByMoreThanCase, ["Sources/TandemCore/Gid.swift": "", "Sources/TandemCore/GID.swift": ""]),
        Example(.pathsDifferByMoreThanCase, ["Sources/TandemCore/Gid/A.swift": "", "Sources/TandemCore/GID/B.swift": ""]),
        Example(.pathsDifferByMoreThanCase, ["Package.swift": #"[room("TandemCore"), .executableTarget(name: "tandemCore")]"#]),
        Example(.typesDifferByMoreThanCase, [core: "struct Gid {}", cluster: "package indirect enum GID {}"]),
        Example(.noTypeIsNamedLikeAModule, [core: "public enum TandemCore {}"]),
        Example(.noTypeIsNamedLikeAModule, ["Sources/Tandem/A.swift": "", cluster: "public final class Tandem {}"]),
        Example(.foldersAreTargets, ["Package.swift": #"[room("TandemCore")]"#, cluster: ""]),
        Example(.foldersAreTargets, ["Package.swift": #"[room("TandemCore")]"#, core: "", test: ""]),
        Example(.nothingIsPostponed, [core: "let a = 1 // TODO: a better one"]),
        Example(.nothingIsPostponed, ["Sources/TandemCluster/a.sql": "-- FIXME"]),
        Example(.nothingIsPrinted, [cluster: "print(\"hello\")"]),
        Example(.nothingIsPrinted, [cluster: "let a = \"\\(print(1))\""]),
        Example(.readmeIsShort, ["README.md": String(repeating: "line\n", count: 151)]),
        Example(.metricsAreListed, ["Sources/TandemCluster/Telemetry.swift": "case a = \"tandem_a_total\""]),
        Example(.metricsAreListed, ["docs/metrics.md": "| `tandem_a_total` | counter |"]),
        Example(.linksResolve, ["README.md": "See [the guide](docs/guide.md)."]),
        Example(.linksResolve, ["docs/a.md": "[b](b.md)", "b.md": ""]),
        Example(.linksResolve, ["docs/a.md": "[out](../../b.md)"]),
        Example(.linksResolve, ["a.md": "[b]: b.md#part"]),
        Example(.linksResolve, ["a.md": "![picture](a%20b.png)", "a%20b.png": ""]),
    ]

    private static let kept: [Example] = [
        Example(.importsAreDoors, [core: "// import Foundation\nlet text = \"\"\"\n    import Foundation\n    \"\"\""]),
        Example(.importsAreDoors, [driver: "public import TandemCore\nimport CLibPQ\nimport struct Foundation.Date"]),
        Example(.importsAreDoors, ["Sources/CLibPQ/shim.h": "#include <libpq-fe.h>", "Sources/TandemCluster/a.sql": ""]),
        Example(.importsAreDoors, [test: "import Foundation"]),
        Example(.reservedModules, [driver: "import CLibPQ", "Sources/TandemConfiguration/A.swift": "import Yams"]),
        Example(.reservedModules, ["Tests/TandemCommandTests/A.swift": "@testable import TandemCommand"]),
        Example(.coreOnlyDecides, [core: "/// Never waits: no async, no Task, no random().\nfunc delay(random: Double) {}"]),
        Example(.coreOnlyDecides, [cluster: "func f() async {}"]),
        Example(.commandHoldsNoSQL, [command: #"let help = "Select a node and update it, then commit; see SQLSTATE 23505""#]),
        Example(.commandHoldsNoSQL, [cluster: #"let sql = "SELECT 1""#]),
        Example(.unsafePointers, [driver: "let p: UnsafeRawPointer"]),
        Example(.unsafePointers, [cluster: "/* UnsafeRawPointer */ let isUnsafe = \"UnsafeRawPointer\""]),
        Example(.uncheckedSendable, ["Sources/TandemPostgres/Locked.swift": "final class Locked: @unchecked Sendable {}"]),
        Example(.uncheckedSendable, [cluster: "final class Box: Sendable {} // not @unchecked Sendable"]),
        Example(.noDetachedTasks, [cluster: "// Task.detached would lose the deadline\nlet isDetached = task.detached"]),
        Example(.noTasksInInitialisers, [cluster: "init() { tasks = [] }\nfunc start() { Task { } }"]),
        Example(.noTasksInInitialisers, [cluster: "protocol P {\n  init(x: Int)\n  func f()\n}\nfunc g() { Task { Foo.init(1) } }"]),
        Example(.noTasksInInitialisers, [cluster: "init() { group.addTask { }; let s = \"Task { }\" }"]),
        Example(.noSleepsInTests, [test: #"try await node.execute("SELECT pg_sleep(1)") // no sleep("#, driver: "sleep(1)"]),
        Example(.noSleepsInSources, ["Sources/TandemLocal/A.swift": "try await Task.sleep(for: poll)", cluster: "// sleep(1)"]),
        Example(.pathsDifferByMoreThanCase, ["Sources/TandemCore/GID.swift": "", "a/x.md": "", "b/X.md": ""]),
        Example(.typesDifferByMoreThanCase, [core: "struct GID { class func gid() {} }\n// struct Gid"]),
        Example(.typesDifferByMoreThanCase, [core: "struct GID {}", cluster: "extension GID {}; enum Row {}; let row = 1"]),
        Example(.noTypeIsNamedLikeAModule, [core: "public struct TandemError {}", test: "struct CoreTests {}"]),
        Example(
            .foldersAreTargets,
            [
                "Package.swift": """
                room(
                    "TandemCore"), .executableTarget(
                    name: "TandemCommand"), tests(of: "TandemCore"), .target(name: "TestSupport", path: "Tests/Support")
                """, core: "", command: "", test: "", "Tests/Support/A.swift": "", "Sources/README.md": "",
            ]),
        Example(.nothingIsPostponed, [core: "let todo = [1] // nothing to do", "docs/a.md": "TODO"]),
        Example(.nothingIsPrinted, [cluster: "log.print(1); fingerprint(1); func print(_ a: Int) {}"]),
        Example(.nothingIsPrinted, [command: "print(1)", example: "print(1)"]),
        Example(.readmeIsShort, ["README.md": String(repeating: "line\n", count: 150)]),
        Example(
            .metricsAreListed,
            ["Sources/TandemCluster/Telemetry.swift": "case a = \"tandem_a_total\"", "docs/metrics.md": "| `tandem_a_total` | counter |\n| `tandem.span` | |"]),
        Example(.linksResolve, ["docs/a.md": "[b](../b.md#part) [c](.) [d](/b.md) [`e`](adr/)", "b.md": "", "docs/adr/1.md": ""]),
        Example(.linksResolve, ["a.md": "[f](#here) [g](https://example.org/x.md) [h](mailto:x@example.org)"]),
        Example(.linksResolve, ["a.md": "```\n[b](b.md)\n```\nand `[c](c.md)`, ![d](e%20f.png \"title\")", "e f.png": ""]),
    ]
}
