#!/bin/sh
# A private PostgreSQL for one test: makes a cluster in a temporary folder, serves it on a Unix socket there, prints
# its URL as one line, and ends it when standard input ends, which also happens when the test is killed. The cluster
# has no password; only this user can reach its folder.
# Lines on standard input: "stop fast" (or smart, immediate) and "start"; each is answered by a line when it is done.
#
#   postgres.sh      the programs are found on PATH or in /usr/lib/postgresql/*/bin; exit 77 without them
set -eu

bin=
for at in $(command -v postgres || :) $(ls -d /usr/lib/postgresql/*/bin/postgres 2>/dev/null | sort -rV); do
    real=$(readlink -f "$at")
    if [ -x "$(dirname "$real")/initdb" ]; then
        bin=$(dirname "$real")
        break
    fi
done
if [ -z "$bin" ]; then
    echo 'SKIP: no PostgreSQL server programs (initdb, postgres) on this machine' >&2
    exit 77
fi

# PostgreSQL refuses to run as root.
as=
if [ "$(id -u)" = 0 ]; then
    user=postgres
    id -u "$user" >/dev/null 2>&1 || user=nobody
    as="setpriv --reuid=$user --regid=$(id -g "$user") --clear-groups"
fi

dir=$(mktemp -d "${TMPDIR:-/tmp}/catalyst_pg_XXXXXX")
server=
end() {
    if [ -n "$server" ]; then
        kill -INT "$server" 2>/dev/null || :
        wait "$server" 2>/dev/null || :
    fi
    rm -rf "$dir"
}
trap end EXIT
# The test gets Ctrl-C too; its end is what counts here.
trap '' INT TERM HUP PIPE
[ -z "$as" ] || chown "$user" "$dir"
cd "$dir"

# C sorts by bytes. Nothing of a test has to outlive a power cut, so nothing waits for the disk.
$as "$bin/initdb" -D "$dir/data" -U catalyst -A trust -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 </dev/null || {
    cat "$dir/log" >&2
    exit 1
}
cat >>"$dir/data/postgresql.conf" <<EOF
listen_addresses = ''
unix_socket_directories = '$dir'
max_connections = 100
shared_buffers = 32MB
dynamic_shared_memory_type = mmap
fsync = ${POSTGRES_FSYNC:-off}
autovacuum = off
jit = off
EOF
start() {
    $as "$bin/postgres" -D "$dir/data" >"$dir/log" 2>&1 </dev/null &
    server=$!
    tries=0
    until [ -S "$dir/.s.PGSQL.5432" ] && grep -q 'ready to accept' "$dir/log"; do
        tries=$((tries + 1))
        if ! kill -0 "$server" 2>/dev/null || [ "$tries" -gt 600 ]; then
            cat "$dir/log" >&2
            exit 1
        fi
        sleep 0.05
    done
}
stop() {
    case $1 in
    smart) signal=TERM ;;
    immediate) signal=QUIT ;;
    *) signal=INT ;;
    esac
    kill -"$signal" "$server"
    wait "$server" || :
    server=
}
start
echo "postgresql://catalyst@/postgres?host=$dir"
while read -r command mode; do
    case $command in
    stop) stop "$mode" ;;
    start) start ;;
    esac
    echo "$command"
done
