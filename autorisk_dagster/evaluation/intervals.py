"""Intervals of figures that rest on clips, some of which show the same scene.

Clips of one group (`severity.groups`) are not independent, so neither interval counts clips as if they were:

- a proportion has Wilson's interval at the effective number of clips: n / deff, where deff is the variance of the
  proportion with groups as the sampling unit over that without (Kish 1965; linearised ratio estimator), further
  lessened for the few groups it was estimated from, n_eff * (t_{n-1} / t_{groups-1})^2 (Korn and Graubard 1998), and
  never over n. Where all clips are alike deff cannot be estimated: a group then counts as one clip.
- F1 of one severity is a function of a proportion (`f1_estimate`), and has that one's interval.
- anything else has the percentile interval of the bootstrap with groups drawn instead of clips, expanded for few groups
  (Hesterberg 2015, section 3.3). How often it holds the truth of simulated fleets is in docs/evaluation.md: 91-96 %;
  plain percentile and BCa intervals of 12 groups held it in 82-94 %. Under `MIN_GROUPS` groups there is none: a
  bootstrap of so few says less than it seems to.

Statistics are functions of weights (how often each clip was drawn), so that all resamples are computed at once.
Not covered: what differs between a fleet's videos and the videos it will meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError
from autorisk_dagster.severity.intervals import CONFIDENCE, RESAMPLES, wilson

Array = NDArray[np.float64]
Groups = NDArray[np.int64]
Statistic = Callable[[Array], Array]
"""(resamples, clips) weights to (resamples,) values; NaN where a resample has none."""

MIN_GROUPS: Final = 10
SEED: Final = 20240229  # the same table gives the same interval
FEW: Final = f"under {MIN_GROUPS} independent groups: no interval can be given"


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: None where it cannot be said
        low, high: interval at `CONFIDENCE`; None where none can be given
        interval: how it was made; empty without one
        n: clips it rests on
        groups: independent groups among them
        note: what a reader must know with it
    """

    value: float | None
    low: float | None
    high: float | None
    interval: str
    n: int
    groups: int
    note: str = ""

    def noted(self, *notes: str) -> Estimate:
        """The same with more to know."""
        return replace(self, note="; ".join(part for part in (self.note, *notes) if part))


def unknown(note: str, n: int = 0, groups: int = 0) -> Estimate:
    """A figure that cannot be said, and why."""
    return Estimate(None, None, None, "", n, groups, note)


def exact(value: float, n: int, groups: int, note: str = "") -> Estimate:
    """A count, or anything else that is no estimate."""
    return Estimate(float(value), None, None, "", n, groups, note)


def proportion(hits: NDArray[np.bool_], groups: Groups) -> Estimate:
    """Share of hits among clips, (n,) each, with Wilson's interval at the effective number of clips."""
    n = len(hits)
    if not n:
        return unknown("no clip")
    count = len(np.unique(groups))
    share = float(np.mean(hits))
    if count == 1 and n > 1:
        return Estimate(share, None, None, "", n, count, "one group only: no interval can be given")
    effective = effective_size(np.asarray(hits, dtype=np.float64), groups)
    low, high = wilson(share, effective)
    size = f" at {effective:.1f} effective clips" if count < n else ""
    # At 0 and 1 the formula gives exactly that, but for the rounding of floats.
    return Estimate(share, min(low, share), max(high, share), f"{_percent()} Wilson{size}", n, count)


def f1_estimate(labelled: NDArray[np.bool_], given: NDArray[np.bool_], groups: Groups) -> Estimate:
    """F1 of one severity: 2 p / (1 + p), where p is the share of hits among the clips labelled or given it.

    Args:
        labelled, given: (n,) whether the clip is labelled, and given, the severity
    """
    either = labelled | given
    found = proportion((labelled & given)[either], groups[either])
    if found.value is None:
        return unknown("neither labelled nor given")
    ends = [None if end is None else 2 * end / (1 + end) for end in (found.value, found.low, found.high)]
    return replace(found, value=ends[0], low=ends[1], high=ends[2])


def effective_size(values: Array, groups: Groups) -> float:
    """Number of independent clips that would say as much about the mean of `values` as these do (see the module)."""
    from scipy.stats import t

    n = len(values)
    _, number = np.unique(groups, return_inverse=True)
    count = int(number.max()) + 1
    if count == n:
        return float(n)
    variance = float(np.var(values)) / (n - 1)
    if variance == 0:
        return float(count)
    residual = np.bincount(number, weights=values - values.mean())
    clustered = count / (count - 1) * float(np.sum(residual**2)) / n**2
    if clustered == 0:
        return float(n)
    few = (t.ppf((1 + CONFIDENCE) / 2, n - 1) / t.ppf((1 + CONFIDENCE) / 2, count - 1)) ** 2
    return float(min(n, max(1.0, n * variance / clustered * few)))


