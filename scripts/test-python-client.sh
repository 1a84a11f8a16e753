#!/bin/sh
# Drives a running server with the Python client of examples/python, as an integrator would: stubs generated from the proto,
# the demo's call streamed faster than real time, every kind of answer looked for, and its alert watched.
#   scripts/test-python-client.sh target/debug/undertone
# Needs Python 3.9 or newer with pip; puts what the client needs into .python/, once.
set -eu
cd "$(dirname "$0")/.."
binary=${1:?"give the path of the undertone binary"}
python=${PYTHON:-python3}
wanted=$(cat examples/python/requirements.txt examples/python/generate.sh proto/undertone/v1/*.proto | cksum)

fail() {
    echo "Python client: FAILED: $1" >&2
    exit 1
}

[ -x "$binary" ] || fail "there is no binary at $binary: build it first"
"$python" -m pip --version >/dev/null 2>&1 || fail "pip is missing: install it (Debian: apt install python3-pip; else python3 -m ensurepip)"

work=$(mktemp -d)
aside=.python.partial.$$
server=
watcher=
cleanup() {
    # Who ended by itself is no failure of the cleaning up.
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work" "$aside"
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

# Packages and stubs are made aside and moved when whole; the check sum says what they were made from, and by which Python.
wanted="$wanted $("$python" -V)"
if [ "$(cat .python/made-from 2>/dev/null)" != "$wanted" ]; then
    echo "Python client: fetching grpcio and generating the stubs"
    PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore "$python" -m pip install \
        --quiet --no-input --only-binary=:all: --no-deps --target "$aside" --requirement examples/python/requirements.txt ||
        fail "pip could not install examples/python/requirements.txt (its message is above)"
    PYTHONPATH=$aside sh examples/python/generate.sh "$aside"
    echo "$wanted" >"$aside/made-from"
    rm -rf .python
    mv "$aside" .python
fi

. scripts/start-server.sh

# A supervisor, who is there before the call is.
PYTHONPATH=.python "$python" examples/python/watch_alerts.py --to "$grpc" --json >"$work/alerts" 2>"$work/alerts.log" &
watcher=$!
until_told() {
    for _ in $(seq 1 600); do
        grep -q "$1" "$work/alerts" && return
        sleep 0.1
    done
    cat "$work/alerts" "$work/alerts.log" >&2
    fail "watch_alerts.py told no $1"
}
until_told heartbeat

PYTHONPATH=.python timeout 120 "$python" examples/python/stream_call.py src/cli/demo/call.wav --to "$grpc" --speed 20 --json >"$work/answers" ||
    fail "the client ended with status $?"
until_told ALERT_STATE_RESOLVED
kill "$watcher"
watcher=
# The same told to people, from the journal.
PYTHONPATH=.python "$python" examples/python/watch_alerts.py --to "$grpc" --after 0 >"$work/lines" 2>"$work/alerts.log" &
watcher=$!
for _ in $(seq 1 600); do
    grep -q "anger resolved (warning, calmed)" "$work/lines" && break
    sleep 0.1
done
kill "$watcher"
watcher=
grep -q "anger firing (warning, rose): level 0" "$work/lines" && grep -q "anger resolved (warning, calmed)" "$work/lines" || {
    cat "$work/lines" "$work/alerts.log" >&2
    fail "watch_alerts.py does not tell people of the alert"
}

# An alert that nothing is known of any more is told without a level.
PYTHONPATH=.python:examples/python "$python" - <<'CHECK' || fail "watch_alerts.py tells what an alert without evidence has not"
import watch_alerts
from undertone.v1 import undertone_pb2 as calls

gone = calls.Alert(call_id="c", rule="anger", state=calls.ALERT_STATE_RESOLVED, severity=calls.ALERT_SEVERITY_WARNING,
    reason=calls.ALERT_REASON_CONSENT_WITHDRAWN, actor="ann", changed_samples=8000)
gone.evidence.sample_rate_hertz = 8000
told = watch_alerts.describe(gone)
assert told.endswith("1.00 s  anger resolved (warning, consent_withdrawn by ann)"), told
CHECK

# Ctrl-C in the middle of a call ends it, with its summary.
PYTHONPATH=.python "$python" examples/python/stream_call.py src/cli/demo/call.wav --to "$grpc" >"$work/stopped" 2>"$work/stopped.log" &
caller=$!
for _ in $(seq 1 600); do
    grep -q " s  customer" "$work/stopped" && break
    sleep 0.1
done
kill -INT "$caller"
wait "$caller" || fail "Ctrl-C ended the client with status $?: $(cat "$work/stopped.log")"
tail -n 1 "$work/stopped" | grep -q "^customer: .* windows scored" && [ ! -s "$work/stopped.log" ] || {
    cat "$work/stopped" "$work/stopped.log" >&2
    fail "a call that Ctrl-C ends has no summary"
}

# A sequence that was never given is told, and no watch begins.
PYTHONPATH=.python timeout 60 "$python" examples/python/watch_alerts.py --to "$grpc" --after 1000000 >"$work/never" 2>&1 &&
    fail "watch_alerts.py watches from a sequence that was never given"
grep -q "OUT_OF_RANGE" "$work/never" || fail "watch_alerts.py does not tell why: $(cat "$work/never")"

# A supervisor goes on when the server comes back with another journal.
PYTHONPATH=.python "$python" examples/python/watch_alerts.py --to "$grpc" --after 0 >"$work/anew" 2>"$work/anew.log" &
watcher=$!
for _ in $(seq 1 600); do
    grep -q "anger resolved" "$work/anew" && break
    sleep 0.1
done
: >"$work/anew"

# The same call on streams that the server ends every second, at most.
listen=$grpc
UNDERTONE_JOURNAL__PATH=$work/another.db
export UNDERTONE_JOURNAL__PATH
kill "$server"
wait "$server" 2>/dev/null || true
rm "$work/ready"
UNDERTONE_SESSION__MAX_STREAM_AGE=1s
export UNDERTONE_SESSION__MAX_STREAM_AGE
. scripts/start-server.sh
for _ in $(seq 1 600); do
    grep -q "another journal now; beginning anew" "$work/anew.log" && break
    sleep 0.1
done
grep -q "another journal now; beginning anew" "$work/anew.log" || fail "watch_alerts.py does not begin anew: $(cat "$work/anew" "$work/anew.log")"
PYTHONPATH=.python timeout 120 "$python" examples/python/stream_call.py src/cli/demo/call.wav --to "$grpc" --speed 20 --json >"$work/aged" ||
    fail "the client did not go on with a call whose stream grew old: status $?"
for _ in $(seq 1 600); do
    grep -q "anger resolved" "$work/anew" && break
    sleep 0.1
done
kill "$watcher" || fail "watch_alerts.py ended when the journal was another: $(cat "$work/anew.log")"
watcher=
grep -q "anger firing" "$work/anew" && grep -q "anger resolved" "$work/anew" || {
    cat "$work/anew" "$work/anew.log" >&2
    fail "watch_alerts.py does not tell what another journal keeps"
}

# The answers, looked at by Python because they are JSON.
"$python" - "$work/answers" "$work/aged" "$work/alerts" <<'CHECK' || fail "the answers are not those of a call"
import json, sys

answers = [json.loads(line) for line in open(sys.argv[1])]
kinds = [next(iter(answer)) for answer in answers]
assert kinds[0] == "acknowledgement", f"first came {kinds[0]}"
assert kinds[-1] == "summary", f"last came {kinds[-1]}"
labels = answers[0]["acknowledgement"]["model"]["labels"]
events = [answer["event"] for answer in answers if "event" in answer]
scored = [event for event in events if "emotion" in event]
assert len(events) > 60, f"only {len(events)} events for a call of most of a minute"
assert len(scored) > 20, f"only {len(scored)} events with an emotion"
for event in scored:
    scores = [score.get("probability", 0.0) for score in event["emotion"]["scores"]]
    assert [score["label"] for score in event["emotion"]["scores"]] == labels, event
    assert abs(sum(scores) - 1) < 1e-3, event
assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1)), "events are missing or out of order"
summary = answers[-1]["summary"]
assert summary["endReason"] == "END_REASON_COMPLETED", summary
assert int(summary["scoredWindows"]) == len(scored), summary
aged = [json.loads(line) for line in open(sys.argv[2])]
heard = [[(event["sequence"], event["endSamples"], "emotion" in event) for event in told] for told in (
    events, [answer["event"] for answer in aged if "event" in answer])]
assert heard[0] == heard[1], "a call over several streams told other events"
assert sum("acknowledgement" in answer for answer in aged) == 1, "the call began anew"
watched = [json.loads(line)["alert"] for line in open(sys.argv[3]) if "alert" in json.loads(line)]
watched = [(entry["alert"]["alertId"], entry["alert"]["state"]) for entry in watched]
told = [(answer["alert"]["alertId"], answer["alert"]["state"]) for answer in answers if "alert" in answer]
assert watched == told, f"watched {watched}, told {told}"
print(f"Python client: acknowledgement, {len(events)} events ({len(scored)} with an emotion) and summary received, {len(watched)} changes of alerts watched")
CHECK
