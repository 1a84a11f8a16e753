# Sourced by what measures: runs a server on one core and the load on the others. Expects $work (an empty folder) and a function `fail`.
# `start_server COMMAND…` sets $server (its process), $grpc and $admin (host:port); `stop_server` ends it; `on_load COMMAND…` runs the load.
: "${ORT_DYLIB_PATH:=$PWD/.ort/libonnxruntime.so}"
export ORT_DYLIB_PATH
server=
cores=$(nproc)
if command -v taskset >/dev/null 2>&1 && [ "$cores" -gt 1 ]; then
    on_server() { exec taskset -c 0 "$@"; }
    on_load() { taskset -c "1-$((cores - 1))" "$@"; }
else
    echo "taskset or a second core is missing: server and load share what there is, so the figures are too low" >&2
    on_server() { exec "$@"; }
    on_load() { "$@"; }
fi

start_server() {
    rm -f "$work/ready"
    mkfifo "$work/ready"
    (on_server "$@") >"$work/ready" 2>"$work/log" &
    server=$!
    # The one line that it prints once it takes calls. A server that ends before closes the pipe, and the line is empty.
    read -r ready <"$work/ready" || true
    grpc=$(printf '%s' "$ready" | sed -n 's/.*"grpc": *"\([^"]*\)".*/\1/p')
    admin=$(printf '%s' "$ready" | sed -n 's/.*"admin": *"\([^"]*\)".*/\1/p')
    [ -n "$grpc" ] && [ -n "$admin" ] || {
        cat "$work/log" >&2
        fail "the server did not start"
    }
}

stop_server() {
    [ -n "$server" ] || return 0
    # One that ended by itself is no failure of the cleaning up.
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}
