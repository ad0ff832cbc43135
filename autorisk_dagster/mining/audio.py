"""What the sound says, window by window: loudness over the local floor, tonality, and the seed's three numbers.

Seed 000, stage 1, scores RMS, delta-RMS and the share of energy in the horn band (300-1000 Hz). Engine and tyre noise
fill that band, so that the share *drops* while a horn sounds; the three stay as columns, but what separates a horn, a
squeal or an impact from driving noise is measured here as well:

- `loudness_over_floor_db`: level of the loudest block of the window over the median level of the blocks within 10 s of
  it. Levels are A-weighted (IEC 61672-1), which takes out bumps, wind and engine rumble. The median makes a loud but
  steady noise 0 dB, and a step (tunnel, window opened) loud for no longer than the step itself.
- `tonality`: the share of a block's energy between 250 Hz and 4 kHz in narrow peaks over its own smooth spectrum, over
  the median of the same within 10 s. Horns and squealing tyres are sums of steady tones, impacts and wind are not; a
  steady whine, being everywhere, is 0.

Blocks are about an eighth of a second and divide a window evenly. A window of digital silence has loudness and
tonality 0; a window without sound has nulls. Not covered: an engine at full throttle, and speech or music in the cabin,
are tonal and rise over the floor too.
"""

from __future__ import annotations

import math
from array import array
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from autorisk_dagster import tables
from autorisk_dagster.mining.windows import window_count
from autorisk_dagster.video.reader import AUDIO_RATE_HZ

HORN_BAND_HZ = (300.0, 1000.0)
TONE_BAND_HZ = (250.0, 4000.0)
BLOCK_SEC = 0.125
FLOOR_REACH_SEC = 10.0

# Levels under this count as silence: the noise of a lossy codec is no sound event. Gain changes nothing above it.
QUIETEST_DB = -70.0
# In noise a periodogram bin is exponential: P(bin > 20 medians) = 2**-20, about one block in 2000 has a false peak.
PEAK_OVER_MEDIAN = 20.0
# Half width of the smooth spectrum: far wider than a tone of one block (32 Hz), far narrower than a horn's overtones.
SMOOTH_HALF_HZ = 200.0
# Timestamps of compressed sound are rounded to the container's clock (1 ms in Matroska): less than this is no gap.
JITTER_SEC = 0.02

_COLUMNS = ("audio_rms", "audio_delta_rms", "horn_band_share", "loudness_over_floor_db", "tonality")


