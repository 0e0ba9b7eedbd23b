import Foundation

/// The package as it lies on disk, or a made-up one in which a test breaks a rule.
struct House: Sendable {
    let files: [SourceFile]

    /// Every folder and file of the package, also those that are no text; for links and for names.
    let paths: Set<String>

    init(_ texts: KeyValuePairs<String, String>) {
        self.init(files: texts.map { SourceFile(path: $0.key, text: $0.value) }, paths: Set(texts.map(\.key)))
    }

    private init(files: [SourceFile], paths: Set<String>) {
        self.files = files
        self.paths = paths.reduce(into: []) { all, path in
            var path = Substring(path)
            while all.insert(String(path)).inserted, let slash = path.lastIndex(of: "/") { path = path[..<slash] }
        }
    }

    /// The package that this file belongs to.
    static var real: House { get async { await reading.value } }

    /// It takes seconds: on a thread of its own, since all who want it would wait on those of Swift's pool.
    private static let reading = Task {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                continuation.resume(returning: House(at: URL(filePath: #filePath).resolvingSymlinksInPath().appending(path: "../../..").standardizedFileURL))
            }
        }
    }

    private init(at root: URL) {
        var files: [SourceFile] = []
        var paths: Set<String> = []
        for path in Self.walk(root, "") {
            paths.insert(path)
            let isText = ["swift", "md", "sql", "h", "modulemap", "yaml", "sh"].contains((path as NSString).pathExtension)
            if isText, let text = try? String(contentsOf: root.appending(path: path), encoding: .utf8) {
                files.append(SourceFile(path: path, text: text))
            }
        }
        self.init(files: files, paths: paths)
    }

    /// What builds, tools and `tandem dev` leave behind.
    private static let leavings = [".git", ".build", ".swiftpm", ".index-build", ".tandem"]

    /// The files under `folder`, in order.
    private static func walk(_ root: URL, _ folder: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: root.appending(path: folder).path)) ?? []
        return names.filter { !leavings.contains($0) }.sorted().flatMap { name -> [String] in
            let path = folder.isEmpty ? name : folder + "/" + name
            var isFolder: ObjCBool = false
            let isThere = FileManager.default.fileExists(atPath: root.appending(path: path).path, isDirectory: &isFolder)
            guard isThere else { return [] }
            return isFolder.boolValue ? walk(root, path) : [path]
        }
    }

    var sources: [SourceFile] { files.filter { $0.isIn("Sources") } }

    var swift: [SourceFile] { files.filter { $0.swift != nil && $0.isIn("Sources", "Tests", "Examples") } }

    func file(_ path: String) -> SourceFile? {
        files.first { $0.path == path }
    }

    /// The names of the folders under `folder`, each of which is to be a target.
    func rooms(in folder: String) -> [String] {
        Set(paths.filter { $0.hasPrefix(folder + "/") }.map { $0.split(separator: "/") }.filter { $0.count > 2 }.map { String($0[1]) })
            .sorted()
    }
}
