"""Robust straight lines through the last second of many series at once: value, slope and the slope's error now.

Gap-aware: everything goes by timestamps, and a history ends at a gap or wherever the caller says that something jumped.
Iteratively reweighted least squares with Tukey's biweight (Beaton and Tukey 1974), so that a wrong box moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

WINDOW_SEC: Final = 1.0
SLOW_WINDOW_SEC, SLOW_SAMPLES = 1.6, 6  # how far to go for so many samples at a low rate
MIN_SAMPLES: Final = 3
MIN_SPAN_SEC: Final = 0.25  # a shorter history is mostly the detector's jitter
STEPS: Final = 3
TUKEY: Final = 4.685  # 95 % efficiency on normal errors
MIN_FREEDOM: Final = 3.0  # Student's factor for fewer would need a second to see anything; `floor` bounds those
TWO_SIGMA: Final = 0.97725  # of a normal distribution, one-sided
INDEPENDENT_HZ: Final = 10.0  # box errors of neighbouring frames are alike: more samples a second add no certainty
_ROWS_AT_ONCE: Final = 40_000

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RecentLines:
    """Lines at each of n samples; NaN where the history is too short.

    Attributes:
        value: (n, d) of the line at the sample
        slope: (n, d) per second
        error: (n, d) standard error of the slope, for few samples enlarged as Student's t is against the normal
            distribution (at 97.7 %, two standard errors), so that it can be used as if there were many
        without_step: (n, d) slope from the sums of changes between neighbours, without the largest change: a single
            step in an otherwise flat series has a slope for as long as the window sees it, but none here
    """

    value: Array
    slope: Array
    error: Array
    without_step: Array


def recent_lines(times_sec: Array, values: Array, floor: Array, segment: NDArray[np.int64]) -> RecentLines:
    """Lines through each sample and its history of at most WINDOW_SEC (SLOW_WINDOW_SEC) in the same segment.

    Args:
        times_sec: (n,) rising within a segment
        values: (n, d)
        floor: (n, d) least standard error that a value can have
        segment: (n,) number of the unbroken stretch; equal numbers are neighbours
    """
    count, width = values.shape
    answer = np.full((4, count, width), np.nan)
    position = np.arange(count)
    begins = np.searchsorted(segment, segment) if count else position
    # one axis on which segments lie apart, so that one search finds every window's start
    apart = times_sec - times_sec[begins] if count else times_sec
    axis = segment * (float(apart.max(initial=0.0)) + 2 * SLOW_WINDOW_SEC) + apart
    first = np.searchsorted(axis, axis - WINDOW_SEC - 1e-6)
    enough = np.maximum(np.searchsorted(axis, axis - SLOW_WINDOW_SEC - 1e-6), position - (SLOW_SAMPLES - 1))
    first = np.maximum(np.minimum(first, enough), begins)
    span = times_sec - times_sec[first] if count else times_sec
    usable = np.flatnonzero((position - first + 1 >= MIN_SAMPLES) & (span >= MIN_SPAN_SEC))
    for start in range(0, len(usable), _ROWS_AT_ONCE):
        rows = usable[start : start + _ROWS_AT_ONCE]
        longest = int((rows - first[rows]).max()) + 1
        index = rows[:, None] - np.arange(longest)[::-1]
        counted = index >= first[rows][:, None]
        index = np.maximum(index, 0)
        x = np.where(counted, times_sec[index] - times_sec[rows][:, None], 0.0)
        thinning = np.maximum(counted.sum(axis=1) / (span[rows] * INDEPENDENT_HZ + 1.0), 1.0)
        for column in range(width):
            y = np.where(counted, values[index, column], 0.0)
            answer[:, rows, column] = _fitted(x, y, counted, floor[rows, column], thinning)
    return RecentLines(*answer)


def _fitted(x: Array, y: Array, counted: NDArray[np.bool_], floor: Array, thinning: Array) -> Array:
    weight = counted.astype(np.float64)
    with np.errstate(all="ignore"):
        for step in range(STEPS + 1):
            total = weight.sum(axis=1)
            middle, mean = (weight * x).sum(axis=1) / total, (weight * y).sum(axis=1) / total
            about = x - middle[:, None]
            spread = (weight * about**2).sum(axis=1)
            slope = (weight * about * y).sum(axis=1) / spread
            residual = np.abs(y - mean[:, None] - slope[:, None] * about)
            if step < STEPS:
                scale = np.maximum(1.4826 * _median(residual, counted), floor)
                weight = np.where(counted, np.clip(1 - (residual / (TUKEY * scale[:, None])) ** 2, 0, None) ** 2, 0.0)
        change = np.where(counted[:, 1:] & counted[:, :-1], np.diff(y, axis=1), 0.0)
        elapsed = np.where(counted[:, 1:] & counted[:, :-1], np.diff(x, axis=1), 0.0)
        largest = np.abs(change).argmax(axis=1)[:, None]
        total_change = change.sum(axis=1) - np.take_along_axis(change, largest, 1)[:, 0]
        total_sec = elapsed.sum(axis=1) - np.take_along_axis(elapsed, largest, 1)[:, 0]
        freedom = np.maximum(total - 2.0, 1.0)
        noise = np.maximum((weight * residual**2).sum(axis=1) / freedom * (_student(freedom) / 2) ** 2, floor**2)
        noise *= thinning
        return np.stack([mean - slope * middle, slope, np.sqrt(noise / spread), total_change / total_sec])


def _student(freedom: Array) -> Array:
    from scipy.special import stdtrit  # costs 0.2 s to import

    quantile: Array = stdtrit(np.maximum(freedom, MIN_FREEDOM), TWO_SIGMA)
    return quantile


def _median(values: Array, counted: NDArray[np.bool_]) -> Array:
    ordered = np.sort(np.where(counted, values, np.inf), axis=1)
    count = np.maximum(counted.sum(axis=1), 1)
    rows = np.arange(len(values))
    median: Array = (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / 2
    return median
