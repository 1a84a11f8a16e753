#!/usr/bin/env python3
"""Compares `undertone features` with librosa 0.11 over recordings, and over synthetic signals of its own.

    python3 -m venv target/librosa && target/librosa/bin/pip install librosa==0.11.0 soxr==1.1.0 soundfile
    target/librosa/bin/python scripts/compare-librosa.py --undertone target/quick/undertone --synthetic FILE_OR_FOLDER...

Prints the largest differences from the same samples at 22,050 Hz, whole-clip and streaming, then what our resampler instead of soxr HQ
makes of them. Exit status 1 where a bound is broken.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault("NUMBA_DISABLE_JIT", "0")
import librosa
import numpy as np
import soundfile

RATE = 22050
COLUMNS = {"MFCC 0": slice(0, 1), "MFCC 1-12": slice(1, 13), "chroma": slice(13, 25), "mel dB": slice(25, 153), "zero crossings": slice(153, 154)}
BOUNDS = {"MFCC 0": 2e-3, "MFCC 1-12": 1e-3, "chroma": 1e-5, "mel dB": 2e-3, "zero crossings": 0.0}


def reference(samples, tuning=None):
    """MFCC 13 | chroma 12 | mel dB 128 | zero crossings 1, [frames, 154], by librosa's defaults; and the tuning used."""
    y = samples / (np.abs(samples).max() + 1e-7)
    power = np.abs(librosa.stft(y)) ** 2
    if tuning is None:
        tuning = librosa.estimate_tuning(S=power, sr=RATE, bins_per_octave=12)
    mel = librosa.power_to_db(librosa.feature.melspectrogram(y=y, sr=RATE))
    parts = [
        librosa.feature.mfcc(S=mel, n_mfcc=13),
        librosa.feature.chroma_stft(y=y, sr=RATE, tuning=tuning),
        mel,
        librosa.feature.zero_crossing_rate(y),
    ]
    return np.concatenate(parts).T, tuning


def ours(undertone, file, folder, *flags):
    """The same by the program, and the tuning it tells."""
    out = folder / "features.npy"
    told = subprocess.run(
        [undertone, "features", "--front-end", "thesis154", *flags, str(file), "--out", str(out)],
        check=True, capture_output=True, text=True,
    )
    return np.load(out), float(told.stdout.split('"tuning":')[1].split("}")[0])


def synthetic():
    """Signals of one window at 16 kHz that a feature could stumble over; always the same."""
    random = np.random.default_rng(3)
    t = np.arange(3 * 16000) / 16000
    voice = sum(np.sin(2 * np.pi * n * np.cumsum(110 + 20 * np.sin(2 * np.pi * 0.7 * t)) / 16000) / n for n in range(1, 30))
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 3 * t)
    yield "noise", 0.3 * random.standard_normal(t.size)
    yield "noise that fades", random.standard_normal(t.size) * np.logspace(0, -5, t.size) * 0.3
    yield "tone of 440 Hz", 0.5 * np.sin(2 * np.pi * 440 * t)
    yield "chord, 17 cents sharp", sum(np.sin(2 * np.pi * f * 2 ** (17 / 1200) * t) for f in (220, 277.18, 329.63)) / 4
    yield "chord, 41 cents flat", sum(np.sin(2 * np.pi * f * 2 ** (-41 / 1200) * t) for f in (220, 277.18, 329.63)) / 4
    yield "sweep", 0.5 * np.sin(2 * np.pi * np.cumsum(np.geomspace(60, 7800, t.size)) / 16000)
    yield "clicks", np.where(np.arange(t.size) % 1600 == 7, 0.9, 0.0) + 1e-3 * random.standard_normal(t.size)
    yield "voice", 0.2 * voice * swell
    yield "voice, clipped", np.clip(2.0 * voice * swell, -1, 1)
    yield "voice, 60 dB down", 2e-4 * voice * swell
    yield "voice after silence", np.where(t < 1.5, 0, 0.2 * voice * swell)
    yield "voice on a constant", 0.2 + 0.1 * voice * swell
    yield "a tenth of a second", 0.2 * voice[:1600]
    yield "six samples", np.array([0.1, -0.2, 0.3, -0.1, 0.2, -0.3])


