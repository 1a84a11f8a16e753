#!/bin/sh
# Lists, describes and drives every method of a running server with `buf curl`, which knows the API by reflection only; the stream
# of a call comes from standard input.
#   scripts/test-buf-curl.sh target/debug/undertone
# Needs npx (for buf) and Python 3 (to write audio as JSON).
set -eu
cd "$(dirname "$0")/.."
binary=${1:?"give the path of the undertone binary"}
service=undertone.v1.EmotionService

fail() {
    echo "buf curl: FAILED: $1" >&2
    exit 1
}

[ -x "$binary" ] || fail "there is no binary at $binary: build it first"
command -v npx >/dev/null 2>&1 || fail "npx is missing: install Node.js"

work=$(mktemp -d)
server=
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM
. scripts/start-server.sh

call() {
    timeout 120 scripts/buf.sh curl --protocol grpc --http2-prior-knowledge "$@"
}

# Expects a text in the answer of the step before.
expect() {
    grep -q "$1" "$work/answer" || {
        cat "$work/answer" >&2
        fail "no $1 in the answer to $2"
    }
}

call --list-methods "http://$grpc" >"$work/answer"
for method in Analyze Classify ListModels GetModel; do expect "$service/$method" "--list-methods"; done
expect grpc.health.v1.Health/Check "--list-methods"

call -d '{}' "http://$grpc/$service/ListModels" >"$work/answer"
expect '"sha256"' ListModels
call -d '{}' "http://$grpc/$service/GetModel" >"$work/answer"
expect '"labels"' GetModel
call -d "{\"service\": \"$service\"}" "http://$grpc/grpc.health.v1.Health/Check" >"$work/answer"
expect SERVING Health/Check

# Three seconds from the middle of the demo's call for Classify; all of it, in chunks of a second, for Analyze. Its WAV header
# is 58 bytes long.
"${PYTHON:-python3}" - src/cli/demo/call.wav "$work" <<'WRITE'
import base64, json, sys

audio = open(sys.argv[1], "rb").read()[58:]
form = {"encoding": "ENCODING_MULAW", "sampleRateHertz": 8000}
notice = {"givenAt": "2026-01-01T00:00:00Z", "method": "announcement"}
text = lambda data: base64.b64encode(data).decode()
with open(f"{sys.argv[2]}/classify.json", "w") as out:
    json.dump({"audio": form, "data": text(audio[16000:40000]), "role": "ROLE_CUSTOMER", "notice": notice}, out)
with open(f"{sys.argv[2]}/analyze.json", "w") as out:
    config = {"callId": "buf-curl", "audio": form, "legs": [{"role": "ROLE_CUSTOMER"}], "notice": notice}
    print(json.dumps({"config": config}), file=out)
    for at in range(0, len(audio), 8000):
        print(json.dumps({"audio": {"data": text(audio[at : at + 8000])}}), file=out)
    print(json.dumps({"control": {"action": "CONTROL_ACTION_END"}}), file=out)
WRITE

call -d @"$work/classify.json" "http://$grpc/$service/Classify" >"$work/answer"
expect '"probability"' Classify
call -d @- "http://$grpc/$service/Analyze" <"$work/analyze.json" >"$work/answer"
expect '"acknowledgement"' Analyze
expect '"emotion"' Analyze
expect '"END_REASON_COMPLETED"' Analyze
# The names of what can be called, described from reflection alone.
call --list-services "http://$grpc" >"$work/answer"
expect "$service" "--list-services"

echo "buf curl: listed, health checked, and every method called, the stream from standard input"
