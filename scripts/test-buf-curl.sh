#!/bin/sh
# Lists, describes and drives every method of a running server with `buf curl`, which knows the API by reflection only; the stream
# of a call comes from standard input. Then every grpcurl command of the documents, which is put to buf curl in its place.
#   scripts/test-buf-curl.sh target/debug/undertone
# Needs npx (for buf) and Python 3 (to write audio as JSON).
set -eu
cd "$(dirname "$0")/.."
binary=${1:?"give the path of the undertone binary"}
service=undertone.v1.EmotionService
supervision=undertone.v1.SupervisionService

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
for method in WatchAlerts WatchCalls ListCalls GetCall ListAlerts AcknowledgeAlert SnoozeAlert RegisterCall WithdrawConsent DeleteCall \
    GetSubject DeleteSubject; do expect "$supervision/$method" "--list-methods"; done
expect grpc.health.v1.Health/Check "--list-methods"

call -d '{}' "http://$grpc/$service/ListModels" >"$work/answer"
expect '"sha256"' ListModels
call -d '{}' "http://$grpc/$service/GetModel" >"$work/answer"
expect '"labels"' GetModel
call -d "{\"service\": \"$service\"}" "http://$grpc/grpc.health.v1.Health/Check" >"$work/answer"
expect SERVING Health/Check

python=${PYTHON:-python3}
"$python" examples/python/call_json.py --classify src/cli/demo/call.wav >"$work/classify.json"
"$python" examples/python/call_json.py src/cli/demo/call.wav >"$work/analyze.json"

call -d @"$work/classify.json" "http://$grpc/$service/Classify" >"$work/answer"
expect '"probability"' Classify
call -d @- "http://$grpc/$service/Analyze" <"$work/analyze.json" >"$work/answer"
expect '"acknowledgement"' Analyze
expect '"emotion"' Analyze
expect '"END_REASON_COMPLETED"' Analyze

# What is kept of that call, and what a supervisor does about it.
call_id=$(sed -n 's/.*"callId": "\([^"]*\)".*/\1/p' "$work/analyze.json")
ask() {
    call -d "$2" "http://$grpc/$supervision/$1" >"$work/answer" 2>&1 || true
    expect "$3" "$1"
}
by='"actor": "supervisor-7", "reason": "as asked"'
ask ListCalls '{}' '"nodes"'
ask GetCall "{\"call_id\": \"$call_id\"}" '"timeline"'
ask ListCalls '{"state": "CALL_STATE_ENDED"}' "$call_id"
ask ListAlerts '{"filter": {"states": ["ALERT_STATE_RESOLVED"]}}' '"lastSequence"'
ask AcknowledgeAlert "{\"alert_id\": \"none\", $by}" not_found
ask SnoozeAlert "{\"alert_id\": \"none\", \"snooze\": \"300s\", $by}" not_found
ask RegisterCall '{"call_id": "c-2", "tags": {"queue": "sales"}, "legs": [{"role": "ROLE_CUSTOMER", "subject": "s-9"}]}' '"expiresAt"'
ask WithdrawConsent "{\"call_id\": \"$call_id\", $by}" '"entries"'
ask DeleteSubject "{\"subject\": \"s-9\", $by}" '"entries"'
ask GetSubject '{"subject": "s-9"}' not_found
# Nothing is left of it, and that it was withdrawn is known.
ask DeleteCall "{\"call_id\": \"$call_id\", $by}" '{}'
ask DeleteCall "{\"call_id\": \"none\", $by}" not_found
# Those who watch are told for as long as they listen.
for method in WatchAlerts WatchCalls; do
    call -d '{}' "http://$grpc/$supervision/$method" >"$work/answer" 2>&1 &
    watcher=$!
    for _ in $(seq 1 600); do
        grep -q 'heartbeat\|lastOfRound' "$work/answer" && break
        sleep 0.1
    done
    kill "$watcher" 2>/dev/null || true
    expect 'heartbeat\|lastOfRound' "$method"
done

# Every grpcurl command that the documents tell to try: understood, though an id in it may be of nobody.
grpcurl() {
    data='{}'
    [ "$1" = -plaintext ] && shift
    [ "$1" != -d ] || { data=$2 && shift 2; }
    [ "$data" != @ ] || data=@-
    case $2 in
    list) call --list-services "http://$grpc" ;;
    describe) call --list-methods "http://$grpc" | grep "^$3/" ;;
    # Told for as long as somebody listens.
    */Watch*) timeout 5 scripts/buf.sh curl --protocol grpc --http2-prior-knowledge -d "$data" "http://$grpc/$2" ;;
    *) call -d "$data" "http://$grpc/$2" ;;
    esac
}
grep -h '^grpcurl' README.md docs/*.md | sed "s|< call.json|< $work/analyze.json|" | sort -u >"$work/documented"
[ "$(wc -l <"$work/documented")" -ge 10 ] || fail "the documents tell of too few commands"
while IFS= read -r command; do
    eval "$command" >"$work/answer" 2>&1 </dev/null || true
    grep -q '[a-zA-Z]' "$work/answer" && ! grep -Eq '^Failure|^error|"code": "(invalid_argument|unimplemented|unknown|internal|unavailable)"' "$work/answer" || {
        cat "$work/answer" >&2
        fail "this documented command does not work: $command"
    }
done <"$work/documented"

# The names of what can be called, described from reflection alone.
call --list-services "http://$grpc" >"$work/answer"
expect "$service" "--list-services"
expect "$supervision" "--list-services"

echo "buf curl: listed, health checked, and every method called, the stream from standard input; $(wc -l <"$work/documented") documented commands work"
