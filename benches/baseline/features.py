"""The front end thesis154, streaming, in numpy: what is done of a chunk is done for all of its frames at once, and nothing twice."""

import numpy as np
import soxr

RATE_HZ = 22_050
FRAME = 2_048
HOP = 512
MEL = 128
MFCC = 13
CHROMA = 12
VALUES = MFCC + CHROMA + MEL + 1
TOP_DB = 80.0
LEAST_DB = -100.0
PEAK_OFFSET = 1e-7
TINY = np.float32(np.finfo(np.float32).tiny)


def _mulaw_table():
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    exponent, mantissa = (code >> 4) & 7, code & 15
    magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return (np.where(code & 0x80, -magnitude, magnitude) / 32_768.0).astype(np.float32)


def _mel_bank():
    """Slaney's scale and area norm, [bins, bands]."""
    step = np.log(6.4) / 27.0

    def hz(mel):
        return np.where(mel < 15.0, mel * 200.0 / 3.0, 1_000.0 * np.exp(step * (mel - 15.0)))

    highest = 15.0 + np.log(RATE_HZ / 2 / 1_000.0) / step
    edges = hz(np.linspace(0.0, highest, MEL + 2))
    bins = np.arange(FRAME // 2 + 1) * RATE_HZ / FRAME
    rising = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))
    return weights.astype(np.float32)


