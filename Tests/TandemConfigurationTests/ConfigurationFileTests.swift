import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemSagas
import Testing

@testable import TandemConfiguration

@Suite("The file tandem.yaml")
struct ConfigurationFileTests {
    private func load(_ yaml: String, files: [String: String] = [:], environment: [String: String] = [:]) throws -> ClusterConfiguration {
        try withFolder(files.merging(["tandem.yaml": yaml]) { $1 }) {
            try ConfigurationFile.load(path: "\($0)/tandem.yaml", environment: environment)
        }
    }

    /// The error of a file: what follows the file's name, and the advice.
    private func error(_ yaml: String, files: [String: String] = [:], environment: [String: String] = [:]) throws -> (
        message: String, next: String
    ) {
        let error = try #require(throws: TandemError.self) { try load(yaml, files: files, environment: environment) }
        #expect(error.code == .configurationInvalid)
        #expect(error.exitCode == .usage)
        let name = "tandem.yaml"
        let start = try #require(error.message.range(of: name)).lowerBound
        return (String(error.message[start...]), error.nextStep)
    }

    @Test("every key arrives where it belongs")
    func everything() throws {
        let configuration = try load(
            """
            cluster: bank
            retention: 48h
            recovery: {interval: 500ms, grace: 0s}
            reactors: 3
            preparedReserve: 7
            defaults:
              role: owner
              lockTimeout: 4s
              pool: {maximum: 8}
            nodes:
              b:
                conninfo: host=one dbname=x
                pool: {minimum: 2, maximum: 9, idleTime: 2m}
                lockTimeout: 5s
                statementTimeout: 6s
                idleInTransactionTimeout: 7s
                connectTimeout: 800ms
                role: writer
                commitPointStrength: -3
              a:
                conninfo: postgresql://app@two:5433/y?sslmode=disable
                pooler: transaction
            """)
        #expect(configuration.name == "bank")
        #expect(configuration.retention == .seconds(48 * 3600))
        #expect(configuration.recoveryInterval == .milliseconds(500))
        #expect(configuration.recoveryGrace == .zero)
        #expect(configuration.reactors == 3)
        #expect(configuration.preparedReserve == 7)
        #expect(configuration.nodes.map(\.name) == ["b", "a"])
        let (b, a) = (configuration.nodes[0], configuration.nodes[1])
        #expect(b.pool == PoolOptions(minimum: 2, maximum: 9, idleTime: .seconds(120)))
        #expect([b.lockTimeout, b.statementTimeout, b.idleInTransactionTimeout] == [.seconds(5), .seconds(6), .seconds(7)])
        #expect(b.connectTimeout == .milliseconds(800))
        #expect(b.role == "writer")
        #expect(b.commitPointStrength == -3)
        #expect(a.conninfo == "postgresql://app@two:5433/y?sslmode=disable")
        #expect(a.address.host == "two" && a.address.port == "5433" && a.address.database == "y" && a.address.user == "app")
        #expect(a.role == "owner" && a.lockTimeout == .seconds(4) && a.pool.maximum == 8)
        #expect(a.password == nil)
        #expect(a.pooler == .transaction && b.pooler == .none)
    }

    @Test("what is not said keeps the library's defaults")
    func defaults() throws {
        let configuration = try load("cluster: c\nnodes:\n  n:\n    conninfo: dbname=x\n    role: ~\n    pool:\n")
        let plain = NodeConfiguration("n", conninfo: "dbname=x")
        #expect(configuration.nodes[0].pool == plain.pool)
        #expect(configuration.nodes[0].lockTimeout == plain.lockTimeout)
        #expect(configuration.nodes[0].role == nil)
    }

    @Test(
        "a password comes from the environment or a file beside the configuration",
        arguments: ["password: {env: SECRET}", "passwordEnv: SECRET", "password: {file: secrets/b}", "passwordFile: secrets/b"])
    func passwords(line: String) throws {
        let configuration = try load(
            "cluster: c\nnodes:\n  n:\n    conninfo: dbname=x\n    \(line)\n", files: ["secrets/b": "p'w \n"],
            environment: ["SECRET": "p'w "])
        #expect(configuration.nodes[0].password == Secret("p'w "))
    }

