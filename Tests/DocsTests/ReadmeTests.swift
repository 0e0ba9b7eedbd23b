import Foundation
import Testing

/// The first thing that a new user types in has to work.
@Suite("README.md")
struct ReadmeTests {
    /// The package of the example is built beside this one's products, so that a later run only builds what has changed. `TANDEM_TEST_README=0` leaves it
    /// out.
    @Test(
        "its example builds as a package of its own against this one",
        .enabled(if: ProcessInfo.processInfo.environment["TANDEM_TEST_README"] != "0"), .timeLimit(.minutes(15)))
    func example() async throws {
        let blocks = Documents.blocks(of: "swift", in: try Documents.text("README.md"))
        let manifest = try #require(blocks.first { $0.hasPrefix("// swift-tools-version") }, "the README shows a Package.swift")
        let program = try #require(blocks.first { $0.hasPrefix("import Tandem\n") }, "the README shows a program")
        let folder = try ExampleFolder(beside: "Transfer")
        try folder.write(manifest, "Transfer/Package.swift")
        try folder.write(program, "Transfer/Sources/Transfer/main.swift")
        let end = try await folder.build("Transfer")
        #expect(end.status == 0, "\(end.output)")
    }
}

/// A folder in which a package lies beside `tandem`, as the README's relative path wants it.
private struct ExampleFolder {
    let root: URL

    init(beside name: String) throws {
        let products = URL(filePath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")).deletingLastPathComponent()
        // The test runner of the toolchain loads the tests in some versions; its own folder is none to write to.
        let place = FileManager.default.isWritableFile(atPath: products.path) && products.path.hasPrefix("/usr/") == false
        root = place ? products.appending(path: "readme-example") : URL(filePath: NSTemporaryDirectory()).appending(path: "tandem-readme-example")
        try FileManager.default.createDirectory(at: root.appending(path: "\(name)/Sources/\(name)"), withIntermediateDirectories: true)
        let link = root.appending(path: "tandem").path
        if (try? FileManager.default.destinationOfSymbolicLink(atPath: link)) != Documents.root.path {
            try? FileManager.default.removeItem(atPath: link)
            try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: Documents.root.path)
        }
    }

    /// Written anew each time, and so compiled: what it calls may have changed in ways that an incremental build across packages does not see.
    func write(_ text: String, _ path: String) throws {
        try text.write(to: root.appending(path: path), atomically: true, encoding: .utf8)
    }

    /// Builds with the versions of the other packages that this one was built with: they are on this machine, so no network is needed.
    func build(_ package: String) async throws -> (status: Int32, output: String) {
        let pins = root.appending(path: "\(package)/Package.resolved")
        if !FileManager.default.fileExists(atPath: pins.path) {
            // There is none where this package itself was resolved without one; SwiftPM then looks for versions by itself.
            try? FileManager.default.copyItem(at: Documents.root.appending(path: "Package.resolved"), to: pins)
        }
        // Through the link it is not noticed that this package has other files than it had: the plan is made anew.
        try? FileManager.default.removeItem(at: root.appending(path: "build/debug.yaml"))
        let log = root.appending(path: "build.log")
        try Data().write(to: log)
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [
            "swift", "build", "--skip-update", "--package-path", root.appending(path: package).path, "--scratch-path", root.appending(path: "build").path,
        ]
        process.standardInput = FileHandle.nullDevice
        let output = try FileHandle(forWritingTo: log)
        process.standardOutput = output
        process.standardError = output
        let status: Int32 = try await withCheckedThrowingContinuation { continuation in
            process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        try output.close()
        return (status, String(try String(contentsOf: log, encoding: .utf8).suffix(4000)))
    }
}
