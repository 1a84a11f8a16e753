#!/usr/bin/env python3
"""Makes the int8 variant of a telephone model: weights and activations of its 1x1 convolutions in 8 bits, the rest as it was.

    python3 -m venv .python-quantize && .python-quantize/bin/pip install onnx==1.23.2 onnxruntime==1.32.0 sympy==1.14.0
    .python-quantize/bin/python scripts/quantize-model.py --undertone target/release/undertone \\
        --model models/telephone --data data/crema-d --out models/telephone-int8

How far activations reach is taken from windows of 2 s of every eighth clip of the first four training actors, 40 clips at most, with the
means of their bands subtracted: what a call that begins is given. The same clips give the same network. At last it times both networks.
"""

import argparse
import hashlib
import pathlib
import re
import subprocess
import tempfile
import time
import tomllib

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

ACTORS, EVERY, CLIPS, BATCH, STEP = 4, 8, 40, 8, 40


class Windows(CalibrationDataReader):
    """Windows in batches, under the name of the network's input."""

    def __init__(self, name, windows):
        self.batches = ({name: windows[at : at + BATCH]} for at in range(0, len(windows), BATCH))

    def get_next(self):
        return next(self.batches, None)


def clips_of(data, actors):
    """Recordings of some actors, in the order of their names."""
    found = sorted(path for kind in ("*.flac", "*.wav") for path in pathlib.Path(data).rglob(kind))
    return [path for path in found if path.name.split("_")[0] in actors][::EVERY][:CLIPS]


def windows_of(undertone, manifest, clips):
    """Standardised windows `[window, frame, value]` of as many frames as the model is served with."""
    deviation = np.array(manifest["standardization"]["deviation"], np.float32)
    frames = manifest["window"]["frames"]
    windows = []
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "values.npy"
        for clip in clips:
            command = [undertone, "features", "--front-end", "logmel8k", "--streaming", "--out", str(out), str(clip)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            values = np.load(out) / deviation
            windows += [values[at : at + frames] for at in range(0, len(values) - frames + 1, STEP)]
    if not windows:
        raise SystemExit(f"no clip of {', '.join(manifest['training']['train_actors'][:ACTORS])} is as long as a window")
    return np.stack(windows).astype(np.float32)


def milliseconds(networks, windows, runs=300):
    """CPU time of a window in a batch, by network: the median of runs in turn, one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = [onnxruntime.InferenceSession(str(network), options) for network in networks]
    taken = [[] for _ in sessions]
    for _ in range(runs):
        for session, times in zip(sessions, taken):
            began = time.thread_time()
            session.run(None, {session.get_inputs()[0].name: windows})
            times.append(1e3 * (time.thread_time() - began) / len(windows))
    return [float(np.median(times)) for times in taken]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--undertone", default="undertone", help="the program that takes features")
    parser.add_argument("--model", required=True, help="folder of the model")
    parser.add_argument("--data", required=True, help="CREMA-D")
    parser.add_argument("--out", required=True, help="folder of its int8 variant")
    args = parser.parse_args()
    model, out = pathlib.Path(args.model), pathlib.Path(args.out)
    text = (model / "manifest.toml").read_text()
    manifest = tomllib.loads(text)
    if manifest["front_end"]["name"] != "logmel8k":
        raise SystemExit(f"{model} hears {manifest['front_end']['name']}: only models on logmel8k can be quantised by this")
    clips = clips_of(args.data, manifest["training"]["train_actors"][:ACTORS])
    windows = windows_of(args.undertone, manifest, clips)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        prepared = pathlib.Path(folder) / "prepared.onnx"
        quant_pre_process(model / manifest["network"]["file"], prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        initializers = {tensor.name: tensor.dims for tensor in graph.initializer}
        pointwise = [
            node.name
            for node in graph.node
            if node.op_type == "Conv" and len(initializers[node.input[1]]) == 3 and initializers[node.input[1]][2] == 1
        ]
        quantize_static(
            prepared,
            out / "model.onnx",
            Windows(manifest["network"]["input"], windows),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=pointwise,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    sha256 = hashlib.sha256((out / "model.onnx").read_bytes()).hexdigest()
    name = f"{manifest['name']}-int8"
    text = text.replace(manifest["network"]["sha256"], sha256)
    text = text.replace(f'name = "{manifest["name"]}"', f'name = "{name}"', 1)
    text = text.replace('description = "', f'description = "8-bit variant of {manifest["name"]}. ', 1)
    # What was measured of the other is no measurement of this one.
    text = re.sub(r"\[metrics\]\n(?:[^\[\n]+\n)*", "[metrics]\n", text)
    (out / "manifest.toml").write_text(text)
    before, after = milliseconds([model / manifest["network"]["file"], out / "model.onnx"], windows[:BATCH])
    print(f"a window in a batch of {BATCH}: {before:.2f} ms before, {after:.2f} ms now")
    print(f"{out}: {len(pointwise)} convolutions in 8 bits, by {len(windows)} windows of {len(clips)} clips; {sha256}")


if __name__ == "__main__":
    main()
