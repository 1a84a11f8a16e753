"""Streams a recording to Undertone as if it were a call, and prints what is heard while it is spoken.

    python3 -m pip install -r examples/python/requirements.txt
    sh examples/python/generate.sh
    python3 examples/python/stream_call.py call.wav --to 127.0.0.1:50051

The recording is a mono WAV file: 16-bit PCM, or G.711 as telephone systems write it. Its samples are sent as they are. A stream that
breaks, or that the server ends because it is old, goes on by another. Ctrl-C ends the call, with its summary.
"""

import argparse
import queue
import random
import signal
import sys
import threading
import time
import uuid

import grpc
from google.protobuf import json_format
from undertone.v1 import undertone_pb2 as pb
from undertone.v1 import undertone_pb2_grpc as rpc
from wav import read_wav


# Streams opened one after the other before it is given up: with waits that double to 5 s, about half a minute.
TRIES = 12


def configuration(path, args):
    """What the call is. Every stream of it begins with the same."""
    encoding, rate, _, _ = read_wav(path)
    notice = pb.Notice(method="announcement")
    notice.given_at.GetCurrentTime()
    config = pb.AnalyzeConfig(
        call_id=f"python-{uuid.uuid4()}",
        audio=pb.AudioFormat(encoding=pb.Encoding.Value(encoding), sample_rate_hertz=rate),
        # Only a customer's voice may be analysed unless the server's policy says otherwise.
        legs=[pb.Leg(role=pb.ROLE_CUSTOMER)],
        # That the people in the call were told of the analysis. Set it only if they were.
        notice=notice,
    )
    if args.model:
        config.model = args.model
    return config


def end_on_signal():
    """Is set by Ctrl-C or SIGTERM; a second one ends the program at once, and the server keeps the call as after any break."""
    stop = threading.Event()

    def caught(*_):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, caught)
    return stop


def messages(path, args, config, begin, places, stop):
    """The client's side of a stream: the configuration, then the audio at its own pace, or faster, from where `places` says."""
    _, rate, width, data = read_wav(path)
    yield pb.AnalyzeRequest(config=config)
    start, sequence = places.get()
    if start is None:
        return
    samples = rate * args.chunk_ms // 1000
    for number, first in enumerate(range(start, len(data) // width, samples)):
        due = begin + first / rate / args.speed
        if stop.wait(max(0.0, due - time.monotonic())):
            break
        chunk = data[first * width : (first + samples) * width]
        yield pb.AnalyzeRequest(audio=pb.AudioChunk(data=chunk, sequence=sequence + number, media_offset_samples=first))
    # The end of the requests is the end of the call; the server then decides on the rest and sends the summaries.


def responses(stub, args, stop):
    """All responses to the call, over as many streams as it takes, none twice."""
    config, begin = configuration(args.file, args), time.monotonic()
    tries, acknowledged, ended, session_begin, reached = 0, False, False, 0, 0
    while True:
        places = queue.SimpleQueue()
        try:
            for response in stub.Analyze(messages(args.file, args, config, begin, places, stop)):
                kind = response.WhichOneof("message")
                if kind == "acknowledgement":
                    kept = response.acknowledgement.HasField("resumption")
                    if kept:  # The call goes on as if nothing had happened.
                        at = response.acknowledgement.resumption
                        places.put((at.media_offset_samples, at.sequence))
                    else:  # It begins, or begins anew after what was decided on.
                        session_begin = reached
                        places.put((reached, 0))
                    tries, news = 0, not (kept and acknowledged)
                    acknowledged = True
                    if not news:
                        continue
                elif kind == "event":
                    reached = max(reached, response.event.end_samples)
                elif kind == "summary":
                    reached = max(reached, session_begin + response.summary.received_samples)
                    ended = ended or response.summary.end_reason != pb.END_REASON_DRAINING
                yield response
            return
        except grpc.RpcError as error:
            places.put((None, 0))
            # A server that has not noticed the break says ALREADY_EXISTS.
            may_help = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN) or (
                tries > 0 and error.code() == grpc.StatusCode.ALREADY_EXISTS
            )
            if not acknowledged or ended or not may_help or tries == TRIES:
                raise
            # The error's details (google.rpc.RetryInfo) name a wait as well; at random, so that many do not come together.
            if stop.wait(min(5.0, 0.25 * 2**tries) * random.uniform(0.5, 1.0)):
                raise
            tries += 1


def describe(response, rate):
    """One line for people."""
    kind = response.WhichOneof("message")
    if kind == "acknowledgement":
        ack = response.acknowledgement
        warnings = "".join(f"\n  warning: {warning}" for warning in ack.warnings)
        return f"{ack.model.name} {ack.model.version} hears {', '.join(ack.model.labels)}{warnings}"
    if kind == "event":
        event = response.event
        place = f"{event.end_samples / rate:7.2f} s  {event.leg_id}  "
        if event.WhichOneof("outcome") == "emotion":
            return f"{place}{event.emotion.label} {event.emotion.confidence:.2f}"
        return f"{place}({pb.NotScoredReason.Name(event.not_scored).removeprefix('NOT_SCORED_REASON_').lower()})"
    if kind == "summary":
        shares = ", ".join(f"{share.label} {share.share:.2f}" for share in response.summary.shares)
        return f"{response.summary.leg_id}: {response.summary.scored_windows} windows scored: {shares or 'nothing'}"
    return f"status of {len(response.status.legs)} leg(s)"


def main():
    parser = argparse.ArgumentParser(description="Streams a recording to Undertone as a call.")
    parser.add_argument("file", help="a mono WAV file, 16-bit PCM or G.711")
    parser.add_argument("--to", default="127.0.0.1:50051", help="host:port of the server (default: %(default)s)")
    parser.add_argument("--chunk-ms", type=int, default=20, help="milliseconds of audio a message (default: %(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, help="times real time (default: %(default)s)")
    parser.add_argument("--model", help="a model by name (default: the server's)")
    parser.add_argument("--json", action="store_true", help="print each response as a JSON object")
    args = parser.parse_args()
    if args.chunk_ms < 1 or args.speed <= 0:
        parser.error("--chunk-ms and --speed must be positive")

    stop = end_on_signal()
    try:
        _, rate, _, _ = read_wav(args.file)
        # HTTP/2 keepalive finds a server that is gone while nobody speaks.
        options = [("grpc.keepalive_time_ms", 20_000)]
        with grpc.insecure_channel(args.to, options=options) as channel:
            for response in responses(rpc.EmotionServiceStub(channel), args, stop):
                line = json_format.MessageToJson(response, indent=None) if args.json else describe(response, rate)
                print(line, flush=True)
    except (OSError, ValueError) as error:
        sys.exit(f"stream_call: {error}")
    except grpc.RpcError as error:
        sys.exit(f"stream_call: {error.code().name}: {error.details()}")


if __name__ == "__main__":
    main()
