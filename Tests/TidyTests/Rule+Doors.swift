extension Rule {
    static let doors: [Rule] = [importsAreDoors, reservedModules, coreOnlyDecides, commandHoldsNoSQL, unsafePointers, uncheckedSendable]

    static let importsAreDoors = Rule("a target imports only what the table of doors admits") { house in
        house.sources.flatMap { file -> [String] in
            guard let room = file.room else { return file.swift == nil ? [] : ["\(file.path): belongs to no target"] }
            guard let door = Door.table[room] else { return ["\(file.path): \(room) has no row in the table of doors"] }
            return file.imports.filter { !door.admits($0.module) }.map { "\(file.path):\($0.line): \(room) may not import \($0.module)" }
        }
    }

    static let reservedModules = Rule("CLibPQ, Yams and TandemCommand are imported by those they are reserved for") { house in
        house.swift.flatMap { file in
            file.imports.compactMap { line, module in
                guard let owners = Door.reserved[module], !owners.contains(file.room ?? "") else { return nil }
                return "\(file.path):\(line): only \(owners.sorted().joined(separator: ", ")) may import \(module)"
            }
        }
    }

    static let coreOnlyDecides = Rule("TandemCore decides: no I/O, no async, no clock, no randomness") { house in
        let effects = Pattern(
            #"\b(async|await|Task|print|readLine|ContinuousClock|SuspendingClock|SystemRandomNumberGenerator"#
                + #"|random\s*\(|randomElement|shuffled?\s*\()"#)
        return house.sources.filter { $0.room == "TandemCore" }.flatMap { $0.violations(of: effects, "is an effect") }
    }

    static let commandHoldsNoSQL = Rule("TandemCommand holds no SQL") { house in
        let upperCase = Pattern(
            #"\b(SELECT\s|INSERT INTO\b|UPDATE \S+ SET\b|DELETE FROM\b|SET (?:LOCAL|ROLE)\b"#
                + #"|(?:COMMIT|ROLLBACK) PREPARED '|PREPARE TRANSACTION '|TRUNCATE\s|GRANT\s+\w+\s+(?:ON|TO)\b"#
                + #"|(?:CREATE|ALTER|DROP) (?:TABLE|SCHEMA|INDEX|ROLE|USER|DATABASE|FUNCTION|EXTENSION)\b)"#
        )
        let lowerCase = Pattern(#"^\s*(select\s[\s\S]*\sfrom\s|insert\s+into\s|update\s+\S+\s+set\s|delete\s+from\s)"#)
        return house.sources.filter { $0.room == "TandemCommand" }.flatMap { file -> [String] in
            if file.path.hasSuffix(".sql") { return ["\(file.path): is SQL"] }
            return (file.swift?.literals ?? []).filter { upperCase.isFound(in: $0) || lowerCase.isFound(in: $0) }
                .map { "\(file.path): the literal '\($0)' is SQL" }
        }
    }

    static let unsafePointers = Rule("unsafe pointers stay in the driver and where processes are spawned") { house in
        let rooms: Set = [
            "TandemPostgres",  // libpq and epoll are C
            "TandemKafka",  // librdkafka is C
            "TandemRabbitMQ",  // librabbitmq is C
            "TandemLocal",  // posix_spawn takes C arrays
        ]
        let pointers = Pattern(#"\b(Unsafe\w*|withUnsafe\w*|unsafe[A-Z]\w*|OpaquePointer|Unmanaged)\b"#)
        return house.sources.filter { !rooms.contains($0.room ?? "") }.flatMap { $0.violations(of: pointers, "is unsafe") }
    }

    static let uncheckedSendable = Rule("only the driver and the one lock vouch for Sendable themselves") { house in
        let vouching = Pattern(#"(@unchecked\s+Sendable|nonisolated\s*\(\s*unsafe\s*\)|@preconcurrency)"#)
        let locks = house.sources.filter { $0.components.last == "Locked.swift" }.map(\.path)
        return (locks.count > 1 ? ["there is more than one lock: \(locks.joined(separator: ", "))"] : [])
            + house.swift.filter { $0.room != "TandemPostgres" && !locks.contains($0.path) }
            .flatMap { $0.violations(of: vouching, "is not checked") }
    }
}