    @Test("a relative password file of libpq is meant from the configuration's folder, in both forms")
    func passfile() throws {
        let yaml = """
            cluster: c
            nodes:
              a: {conninfo: "dbname=x passfile='pass file'"}
              b: {conninfo: "postgresql://u@h/x?passfile=pass%20file"}
              c: {conninfo: postgresql://u@h/x?passfile=/etc/pass}
            """
        try withFolder(["it's a 'folder'/tandem.yaml": yaml]) { folder in
            let configuration = try ConfigurationFile.load(path: "\(folder)/it's a 'folder'/tandem.yaml", environment: [:])
            let files = configuration.nodes.map { ConnectionParameters.parse($0.conninfo)?["passfile"] }
            #expect(files == ["\(folder)/it's a 'folder'/pass file", "\(folder)/it's a 'folder'/pass file", "/etc/pass"])
        }
    }

    @Test("a mistake is told with file, line and key, and with what to write instead", arguments: Mistake.all)
    func mistakes(mistake: Mistake) throws {
        let (message, next) = try error(mistake.yaml)
        #expect(message == mistake.message)
        #expect(next.contains(mistake.next), "\(next)")
    }

    struct Mistake: Sendable, CustomTestStringConvertible {
        let yaml: String
        let message: String
        let next: String
        var testDescription: String { message }

        init(_ yaml: String, _ message: String, next: String) {
            (self.yaml, self.message, self.next) = (yaml, message, next)
        }

        private static func node(_ line: String) -> String { "cluster: c\nnodes:\n  n1:\n    conninfo: dbname=x\n    \(line)\n" }

        static let all: [Mistake] = [
            Mistake("cluster: c\nnoodes: {}\n", "tandem.yaml:2: noodes: there is no key `noodes` here", next: "did you mean `nodes`?"),
            Mistake(
                node("lockTimout: 5s"), "tandem.yaml:5: nodes.n1.lockTimout: there is no key `lockTimout` here",
                next: "did you mean `lockTimeout`?"),
            Mistake(node("zzz: 1"), "tandem.yaml:5: nodes.n1.zzz: there is no key `zzz` here", next: "the keys are conninfo"),
            Mistake(node("lockTimeout: 5"), "tandem.yaml:5: nodes.n1.lockTimeout: `5` has no unit", next: "`5s`"),
            Mistake(node("lockTimeout: soon"), "tandem.yaml:5: nodes.n1.lockTimeout: `soon` is not a time", next: "500ms"),
            Mistake(node("lockTimeout: 0s"), "tandem.yaml:5: nodes.n1.lockTimeout: the time must be longer than nothing", next: "1ms"),
            Mistake(node("pool: {maximum: 0}"), "tandem.yaml:5: nodes.n1.pool.maximum: 0 is out of bounds", next: "from 1"),
            Mistake(node("pool: {maximum: many}"), "tandem.yaml:5: nodes.n1.pool.maximum: `many` is not a whole number", next: "number"),
            Mistake(
                node("pool: {minimum: 9, maximum: 3}"), "tandem.yaml:5: nodes.n1.pool.minimum: the minimum 9 is above the maximum 3",
                next: "lower"),
            Mistake(
                node("pool: 3"), "tandem.yaml:5: nodes.n1.pool: keys with values is expected here, not a single value", next: "key: value"),
            Mistake(
                node("password: secret"),
                "tandem.yaml:5: nodes.n1.password: a password does not stand in this file, where everybody reads it",
                next: "passwordFile"),
            Mistake(
                node("passwordEnv: NONE"), "tandem.yaml:5: nodes.n1.passwordEnv: the environment variable NONE is not set", next: "export"),
            Mistake(
                node("passwordEnv: NONE\n    passwordFile: x"), "tandem.yaml:6: nodes.n1.passwordFile: the password is given twice",
                next: "leave one"),
            Mistake(node("password: {}"), "tandem.yaml:5: nodes.n1.password: it is not said where the password is", next: "{env: NAME}"),
            Mistake(
                "cluster: c\nnodes:\n  n1:\n    conninfo: host=a nonsense\n",
                "tandem.yaml:4: nodes.n1.conninfo: libpq cannot read the connection string", next: "postgresql://"),
            Mistake(
                "cluster: c\nnodes:\n  n1:\n    role: x\n", "tandem.yaml:3: nodes.n1: the key `conninfo` is missing", next: "conninfo:"),
            Mistake(
                "cluster: c\nnodes:\n  n 1: {conninfo: dbname=x}\n",
                "tandem.yaml:3: nodes.n 1: \"n 1\" is not the name of a node: 1 to 63 of A-Z a-z 0-9 _ . -, and a letter or digit first",
                next: "name"),
            Mistake(
                "cluster: a-name-that-is-too-long\nnodes: {n: {conninfo: dbname=x}}\n",
                "tandem.yaml:1: cluster: \"a-name-that-is-too-long\" is not the name of a cluster: 1 to 16 of A-Z a-z 0-9 _ . -",
                next: "name"),
            Mistake("nodes: {n: {conninfo: dbname=x}}\n", "tandem.yaml:1: the key `cluster` is missing", next: "cluster:"),
            Mistake("cluster: c\nnodes:\n", "tandem.yaml:2: nodes: the key `nodes` is missing", next: "nodes:"),
            Mistake("cluster: c\nnodes: {}\n", "tandem.yaml:2: nodes: there is no node", next: "at least one"),
            Mistake(
                "cluster: c\nnodes:\n  - n1\n",
                "tandem.yaml:2: nodes: nodes by name (`n1:` and below it `conninfo: ...`) is expected here, not a list", next: "key: value"),
            Mistake("", "tandem.yaml is empty", next: "fill"),
            Mistake(
                "cluster: c\nnodes: {n: [\n", "tandem.yaml:3: while parsing a flow node: did not find expected node content", next: "YAML"),
            Mistake(
                "cluster: c\n\tnodes: x\n", "tandem.yaml:2: while scanning a plain scalar: found a tab character that violates indentation",
                next: "spaces"),
            Mistake(
                "a: 1\n---\nb: 2\n", "tandem.yaml:2: expected a single document in the stream: but found another document", next: "YAML"),
            Mistake("cluster: c\ncluster: d\n", "tandem.yaml:1: cluster: the key stands there twice", next: "leave one"),
            Mistake("- a\n", "tandem.yaml:1: keys with values is expected here, not a list", next: "key: value"),
        ]
    }

