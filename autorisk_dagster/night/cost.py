"""What a night will cost, from what videos cost before.

The cost of a video is proportional to its footage, with an error whose variance grows with it: then the rate is the
sum of the costs by the sum of the hours, and the interval of a future sum follows (the ratio estimator; Cochran,
Sampling Techniques, 6.7; prediction limits with Student's t, Hahn and Meeker, Statistical Intervals, 4). The hours of
a video that nobody has opened are the past videos' mean, with its own error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.9


@dataclass(frozen=True)
class Cost:
    """What was used: seconds of the run, seconds that models worked, tokens of prompts and answers."""

    machine_sec: float = 0.0
    gpu_sec: float = 0.0
    tokens: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.machine_sec + other.machine_sec, self.gpu_sec + other.gpu_sec, self.tokens + other.tokens)


@dataclass(frozen=True)
class PastVideo:
    """A video that went through the whole graph, and what that cost."""

    footage_hours: float
    cost: Cost


@dataclass(frozen=True)
class Estimate:
    """A future sum: its expected value and 90 % prediction interval, from `n` past videos.

    `low` and `high` are None where one past video is all there is.
    """

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class NightCost:
    """What a number of videos will cost. None: no history yet."""

    videos: int
    footage_hours: Estimate | None
    machine_sec: Estimate | None
    gpu_sec: Estimate | None
    tokens: Estimate | None


def night_cost(history: Sequence[PastVideo], hours: Sequence[float | None]) -> NightCost:
    """What the videos whose footage lasts `hours` (None: nobody knows) will cost together."""
    known = math.fsum(one for one in hours if one is not None)
    unknown = sum(one is None for one in hours)
    footage = _footage(history, known, unknown)
    if footage is None or not history:
        return NightCost(len(hours), footage, None, None, None)

    def of(costs: list[float]) -> Estimate:
        return _proportional([past.footage_hours for past in history], costs, footage)

    return NightCost(
        len(hours),
        footage,
        of([past.cost.machine_sec for past in history]),
        of([past.cost.gpu_sec for past in history]),
        of([past.cost.tokens for past in history]),
    )


def expected_costs(history: Sequence[PastVideo], hours: Sequence[float | None]) -> list[Cost] | None:
    """The expected cost of each video by itself; None: no history yet."""
    total_hours = math.fsum(past.footage_hours for past in history)
    if total_hours <= 0:
        return None
    spent = sum((past.cost for past in history), Cost())
    mean = total_hours / len(history)
    shares = [(mean if one is None else one) / total_hours for one in hours]
    return [Cost(spent.machine_sec * s, spent.gpu_sec * s, spent.tokens * s) for s in shares]


def _footage(history: Sequence[PastVideo], known: float, unknown: int) -> Estimate | None:
    if unknown == 0:
        return Estimate(known, known, known, len(history))
    if not history:
        return None
    n = len(history)
    mean = math.fsum(past.footage_hours for past in history) / n
    value = known + unknown * mean
    if n == 1:
        return Estimate(value, None, None, 1)
    variance = math.fsum((past.footage_hours - mean) ** 2 for past in history) / (n - 1)
    half = _t(n) * math.sqrt(variance * (unknown + unknown**2 / n))
    return Estimate(value, max(known, value - half), value + half, n)


def _proportional(hours: Sequence[float], costs: Sequence[float], footage: Estimate) -> Estimate:
    n, all_hours = len(hours), math.fsum(hours)
    rate = math.fsum(costs) / all_hours if all_hours > 0 else 0.0
    value = rate * footage.value
    if n == 1 or footage.low is None or footage.high is None:
        return Estimate(value, None, None, n)
    residual = math.fsum((c - rate * h) ** 2 / h for h, c in zip(hours, costs, strict=True) if h > 0) / (n - 1)
    own = residual * (footage.value + footage.value**2 / all_hours)
    of_hours = (rate * (footage.high - footage.value) / _t(n)) ** 2
    half = _t(n) * math.sqrt(own + of_hours)
    return Estimate(value, max(0.0, value - half), value + half, n)


def _t(n: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, n - 1))
