#!/bin/sh
# Measures what docs/performance.md tells: how many calls one core carries, what is shed and refused beyond, and what a call takes. Prints
# a line a measurement, and the objects of the load tool into a folder.
#   scripts/measure-limits.sh target/release/undertone [FOLDER] [SECONDS A STEP]
# Needs python3 to read JSON, and taskset where there are two cores or more: the server gets one, the load the others. The machine must
# have nothing else to do. Takes about a quarter of an hour.
set -eu
cd "$(dirname "$0")/.."
binary=${1:?"give the path of the undertone binary"}
out=${2:-$(mktemp -d)}
seconds=${3:-10}
work=$(mktemp -d)
mkdir -p "$out"
trap 'stop_server; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

fail() {
    echo "measure-limits: $1" >&2
    exit 1
}

. scripts/pinned.sh
[ -x "$binary" ] || fail "there is no binary at $binary: build it first"

# A server with these arguments, which admits whatever comes.
serve() {
    export UNDERTONE_SESSION__MAX_WINDOWS_PER_SECOND=100000
    start_server "$binary" serve --listen 127.0.0.1:0 --admin 127.0.0.1:0 "$@"
    unset UNDERTONE_SESSION__MAX_WINDOWS_PER_SECOND
}

# The name of a measurement, then the load tool's arguments.
load() {
    name=$1
    shift
    on_load "$binary" bench --to "http://$grpc" --admin "$admin" --json "$out/$name.json" "$@" >/dev/null 2>"$out/$name.log" ||
        echo "measure-limits: $name ended badly: $(tail -1 "$out/$name.log")" >&2
    python3 - "$name" "$out/$name.json" <<'TOLD'
import json, sys

name, told = sys.argv[1], json.load(open(sys.argv[2]))
latency = told["latency_ms"]
number = lambda value, unit, digits=0: "unknown" if value is None else f"{value:.{digits}f} {unit}"
cpu, memory = told["server_cpu_seconds_per_call_second"], told["server_bytes_per_call"]
parts = [
    f"{told['calls']} calls" if "limit_calls" not in told else f"limit {told['limit_calls']} calls",
    f"{told['admitted']} admitted, {told['refused']} refused",
    f"p95 {number(latency['p95'], 'ms')}, p99 {number(latency['p99'], 'ms')}",
    f"{told['windows_per_second']:.0f} windows/s",
    f"{told['shed']} shed (most over mean {told['shed_most_over_mean']:.2f})",
    f"burst {told['burst']:.2f}",
    f"CPU {number(cpu and cpu * 1e6, 'µs a call-second')}",
    f"memory {number(memory and memory / 1024, 'KiB a call')}",
    f"refused within {number(told['refusal_ms']['p95'], 'ms')}",
    f"{told['errors']} errors, {told['out_of_order']} out of order",
    f"load late {told['late_ms']['p95']:.0f} ms",
]
print(f"{name}: " + "; ".join(parts), flush=True)
TOLD
}

echo "$(uname -m), $cores cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), load before: $(cut -d ' ' -f 1-3 /proc/loadavg)"

for model in models/*/; do
    name=$(basename "$model")
    serve --model "$model"
    load "$name-100ms" --calls 3000 --seconds "$seconds" --find-limit
    stop_server
    serve --model "$model"
    load "$name-20ms" --calls 2000 --chunk-ms 20 --seconds "$seconds" --find-limit
    stop_server
done

serve --model models/cnn-bilstm
load burst-in-one-second --calls 1000 --ramp 1 --seconds "$seconds"
stop_server
serve --model models/cnn-bilstm
load burst-at-once --calls 600 --ramp 0 --chunk-ms 20 --seconds "$seconds"
stop_server
serve --model models/cnn-bilstm
load thousand-for-a-minute --calls 1000 --seconds 60
stop_server

# Admission by what the machine was measured to carry, three times that many calls, and at once a load that fits.
start_server "$binary" serve --calibrate --listen 127.0.0.1:0 --admin 127.0.0.1:0 --model models/cnn-bilstm
limit=$(printf '%s' "$ready" | sed -n 's/.*"max_windows_per_second": *\([0-9]*\).*/\1/p')
calls=$((limit / 2))
echo "calibrated: $limit windows a second, $calls calls"
load three-times-the-limit --calls $((3 * calls)) --seconds "$seconds"
load after-it-at-four-fifths --calls $((4 * calls / 5)) --ramp 0.5 --seconds 5
stop_server

# The same of a platform that sends chunks of 20 ms, and says so.
export UNDERTONE_SESSION__MESSAGES_PER_SECOND=50
start_server "$binary" serve --calibrate --listen 127.0.0.1:0 --admin 127.0.0.1:0 --model models/cnn-bilstm
unset UNDERTONE_SESSION__MESSAGES_PER_SECOND
limit=$(printf '%s' "$ready" | sed -n 's/.*"max_windows_per_second": *\([0-9]*\).*/\1/p')
calls=$((limit / 2))
echo "calibrated for 50 messages a second: $limit windows a second, $calls calls"
load three-times-the-limit-20ms --calls $((3 * calls)) --chunk-ms 20 --seconds "$seconds"
stop_server

# Without admission, more than the network can score: who loses how much.
serve --model models/telephone
load shedding --calls 1200 --seconds 20
stop_server
echo "the objects are in $out; load after: $(cut -d ' ' -f 1-3 /proc/loadavg)"
