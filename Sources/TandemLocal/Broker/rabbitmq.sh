#!/bin/bash
# A RabbitMQ of its own for tests and measurements: ordinary processes on loopback, nothing outside of a folder that is removed at the end.
# It prints FOLDER, PORT, TLS and PID when AMQP is spoken. Lines on standard input: `start` starts it again, on the same port and with the same data, after it was killed; `note` lets it
# write down what queues there are.
# With `tls` as its argument it also speaks TLS, as localhost, at the port TLS, which is 0 otherwise: `certificate.pem` in its folder is what it shows and what to trust, `other.pem` is
# nobody's.
# It ends with its input, so also when whoever started it is killed.
set -euo pipefail
# The other end of its own input may have been left open to it: it would never see the end of that. All else stays open, since whoever started it waits for some of that to close.
input=$(readlink "/proc/$$/fd/0")
for file in "/proc/$$/fd"/*; do
    number=${file##*/}
    if [ "$number" -gt 2 ] && [ "$(readlink "$file")" = "$input" ]; then eval "exec $number>&-"; fi
done
sbin=$(echo /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin)
if [ ! -x "$sbin/rabbitmq-server" ]; then
    echo "RabbitMQ is not installed: sudo apt-get install -y rabbitmq-server" >&2
    exit 1
fi
folder=$(mktemp -d /var/tmp/tandem-rabbit.XXXXXX)
mkdir -p "$folder"/{home,mnesia,log}
beam=
epmd=
end() {
    if [ -n "$beam" ]; then kill -9 "$beam" 2>/dev/null || true; fi
    if [ -n "$epmd" ]; then kill -9 "$epmd" 2>/dev/null || true; fi
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap end EXIT

is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Outside of the range from which outgoing connections take theirs, and none of those that are given.
free_port() {
    local port
    for _ in $(seq 200); do
        port=$((20000 + RANDOM % 10000))
        if [[ " $* " != *" $port "* ]] && ! is_open "$port"; then
            echo "$port"
            return
        fi
    done
    return 1
}

port=$(free_port)
tls=0
if [ "${1:-}" = tls ]; then tls=$(free_port "$port"); fi
distribution=$(free_port "$port" "$tls")
names=$(free_port "$port" "$tls" "$distribution")
cat >"$folder/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$port
num_acceptors.tcp = 2
log.file.level = warning
log.console = false
vm_memory_high_watermark.absolute = 2GB
disk_free_limit.absolute = 50MB
collect_statistics = none
CONF
if [ "$tls" != 0 ]; then
    cat >>"$folder/rabbitmq.conf" <<CONF
listeners.ssl.1 = 127.0.0.1:$tls
num_acceptors.ssl = 2
ssl_options.cacertfile = $folder/certificate.pem
ssl_options.certfile = $folder/certificate.pem
ssl_options.keyfile = $folder/certificate.key
ssl_options.verify = verify_none
CONF
    for name in certificate other; do
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
            -keyout "$folder/$name.key" -out "$folder/$name.pem" 2>"$folder/openssl.out" || { cat "$folder/openssl.out" >&2; exit 1; }
    done
fi
echo '[].' >"$folder/enabled_plugins"
echo "tandem-$RANDOM$RANDOM$RANDOM" >"$folder/home/.erlang.cookie"
chmod 400 "$folder/home/.erlang.cookie"
as=()
if [ "$(id -u)" = 0 ]; then
    chown -R nobody:nogroup "$folder"
    as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
fi
cd "$folder"
common=(PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME="$folder/home" ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT="$names")
# A name server of its own, whose process is known; Erlang would start one that outlives the broker.
env -i "${common[@]}" "${as[@]}" epmd -address 127.0.0.1 -port "$names" >"$folder/epmd.out" 2>&1 </dev/null &
epmd=$!

start() {
    # One that was killed may still listen for a moment.
    if [ -n "$beam" ]; then wait "$beam" 2>/dev/null || true; fi
    # The script then becomes the broker itself, so that the process is its.
    env -i "${common[@]}" RUNNING_UNDER_SYSTEMD=true RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_NODENAME=rabbit@localhost \
        RABBITMQ_DIST_PORT="$distribution" RABBITMQ_CONFIG_FILE="$folder/rabbitmq.conf" RABBITMQ_ADVANCED_CONFIG_FILE="$folder/advanced.config" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$folder/enabled_plugins" RABBITMQ_MNESIA_BASE="$folder/mnesia" RABBITMQ_LOG_BASE="$folder/log" \
        RABBITMQ_PID_FILE="$folder/rabbit.pid" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +A 16" \
        "${as[@]}" "$sbin/rabbitmq-server" >"$folder/rabbit.out" 2>&1 </dev/null &
    beam=$!
    # It opens its listeners last, that with TLS behind the other.
    for _ in $(seq 1200); do
        if is_open "$port" && { [ "$tls" = 0 ] || is_open "$tls"; }; then
            echo "FOLDER=$folder PORT=$port TLS=$tls PID=$beam"
            return
        fi
        if ! kill -0 "$beam" 2>/dev/null; then break; fi
        sleep 0.05
    done
    tail -40 "$folder/rabbit.out" >&2
    exit 1
}

start
while read -r line; do
    case $line in
        start) start ;;
        note)
            # What queues there are it writes down a moment after it has said that they are there; a broker that is killed before forgets them.
            env -i "${common[@]}" RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_NODENAME=rabbit@localhost \
                RABBITMQ_CTL_ERL_ARGS="-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}" \
                "${as[@]}" "$sbin/rabbitmqctl" eval 'mnesia:sync_log(), mnesia:dump_log().' >"$folder/ctl.out" 2>&1 </dev/null
            echo "NOTED $(tr '\n' ' ' <"$folder/ctl.out")"
            ;;
    esac
done
