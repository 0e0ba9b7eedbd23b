import Glibc

/// What must hold of the standard descriptors before anything else happens.
enum StandardDescriptors {
    static func prepare() {
        // Whoever reads our output may go away; a transaction ends in order all the same.
        signal(SIGPIPE, SIG_IGN)
        // A file that has reached the size that a limit allows is one that takes nothing now, as on a full disk.
        signal(SIGXFSZ, SIG_IGN)
        // A closed descriptor's number goes to the next file: a result would be printed into a connection to a server.
        for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) < 0 {
            while true {
                let opened = open("/dev/null", O_RDWR)
                guard opened >= 0, opened < descriptor else { break }
            }
        }
    }
}
