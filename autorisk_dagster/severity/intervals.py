"""Intervals for figures that rest on clips of which some show the same danger.

Clips of one group (`groups.clip_groups`) are not independent, so that an interval which counts them singly is too
narrow. A share takes Wilson's score interval (Wilson 1927) at the effective number of clips: n divided by the design
effect, the variance between groups over the binomial one (Kish 1965; for Wilson's interval Dean and Pavlou 2015).
Everything else takes the percentile bootstrap over whole groups (Field and Welsh 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 2000
BY_WILSON: Final = "95 % Wilson at the effective number of clips"
BY_BOOTSTRAP: Final = "95 % bootstrap by group"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; NaN bounds: fewer than two groups, so that nothing says how it varies."""

    value: float
    low: float
    high: float
    n: int
    groups: int
    how: str


def wilson(share: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share of `n` independent trials; `n` need not be whole.

    Raises:
        InputError: a share outside 0 to 1, or no trial.
    """
    from scipy.special import ndtri

    if not (0 <= share <= 1 and n > 0):
        raise InputError(f"an interval needs a share in 0 to 1 and at least one trial, got {share} of {n}")
    z = float(ndtri((1 + confidence) / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def share(right: Sequence[bool] | NDArray[np.bool_], groups: Sequence[int]) -> Interval:
    """The share of clips that are right, with Wilson's interval at the effective number of clips.

    The effective number is at most the number of clips. Where all clips are right or all wrong, the groups say nothing
    of how they differ, and the number of groups is taken.
    """
    hits, members = _by_group(np.asarray(right, dtype=np.float64), groups)
    n, number = int(members.sum()), len(members)
    value = float(hits.sum() / n)
    if number < 2:
        return Interval(value, np.nan, np.nan, n, number, BY_WILSON)
    between = number / (number - 1) * float(((hits - value * members) ** 2).sum()) / n**2
    effective = min(float(n), value * (1 - value) / between) if 0 < value < 1 and between > 0 else float(number)
    low, high = wilson(value, effective)
    return Interval(value, low, high, n, number, BY_WILSON)


def difference(
    right: Sequence[bool] | NDArray[np.bool_], other: Sequence[bool] | NDArray[np.bool_], groups: Sequence[int]
) -> Interval:
    """How much larger the share of `right` is than that of `other`, on the same clips, bootstrapped by group."""
    gain = np.asarray(right, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    gained, members = _by_group(gain, groups)
    return bootstrap(np.stack([gained, members], axis=1), lambda sums: sums[:, 0] / sums[:, 1], int(members.sum()))


def bootstrap(counts: Floats, figure: Callable[[Floats], Floats], n: int) -> Interval:
    """A figure of sums over groups, with the percentile interval over resampled groups.

    Args:
        counts: (groups, columns) what each group adds
        figure: from (resamples, columns) sums to (resamples,) values; a NaN (the figure is not defined for a resample)
            is left out
        n: clips in all groups

    The resamples are the same in every call, so that the same clips give the same interval.
    """
    number = len(counts)
    value = float(figure(counts.sum(axis=0, keepdims=True))[0])
    if number < 2:
        return Interval(value, np.nan, np.nan, n, number, BY_BOOTSTRAP)
    drawn = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), RESAMPLES)
    values = figure(drawn @ counts)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail])
    return Interval(value, float(low), float(high), n, number, BY_BOOTSTRAP)


def _by_group(values: Floats, groups: Sequence[int]) -> tuple[Floats, Floats]:
    """(groups,) sums of the values and numbers of clips."""
    if len(values) != len(groups) or not len(values):
        raise InputError(
            f"every clip needs its group, and there must be one: {len(values)} clips, {len(groups)} groups"
        )
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    ones = np.ones(len(values))
    return np.bincount(index, weights=values).astype(np.float64), np.bincount(index, weights=ones).astype(np.float64)
