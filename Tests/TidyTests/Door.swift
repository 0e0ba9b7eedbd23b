/// What a target may import; the table of doors in ARCHITECTURE.md, downwards only.
struct Door: Sendable {
    /// Modules of this package.
    let inside: Set<String>
    /// Modules of the toolchain and of other packages.
    let outside: Set<String>

    private init(_ inside: Set<String>, outside: Set<String> = []) {
        self.inside = inside
        self.outside = outside
    }

    func admits(_ module: String) -> Bool {
        inside.contains(module) || outside.contains(module)
    }

    private static let system: Set<String> = ["Foundation", "FoundationEssentials", "Glibc", "Synchronization"]
    private static let telemetry: Set<String> = ["Logging", "Metrics", "Tracing"]
    private static let driver: Set<String> = ["TandemCore", "TandemFailpoints", "TandemPostgres"]
    private static let transactions: Set<String> = driver.union(["TandemCluster", "TandemTransactions"])

    /// One row a target of Sources. A new target needs a row of its own, and a reason in ARCHITECTURE.md.
    static let table: [String: Door] = [
        // ground
        "CLibPQ": Door([]),
        "CRDKafka": Door([]),
        "CRabbitMQ": Door([]),
        "TandemCore": Door([]),
        "TandemFailpoints": Door([], outside: ["Glibc", "Synchronization"]),
        // driver
        "TandemPostgres": Door(
            ["CLibPQ", "TandemCore", "TandemFailpoints"],
            outside: system.union(telemetry).union(["DequeModule", "Dispatch", "HeapModule", "OrderedCollections"])),
        // cluster
        "TandemCluster": Door(driver, outside: system.union(telemetry).union(["ServiceLifecycle"])),
        // transaction
        "TandemTransactions": Door(
            driver.union(["TandemCluster"]), outside: system.union(telemetry).union(["DequeModule", "HeapModule", "ServiceLifecycle"])),
        // capabilities
        "TandemSagas": Door(transactions, outside: system.union(telemetry).union(["DequeModule"])),
        "TandemIdempotency": Door(
            transactions.subtracting(["TandemFailpoints"]).union(["TandemSagas"]), outside: system.union(telemetry)),
        "TandemMessaging": Door(["TandemCore"], outside: ["Synchronization"]),
        "TandemOutbox": Door(transactions.union(["TandemMessaging"]), outside: system.union(telemetry)),
        "TandemInbox": Door(transactions.subtracting(["TandemFailpoints"]).union(["TandemMessaging"]), outside: system.union(telemetry)),
        "Tandem": Door(["TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions"]),
        // adapters
        "TandemConfiguration": Door(
            transactions.subtracting(["TandemFailpoints"]).union(["TandemSagas", "TandemOutbox"]), outside: system.union(["Logging", "Yams"])),
        "TandemHTTPSteps": Door(["TandemSagas"], outside: ["AsyncHTTPClient", "NIOCore", "NIOHTTP1"]),
        "TandemHummingbird": Door(
            ["TandemCore", "TandemTransactions", "TandemIdempotency"], outside: ["Hummingbird", "HTTPTypes", "NIOCore"]),
        "TandemWebhook": Door(
            ["TandemCore", "TandemMessaging"],
            outside: ["AsyncHTTPClient", "Crypto", "FoundationEssentials", "NIOCore", "NIOHTTP1", "NIOSSL", "Synchronization"]),
        "TandemKafka": Door(["CRDKafka", "TandemCore", "TandemMessaging"], outside: system.union(["Logging"])),
        "TandemRabbitMQ": Door(["CRabbitMQ", "TandemCore", "TandemMessaging"], outside: system.union(["Logging"])),
        "TandemLocal": Door(["TandemCore"], outside: system.union(["Logging"])),
        "TandemTestKit": Door(["TandemCore", "TandemLocal"], outside: system.union(["NIOCore", "NIOPosix"])),
        // command
        "TandemBench": Door(
            transactions.union(["TandemLocal", "TandemSagas", "TandemIdempotency", "TandemMessaging", "TandemOutbox", "TandemInbox", "TandemRabbitMQ"]),
            outside: system.union(["Logging", "ServiceLifecycle"])),
        "TandemChaos": Door(transactions.subtracting(["TandemFailpoints"]).union(["TandemLocal", "TandemTestKit", "TandemSagas"]), outside: system),
        "TandemCommand": Door(
            transactions.subtracting(["TandemPostgres"]).union([
                "Tandem", "TandemBench", "TandemChaos", "TandemConfiguration", "TandemLocal", "TandemSagas", "TandemHTTPSteps", "TandemIdempotency",
                "TandemMessaging", "TandemOutbox", "TandemInbox", "TandemKafka", "TandemRabbitMQ", "TandemWebhook",
            ]),
            outside: system.union(["ArgumentParser", "Dispatch", "Logging", "ServiceLifecycle", "UnixSignals"])),
    ]

    /// Modules that only the named targets may import, wherever else a file stands: in Sources, Tests or Examples.
    static let reserved: [String: Set<String>] = [
        "CLibPQ": ["TandemPostgres"],
        "CRDKafka": ["TandemKafka", "Support"],
        "CRabbitMQ": ["TandemRabbitMQ", "Support"],
        "Yams": ["TandemConfiguration"],
        "NIOCore": [
            "TandemTestKit", "TandemHTTPSteps", "TandemHummingbird", "TandemHummingbirdTests", "TandemWebhook", "TandemWebhookTests", "TandemMessagingTests",
            "TandemCrashTests",
        ],
        "Hummingbird": ["TandemHummingbird", "TandemHummingbirdTests", "TandemWebhookTests", "TandemMessagingTests", "TandemCrashTests"],
        "NIOPosix": ["TandemTestKit"],
        "NIOHTTP1": ["TandemHTTPSteps", "TandemWebhook"],
        "AsyncHTTPClient": ["TandemHTTPSteps", "TandemWebhook"],
        "Crypto": ["TandemWebhook"],
        "NIOSSL": ["TandemWebhook", "TandemWebhookTests"],
        // Its own tests reach into it; nobody else does.
        "TandemCommand": ["TandemCommandTests"],
    ]
}
