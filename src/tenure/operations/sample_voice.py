"""Speech-like telephone audio for the sample recordings: two voices that take turns, line noise, keypad tones.

Nobody spoke it. A voice is a saw-tooth at the pitch of a talker, cut into overlapping frames; each frame goes
through the resonances of one vowel in the frequency domain. Everything is vectorised over a recording's frames.
"""

import io
import wave

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 8_000  # Hz, telephone
_FRAME = 2_048  # samples; frames overlap by half, a Hann window makes them add up to one
_HOP = _FRAME // 2
_FREQUENCIES = np.fft.rfftfreq(_FRAME, 1 / SAMPLE_RATE)

# First three resonances of five vowels in Hz (Peterson and Barney, JASA 24, 1952, men's averages, rounded).
_VOWELS = np.array(
    [[730, 1090, 2440], [530, 1840, 2480], [270, 2290, 3010], [570, 840, 2410], [300, 870, 2240]]
)
_BANDWIDTHS = np.array([80.0, 110.0, 160.0])
_PITCHES = ((95.0, 130.0), (170.0, 230.0))  # Hz, a low and a high voice

# ITU-T Q.23: each key is one tone of the row and one of the column.
_ROWS = (697.0, 770.0, 852.0, 941.0)
_COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)
_KEYS = ("123A", "456B", "789C", "*0#D")
TONE_SECONDS = 0.08
PAUSE_SECONDS = 0.08


def _vowel_filters() -> NDArray[np.float64]:
    band = np.clip((_FREQUENCIES - 150) / 150, 0, 1) * np.clip((3_700 - _FREQUENCIES) / 300, 0, 1)
    distance = (_FREQUENCIES[None, None, :] - _VOWELS[:, :, None]) / _BANDWIDTHS[None, :, None]
    resonances = (np.array([1.0, 0.6, 0.3])[None, :, None] / (1 + distance**2)).sum(axis=1)
    return np.asarray(resonances * band, dtype=np.float64)


_FILTERS = _vowel_filters()


def _pitch(rng: np.random.Generator, frames: int, turns: NDArray[np.int64]) -> NDArray[np.float64]:
    low = np.array([p[0] for p in _PITCHES])[turns]
    high = np.array([p[1] for p in _PITCHES])[turns]
    return np.asarray(rng.uniform(low, high, frames), dtype=np.float64)


def _loudness(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """Return a gain for each frame; about a quarter of them, in runs, are pauses."""
    pause = np.repeat(rng.random(frames // 3 + 1) < 0.25, 3)[:frames]
    return np.asarray(np.where(pause, 0.0, rng.uniform(0.35, 1.0, frames)), dtype=np.float64)


def speech(rng: np.random.Generator, *, seconds: float) -> NDArray[np.float64]:
    """Return `seconds` of two talkers taking turns, between -1 and 1, at 8 kHz."""
    samples = round(seconds * SAMPLE_RATE)
    frames = samples // _HOP + 2
    turns = np.repeat(rng.integers(0, 2, frames // 16 + 1), 16)[:frames]
    pitch = np.repeat(_pitch(rng, frames, turns), _HOP)
    length = (frames + 1) * _HOP
    phase = np.cumsum(np.concatenate([pitch, pitch[-_HOP:]])) / SAMPLE_RATE
    source = 2 * (phase % 1.0) - 1 + 0.1 * rng.standard_normal(length)
    framed = np.lib.stride_tricks.sliding_window_view(source, _FRAME)[::_HOP]
    shaped = np.fft.irfft(np.fft.rfft(framed) * _FILTERS[rng.integers(0, len(_FILTERS), frames)], _FRAME)
    shaped *= np.hanning(_FRAME) * _loudness(rng, frames)[:, None]
    voice = np.zeros(length)
    voice[: frames * _HOP] += shaped[:, :_HOP].ravel()
    voice[_HOP:] += shaped[:, _HOP:].ravel()
    voice = voice[_HOP : _HOP + samples]
    peak = float(np.abs(voice).max()) or 1.0
    return np.asarray(0.6 * voice / peak + 0.002 * rng.standard_normal(samples), dtype=np.float64)


def keypad(keys: str) -> NDArray[np.float64]:
    """Return the tones of `keys` (0-9, A-D, * and #), each 80 ms long with 80 ms after it, at 8 kHz."""
    time = np.arange(round(TONE_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    pause = np.zeros(round(PAUSE_SECONDS * SAMPLE_RATE))
    parts: list[NDArray[np.float64]] = []
    for key in keys:
        row = next(i for i, line in enumerate(_KEYS) if key in line)
        column = _KEYS[row].index(key)
        tone = np.sin(2 * np.pi * _ROWS[row] * time) + np.sin(2 * np.pi * _COLUMNS[column] * time)
        parts += [0.25 * tone, pause]
    return np.concatenate(parts)


def with_keypad(voice: NDArray[np.float64], keys: str, *, at: float) -> NDArray[np.float64]:
    """Return `voice` with the tones of `keys` in place of speech from `at` seconds on.

    Raises:
        ValueError: The tones would not fit.
    """
    tones = keypad(keys)
    start = round(at * SAMPLE_RATE)
    if start + len(tones) > len(voice):
        raise ValueError("the keypad tones do not fit into the recording")
    mixed = voice.copy()
    mixed[start : start + len(tones)] = 0.02 * voice[start : start + len(tones)] + tones
    return mixed


def wav(voice: NDArray[np.float64]) -> bytes:
    """Return `voice` as a WAV file: 8 kHz, 16 bit, mono."""
    pcm = (np.clip(voice, -1, 1) * 32_767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(pcm.tobytes())
    return buffer.getvalue()
