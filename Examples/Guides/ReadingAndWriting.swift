import FoundationEssentials
import Tandem

// The code of the guide "Reading and writing".

struct Account: Decodable {
    var id: Int64
    var owner: String
    var balance: Decimal
    var closedAt: Date?
}

enum Mood: String, PostgresEncodable, PostgresDecodable {
    case happy, sad
}

func rows(_ cluster: Cluster, _ owner: String) async throws {
    let bank = cluster["bankA"]
    for (id, balance) in try await bank.query("SELECT id, balance FROM account WHERE owner = \(owner)", as: Int64.self, Decimal.self) {
        print(id, balance)
    }
    let accounts = try await bank.query("SELECT * FROM account WHERE owner = \(owner)", decoding: Account.self)
    print(accounts.map(\.balance))
}

func everything(_ cluster: Cluster) async throws -> Decimal {
    try await cluster["bankA"].stream("SELECT id, balance FROM account") { rows in
        var sum: Decimal = 0
        for try await row in rows {
            let (_, balance) = try row.decode(as: Int64.self, Decimal.self)
            sum += balance
        }
        return sum
    }
}

func types(_ cluster: Cluster, _ id: Int64, _ mood: Mood?, _ tags: [String?], _ address: PostgresJSON<[String: String]>) async throws {
    try await cluster["bankA"].execute("UPDATE customer SET mood = \(mood), tags = \(tags), address = \(address) WHERE id = \(id)", rows: 1...1)
}

func names(_ cluster: Cluster, _ table: String) async throws -> Int64? {
    try await cluster["bankA"].query("SELECT count(*) FROM \(identifier: table)", as: Int64.self).first
}

func copied(_ cluster: Cluster, _ lines: AsyncStream<[UInt8]>) async throws -> Int {
    try await cluster["bankB"].copyIn("COPY account FROM STDIN (FORMAT csv)", from: lines)
}

func one(_ cluster: Cluster, _ id: Int64, _ owner: String) async throws {
    try await cluster["bankA"].transaction(isRecorded: true) { branch in
        try await branch.execute("UPDATE account SET owner = \(owner) WHERE id = \(id)", rows: 1...1)
        try await branch.execute("INSERT INTO audit (account, owner) VALUES (\(id), \(owner))")
    }
}
