import ArgumentParser

/// `tandem completion`
struct Completion: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a script that completes tandem's commands and options in a shell.",
        discussion: """
            bash: tandem completion bash > ~/.local/share/bash-completion/completions/tandem
            zsh:  tandem completion zsh > DIRECTORY/_tandem, a directory of $fpath
            fish: tandem completion fish > ~/.config/fish/completions/tandem.fish
            """)

    /// The shells that have one.
    enum Shell: String, CaseIterable, ExpressibleByArgument { case bash, zsh, fish }

    @Argument(help: "The shell.")
    var shell: Shell

    mutating func run() throws {
        let script =
            switch shell {
            case .bash: Root.completionScript(for: .bash)
            case .zsh: Root.completionScript(for: .zsh)
            case .fish: Root.completionScript(for: .fish)
            }
        try Output.write(text: script.hasSuffix("\n") ? script : script + "\n")
    }
}
