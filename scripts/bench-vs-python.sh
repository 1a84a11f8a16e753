#!/bin/sh
# Finds how many calls one core carries: a server in Python (benches/baseline), then this one, with the same load tool, the same model and
# ONNX Runtime. Prints what the tool says of both, and last the ratio; fails below 3.
#   scripts/bench-vs-python.sh target/release/undertone [SECONDS A STEP]
# Needs Python 3.11 or newer with pip, and taskset where there are two cores or more: the server gets one, the load the others. Puts
# the packages of the baseline into .python-bench/, once. Takes up to ten minutes.
set -eu
cd "$(dirname "$0")/.."
binary=${1:?"give the path of the undertone binary"}
seconds=${2:-8}
python=${PYTHON:-python3}
. scripts/pinned.sh

fail() {
    echo "bench-vs-python: $1" >&2
    exit 1
}

[ -x "$binary" ] || fail "there is no binary at $binary: build it first"
"$python" -c 'import sys, tomllib' 2>/dev/null || fail "$python is older than 3.11: set PYTHON to a newer one"

wanted="$(cat benches/baseline/requirements.txt proto/undertone/v1/*.proto | cksum) $("$python" -V)"
aside=.python-bench.partial.$$
work=$(mktemp -d)
trap 'stop_server; rm -rf "$work" "$aside"' EXIT
trap 'exit 1' HUP INT TERM
if [ "$(cat .python-bench/made-from 2>/dev/null)" != "$wanted" ]; then
    echo "bench-vs-python: fetching grpcio, numpy, soxr and onnxruntime" >&2
    PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore "$python" -m pip install \
        --quiet --no-input --only-binary=:all: --no-deps --target "$aside" --requirement benches/baseline/requirements.txt ||
        fail "pip could not install benches/baseline/requirements.txt (its message is above)"
    PYTHONPATH=$aside sh examples/python/generate.sh "$aside"
    echo "$wanted" >"$aside/made-from"
    rm -rf .python-bench
    mv "$aside" .python-bench
fi

# The most calls that are tried, and where the object goes.
find_limit() {
    on_load "$binary" bench --to "http://$grpc" --admin "$admin" --calls "$1" --seconds "$seconds" --find-limit --json "$2" >/dev/null
}

export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
export PYTHONPATH=.python-bench
start_server "$python" benches/baseline/server.py --model models/cnn-bilstm
find_limit 1500 "$work/python.json"
stop_server
# What the server would admit by itself is not what is looked for.
export UNDERTONE_SESSION__MAX_WINDOWS_PER_SECOND=100000
start_server "$binary" serve --listen 127.0.0.1:0 --admin 127.0.0.1:0 --model models/cnn-bilstm
find_limit 4000 "$work/undertone.json"
stop_server

"$python" - "$work/python.json" "$work/undertone.json" <<'TOLD'
import json, sys

python, undertone = (json.load(open(path)) for path in sys.argv[1:])
print(json.dumps({"server": "python", **python}))
print(json.dumps({"server": "undertone", **undertone}))
if not python["limit_calls"]:
    sys.exit("the Python server carried no call in time: this machine has too much else to do")
ratio = undertone["limit_calls"] / python["limit_calls"]
print(json.dumps({"ratio": round(ratio, 2)}))
sys.exit(0 if ratio >= 3 else 1)
TOLD
