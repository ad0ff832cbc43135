"""Sound at one rate on the video's clock: stream or sidecar file in, mono float32 blocks with true start times out.

Blocks rise in time and never overlap: sound that is there twice is cut, a gap in the sound is a gap between blocks
(nothing is invented to fill it). Stereo is mixed down to its mean, so that full scale stays full scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from autorisk_dagster.errors import VideoError

AUDIO_RATE_HZ = 16_000
"""Rate of `AudioBlock.samples`: the horn band and its harmonics end far below 8 kHz."""

CLOCK_TOLERANCE_SEC = 0.05
"""A sample clock may differ this much from the timestamps before it is set anew: above the rounding of Matroska and
FLV (1 ms) and the jitter of AAC in MPEG-TS (one frame, 21-23 ms), below what an ear or a 0.25 s block notices."""

# libswresample's float mix to mono is (L + R) / sqrt(2), which clips; with its greatest sum held to 1 it is the mean.
_MEAN = {"out_chlayout": "mono", "rematrix_maxval": "1.0"}
# Samples that are resampled at once: a fifth of a second. Frame by frame (23 ms of AAC) it costs three times as much.
_AT_ONCE = 8192
_SIDECAR_SUFFIXES = (".wav", ".flac")
_SIDECAR_BLOCK_SEC = 0.25


@dataclass(frozen=True)
class AudioBlock:
    """Mono sound; `start_sec` is the time of samples[0], in seconds from the first video frame.

    samples: float32, shape (n,), full scale 1.0, at the rate the reader was asked for (`AUDIO_RATE_HZ`).
    """

    start_sec: float
    samples: NDArray[np.float32]


def find_sidecar(path: Path) -> Path | None:
    """The .wav or .flac beside `path` with the same stem (any case of the suffix); a .wav wins over a .flac."""
    if not path.parent.is_dir():
        return None
    beside = [other for other in path.parent.iterdir() if other.stem == path.stem and other != path]
    for suffix in _SIDECAR_SUFFIXES:
        found = sorted(other for other in beside if other.suffix.lower() == suffix and other.is_file())
        if found:
            return found[0]
    return None


def clipped(block: AudioBlock, start_sec: float, end_sec: float, rate_hz: int) -> AudioBlock | None:
    """The part of `block` whose samples lie in [start_sec, end_sec); None where that is empty."""
    # Sample i is at start + i / rate; 1e-6 of a sample absorbs the float error of times that meet exactly.
    first = max(0, math.ceil((start_sec - block.start_sec) * rate_hz - 1e-6))
    last = len(block.samples)
    if math.isfinite(end_sec):
        last = min(last, math.ceil((end_sec - block.start_sec) * rate_hz - 1e-6))
    if first >= last:
        return None
    if last - first == len(block.samples):
        return block
    return AudioBlock(block.start_sec + first / rate_hz, block.samples[first:last])


class Resampler:
    """Turns decoded audio frames of any layout and rate into blocks of mono float32 at `rate_hz`.

    The blocks' times come from counting samples since the last reset of the clock; the clock is reset where the
    frames' own timestamps leave it by more than `CLOCK_TOLERANCE_SEC`.
    """

    def __init__(self, rate_hz: int = AUDIO_RATE_HZ) -> None:
        self.rate_hz = rate_hz
        self._swr: AudioResampler | None = None
        self._waiting = AudioFifo()
        self._kind: tuple[str, str, int] | None = None
        self._run_start_sec = 0.0
        self._taken = 0  # samples at the input's rate since _run_start
        self._given = 0  # samples at rate_hz since _run_start
        self._end_sec = -math.inf

    def push(self, frame: AudioFrame, start: Fraction | float | None) -> list[AudioBlock]:
        """Blocks that are ready after `frame`, whose first sample is at `start`, in seconds (None: it follows on).

        What is not enough to be resampled waits for the next frame, or for `flush`.
        """
        start_sec = None if start is None else float(start)
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        blocks: list[AudioBlock] = []
        if self._swr is None or kind != self._kind or self._clock_is_off(start_sec):
            follow_on_sec = self._expected_sec() if self._kind else 0.0
            blocks += self.flush()
            self._swr = AudioResampler(format="flt", layout="mono", rate=self.rate_hz, options=dict(_MEAN))
            self._waiting = AudioFifo()
            self._kind = kind
            self._run_start_sec = start_sec if start_sec is not None else follow_on_sec
            self._taken = self._given = 0
        self._taken += frame.samples
        frame.pts = None  # the clock is kept here; libswresample must not fill or cut by timestamps
        self._waiting.write(frame)
        return blocks + self._resampled(_AT_ONCE)

    def flush(self) -> list[AudioBlock]:
        """What libswresample still holds; the next `push` starts a new run."""
        if self._swr is None:
            return []
        blocks = self._resampled(1)
        rest = self._swr.resample(None)
        self._swr = None
        return blocks + self._blocks([frame for frame in rest if frame is not None])

    def _resampled(self, at_least: int) -> list[AudioBlock]:
        """Blocks of what waits, where that is so many samples."""
        if self._swr is None or self._waiting.samples < at_least:
            return []
        frame = self._waiting.read()
        return self._blocks(self._swr.resample(frame)) if frame is not None else []

    def _expected_sec(self) -> float:
        return self._run_start_sec + self._taken / (self._kind[2] if self._kind else 1)

    def _clock_is_off(self, start_sec: float | None) -> bool:
        return start_sec is not None and abs(start_sec - self._expected_sec()) > CLOCK_TOLERANCE_SEC

    def _blocks(self, frames: list[AudioFrame]) -> list[AudioBlock]:
        blocks = []
        for frame in frames:
            samples = np.frombuffer(frame.planes[0], np.float32, count=frame.samples)  # type: ignore[call-overload]
            start = self._run_start_sec + self._given / self.rate_hz
            self._given += len(samples)
            whole = AudioBlock(start, samples)
            block = clipped(whole, self._end_sec, math.inf, self.rate_hz) if start < self._end_sec else whole
            if block is not None and len(block.samples):
                self._end_sec = block.start_sec + len(block.samples) / self.rate_hz
                blocks.append(block)
        return blocks


def sidecar_blocks(
    path: Path, start_sec: float = 0.0, end_sec: float = math.inf, rate_hz: int = AUDIO_RATE_HZ
) -> Iterator[AudioBlock]:
    """Sound of a sidecar file in [start_sec, end_sec), a quarter of a second at a time; its sample 0 is at time 0.

    Raises:
        VideoError: the sound file cannot be read.
    """
    import soundfile

    resampler = Resampler(rate_hz)
    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            # Start a little early so that the resampling filter has settled when the window begins.
            first = min(file.frames, max(0, int((start_sec - _SIDECAR_BLOCK_SEC) * rate)))
            file.seek(first)
            size = max(1, int(rate * _SIDECAR_BLOCK_SEC))
            for data in file.blocks(blocksize=size, dtype="float32", always_2d=True):
                frame = AudioFrame.from_ndarray(data.mean(axis=1, dtype=np.float32)[None, :], "flt", "mono")
                frame.sample_rate = rate
                at = Fraction(first, rate)
                first += len(data)
                yield from in_window(resampler.push(frame, at), start_sec, end_sec, rate_hz)
                if first / rate >= end_sec + _SIDECAR_BLOCK_SEC:
                    break
            yield from in_window(resampler.flush(), start_sec, end_sec, rate_hz)
    except (soundfile.LibsndfileError, OSError) as error:
        raise unreadable_sound(path, error) from error


def in_window(blocks: list[AudioBlock], start_sec: float, end_sec: float, rate_hz: int) -> Iterator[AudioBlock]:
    """The parts of `blocks` that lie in [start_sec, end_sec)."""
    for block in blocks:
        part = clipped(block, start_sec, end_sec, rate_hz)
        if part is not None:
            yield part


def unreadable_sound(path: Path, error: Exception) -> VideoError:
    """The error for a sidecar file that soundfile cannot read."""
    said = getattr(error, "error_string", None) or getattr(error, "strerror", None) or type(error).__name__
    return VideoError(path, f"the sound file beside the video cannot be read ({said})", "Replace or remove it")


def decoded_peaks(container: av.container.InputContainer, stream: av.audio.stream.AudioStream) -> Iterator[float]:
    """Largest absolute sample of each decoded audio frame, full scale 1.0; frames that do not decode are left out."""
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            yield peak(frame.to_ndarray())


def peak(samples: NDArray[Any]) -> float:
    """Largest absolute sample, full scale 1.0, of any of FFmpeg's sample types."""
    if samples.size == 0:
        return 0.0
    values = samples.astype(np.float64)
    if samples.dtype.kind == "f":
        return float(np.abs(values).max())
    info = np.iinfo(samples.dtype)
    middle = (int(info.max) + int(info.min) + 1) // 2  # 0 for signed, 128 for unsigned 8 bit
    return float(np.abs(values - middle).max() / (int(info.max) - middle + 1))
