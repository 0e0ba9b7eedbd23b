/// The two shell scripts that stand between this process and the servers.
///
/// They agree with this module on one file, `running-<token>` in the cluster's folder, which exists as long as that run of the cluster may
/// have servers. Whoever removes it ends the run; a keeper first leaves its process id and then looks for the file, the one that ends the run
/// first removes the file and then looks for keepers. So either the keeper starts nothing, or the one that ends the run sees it.
enum Scripts {
    /// Starts one server and reaps it: an unreaped postmaster would look alive to the next one, which then refuses to start.
    ///
    /// Arguments: the node's folder, the running file, the log, the server's command.
    static let keeper = #"""
        node=$1 running=$2 log=$3
        shift 3
        cd "$node" || exit 1
        (
            read -r keeper rest </proc/self/stat
            echo "$keeper" >keeper.pid
            if [ -e "$running" ]; then
                "$@" </dev/null >>"$log" 2>&1
                echo "$?" >exit
            fi
            rm -f keeper.pid
        ) </dev/null >/dev/null 2>&1 &
        """#

    /// Starts the supervisor, whose text is the first argument, in the background, and prints its process id. A background program's standard
    /// input would be /dev/null; so it is handed on by another number.
    static let supervisorLauncher = #"""
        script=$1
        shift
        exec 3<&0
        /bin/sh -c "$script" tandem-supervisor "$@" <&3 3<&- >/dev/null 2>&1 &
        echo "$!"
        """#

    /// Waits until the write end of its standard input is closed, by the end of the process that holds it, then stops the servers.
    ///
    /// Arguments: the running file, how to stop (fast or immediate), the cluster's folder, the folder to remove (or nothing), the nodes'
    /// folders. A server process is known by its program and its working directory, as in `NodeFolder`.
    static let supervisor = #"""
        trap '' HUP INT QUIT TERM
        running=$1 mode=$2 directory=$3 remove=$4
        shift 4
        while read -r line; do :; done
        rm -- "$running" 2>/dev/null || exit 0

        isserver() {
            [ "$1/cwd" -ef "$2/data" ] || [ "$1/cwd" -ef "$2" ] || return 1
            case $(readlink "$1/exe") in
                */postgres | */postgres\ * | */initdb) return 0 ;;
            esac
            return 1
        }
        # Signals every server process of the nodes; fails if there is none, and no keeper either.
        all() {
            signal=$1 found=1
            shift
            for process in /proc/[0-9]*; do
                for node in "$@"; do
                    isserver "$process" "$node" || continue
                    kill "-$signal" "${process#/proc/}" 2>/dev/null
                    found=0
                done
            done
            for node in "$@"; do
                keeper=
                read -r keeper 2>/dev/null <"$node/keeper.pid"
                [ -n "$keeper" ] && [ "/proc/$keeper/cwd" -ef "$node" ] && found=0
            done
            return $found
        }
        postmasters() {
            signal=$1
            shift
            for node in "$@"; do
                postmaster=
                read -r postmaster 2>/dev/null <"$node/data/postmaster.pid"
                [ -n "$postmaster" ] && isserver "/proc/$postmaster" "$node" && kill "-$signal" "$postmaster" 2>/dev/null
            done
        }
        round=0
        [ "$mode" = fast ] || round=200
        while all CONT "$@"; do
            if [ "$round" -lt 200 ]; then
                postmasters INT "$@"
            elif [ "$round" -lt 300 ]; then
                postmasters QUIT "$@"
            elif [ "$round" -lt 400 ]; then
                all KILL "$@"
            else
                exit 1
            fi
            round=$((round + 1))
            sleep 0.05
        done
        [ -n "$remove" ] || exit 0
        attempt=0
        until rm -rf -- "$remove" 2>/dev/null || [ "$attempt" -ge 100 ]; do
            attempt=$((attempt + 1))
            sleep 0.05
        done
        rm -f -- "$directory/cluster.json" "$directory/passfile" "$directory/lock"
        rmdir -- "$directory" 2>/dev/null
        """#
}
