"""The sound of a clip: blocks laid onto the clip's time line without a gap, and coded as mono AAC."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError
from autorisk_dagster.video.sound import AudioBlock, clipped

AAC_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

CLIP_AUDIO_RATE_HZ = 48_000
"""Every browser plays it, and no source is made worse by it."""

_AAC_BITS_A_SEC = 96_000  # mono


def check_aac_rate(target: Path, rate_hz: int) -> None:
    """Raise `InputError` where AAC does not have a rate."""
    if rate_hz not in AAC_RATES_HZ:
        raise InputError(f"{target.name}: AAC has no rate {rate_hz} Hz, only {AAC_RATES_HZ}")


class AacTrack:
    """A mono AAC stream of an mp4: samples in, packets to write out. Its time 0 is the first sample."""

    def __init__(self, output: OutputContainer, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._samples = 0
        self._stream: AudioStream = output.add_stream(
            "aac", rate=rate_hz, layout="mono", bit_rate=min(_AAC_BITS_A_SEC, 4 * rate_hz)
        )

    def encoded(self, samples: NDArray[np.float32]) -> list[Packet[AudioStream]]:
        """Packets that are ready after mono samples, float (n,), full scale 1.0, that follow on from the last ones."""
        if not len(samples):
            return []
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32)[None, :], "flt", "mono")
        frame.sample_rate, frame.time_base = self._rate_hz, Fraction(1, self._rate_hz)
        frame.pts = self._samples
        self._samples += len(samples)
        return self._stream.encode(frame)

    def rest(self) -> list[Packet[AudioStream]]:
        """What the encoder still holds."""
        return self._stream.encode(None) if self._samples else []


class ClipSound:
    """Lays blocks of sound onto the clip's time line: gaps become silence, nothing goes past the last frame's end.

    Args:
        write: takes mono samples, float32 (n,), that follow on from the last ones
        rate_hz: rate of the blocks
    """

    def __init__(self, write: Callable[[NDArray[np.float32]], None], rate_hz: int) -> None:
        self._write, self._rate_hz = write, rate_hz
        self._waiting: list[AudioBlock] = []
        self._written = 0

    def add(self, block: AudioBlock) -> None:
        """Take a block; blocks rise in time."""
        self._waiting.append(block)

    def write_until(self, start_sec: float, now_sec: float) -> None:
        """Write what ends by `now_sec`; the clip began at `start_sec`."""
        while self._waiting and self._waiting[0].start_sec + len(self._waiting[0].samples) / self._rate_hz <= now_sec:
            self._lay(self._waiting.pop(0), start_sec)

    def finish(self, start_sec: float, end_sec: float) -> None:
        """Write the rest, cut or filled up to `end_sec`."""
        for block in self._waiting:
            part = clipped(block, start_sec, end_sec, self._rate_hz)
            if part is not None:
                self._lay(part, start_sec)
        self._silence(round((end_sec - start_sec) * self._rate_hz) - self._written)

    def _lay(self, block: AudioBlock, start_sec: float) -> None:
        at = round((block.start_sec - start_sec) * self._rate_hz)
        self._silence(at - self._written)
        samples = block.samples[max(0, self._written - at) :]
        self._write(samples)
        self._written += len(samples)

    def _silence(self, samples: int) -> None:
        while samples > 0:
            part = min(samples, self._rate_hz)
            self._write(np.zeros(part, np.float32))
            self._written += part
            samples -= part