    @Test("a file that is not there, is a folder or is no text is told as such")
    func unreadable() throws {
        let missing = try #require(throws: TandemError.self) {
            try ConfigurationFile.load(path: "/nonexistent/tandem.yaml", environment: [:])
        }
        #expect(missing.message == "there is no file /nonexistent/tandem.yaml")
        #expect(missing.nextStep.contains("--config"))
        let folder = try #require(throws: TandemError.self) { try ConfigurationFile.load(path: "/tmp", environment: [:]) }
        #expect(folder.message == "/tmp cannot be read")
        try withFolder([:]) { folder in
            try Data([0xFF, 0xFE, 0x00]).write(to: URL(fileURLWithPath: "\(folder)/x.yaml"))
            let binary = try #require(throws: TandemError.self) { try ConfigurationFile.load(path: "\(folder)/x.yaml", environment: [:]) }
            #expect(binary.message.hasSuffix("is not a text in UTF-8"))
        }
    }

    @Test("sagas have a section of their own")
    func sagas() throws {
        let nodes = "cluster: c\nnodes: {n1: {conninfo: dbname=x}, n2: {conninfo: dbname=y}}\n"
        try withFolder(["tandem.yaml": nodes + "sagas: {home: n2, lease: 2s, concurrency: 8, poll: 50ms, retention: 1d}\n", "plain.yaml": nodes]) { folder in
            let sagas = try ConfigurationFile(path: "\(folder)/tandem.yaml", environment: [:]).sagas
            #expect(sagas.home == "n2" && sagas.lease == .seconds(2) && sagas.concurrency == 8 && sagas.poll == .milliseconds(50))
            #expect(sagas.retention == .seconds(86_400))
            #expect(try ConfigurationFile(path: "\(folder)/plain.yaml", environment: [:]).sagas.home == nil)
        }
        #expect(try error(nodes + "sagas:\n  leese: 2s\n").message.contains("tandem.yaml:4: sagas.leese: there is no key"))
        #expect(try error(nodes + "sagas:\n  home: n3\n").message.contains("tandem.yaml:4: sagas.home: `n3` is not one of"))
    }
}
