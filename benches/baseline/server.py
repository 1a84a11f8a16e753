"""A server of undertone.v1.EmotionService.Analyze in Python, as good as Python lets it be, to measure ours against.

The same proto, the same model in the same ONNX Runtime, the same features kept from chunk to chunk; one asyncio loop for all calls and
one thread for the network, which runs batches of up to 8 and waits 5 ms for them, as ours does. µ-law at 8 kHz, one leg a call.

    PYTHONPATH=STUBS python server.py --model models/cnn-bilstm

Prints one line of JSON with both addresses when it takes calls, as `undertone serve` does, and serves /metrics with the process's CPU and
memory. Ends by SIGTERM.
"""

import argparse
import asyncio
import http.server
import json
import os
import queue
import resource
import signal
import threading
import time
import tomllib

import grpc
import numpy as np
import onnxruntime
from undertone.v1 import undertone_pb2 as pb
from undertone.v1 import undertone_pb2_grpc as rpc

from features import VALUES, Leg

MAX_BATCH = 8
MAX_WAIT_SECONDS = 0.005


class Network(threading.Thread):
    """Windows of all calls, in batches, on a thread of its own; ONNX Runtime leaves the others the interpreter meanwhile."""

    def __init__(self, folder, manifest, loop):
        super().__init__(daemon=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = os.path.join(folder, manifest["network"]["file"])
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input, self.output = manifest["network"]["input"], manifest["network"]["output"]
        self.temperature = manifest["calibration"]["temperature"]
        self.loop = loop
        self.waiting = queue.SimpleQueue()

    def infer(self, window):
        answer = self.loop.create_future()
        self.waiting.put((window, answer))
        return answer

    def run(self):
        while True:
            batch = [self.waiting.get()]
            due = time.monotonic() + MAX_WAIT_SECONDS
            while len(batch) < MAX_BATCH:
                try:
                    batch.append(self.waiting.get(timeout=max(0.0, due - time.monotonic())))
                except queue.Empty:
                    break
            windows = np.stack([window for window, _ in batch])
            logits = self.session.run([self.output], {self.input: windows})[0] / self.temperature
            powers = np.exp(logits - logits.max(axis=1, keepdims=True))
            scores = (powers / powers.sum(axis=1, keepdims=True)).tolist()
            self.loop.call_soon_threadsafe(self.answer, batch, scores)

    @staticmethod
    def answer(batch, scores):
        for (_, answer), row in zip(batch, scores):
            if not answer.done():
                answer.set_result(row)


class Service(rpc.EmotionServiceServicer):
    def __init__(self, manifest, network):
        self.manifest, self.network = manifest, network
        self.labels = manifest["labels"]
        standard = manifest["standardization"]
        self.mean = np.array(standard["mean"], np.float32)
        self.deviation = np.array(standard["deviation"], np.float32)
        self.uncertain_below = manifest["calibration"]["uncertain_below"]

    async def Analyze(self, requests, context):
        config = None
        leg, leg_id, received, sequence = None, "", 0, 0
        scored, answers = 0, asyncio.Queue(maxsize=32)

        async def listen():
            nonlocal received
            async for request in requests:
                if request.HasField("audio"):
                    for position, start, window in leg.push(request.audio.data):
                        answer = None if window is None else self.network.infer(window)
                        await answers.put((position, start, answer))
                    received += len(request.audio.data)
            await answers.put(None)

        async for request in requests:
            config = request.config
            break
        if config is None or config.audio.encoding != pb.ENCODING_MULAW or len(config.legs) != 1:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "one leg of µ-law, please")
        leg_id = config.legs[0].leg_id or pb.Role.Name(config.legs[0].role)[5:].lower()
        seconds = config.stride.seconds + config.stride.nanos * 1e-9 if config.HasField("stride") else 0.5
        rate_hz = config.audio.sample_rate_hertz
        leg = Leg(rate_hz, round(seconds * rate_hz), self.manifest["window"], self.mean, self.deviation)
        acknowledgement = pb.Acknowledgement(session_id=config.call_id)
        acknowledgement.stride.FromNanoseconds(round(seconds * 1e9))
        acknowledgement.legs.add(leg_id=leg_id, role=config.legs[0].role, analysed=True)
        yield pb.AnalyzeResponse(acknowledgement=acknowledgement)
        listening = asyncio.create_task(listen())
        try:
            while (told := await answers.get()) is not None:
                position, start, answer = told
                sequence += 1
                event = pb.EmotionEvent(
                    leg_id=leg_id,
                    sequence=sequence,
                    start_samples=start or 0,
                    end_samples=position,
                    depends_on_samples=position,
                    received_samples=received,
                )
                if answer is None:
                    event.not_scored = pb.NOT_SCORED_REASON_SILENCE
                else:
                    scores = await answer
                    scored += 1
                    best = max(range(len(scores)), key=scores.__getitem__)
                    sure = scores[best] >= self.uncertain_below
                    event.emotion.label = self.labels[best] if sure else "uncertain"
                    event.emotion.confidence = scores[best]
                    for label, probability in zip(self.labels, scores):
                        event.emotion.scores.add(label=label, probability=probability)
                yield pb.AnalyzeResponse(event=event)
            await listening
        finally:
            listening.cancel()
        summary = pb.Summary(leg_id=leg_id, end_reason=pb.END_REASON_COMPLETED, received_samples=received, scored_windows=scored)
        yield pb.AnalyzeResponse(summary=summary)


class Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        used = resource.getrusage(resource.RUSAGE_SELF)
        with open("/proc/self/statm") as statm:
            resident = int(statm.read().split()[1]) * resource.getpagesize()
        body = (
            f"process_cpu_seconds_total {used.ru_utime + used.ru_stime}\n"
            f"process_resident_memory_bytes {resident}\n"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


async def serve(folder):
    with open(os.path.join(folder, "manifest.toml"), "rb") as file:
        manifest = tomllib.load(file)
    assert manifest["front_end"]["name"] == "thesis154" and len(manifest["standardization"]["mean"]) == VALUES
    network = Network(folder, manifest, asyncio.get_running_loop())
    network.start()
    options = [("grpc.max_concurrent_streams", 10_000), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=options)
    rpc.add_EmotionServiceServicer_to_server(Service(manifest, network), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    admin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
    threading.Thread(target=admin.serve_forever, daemon=True).start()
    print(json.dumps({"grpc": f"127.0.0.1:{port}", "admin": f"127.0.0.1:{admin.server_address[1]}"}), flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(grace=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="DIR")
    asyncio.run(serve(parser.parse_args().model))