def bootstrapped(statistic: Statistic, groups: Groups) -> Estimate:
    """A statistic of clips with its cluster bootstrap interval.

    Args:
        statistic: see `Statistic`
        groups: (n,) group of each clip
    """
    n = len(groups)
    if not n:
        return unknown("no clip")
    value = float(statistic(np.ones((1, n)))[0])
    _, number = np.unique(groups, return_inverse=True)
    count = int(number.max()) + 1
    if math.isnan(value):
        return unknown("not defined on these clips", n, count)
    if count < MIN_GROUPS:
        return Estimate(value, None, None, "", n, count, FEW)
    drawn = statistic(_times_drawn(count)[:, number])
    if np.nanmax(drawn) - np.nanmin(drawn) < 1e-12:
        return Estimate(value, None, None, "", n, count, "the same in every resample: no interval can be given")
    low, high = np.nanquantile(drawn, _expanded(count))
    undefined = float(np.mean(np.isnan(drawn)))
    note = f"not defined in {undefined:.0%} of the resamples" if undefined > 0.005 else ""
    return Estimate(
        value, min(float(low), value), max(float(high), value), f"{_percent()} cluster bootstrap", n, count, note
    )


@lru_cache(maxsize=4)
def _times_drawn(count: int) -> Array:
    """(RESAMPLES, count) how often each group was drawn, with replacement; all figures of a table share the draw."""
    drawn: Array = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(float)
    drawn.flags.writeable = False
    return drawn


def _expanded(count: int) -> tuple[float, float]:
    """Quantiles of the resamples for `CONFIDENCE`, widened for `count` draws as t is against the normal."""
    from scipy.stats import norm, t

    tail = float(norm.cdf(math.sqrt(count / (count - 1)) * t.ppf((1 - CONFIDENCE) / 2, count - 1)))
    return tail, 1 - tail


def paired_difference(before: NDArray[np.bool_], after: NDArray[np.bool_], groups: Groups) -> Estimate:
    """Share of hits after less before, on the same clips.

    Wald's interval after half a clip was added to each cell of the 2 x 2 table (Agresti and Min 2005), at the effective
    number of clips of the difference. It has a width even where no clip changed.
    """
    from scipy.stats import norm

    n = len(before)
    if len(after) != n or len(groups) != n:
        raise InputError(f"a paired difference needs one value each a clip, got {n}, {len(after)} and {len(groups)}")
    if not n:
        return unknown("no clip")
    change = after.astype(np.float64) - before
    count = len(np.unique(groups))
    if count == 1 and n > 1:
        return Estimate(float(change.mean()), None, None, "", n, count, "one group only: no interval can be given")
    share = effective_size(change, groups) / n
    gained, lost = share * np.sum(change > 0) + 0.5, share * np.sum(change < 0) + 0.5
    size = share * n + 2
    middle = (gained - lost) / size
    half = norm.ppf((1 + CONFIDENCE) / 2) * math.sqrt(gained + lost - (gained - lost) ** 2 / size) / size
    value = float(change.mean())
    low, high = max(-1.0, middle - half), min(1.0, middle + half)
    return Estimate(value, min(low, value), max(high, value), f"{_percent()} Agresti-Min, paired", n, count)


def mcnemar(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> float:
    """Two-sided p of McNemar's exact test: among the clips that changed, as many gained as lost."""
    from scipy.stats import binomtest

    gained, lost = int(np.sum(~before & after)), int(np.sum(before & ~after))
    return float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def sign_flip(before: NDArray[np.bool_], after: NDArray[np.bool_], groups: Groups) -> float:
    """The same question with whole groups flipped, because clips of one group change together."""
    from scipy.stats import permutation_test

    _, number = np.unique(groups, return_inverse=True)
    change = np.bincount(number, weights=after.astype(np.float64) - before)
    change = change[change != 0]
    if not len(change):
        return 1.0
    if len(change) == 1:
        return 1.0  # its two signs are equally far from zero
    found: Any = permutation_test(
        (change, np.zeros(len(change))),
        lambda one, other, axis: np.sum(one - other, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        rng=np.random.default_rng(SEED),
    )
    return float(found.pvalue)


def _percent() -> str:
    return f"{100 * CONFIDENCE:.0f} %"
