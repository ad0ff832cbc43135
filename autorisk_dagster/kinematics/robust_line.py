"""Straight lines through values of which some are wrong: Theil-Sen, for one set of points or along a track.

The slope is the median of all pairwise slopes, so that up to 29 % of the values may be anything (Theil 1950, Sen 1968).
The standard error comes from the median absolute residual. NaN values are left out; under three values all is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAD_TO_SIGMA: Final = 1.4826  # of normal errors
MIN_VALUES: Final = 3
ROWS_AT_ONCE: Final = 512  # of pairwise slopes in memory: 5 MB at 60 samples a second

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def robust_line(times_sec: Array, values: Array) -> tuple[float, float, float]:
    """The line through (n,) values: value at the last of `times_sec`, slope per second, standard error of the slope."""
    usable = np.isfinite(values)
    times, found = times_sec[usable], values[usable]
    if len(found) < MIN_VALUES:
        return float("nan"), float("nan"), float("nan")
    first, second = np.triu_indices(len(found), 1)
    slope = float(np.median((found[second] - found[first]) / (times[second] - times[first])))
    residuals = found - slope * times
    offset = float(np.median(residuals))
    noise = MAD_TO_SIGMA * float(np.median(np.abs(residuals - offset)))
    spread = float(np.sqrt(np.sum((times - times.mean()) ** 2)))
    return offset + slope * float(times_sec[-1]), slope, noise / spread


def trailing_lines(
    times_sec: Array,
    values: Array,
    window_sec: float,
    seen_now: Callable[[Index, Index], Array] | None = None,
) -> Array:
    """The robust line over the last `window_sec` before each sample, that sample included: (n, 3), as `robust_line`.

    Args:
        times_sec: (n,) increasing
        values: (n,); NaN is a missing value
        window_sec: a value exactly this old is left out
        seen_now: what to add to the values `then` (rows, k) so that they are as seen from the sample `now` (rows, 1)
    """
    present = np.arange(len(times_sec))
    # a sample just a window old is out, however its timestamp was rounded
    first = np.searchsorted(times_sec, times_sec - window_sec + 1e-6, side="right")
    longest = int((present - first).max(initial=0)) + 1
    parts = [np.empty((0, 3))]
    for begin in range(0, len(times_sec), ROWS_AT_ONCE):
        now = present[begin : begin + ROWS_AT_ONCE, None]
        then = now - np.arange(longest)[::-1]
        inside = then >= first[begin : begin + ROWS_AT_ONCE, None]
        then = np.maximum(then, 0)
        found = values[then] if seen_now is None else values[then] + seen_now(then, now)
        parts.append(_lines(times_sec[then] - times_sec[now], np.where(inside, found, np.nan)))
    return np.concatenate(parts)


def _lines(times: Array, found: Array) -> Array:
    """All of `robust_line` at once, one line a row, told at time 0."""
    usable = np.isfinite(found)
    one, other = np.triu_indices(times.shape[1], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = _median((found[:, other] - found[:, one]) / (times[:, other] - times[:, one]))
        residuals = found - slope[:, None] * times
        value = _median(residuals)
        noise = MAD_TO_SIGMA * _median(np.abs(residuals - value[:, None]))
        count = usable.sum(axis=1)
        middle = np.where(usable, times, 0.0).sum(axis=1) / count
        spread = np.sqrt((np.where(usable, times - middle[:, None], 0.0) ** 2).sum(axis=1))
        lines = np.stack([value, slope, noise / spread], axis=1)
    return np.where((count >= MIN_VALUES)[:, None], lines, np.nan)


def _median(values: Array) -> Array:
    """Median of each row without its NaN values."""
    ordered = np.sort(values, axis=1)  # NaN last
    count = np.isfinite(values).sum(axis=1)
    rows = np.arange(len(values))
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1)
    if values.shape[1] == 0:
        return np.full(len(values), np.nan)
    middle: Array = (ordered[rows, low] + ordered[rows, high]) / 2
    return middle
