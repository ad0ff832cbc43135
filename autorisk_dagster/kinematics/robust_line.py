"""Straight lines through values of which some are wrong: Theil-Sen, for one set of points or along a track.

The slope is the median of all pairwise slopes, so that up to 29 % of the values may be anything (Theil 1950, Sen 1968).
The standard error comes from the median absolute residual. NaN values are left out; under three values all is NaN.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

MAD_TO_SIGMA: Final = 1.4826  # of normal errors
MIN_VALUES: Final = 3

Array = NDArray[np.float64]


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


def trailing_lines(times_sec: Array, values: Array, window_sec: float) -> Array:
    """The robust line over the last `window_sec` before each sample, that sample included: (n, 3), as `robust_line`.

    Args:
        times_sec: (n,) increasing
        values: (n,); NaN is a missing value
        window_sec: a value exactly this old is left out
    """
    lines = np.full((len(times_sec), 3), np.nan)
    first = np.searchsorted(times_sec, times_sec - window_sec, side="right")
    for index, begin in enumerate(first):
        lines[index] = robust_line(times_sec[begin : index + 1], values[begin : index + 1])
    return lines
