import Foundation
import Glibc
import TandemCore

/// One start of a cluster, step by step.
struct ClusterStart: Sendable {
    /// How long a start or stop waits for another one in the same folder.
    static let lockLimit = Duration.seconds(120)
    /// Somebody else can take a port between our look and the server's; then another one is tried.
    private static let portAttempts = 5

    private let options: LocalClusterOptions
    private let directory: String
    private var files: ClusterFiles { ClusterFiles(directory) }

    init(_ options: LocalClusterOptions) {
        self.options = options
        directory = absolutePath(options.directory)
    }

    func perform() async throws -> LocalCluster {
        try check()
        let binaries = try await PostgresBinaries.find(explicit: options.postgresBin)
        while true {
            try makeDirectory()
            let lock = try await DirectoryLock.take(files.lock, within: Self.lockLimit)
            let earlier = try ClusterRecord.read(directory)
            if let earlier, earlier.isEnding() {
                // It removes files of this folder perhaps, the lock included, so everything begins anew afterwards.
                _ = consume lock
                try await waitForEnd(of: earlier)
                continue
            }
            let account = try ServerAccount(user: earlier?.user ?? options.user)
            let cluster = try await start(after: earlier, binaries, account)
            _ = consume lock
            return cluster
        }
    }

    private func start(after earlier: ClusterRecord?, _ binaries: PostgresBinaries, _ account: ServerAccount) async throws -> LocalCluster {
        if let earlier {
            try checkNames(of: earlier)
            if earlier.isServing(directory) {
                return LocalCluster(directory: directory, record: earlier, supervisor: nil, isOwner: false)
            }
            // What a run left behind that was killed together with its supervisor.
            try await earlier.end(directory)
            if earlier.isEphemeral { try earlier.removeData(directory) }
        }
        var record: ClusterRecord
        if let earlier, !earlier.isEphemeral {
            record = earlier
        } else {
            record = try await newRecord(account)
            try await clear(record)
        }
        let run = try ClusterRecord.Run(
            token: randomText(16), isDetached: options.isDetached, owner: ProcessIdentity(getpid()), supervisor: nil)
        record.run = run
        record.postgresBin = binaries.directory
        for index in record.nodes.indices { record.nodes[index].settings = settings }
        try makeFolders(record, account)
        // First the record, then the running file, then the supervisor, then servers: what exists is always named by what existed before it.
        try record.write(directory)
        try writePrivately(Data(), to: files.running(run))
        var supervisor: Supervisor?
        do {
            if !options.isDetached {
                let guardian = try await Supervisor(
                    running: files.running(run), isEphemeral: record.isEphemeral, directory: directory, base: record.base,
                    nodes: record.folders)
                supervisor = guardian
                record.run?.supervisor = guardian.identity
                try record.write(directory)
            }
            record.nodes = try await startNodes(record, run, binaries, account)
            record.run?.isReady = true
            try record.write(directory)
        } catch {
            try? await abandon(record, supervisor, isNew: earlier == nil)
            throw error
        }
        return LocalCluster(directory: directory, record: record, supervisor: supervisor, isOwner: true)
    }

    /// Nothing that a failed start has begun stays; data that was there before does.
    private func abandon(_ record: ClusterRecord, _ supervisor: Supervisor?, isNew: Bool) async throws {
        try await uncancelled {
            try await record.end(directory)
            await supervisor?.end()
            if isNew || record.isEphemeral { try record.removeData(directory) }
        }
    }

    private func startNodes(
        _ record: ClusterRecord, _ run: ClusterRecord.Run, _ binaries: PostgresBinaries, _ account: ServerAccount
    ) async throws -> [ClusterRecord.Node] {
        let setup = NodeSetup(
            binaries: binaries, account: account, database: record.database, password: record.password,
            superuserPassword: record.superuserPassword, isDurable: !record.isEphemeral && options.fsync)
        let taken = Set(record.nodes.map(\.port))
        return try await withThrowingTaskGroup(of: (Int, ClusterRecord.Node).self) { group in
            for (index, node) in record.nodes.enumerated() {
                group.addTask {
                    let folder = record.folder(of: node.name)
                    let isNew = access(folder.completeMark, F_OK) != 0
                    if isNew { try await folder.initialise(setup) }
                    async let synced: Void = isNew ? folder.sync(setup) : ()
                    var node = node
                    for attempt in 1... {
                        do {
                            if !FreePort.isFree(node.port) { node.port = try FreePort.find(except: taken) }
                            try await folder.start(
                                ServerLaunch(
                                    binaries: binaries, account: account, port: node.port, socketDirectory: record.socketDirectory,
                                    settings: node.settings, running: files.running(run)))
                            break
                        } catch let error as TandemError
                            where attempt < Self.portAttempts && error.message.contains("Address already in use")
                        {
                            node.port = try FreePort.find(except: taken)
                        }
                    }
                    try await synced
                    if isNew { try writePrivately(Data(), to: folder.completeMark) }
                    return (index, node)
                }
            }
            var nodes = record.nodes
            for try await (index, node) in group { nodes[index] = node }
            return nodes
        }
    }

    private var settings: [String: String] {
        var settings = [
            "max_prepared_transactions": String(options.maxPreparedTransactions), "max_connections": String(options.maxConnections),
            "fsync": options.fsync ? "on" : "off",
        ]
        // What a killed server leaves in /dev/shm nobody removes when its data goes; files in its own folder go with that.
        if options.isEphemeral { settings["dynamic_shared_memory_type"] = "mmap" }
        return settings.merging(options.settings) { $1 }
    }

