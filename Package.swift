// swift-tools-version: 6.2
import PackageDescription

let house: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .treatAllWarnings(as: .error),
]

/// A room of the house: a target with the settings that all of them share.
func room(_ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource] = []) -> Target {
    .target(name: name, dependencies: dependencies, resources: resources, swiftSettings: house)
}

func tests(of name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(name: "\(name)Tests", dependencies: dependencies + [.target(name: name)], swiftSettings: house)
}

let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
// For whoever bootstraps a backend: without one both cost next to nothing and do nothing.
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")
let tracing: Target.Dependency = .product(name: "Tracing", package: "swift-distributed-tracing")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "tandem",
    products: [
        .library(name: "Tandem", targets: ["Tandem"]),
        .library(name: "TandemConfiguration", targets: ["TandemConfiguration"]),
        .library(name: "TandemSagas", targets: ["TandemSagas"]),
        .library(name: "TandemIdempotency", targets: ["TandemIdempotency"]),
        .library(name: "TandemMessaging", targets: ["TandemMessaging"]),
        .library(name: "TandemOutbox", targets: ["TandemOutbox"]),
        .library(name: "TandemInbox", targets: ["TandemInbox"]),
        .library(name: "TandemKafka", targets: ["TandemKafka"]),
        .library(name: "TandemRabbitMQ", targets: ["TandemRabbitMQ"]),
        .library(name: "TandemWebhook", targets: ["TandemWebhook"]),
        .library(name: "TandemHummingbird", targets: ["TandemHummingbird"]),
        .library(name: "TandemHTTPSteps", targets: ["TandemHTTPSteps"]),
        .library(name: "TandemTestKit", targets: ["TandemTestKit"]),
        .executable(name: "tandem", targets: ["TandemCommand"]),
        .executable(name: "tandem-demo", targets: ["TandemDemo"]),
    ],
    traits: [
        .trait(name: "Kafka", description: "The command sends events to Kafka, by librdkafka. The product TandemKafka is there all the same."),
        .trait(name: "RabbitMQ", description: "The command sends events to RabbitMQ, by librabbitmq. The product TandemRabbitMQ is there all the same."),
        .default(enabledTraits: ["Kafka", "RabbitMQ"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.3"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        // For the proxy in TandemTestKit, through which `tandem chaos` disturbs connections: the command links it, `import Tandem` does not build it.
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        // For requests of sagas, in a target of its own: the command links it, `import Tandem` and `import TandemSagas` do not build it.
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        // For the middleware of idempotency keys, in a target of its own: nothing else builds it.
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        // For the signatures and the TLS of webhooks, in a target of its own; both are below AsyncHTTPClient and Hummingbird anyway.
        .package(url: "https://github.com/apple/swift-crypto", from: "4.0.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        // ground
        .systemLibrary(name: "CLibPQ"),
        .systemLibrary(name: "CRDKafka"),
        .systemLibrary(name: "CRabbitMQ"),
        room("TandemCore"),
        room("TandemFailpoints"),
        // driver, cluster, transaction
        room(
            "TandemPostgres",
            [
                "CLibPQ", "TandemCore", logging, .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "DequeModule", package: "swift-collections"),
            ]),
        room(
            "TandemCluster", ["TandemCore", "TandemPostgres", logging, metrics, tracing],
            resources: ["0001", "0002", "0003"].map { .embedInCode("Schema/schema-\($0).sql") }),
        room("TandemTransactions", ["TandemCore", "TandemFailpoints", "TandemPostgres", "TandemCluster", logging, metrics, tracing]),
        // capabilities
        room(
            "TandemSagas",
            [
                "TandemCore", "TandemFailpoints", "TandemPostgres", "TandemCluster", "TandemTransactions", logging, metrics,
                .product(name: "DequeModule", package: "swift-collections"),
            ], resources: [.embedInCode("Schema/saga-0001.sql")]),
        room(
            "TandemIdempotency", ["TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemSagas", logging, metrics],
            resources: [.embedInCode("Schema/idempotency-0001.sql")]),
        room("TandemMessaging", ["TandemCore"]),
        room(
            "TandemOutbox",
            ["TandemCore", "TandemFailpoints", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemMessaging", logging, metrics],
            resources: [.embedInCode("Schema/outbox-0001.sql")]),
        room(
            "TandemInbox", ["TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemMessaging", logging, metrics],
            resources: [.embedInCode("Schema/inbox-0001.sql")]),
        room("Tandem", ["TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions"]),
        // adapters
        room(
            "TandemConfiguration",
            ["TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemSagas", "TandemOutbox", .product(name: "Yams", package: "Yams")]),
        room(
            "TandemHTTPSteps",
            [
                "TandemSagas", .product(name: "AsyncHTTPClient", package: "async-http-client"), .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ]),
        room(
            "TandemWebhook",
            [
                "TandemCore", "TandemMessaging", .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Crypto", package: "swift-crypto"), .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ]),
        room("TandemKafka", ["CRDKafka", "TandemCore", "TandemMessaging", logging]),
        room("TandemRabbitMQ", ["CRabbitMQ", "TandemCore", "TandemMessaging", logging]),
        room(
            "TandemHummingbird",
            [
                "TandemCore", "TandemTransactions", "TandemIdempotency", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"), .product(name: "NIOCore", package: "swift-nio"),
            ]),
        room("TandemLocal", ["TandemCore"], resources: [.embedInCode("Broker/rabbitmq.sh")]),
        room(
            "TandemTestKit",
            ["TandemCore", "TandemLocal", .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio")]),
        // command
        room(
            "TandemBench",
            [
                "TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemSagas", "TandemIdempotency", "TandemMessaging", "TandemOutbox",
                "TandemInbox", "TandemLocal", .target(name: "TandemRabbitMQ", condition: .when(traits: ["RabbitMQ"])),
            ]),
        room("TandemChaos", ["TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemSagas", "TandemLocal", "TandemTestKit"]),
        .executableTarget(
            name: "TandemCommand",
            dependencies: [
                "Tandem", "TandemCore", "TandemFailpoints", "TandemCluster", "TandemTransactions", "TandemConfiguration", "TandemLocal", "TandemBench",
                "TandemChaos", "TandemSagas", "TandemHTTPSteps", "TandemIdempotency", "TandemMessaging", "TandemOutbox", "TandemInbox",
                "TandemWebhook", .target(name: "TandemKafka", condition: .when(traits: ["Kafka"])),
                .target(name: "TandemRabbitMQ", condition: .when(traits: ["RabbitMQ"])), arguments, lifecycle, logging,
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: house),
        .executableTarget(
            name: "TandemDemo", dependencies: ["Tandem", "TandemConfiguration", "TandemLocal"], path: "Examples/Demo", swiftSettings: house),
        // The code of the guides in docs/Tandem.docc, so that it compiles.
        .target(name: "TandemGuides", dependencies: ["Tandem", "TandemSagas", "TandemIdempotency"], path: "Examples/Guides", swiftSettings: house),
        // tests
        tests(of: "TandemCore"),
        tests(of: "TandemFailpoints"),
        .target(
            name: "TandemTestSupport",
            dependencies: [
                "CRDKafka", "CRabbitMQ", "TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemSagas", "TandemMessaging", "TandemLocal",
                logging,
            ], path: "Tests/Support",
            swiftSettings: house),
        tests(of: "TandemPostgres", ["TandemCore", "TandemLocal", "TandemTestSupport", logging]),
        tests(of: "TandemCluster", ["TandemCore", "TandemLocal", "TandemPostgres", "TandemTestSupport"]),
        tests(
            of: "TandemTransactions",
            [
                "TandemCore", "TandemFailpoints", "TandemLocal", "TandemPostgres", "TandemCluster", "TandemTestSupport", logging, metrics, tracing,
                .product(name: "MetricsTestKit", package: "swift-metrics"), .product(name: "InMemoryTracing", package: "swift-distributed-tracing"),
            ]),
        .executableTarget(
            name: "TandemCrashProbe",
            dependencies: ["TandemCore", "TandemFailpoints", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemConfiguration"],
            path: "Tests/CrashProbe", swiftSettings: house),
        .testTarget(
            name: "TandemCrashTests",
            dependencies: [
                "TandemCommand", "TandemCrashProbe", "TandemCore", "TandemLocal", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemSagas",
                "TandemMessaging", "TandemOutbox", "TandemInbox", "TandemKafka", "TandemRabbitMQ", "TandemTestSupport", logging,
                .product(name: "Hummingbird", package: "hummingbird"), .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"), .product(name: "NIOCore", package: "swift-nio"),
            ], swiftSettings: house),
        .testTarget(
            name: "TandemFaultTests",
            dependencies: [
                "TandemCore", "TandemFailpoints", "TandemLocal", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemMessaging", "TandemOutbox",
                "TandemInbox", "TandemTestKit", "TandemTestSupport",
            ], swiftSettings: house),
        tests(
            of: "TandemSagas",
            [
                "TandemCore", "TandemFailpoints", "TandemLocal", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemTestSupport",
                .product(name: "MetricsTestKit", package: "swift-metrics"),
            ]),
        tests(
            of: "TandemIdempotency",
            [
                "TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemSagas", "TandemTestSupport",
                .product(name: "MetricsTestKit", package: "swift-metrics"),
            ]),
        tests(
            of: "TandemHummingbird",
            [
                "TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemSagas", "TandemIdempotency", "TandemHTTPSteps",
                "TandemTestSupport", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"), .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"),
            ]),
        tests(
            of: "TandemOutbox",
            [
                "TandemCore", "TandemLocal", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemMessaging", "TandemTestSupport", logging,
                .product(name: "MetricsTestKit", package: "swift-metrics"),
            ]),
        tests(
            of: "TandemInbox",
            [
                "TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemMessaging", "TandemOutbox", "TandemTestSupport",
                .product(name: "MetricsTestKit", package: "swift-metrics"),
            ]),
        tests(
            of: "TandemMessaging",
            [
                "TandemCore", "TandemLocal", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemInbox", "TandemKafka", "TandemRabbitMQ",
                "TandemWebhook",
                "TandemTestSupport", logging, .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdTesting", package: "hummingbird"), .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"),
            ]),
        tests(
            of: "TandemWebhook",
            [
                "TandemConfiguration", "TandemCluster", "TandemCore", "TandemMessaging", "TandemPostgres", "TandemTestSupport",
                .product(name: "Hummingbird", package: "hummingbird"), .product(name: "HummingbirdTesting", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"), .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ]),
        tests(of: "TandemKafka", ["TandemCore", "TandemPostgres", "TandemMessaging", "TandemTestSupport", logging]),
        tests(of: "TandemRabbitMQ", ["TandemCore", "TandemLocal", "TandemPostgres", "TandemMessaging", "TandemTestSupport", logging]),
        tests(of: "TandemLocal", ["TandemCore"]),
        tests(of: "TandemTestKit", ["TandemCore", "TandemLocal", "TandemPostgres", "TandemTestSupport"]),
        tests(of: "TandemChaos", ["TandemCore", "TandemTestSupport"]),
        tests(of: "TandemConfiguration", ["TandemCore", "TandemPostgres", "TandemCluster", "TandemTransactions", "TandemSagas", "TandemOutbox"]),
        tests(of: "TandemCommand", ["Tandem", "TandemCore", "TandemTransactions", "TandemTestSupport"]),
        .testTarget(name: "DocsTests", dependencies: ["TandemCore"], swiftSettings: house),
        .testTarget(name: "TidyTests", swiftSettings: house),
    ],
    swiftLanguageModes: [.v6]
)
