"""Makes logmel8k_1012_TSI_NEU_XX.npy: python logmel8k.py, beside 1012_TSI_NEU_XX.wav. Needs NumPy 2 and soundfile."""
import numpy as np
import soundfile

RATE, FFT, FRAME, HOP, BANDS, LOWEST, HIGHEST = 8000, 1024, 512, 128, 96, 60, 4000
to_mel, to_hz = lambda hz: 2595 * np.log10(1 + hz / 700), lambda mel: 700 * (10 ** (mel / 2595) - 1)
edges, hz = to_hz(np.linspace(to_mel(LOWEST), to_mel(HIGHEST), BANDS + 2)), np.arange(FFT // 2 + 1) * RATE / FFT
bank = np.array([np.maximum(0, np.minimum((hz - l) / (c - l), (r - hz) / (r - c))) for l, c, r in zip(edges, edges[1:], edges[2:])])
for band, row in enumerate(bank):
    if not row.any():
        row[int(round(edges[band + 1] * FFT / RATE))] = 1
samples, _ = soundfile.read("1012_TSI_NEU_XX.wav", dtype="float32")
samples = samples[::2][4000:12192]  # every other sample: what aliases is as good to compare on as any
frames = samples[HOP * np.arange(1 + (len(samples) - FRAME) // HOP)[:, None] + np.arange(FRAME)]
power = np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), FFT)) ** 2
np.save("logmel8k_1012_TSI_NEU_XX.npy", np.log(power @ bank.astype(np.float32).T + 1e-6).astype(np.float32))