    private func newRecord(_ account: ServerAccount) async throws -> ClusterRecord {
        let base = try await newBase(account)
        let socket = "\(base)/socket"
        var ports: Set<Int> = []
        let nodes = try (options.names ?? LocalClusterOptions.defaultNames(count: 3)).map { name in
            let port = try FreePort.find(except: ports)
            ports.insert(port)
            return ClusterRecord.Node(name: name, port: port, settings: [:])
        }
        // The address of a Unix socket has room for 107 bytes; 15 and those of a lock file's suffix follow the folder.
        return ClusterRecord(
            base: base, socketDirectory: socket.utf8.count + 15 <= 100 ? socket : "/tmp/tandem-\(hash(directory))",
            isEphemeral: options.isEphemeral, user: options.user, postgresBin: "", database: options.database, password: try randomText(32),
            superuserPassword: try randomText(32), nodes: nodes, run: nil)
    }

    /// Where the data goes: the cluster's own folder where the servers' account can reach it.
    private func newBase(_ account: ServerAccount) async throws -> String {
        if options.isEphemeral {
            let count = options.names?.count ?? 3
            return try "\(hasRoom("/dev/shm", megabytes: 512 * count) ? "/dev/shm" : "/var/tmp")/tandem-\(randomText(12))"
        }
        return try await account.canReach(directory) ? directory : "/var/tmp/tandem-dev-\(hash(directory))"
    }

    /// Sees to it that a new cluster's folders are new. In the cluster's own folder, what bears a node's name without a record is somebody's and
    /// stays; below /var/tmp it is the rest of a cluster whose own folder was removed by hand, and nobody knows its passwords any more.
    private func clear(_ record: ClusterRecord) async throws {
        guard record.base == directory else {
            guard access(record.base, F_OK) == 0 else { return }
            try makeFolder(record.base, mode: 0o711)
            let names = try FileManager.default.contentsOfDirectory(atPath: record.base).compactMap { try? NodeName($0) }
            for name in names { try await record.folder(of: name).kill() }
            try FileManager.default.removeItem(atPath: record.base)
            return
        }
        for path in record.folders.map(\.path) + ["\(directory)/socket"] where access(path, F_OK) == 0 {
            throw TandemError(
                .localNodeFailed, "\(path) exists already and is not of a local cluster", nextStep: "Choose another folder, or remove it.")
        }
    }

    private func makeFolders(_ record: ClusterRecord, _ account: ServerAccount) throws {
        if record.base != directory { try makeFolder(record.base, mode: 0o711) }
        try makeFolder(record.socketDirectory, mode: 0o755, owner: account)
        for folder in record.folders { try makeFolder(folder.path, mode: 0o711) }
    }

    private func makeDirectory() throws {
        guard access(directory, F_OK) != 0 else { return }
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        } catch {
            throw TandemError(
                .localNodeFailed, "\(directory) cannot be made", nextStep: "Choose a folder that you may write to.", cause: error)
        }
        chmod(directory, geteuid() == 0 ? 0o711 : 0o700)  // the servers' account passes through
    }

    private func waitForEnd(of record: ClusterRecord) async throws {
        guard try await poll(within: NodeFolder.limit, { !record.isEnding() }) else {
            throw TandemError(
                .localNodeFailed, "the previous run of \(directory) does not end",
                nextStep: "Try again, or read the logs in \(record.base).")
        }
    }

    private func check() throws {
        let names = (options.names ?? []).map(\.rawValue)
        guard options.names?.isEmpty != true, Set(names).count == names.count, ClusterFiles.reserved.isDisjoint(with: names) else {
            throw TandemError(.localNodeFailed, "the nodes need distinct names, and at least one", nextStep: "Name them n1, n2, n3.")
        }
        let isPlain = options.database.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
        guard isPlain, !options.database.isEmpty, options.database.utf8.count < 64,
            ![LocalNode.superuser, "template0", "template1"].contains(options.database)
        else {
            throw TandemError(.localNodeFailed, "a local database's name has letters, digits and underscores", nextStep: "Name it tandem.")
        }
    }

    private func checkNames(of record: ClusterRecord) throws {
        guard let names = options.names, names != record.nodes.map(\.name) else { return }
        let present = record.nodes.map(\.name.rawValue).joined(separator: ", ")
        throw TandemError(
            .localNodeFailed, "\(directory) holds a cluster of other nodes: \(present)",
            nextStep: "Use another folder, or remove this cluster's data: tandem dev reset --dir \(directory)")
    }
}

/// Letters and digits from the system's random numbers.
private func randomText(_ count: Int) throws -> String {
    let characters = Array("abcdefghijklmnopqrstuvwxyz0123456789")
    var generator = SystemRandomNumberGenerator()
    return String((0..<count).map { _ in characters[Int.random(in: 0..<characters.count, using: &generator)] })
}

private func hasRoom(_ path: String, megabytes: Int) -> Bool {
    var information = statvfs()
    guard statvfs(path, &information) == 0, access(path, W_OK) == 0 else { return false }
    return Int(information.f_bavail) * Int(information.f_frsize) >= megabytes << 20
}

/// FNV-1a: a name that is the same for the same folder every time.
private func hash(_ text: String) -> String {
    let value = text.utf8.reduce(14_695_981_039_346_656_037 as UInt64) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
    return String(value, radix: 16)
}
