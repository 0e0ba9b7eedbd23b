extension Rule {
    static let concurrency: [Rule] = [noDetachedTasks, noTasksInInitialisers, noSleepsInTests, noSleepsInSources]

    static let noDetachedTasks = Rule("no task is detached") { house in
        let detached = Pattern(#"\b(Task(?:\s*<[^>\n]*>)?\s*\.\s*detached)\b"#)
        return house.swift.flatMap { $0.violations(of: detached, "leaves the structure") }
    }

    static let noTasksInInitialisers = Rule("no initialiser starts a task") { house in
        house.sources.flatMap { file in
            Initialiser.all(in: file.swift?.code ?? "").filter { Initialiser.taskStart.isFound(in: $0.body) }
                .map { "\(file.path):\($0.line): this initialiser starts a task" }
        }
    }

    private static let sleep = Pattern(#"\b(\w*sleep)\s*\("#)

    static let noSleepsInTests = Rule("no test waits by the clock") { house in
        house.files.filter { $0.isIn("Tests") }.flatMap { $0.violations(of: sleep, "waits by the clock") }
    }

    /// Where the sources may sleep, and why nothing else would do.
    private static let sleepers: [String: String] = [
        "Sources/TandemCluster/Schema/": "between two attempts to lock a table its users have it for themselves; nobody says when they have left it",
        "Sources/TandemLocal/": "a server that starts or stops tells nobody: its state is polled",
        "Sources/TandemTransactions/":
            "back-off before a register is asked again, and recovery's interval: no other process says when it is done",
        "Sources/TandemSagas/": "back-off, polls, leases and durable timers: what is waited for is another process's, or time itself",
        "Sources/TandemOutbox/": "polls for what others publish, leases, and back-off while a sink is down",
        "Sources/TandemWebhook/WebhookSink.swift": "the time limit of the rest of an answer: the client's own ends with the answer's head",
        "Sources/TandemKafka/KafkaConsumer.swift": "back-off before a message is handled again, and before a cluster is tried again",
        "Sources/TandemRabbitMQ/RabbitMQConsumer.swift": "back-off before a message is given back, and before a broker is tried again",
        "Sources/TandemBench/OutboxBench.swift": "events at a rate, and polls for the end of a backlog",
        "Sources/TandemInbox/": "polls for what others bring, and back-off before a message is tried again",
        "Sources/TandemIdempotency/": "an interval between rounds of cleaning",
        "Sources/TandemBench/DeadlockBench.swift": "it measures what happens while nothing does",
        "Sources/TandemChaos/": "a schedule of faults is times by definition, and what is prepared is polled",
        "Sources/TandemTestKit/ProxyConnection.swift": "a fault that delays or trickles is a sleep by definition",
        "Sources/TandemFailpoints/FailpointPlan.swift": "the action delay is a sleep by definition",
    ]

    static let noSleepsInSources = Rule("the sources sleep only where the allow-list gives a reason") { house in
        house.sources.filter { file in !sleepers.keys.contains { file.path.hasPrefix($0) } }
            .flatMap { $0.violations(of: sleep, "waits by the clock without a reason in the allow-list") }
    }
}

/// An initialiser with a body, found by its brackets.
private struct Initialiser {
    let line: Int
    let body: String

    static let taskStart = Pattern(#"\bTask\s*(?:<[^{}\n]*>\s*)?(?:\.\s*\w+\s*)?(?:\([^{}]*\)\s*)?\{"#)

    /// An `init` that no '.' stands before, which would be a call.
    private static let declaration = Pattern(#"(?<![.\w`])init[?!]?\s*(?:<[^{}()]*>\s*)?(?=\()"#)
    /// What may stand between the parameters and the body, without the brackets of a typed `throws`.
    private static let effects = Pattern(#"\A\s*(?:(?:async|throws|rethrows)\s*(?:\([^()]*\))?\s*)*(?:where\s[^{}]*)?\z"#, options: [])

    static func all(in code: String) -> [Initialiser] {
        declaration.matches(in: code).compactMap { match in
            guard let parameters = end(of: "(", ")", in: code[match.end...]),
                let brace = code[parameters...].firstIndex(of: "{"),
                effects.isFound(in: String(code[parameters..<brace])),
                let end = end(of: "{", "}", in: code[brace...])
            else { return nil }
            return Initialiser(line: match.line, body: String(code[brace..<end]))
        }
    }

    /// The place behind the bracket that closes the one at the start of `code`.
    private static func end(of opening: Character, _ closing: Character, in code: Substring) -> String.Index? {
        var depth = 0
        for (index, character) in zip(code.indices, code) {
            if character == opening { depth += 1 }
            if character == closing { depth -= 1 }
            if depth == 0 { return code.index(after: index) }
        }
        return nil
    }
}
