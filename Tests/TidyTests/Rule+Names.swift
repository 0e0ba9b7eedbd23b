extension Rule {
    static let names: [Rule] = [pathsDifferByMoreThanCase, typesDifferByMoreThanCase, noTypeIsNamedLikeAModule, foldersAreTargets]

    static let pathsDifferByMoreThanCase = Rule("no two targets, folders or files differ only by case") { house in
        let targets = house.file("Package.swift").map { declaredTargets(in: $0.text) } ?? []
        return collisions(house.paths) + collisions(targets)
    }

    static let typesDifferByMoreThanCase = Rule("no two types differ only by case") { house in
        collisions(types(in: house).map(\.name))
    }

    static let noTypeIsNamedLikeAModule = Rule("no type has the name of a module") { house in
        let modules = Set(house.rooms(in: "Sources") + house.rooms(in: "Tests"))
        return types(in: house).filter { modules.contains($0.name) }.map { "\($0.place): the type \($0.name) hides the module \($0.name)" }
    }

    /// A folder under Tests that is no target holds tests that never run.
    static let foldersAreTargets = Rule("every folder in Sources and Tests is a target of Package.swift") { house in
        let manifest = house.file("Package.swift")?.text ?? ""
        let targets = Set(declaredTargets(in: manifest))
        return ["Sources", "Tests"].flatMap { folder in
            house.rooms(in: folder).filter { !targets.contains($0) && !manifest.contains("path: \"\(folder)/\($0)\"") }
                .map { "\(folder)/\($0) is no target of Package.swift" }
        }
    }

    /// The targets of a manifest: those written out, and those that the short forms `room("X")` and `tests(of: "X")` stand for.
    private static func declaredTargets(in manifest: String) -> [String] {
        let kinds = "target|executableTarget|testTarget|systemLibrary|macro|plugin"
        let written = Pattern(#"(?:\.(?:\#(kinds))\(\s*name:|\broom\()\s*"([A-Za-z0-9_]+)""#)
        let tested = Pattern(#"\btests\(\s*of:\s*"([A-Za-z0-9_]+)""#)
        return written.matches(in: manifest).map(\.text) + tested.matches(in: manifest).map { $0.text + "Tests" }
    }

    private static func types(in house: House) -> [(place: String, name: String)] {
        let declaration = Pattern(#"\b(?:struct|class|enum|actor|protocol|typealias)\s+(?!func\b|var\b|let\b|subscript\b)([A-Za-z_]\w*)"#)
        return house.swift.flatMap { file in
            declaration.matches(in: file.swift?.code ?? "").map { ("\(file.path):\($0.line)", $0.text) }
        }
    }

    private static func collisions(_ names: some Sequence<String>) -> [String] {
        Dictionary(grouping: Set(names)) { $0.lowercased() }.values.filter { $0.count > 1 }
            .map { "\($0.sorted().joined(separator: " and ")) differ only by case" }.sorted()
    }
}