class Differences:
    """The largest and the mean difference of every group of columns."""

    def __init__(self, columns):
        self.columns, self.largest, self.sum, self.count = columns, {}, {}, {}

    def add(self, actual, expected):
        if actual.shape != expected.shape:
            raise SystemExit(f"{actual.shape} where librosa has {expected.shape}")
        for name, columns in self.columns.items():
            difference = np.abs(actual[:, columns] - expected[:, columns]).astype(np.float64)
            self.largest[name] = max(self.largest.get(name, 0.0), difference.max())
            self.sum[name] = self.sum.get(name, 0.0) + difference.sum()
            self.count[name] = self.count.get(name, 0) + difference.size

    def show(self, title, bounds=None):
        print(f"\n{title}")
        for name, largest in self.largest.items():
            bound = "" if bounds is None else f"  bound {bounds[name]:.0e}"
            print(f"  {name:<24} largest {largest:.2e}  mean {self.sum[name] / self.count[name]:.2e}{bound}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--undertone", default="target/quick/undertone", help="the program")
    arguments.add_argument("--synthetic", action="store_true", help="synthetic signals too")
    arguments.add_argument("--every", type=int, default=1, help="only every so many-th recording of a folder")
    arguments.add_argument("recordings", nargs="*", type=pathlib.Path, help="WAV or FLAC files, or folders of them")
    given = arguments.parse_args()
    files = []
    for path in given.recordings:
        found = sorted(f for f in path.rglob("*") if f.suffix in (".wav", ".flac")) if path.is_dir() else [path]
        files += found[:: given.every] if path.is_dir() else found
    clips = [(str(file), file, None) for file in files]
    clips += [(name, None, samples) for name, samples in synthetic()] if given.synthetic else []
    if not clips:
        arguments.error("nothing to compare: name recordings, or --synthetic")

    frequencies = librosa.mel_frequencies(130, fmax=RATE / 2)
    high = int(np.searchsorted(frequencies[2:], 7000))
    by_band = {k: v for k, v in COLUMNS.items() if k != "mel dB"} | {"mel dB below 7 kHz": slice(25, 25 + high), "mel dB above": slice(25 + high, 153)}
    whole, streaming, resampled = Differences(COLUMNS), Differences(COLUMNS), Differences(by_band)
    broken, tunings = [], 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, file, samples in clips:
            if file is None:
                file, source_hz = folder / "source.wav", 16000
                soundfile.write(file, samples.astype(np.float32), source_hz, subtype="FLOAT")
            samples, source_hz = soundfile.read(file, dtype="float32")
            samples = samples if samples.ndim == 1 else samples.mean(axis=1)
            at_rate = librosa.resample(samples, orig_sr=source_hz, target_sr=RATE, res_type="soxr_hq")
            soundfile.write(folder / "y22k.wav", at_rate, RATE, subtype="FLOAT")
            expected, tuning = reference(at_rate)
            actual, told = ours(given.undertone, folder / "y22k.wav", folder, "--input-is-22k")
            one = Differences(COLUMNS)
            if told == tuning:
                tunings += 1
                one.add(actual, expected)
                whole.add(actual, expected)
            else:
                print(f"{name}: tuning {told} where librosa has {tuning}")
                broken.append(name)
            if len(expected) <= 300:
                expected, _ = reference(at_rate, 0.0)
                actual, _ = ours(given.undertone, folder / "y22k.wav", folder, "--input-is-22k", "--streaming")
                one.add(actual, expected)
                streaming.add(actual, expected)
            over = [f"{group} {value:.2e}" for group, value in one.largest.items() if value > BOUNDS[group]]
            if over:
                print(f"{name}: beyond the bound: {', '.join(over)}")
                broken.append(name)
            if source_hz != RATE and file.parent != folder:
                expected, _ = reference(at_rate)
                actual, _ = ours(given.undertone, file, folder)
                if len(actual) == len(expected):
                    resampled.add(actual, expected)
                else:
                    print(f"{name}: {len(actual)} frames by our resampler, {len(expected)} by soxr")
    print(f"{len(clips)} clips, tuning identical in {tunings}")
    whole.show("whole clip, from the same samples at 22,050 Hz", BOUNDS)
    streaming.show("streaming, one window, from the same samples at 22,050 Hz", BOUNDS)
    if resampled.largest:
        resampled.show("whole clip of the recordings, our resampler instead of soxr HQ")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
