# Stops the servers when their owner is gone. Reads its orders from a pipe that only the owner
# (and, for a moment, a server about to start) holds open:
#   postgres <pid|0>   nats <pid|0>   the process to stop; 0: none any more
# $1: name of the nats-server process. $2..: folders to remove at the end.
trap '' HUP INT TERM QUIT
nats_name=$1
shift
postgres=0 nats=0
while read -r server pid; do
    case $server in
        postgres) postgres=$pid ;;
        nats) nats=$pid ;;
    esac
done

# alive <pid> <name>: runs, is no zombie, and is still the same program (ids are used again).
alive() {
    [ "$1" != 0 ] || return 1
    if [ -d /proc/self ]; then
        read -r _ name state _ <"/proc/$1/stat" || return 1
        name=${name#(}
        name=${name%)}
    else
        name=$(ps -o comm= -p "$1") || return 1
        state=$(ps -o stat= -p "$1")
        name=${name##*/}
    fi
    case $state in Z* | X*) return 1 ;; esac
    # A server that has registered itself is still a shell for a moment.
    [ "$name" = "$2" ] || [ "$name" = sh ] || [ "$name" = dash ] || [ "$name" = bash ]
}

# stop <pid> <name> <signal>: at most 10 s, then without mercy.
stop() {
    alive "$1" "$2" || return 0
    kill "-$3" "$1"
    turns=200
    while [ "$turns" -gt 0 ] && alive "$1" "$2"; do
        sleep 0.05
        turns=$((turns - 1))
    done
    ! alive "$1" "$2" || kill -KILL "$1"
}

stop "$postgres" postgres INT
stop "$nats" "$nats_name" TERM
[ "$#" = 0 ] || rm -rf -- "$@"
