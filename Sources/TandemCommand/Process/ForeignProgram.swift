import Glibc
import TandemCore

/// Another program in the place of this one.
enum ForeignProgram {
    /// Becomes `program`, which is searched for in PATH; throws where that is not possible.
    ///
    /// Everybody on the machine can read the arguments: no password stands there. The variables come beside those of this process.
    static func become(_ program: String, _ arguments: [String], environment: [String: String]) throws -> Never {
        for (name, value) in environment { setenv(name, value, 1) }
        // What a process ignores, its successor ignores, too.
        for ignored in [SIGPIPE, SIGXFSZ] { signal(ignored, SIG_DFL) }
        execvp(program, ([program] + arguments).map { strdup($0) } + [nil])
        throw TandemError(
            .notFound, "\(program) cannot be run: \(String(cString: strerror(errno)))",
            nextStep: "sudo apt-get install -y postgresql-client")
    }
}
