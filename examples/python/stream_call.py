"""Streams a recording to Undertone as if it were a call, and prints what is heard while it is spoken.

    python3 -m pip install -r examples/python/requirements.txt
    sh examples/python/generate.sh
    python3 examples/python/stream_call.py call.wav --to 127.0.0.1:50051

The recording is a mono WAV file: 16-bit PCM, or G.711 as telephone systems write it. Its samples are sent as they are.
"""

import argparse
import sys
import time
import uuid

import grpc
from google.protobuf import json_format
from undertone.v1 import undertone_pb2 as pb
from undertone.v1 import undertone_pb2_grpc as rpc
from wav import read_wav


def messages(path, args):
    """The client's side of a call: the configuration, then the audio at its own pace, or faster."""
    encoding, rate, width, data = read_wav(path)
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
    yield pb.AnalyzeRequest(config=config)

    chunk = rate * args.chunk_ms // 1000 * width
    begin = time.monotonic()
    for number, at in enumerate(range(0, len(data), chunk)):
        due = begin + number * args.chunk_ms / 1000 / args.speed
        time.sleep(max(0.0, due - time.monotonic()))
        yield pb.AnalyzeRequest(audio=pb.AudioChunk(data=data[at : at + chunk], sequence=number))
    # The end of the requests is the end of the call; the server then decides on the rest and sends the summaries.


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

    try:
        _, rate, _, _ = read_wav(args.file)
        # HTTP/2 keepalive finds a server that is gone while nobody speaks.
        options = [("grpc.keepalive_time_ms", 20_000)]
        with grpc.insecure_channel(args.to, options=options) as channel:
            for response in rpc.EmotionServiceStub(channel).Analyze(messages(args.file, args)):
                line = json_format.MessageToJson(response, indent=None) if args.json else describe(response, rate)
                print(line, flush=True)
    except (OSError, ValueError) as error:
        sys.exit(f"stream_call: {error}")
    except grpc.RpcError as error:
        sys.exit(f"stream_call: {error.code().name}: {error.details()}")


if __name__ == "__main__":
    main()