def _chroma_bank():
    """Untuned, [bins, classes], C first."""
    with np.errstate(divide="ignore"):
        pitch = CHROMA * np.log2(np.arange(FRAME) * RATE_HZ / FRAME / (440.0 / 16.0))
    pitch[0] = pitch[1] - 1.5 * CHROMA
    width = np.maximum(pitch[1:] - pitch[:-1], 1.0)[: FRAME // 2 + 1, None]
    pitch = pitch[: FRAME // 2 + 1, None]
    distance = np.remainder(pitch - np.arange(CHROMA) + CHROMA / 2 + 10 * CHROMA, CHROMA) - CHROMA / 2
    weights = np.exp(-0.5 * (2.0 * distance / width) ** 2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    weights *= np.exp(-0.5 * ((pitch / CHROMA - 5.0) / 2.0) ** 2)
    return np.roll(weights, -3, axis=1).astype(np.float32)


def _cosines():
    """The orthonormal DCT-II, [bands, coefficients]."""
    angle = np.pi * np.arange(MFCC)[None, :] * (np.arange(MEL)[:, None] + 0.5) / MEL
    scale = np.where(np.arange(MFCC) == 0, 1.0, 2.0)
    return (np.sqrt(scale / MEL) * np.cos(angle)).astype(np.float32)


MULAW = _mulaw_table()
# One product gives both: [bins, bands and classes].
BANKS = np.concatenate([_mel_bank(), _chroma_bank()], axis=1)
COSINES = _cosines()
HANN = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32)


class Gate:
    """Speech or silence in blocks of 20 ms, by energy above the lowest of the last 3 s."""

    def __init__(self, rate_hz):
        self.block = rate_hz // 50
        self.rest = np.zeros(0, np.float32)
        self.levels = []
        self.hangover = 0
        self.first = 0
        self.speech = []

    def push(self, samples):
        samples = np.concatenate([self.rest, samples]) if len(self.rest) else samples
        count = len(samples) // self.block
        blocks = samples[: count * self.block].reshape(count, self.block)
        self.rest = samples[count * self.block :]
        levels = 10.0 * np.log10(np.maximum(blocks.var(axis=1), 1e-12))
        for level in levels.tolist():
            self.levels.append(level)
            if len(self.levels) > 150:
                del self.levels[0]
            floor = min(self.levels)
            if len(self.levels) < 25:
                floor = min(floor, -60.0)
            if level > max(floor + 6.0, -65.0):
                self.hangover = 13
            self.speech.append(self.hangover > 0)
            self.hangover = max(0, self.hangover - 1)

    def is_speech(self, sample):
        block = sample // self.block
        drop = min(block - self.first, len(self.speech) - 1)
        if drop > 0:
            del self.speech[:drop]
            self.first += drop
        return bool(self.speech) and self.speech[0]


class Leg:
    """One party's audio: chunks in, a window or None out at every stride."""

    def __init__(self, rate_hz, stride_samples, window, mean, deviation):
        self.rate_hz, self.stride, self.window = rate_hz, stride_samples, window
        self.mean, self.scale = mean, 1.0 / deviation
        self.resampler = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="float32", quality="LQ")
        self.gate = Gate(rate_hz)
        self.tail = np.zeros(FRAME // 2, np.float32)
        # The last frames, twice over, so that any stretch of them lies in one piece.
        self.frames = window["frames"]
        self.ring = np.zeros((2 * self.frames, MEL + CHROMA + 2), np.float32)
        self.heard = 0
        self.speech = []
        self.onset = None
        self.quiet = 0
        self.position = 0
        self.next_stride = stride_samples

    def push(self, chunk):
        """Decodes µ-law and tells the strides that are due: (position, start, window or None)."""
        samples = MULAW[np.frombuffer(chunk, np.uint8)]
        due = []
        while len(samples):
            part, samples = samples[: self.next_stride - self.position], samples[self.next_stride - self.position :]
            self.listen(part)
            self.position += len(part)
            if self.position == self.next_stride:
                self.next_stride += self.stride
                due.append(self.decide())
        return due

    def listen(self, samples):
        self.gate.push(samples)
        signal = np.concatenate([self.tail, self.resampler.resample_chunk(samples)])
        count = (len(signal) - FRAME) // HOP + 1 if len(signal) >= FRAME else 0
        self.tail = signal[count * HOP :]
        if count == 0:
            return
        frames = np.lib.stride_tricks.sliding_window_view(signal, FRAME)[: (count - 1) * HOP + 1 : HOP]
        spectrum = np.fft.rfft(frames * HANN)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32, copy=False)
        banks = power @ BANKS
        raw = np.empty((count, MEL + CHROMA + 2), np.float32)
        np.log10(np.maximum(banks[:, :MEL], TINY), out=raw[:, :MEL])
        raw[:, :MEL] *= 10.0
        chroma = banks[:, MEL:]
        raw[:, MEL : MEL + CHROMA] = chroma / np.maximum(chroma.max(axis=1, keepdims=True), TINY)
        negative = np.signbit(frames)
        raw[:, -2] = np.count_nonzero(negative[:, 1:] != negative[:, :-1], axis=1)
        raw[:, -1] = np.abs(frames).max(axis=1)
        for row in raw:
            self.keep(row)

    def keep(self, row):
        slot = self.heard % self.frames
        self.ring[slot] = row
        self.ring[slot + self.frames] = row
        speech = self.gate.is_speech(self.heard * HOP * self.rate_hz // RATE_HZ)
        if len(self.speech) == self.frames:
            del self.speech[0]
        self.speech.append(speech)
        if speech:
            self.quiet = 0
            if self.onset is None:
                self.onset = self.heard
        else:
            self.quiet += 1
            if self.quiet * HOP > self.window["clear_after_seconds"] * RATE_HZ:
                self.onset = None
        self.heard += 1

    def decide(self):
        if self.onset is None:
            return self.position, None, None
        start = max(self.onset, self.heard - self.frames)
        count = self.heard - start
        begin = max(0, start * HOP - FRAME // 2) * self.rate_hz // RATE_HZ
        if self.position - begin < self.window["min_seconds"] * self.rate_hz:
            return self.position, begin, None
        if sum(self.speech[-count:]) < self.window["min_speech_ratio"] * count:
            return self.position, begin, None
        return self.position, begin, self.assemble(start % self.frames, count)

    def assemble(self, slot, count):
        raw = self.ring[slot : slot + count]
        peak = raw[:, -1].max() + PEAK_OFFSET
        gain = -20.0 * np.log10(peak)
        window = np.zeros((self.frames, VALUES), np.float32)
        mel = raw[:, :MEL] + np.float32(gain)
        np.maximum(mel, max(LEAST_DB, mel.max() - TOP_DB), out=mel)
        window[:count, :MFCC] = mel @ COSINES
        window[:count, MFCC : MFCC + CHROMA] = raw[:, MEL : MEL + CHROMA]
        window[:count, MFCC + CHROMA : -1] = mel
        window[:count, -1] = raw[:, -2] / FRAME
        window -= self.mean
        window *= self.scale
        return window
