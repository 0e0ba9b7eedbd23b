import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("The doctor")
struct DoctorTests {
    private func finding(_ findings: [DoctorReport.Finding], _ check: String, _ node: NodeName? = nil) -> DoctorReport.Finding? {
        findings.first { $0.check == check && (node == nil || $0.node == node) }
    }

    @Test("real nodes are examined, each in every respect; these have fsync off, and nothing else is wrong")
    func healthy() async throws {
        try await withCluster { test in
            let report = try await test.cluster.examine()
            #expect(report.findings.filter { $0.status == .problem }.map(\.check) == ["durability", "durability"])
            #expect(finding(report.findings, "durability")?.sql?.contains("fsync = on") == true)
            let checks = [
                "identity", "version", "slots", "rights", "tls", "timeouts", "durability", "replication", "pooler", "in doubt", "contradictions", "cleaning",
                "clock",
            ]
            #expect(report.findings.map(\.check) == checks + checks)
            // Nothing stays behind.
            #expect(try await test.prepared() == [])
        }
    }

    @Test("a node that is away, a role without rights and an unfinished branch of somebody else are named")
    func broken() async throws {
        try await withCluster(2, { $0.nodes[1].conninfo = "host=127.0.0.1 port=1 dbname=x user=x" }) { test in
            // Rights are those of the moment: what a program needs is missing here.
            try await test.value("n1", "REVOKE EXECUTE ON FUNCTION tandem.tombstone(uuid, text) FROM tandem")
            let report = try await test.cluster.examine()
            #expect(finding(report.findings, "reachable", "n2")?.status == .problem)
            let rights = finding(report.findings, "rights", "n1")
            #expect(rights?.status == .problem && rights?.message.contains("tandem.tombstone") == true)
            for statement in (rights?.sql ?? "").split(separator: ";") {
                try await test.value("n1", String(statement))
            }
            #expect(try await finding(test.cluster.examine().findings, "rights", "n1")?.status == .ok)
        }
    }

    @Test("a role that may not prepare as the owner of branches is seen by trying")
    func trial() async throws {
        try await withCluster(1, { $0.nodes[0].role = "postgres" }) { test in
            let rights = try await finding(test.cluster.examine().findings, "rights")
            #expect(rights?.status == .problem && rights?.message.contains("42501") == true)
            #expect(try await test.prepared() == [])
        }
    }

    @Test("a trial that was left prepared is rolled back over another connection, and named by the next doctor with the SQL that ends it")
    func leftTrial() async throws {
        try await withCluster(1) { test in
            let gid = Doctor.trialPrefix + "1", node = try test.cluster.node("n1")
            let doctor = Doctor(cluster: test.cluster, configuration: test.configuration.nodes[0])
            for _ in 1...2 {
                try await sql(try test.conninfo("n1"), "BEGIN", "SELECT pg_current_xact_id()", "PREPARE TRANSACTION '\(gid)'")
                #expect(try await test.prepared() == [gid])
                await doctor.remove(gid, node)
                #expect(try await test.prepared() == [])
            }
            // There is none: nothing happens.
            await doctor.remove(gid, node)
            let json = try JSONSerialization.data(withJSONObject: Self.sound.merging(["foreign": ["gid": gid, "age": 61.0]]) { $1 })
            let facts = try JSONDecoder().decode(NodeFacts.self, from: json)
            let found = finding(doctor.judge(facts, backend: 7, trial: nil, before: 999.9, after: 1000.1), "foreign")
            #expect(found?.status == .notice && found?.sql == "ROLLBACK PREPARED '\(gid)';")
        }
    }

    private static var sound: [String: Any] {
        [
            "role": "app", "version": 150_018, "maximumPrepared": 100, "prepared": 1, "contradictions": 0, "coordinators": 2, "backend": 7, "isEncrypted": true,
            "isSocket": false,
            "isLoopback": true, "isFsync": true, "isFullPageWrites": true, "synchronousCommit": "on", "standbyNames": "", "standbys": 0, "lockTimeout": "10s",
            "statementTimeout": "30s",
            "idleTimeout": "1min", "clock": 1000.0, "missingRights": [String](),
        ]
    }

    /// What a fact makes of its check; everything else is sound.
    private func status(_ check: String, _ changes: [String: Any]) throws -> DoctorReport.Status? {
        let json = try JSONSerialization.data(withJSONObject: Self.sound.merging(changes) { $1 })
        let facts = try JSONDecoder().decode(NodeFacts.self, from: json)
        let configuration = NodeConfiguration("n1", conninfo: "host=db.example dbname=x sslmode=require")
        let doctor = Doctor(cluster: try Cluster(try ClusterConfiguration("test", nodes: [configuration])), configuration: configuration)
        let findings = doctor.judge(facts, backend: 7, trial: nil, before: 999.9, after: 1000.1)
        #expect(findings.filter { $0.check != check && $0.status != .ok }.map(\.check) == [])
        return finding(findings, check)?.status
    }

    @Test("each fact is weighed")
    func weights() throws {
        #expect(try status("nothing", [:]) == nil)
        #expect(try status("version", ["version": 140_009]) == .problem)
        #expect(try status("slots", ["maximumPrepared": 0]) == .problem)
        #expect(try status("slots", ["prepared": 70]) == .problem)
        #expect(try status("slots", ["coordinators": 9]) == .notice)
        #expect(try status("rights", ["missingRights": ["SELECT on tandem.branch"]]) == .problem)
        #expect(try status("tls", ["isLoopback": false]) == .notice)
        #expect(try status("tls", ["isLoopback": false, "isEncrypted": false]) == .problem)
        #expect(try status("tls", ["isLoopback": false, "isEncrypted": false, "isSocket": true]) == .ok)
        #expect(try status("timeouts", ["lockTimeout": "0"]) == .problem)
        #expect(try status("durability", ["isFullPageWrites": false]) == .problem)
        #expect(try status("durability", ["synchronousCommit": "local"]) == .notice)
        #expect(try status("replication", ["standbys": 1]) == .notice)
        #expect(try status("replication", ["standbyNames": "*"]) == .problem)
        #expect(try status("replication", ["standbyNames": "*", "standbys": 1]) == .ok)
        #expect(try status("pooler", ["backend": 8]) == .problem)
        #expect(try status("in doubt", ["oldestOwn": 61.0]) == .problem)
        #expect(try status("contradictions", ["contradictions": 1]) == .problem)
        #expect(try status("foreign", ["foreign": ["gid": "a'b", "age": 61.0]]) == .notice)
        #expect(try status("cleaning", ["holder": ["what": "replication slot s", "age": 2_000_000]]) == .notice)
        #expect(try status("cleaning", ["holder": ["what": "session 1", "age": 60_000_000]]) == .problem)
        #expect(try status("clock", ["clock": 1002.0]) == .notice)
        #expect(try status("clock", ["clock": 960.0]) == .problem)
    }
}