class AudioSignals:
    """Takes sound as it is decoded and keeps a few numbers a block; memory does not hold the sound."""

    def __init__(self, window_sec: float) -> None:
        self._window_sec = window_sec
        self._blocks_a_window = max(1, math.ceil(window_sec / BLOCK_SEC - 1e-9))
        self._block_len = window_sec * AUDIO_RATE_HZ / self._blocks_a_window
        self._next = 0  # index of the next sample, counted from the first video frame
        self._parts: list[NDArray[np.float32]] = []  # samples of the block that is not full yet
        self._measured = array("d")  # rows of block index and the values of `measure_block`

    def add(self, start_sec: float, samples: NDArray[np.float32]) -> None:
        """Add sound.

        Args:
            start_sec: time of the first sample after the first video frame; sound before the frame is left out
            samples: (n,) float32, mono, 16 kHz. Overlap with sound already added is dropped, a gap stays unmeasured.
        """
        samples = np.asarray(samples, dtype=np.float32).ravel()
        begin = round(start_sec * AUDIO_RATE_HZ)
        if abs(begin - self._next) <= JITTER_SEC * AUDIO_RATE_HZ:
            begin = self._next
        if begin < self._next:
            samples = samples[self._next - begin :]
            begin = self._next
        if not samples.size:
            return
        if begin > self._next:
            self._close()
            self._next = begin
        while samples.size:
            room = self._block_start(self._block_of(self._next) + 1) - self._next
            self._parts.append(samples[:room])
            taken = len(self._parts[-1])
            self._next += taken
            samples = samples[taken:]
            if taken == room:
                self._close()

    def finish(self, duration_sec: float) -> pl.DataFrame:
        """One row a window of the video: the five audio columns of `tables.FRAME_SIGNALS`."""
        self._close()
        windows = window_count(duration_sec, self._window_sec)
        shape = (windows, self._blocks_a_window)
        blocks = np.full((windows * self._blocks_a_window, 6), np.nan)
        measured = np.frombuffer(self._measured).reshape(-1, 7)
        measured = measured[measured[:, 0] < len(blocks)]  # sound may outlast the last frame
        blocks[measured[:, 0].astype(np.int64)] = measured[:, 1:]
        samples, energy, level_db, tonality, band_power, power = blocks.T
        reach = round(FLOOR_REACH_SEC * AUDIO_RATE_HZ / self._block_len)
        loudness = level_db - running_median(level_db, reach)
        peakiness = np.maximum(tonality - running_median(tonality, reach), 0.0)

        samples_sum = _sum(samples, shape)
        rms = np.sqrt(_sum(energy, shape) / samples_sum)
        power_sum = _sum(power, shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(power_sum == 0, 0.0, _sum(band_power, shape) / power_sum)
        delta = np.abs(np.diff(rms, prepend=np.nan))  # nothing comes before the first window
        columns = (rms, delta, share, _max(loudness, shape), _max(peakiness, shape))
        schema = {name: tables.FRAME_SIGNALS[name] for name in _COLUMNS}
        return pl.DataFrame(dict(zip(_COLUMNS, columns, strict=True)), schema=schema).fill_nan(None)

    def _block_start(self, block: int) -> int:
        return round(block * self._block_len)

    def _block_of(self, sample: int) -> int:
        block = int(sample / self._block_len)
        while self._block_start(block + 1) <= sample:  # the border was rounded down below this sample
            block += 1
        return block - 1 if self._block_start(block) > sample else block

    def _close(self) -> None:
        """Measure the samples held and forget them."""
        if not self._parts:
            return
        samples = np.concatenate(self._parts)
        self._parts = []
        block = self._block_of(self._next - 1)
        # Half a block (cut by a gap or by the end) still has a spectrum; less, or a sample that is no number, has none.
        if 2 * len(samples) >= self._block_len and np.isfinite(samples).all():
            self._measured.extend((block, *measure_block(samples)))


def measure_block(samples: NDArray[np.float32]) -> tuple[float, float, float, float, float, float]:
    """What is kept of (n,) samples.

    Returns:
        sample count, energy (sum of squares), A-weighted level (dB of full scale, no less than `QUIETEST_DB`), tonality
        (0..1), spectral power in the horn band, spectral power in all
    """
    wave = samples.astype(np.float64)
    n = len(wave)
    hz = np.fft.rfftfreq(n, 1.0 / AUDIO_RATE_HZ)
    spectrum = np.abs(np.fft.rfft(wave * _hann(n))) ** 2
    spectrum[:2] = 0.0  # an offset of the microphone, spread over two bins by the Hann window, is no sound
    # Parseval: sum |X|^2 over both halves = n * sum (window * wave)^2, and the window's mean square is 3/8.
    level = 2.0 * float(np.sum(spectrum * _a_weight(n))) / (n * n * 0.375)
    level_db = 10.0 * math.log10(max(level, 10.0 ** (QUIETEST_DB / 10.0)))
    in_horn_band = (hz >= HORN_BAND_HZ[0]) & (hz <= HORN_BAND_HZ[1])
    tonality = tonal_share(spectrum, hz) if level_db > QUIETEST_DB else 0.0
    return n, float(wave @ wave), level_db, tonality, float(spectrum[in_horn_band].sum()), float(spectrum.sum())


def tonal_share(power: NDArray[np.float64], hz: NDArray[np.floating[Any]]) -> float:
    """Share (0..1) of the power in the tone band that stands in narrow peaks over the smooth spectrum."""
    band = power[(hz >= TONE_BAND_HZ[0]) & (hz <= TONE_BAND_HZ[1])]
    if band.size < 3 or band.sum() == 0:
        return 0.0
    half = max(1, round(SMOOTH_HALF_HZ / (hz[1] - hz[0])))
    smooth = median_filter(band, 2 * half + 1, mode="reflect")
    excess = np.where(band > PEAK_OVER_MEDIAN * smooth, band - smooth, 0.0)
    return float(excess.sum() / band.sum())


def running_median(values: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """Median of the `reach` values on each side and the value itself; NaNs are left out, the ends have fewer values."""
    padded = np.pad(values, reach, constant_values=np.nan)
    out = np.full(len(values), np.nan)
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    for begin in range(0, len(values), 1024):  # in slices, so that a long video does not make the views real at once
        part = views[begin : begin + 1024]
        some = ~np.isnan(part).all(axis=1)
        out[begin : begin + len(part)][some] = np.nanmedian(part[some], axis=1)
    return out


def _sum(values: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    table = values.reshape(shape)
    return np.where(np.isnan(table).all(axis=1), np.nan, np.nansum(table, axis=1))


def _max(values: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    largest: NDArray[np.float64] = np.fmax.reduce(values.reshape(shape), axis=1)
    return largest


@lru_cache(maxsize=8)
def _hann(n: int) -> NDArray[np.float64]:
    window: NDArray[np.float64] = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)
    return window


@lru_cache(maxsize=8)
def _a_weight(n: int) -> NDArray[np.float64]:
    """A-weighting of power at the bins of an rfft of n samples: IEC 61672-1, annex E; 1 at 1 kHz."""
    f2 = np.fft.rfftfreq(n, 1.0 / AUDIO_RATE_HZ) ** 2
    amplitude = 12194.0**2 * f2**2 / ((f2 + 20.6**2) * np.sqrt((f2 + 107.7**2) * (f2 + 737.9**2)) * (f2 + 12194.0**2))
    weight: NDArray[np.float64] = (amplitude * 10.0 ** (2.0 / 20.0)) ** 2
    return weight
