"""Watches the alerts of all calls: first those that are open, then every change as it comes. Nothing twice, and nothing left out.

    python3 -m pip install -r examples/python/requirements.txt
    sh examples/python/generate.sh
    python3 examples/python/watch_alerts.py --to 127.0.0.1:50051

Each line says when, on which call, which rule, how the alert stands and why. What was told last is kept as a sequence, from which it goes
on after a break, and with --after SEQUENCE after a restart. Where the server comes back with another journal, which has not given that
sequence, it says so on standard error and begins anew, with all that the new one keeps.
"""

import argparse
import random
import sys
import time

import grpc
from google.protobuf import json_format
from undertone.v1 import supervision_pb2 as pb
from undertone.v1 import supervision_pb2_grpc as rpc
from undertone.v1 import undertone_pb2 as calls

OPEN = [calls.ALERT_STATE_FIRING, calls.ALERT_STATE_ACKNOWLEDGED, calls.ALERT_STATE_SNOOZED]


def open_alerts(stub):
    """The alerts that are open, and the sequence after which to watch."""
    request, first = pb.ListAlertsRequest(filter=pb.AlertFilter(states=OPEN)), None
    entries = []
    while True:
        page = stub.ListAlerts(request, wait_for_ready=True)
        entries.extend(page.alerts)
        # What changes while pages are read comes once more: better than not at all.
        first = page.last_sequence if first is None else first
        if not page.next_page_token:
            return entries, first
        request.page_token = page.next_page_token


def responses(stub, after):
    """What WatchAlerts tells, for ever; a break is waited out, and another journal is told from its beginning."""
    tries, stood = 0, False
    while True:
        try:
            for response in stub.WatchAlerts(pb.WatchAlertsRequest(after_sequence=after)):
                tries, after, stood = 0, response.sequence, True
                yield response
        except grpc.RpcError as error:
            # A sequence that this server gave and does not know any more is another journal's; one that never stood is the caller's mistake.
            if error.code() == grpc.StatusCode.OUT_OF_RANGE and stood:
                print("watch_alerts: the server has another journal now; beginning anew", file=sys.stderr, flush=True)
                after, stood = 0, False
                continue
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
        # At random, so that many do not come together.
        time.sleep(min(10.0, 0.25 * 2**tries) * random.uniform(0.5, 1.0))
        tries += 1


def describe(alert):
    """One line for people."""
    evidence = alert.evidence
    at = alert.changed_samples / (evidence.sample_rate_hertz or 1)
    plain = lambda names, value: names.Name(value).split("_", 2)[2].lower()
    state, severity, reason = (
        plain(calls.AlertState, alert.state),
        plain(calls.AlertSeverity, alert.severity),
        plain(calls.AlertReason, alert.reason),
    )
    why = f": {alert.actor_reason}" if alert.actor_reason else ""
    by = f" by {alert.actor}{why}" if alert.actor else ""
    # Once consent is withdrawn, nothing of what was heard is told.
    level = f": level {evidence.level:.2f}" if evidence.scores else ""
    return f"{alert.call_id}  {alert.leg_id}  {at:.2f} s  {alert.rule} {state} ({severity}, {reason}{by}){level}"


def main():
    parser = argparse.ArgumentParser(description="Watches the alerts of all calls.")
    parser.add_argument("--to", default="127.0.0.1:50051", help="host:port of the server (default: %(default)s)")
    parser.add_argument("--after", type=int, help="tell changes after this sequence; 0 for all that are kept (default: what is open, and what comes)")
    parser.add_argument("--json", action="store_true", help="print each WatchAlertsResponse, heartbeats too, as a JSON object")
    args = parser.parse_args()

    def tell(response):
        if args.json:
            print(json_format.MessageToJson(response, indent=None), flush=True)
        elif response.WhichOneof("message") == "alert":
            print(describe(response.alert.alert), flush=True)
        elif response.WhichOneof("message") == "missed":
            print(f"{response.missed.entries} entries were missed: too slow, and the server keeps no journal", flush=True)

    try:
        # HTTP/2 keepalive finds a server that is gone while nothing happens.
        with grpc.insecure_channel(args.to, options=[("grpc.keepalive_time_ms", 20_000)]) as channel:
            stub, after = rpc.SupervisionServiceStub(channel), args.after
            if after is None:
                entries, after = open_alerts(stub)
                for entry in entries:
                    tell(pb.WatchAlertsResponse(sequence=entry.sequence, alert=entry))
            for response in responses(stub, after):
                tell(response)
    except grpc.RpcError as error:
        sys.exit(f"watch_alerts: {error.code().name}: {error.details()}")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
