"""Writes a recording as the JSON messages of a call, one a line, for clients that stream from standard input.

    python3 examples/python/call_json.py call.wav > call.json
    grpcurl -plaintext -d @ 127.0.0.1:50051 undertone.v1.EmotionService/Analyze < call.json

With --classify it is the one message of EmotionService/Classify. Needs nothing but Python.
"""

import argparse
import base64
import datetime
import json
import sys
import uuid

from wav import read_wav


def messages(path, classify):
    """The messages: a configuration, a chunk a second, and the end; or one recording."""
    encoding, rate, width, data = read_wav(path)
    audio = {"encoding": encoding, "sampleRateHertz": rate}
    # That the people in the call were told of the analysis. Set it only if they were.
    notice = {"givenAt": datetime.datetime.now(datetime.timezone.utc).isoformat(), "method": "announcement"}
    text = lambda samples: base64.b64encode(samples).decode()
    if classify:
        yield {"audio": audio, "data": text(data), "role": "ROLE_CUSTOMER", "notice": notice}
        return
    yield {"config": {"callId": f"json-{uuid.uuid4()}", "audio": audio, "legs": [{"role": "ROLE_CUSTOMER"}], "notice": notice}}
    for at in range(0, len(data), rate * width):
        yield {"audio": {"data": text(data[at : at + rate * width])}}
    yield {"control": {"action": "CONTROL_ACTION_END"}}


def main():
    parser = argparse.ArgumentParser(description="Writes a recording as the JSON messages of a call.")
    parser.add_argument("file", help="a mono WAV file, 16-bit PCM or G.711")
    parser.add_argument("--classify", action="store_true", help="the one message of Classify instead")
    args = parser.parse_args()
    try:
        for message in messages(args.file, args.classify):
            print(json.dumps(message))
    except (OSError, ValueError) as error:
        sys.exit(f"call_json: {error}")


if __name__ == "__main__":
    main()
