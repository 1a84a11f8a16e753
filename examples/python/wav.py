"""Reads mono WAV files as telephone systems write them: 16-bit PCM or G.711."""

import struct

# WAV's format number and bits a sample, to the encoding's name in the API.
ENCODINGS = {(1, 16): "ENCODING_LINEAR16", (6, 8): "ENCODING_ALAW", (7, 8): "ENCODING_MULAW"}


def read_wav(path):
    """The encoding, the rate in Hz, the bytes a sample and the samples of a mono WAV file."""
    with open(path, "rb") as file:
        riff, _, wave = struct.unpack("<4sI4s", file.read(12).ljust(12, b"\0"))
        if (riff, wave) != (b"RIFF", b"WAVE"):
            raise ValueError(f"{path} is no WAV file")
        form = None
        while header := file.read(8):
            name, size = struct.unpack("<4sI", header.ljust(8, b"\0"))
            body = file.read(size + size % 2)
            if name == b"fmt " and len(body) >= 16:
                form = struct.unpack("<HHIIHH", body[:16])
            elif name == b"data" and form:
                number, channels, rate, _, _, bits = form
                if channels != 1 or (number, bits) not in ENCODINGS:
                    raise ValueError(f"{path} is not mono 16-bit PCM or G.711: convert it first")
                return ENCODINGS[number, bits], rate, bits // 8, body[:size]
    raise ValueError(f"{path} holds no samples")
