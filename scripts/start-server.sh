# Sourced by the tests of other languages' clients: starts `$binary serve` on free ports (or on $listen, host:port), waits until it is ready and sets
# $server (its process) and $grpc (host:port). Expects $binary, $work (an empty folder) and a function `fail`.
: "${binary:?}" "${work:?}"

# From a checkout, as cargo would tell it.
: "${ORT_DYLIB_PATH:=$PWD/.ort/libonnxruntime.so}"
export ORT_DYLIB_PATH
mkfifo "$work/ready"
"$binary" serve --listen "${listen:-127.0.0.1:0}" --admin 127.0.0.1:0 >"$work/ready" 2>"$work/log" &
server=$!
# The one line that it prints once it takes calls. A server that ends before closes the pipe, and the line is empty.
read -r line <"$work/ready" || true
grpc=$(printf '%s' "$line" | sed -n 's/.*"grpc": *"\([^"]*\)".*/\1/p')
[ -n "$grpc" ] || {
    cat "$work/log" >&2
    fail "the server did not start"
}
