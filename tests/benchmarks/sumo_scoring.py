"""Scores alarms against true conflicts: average precision, precision and recall, lead time, false alarms an hour.

An alarm finds a conflict when it names the same two road users and, from when it is raised to the moment that it names,
comes within MATCH_SEC of the conflict's interval. The best alarm of a conflict is a hit. Further ones of the same
conflict are neither hits nor false, nor are those of a close cut-in, which SUMO does not count. All others are false.
Alarms of one pair less than MERGE_SEC apart are one alarm. Every figure is per drive first, so that the bootstrap
(Efron 1979) resamples whole drives: alarms within one are not independent.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.sumo_truth import Conflict, Grade

MATCH_SEC: Final = 1.0
MERGE_SEC: Final = 3.0
BOOTSTRAPS: Final = 400
LEVELS: Final = ("Low", "Medium", "High")

Array = NDArray[np.float64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Alarm:
    """What a method reports: two road users (positions in the world, smaller first), when, and how bad."""

    pair: Pair
    raised_sec: float  # when it could first be raised
    time_sec: float  # of what it names as the moment; not before
    score: float
    level: int  # position in LEVELS


@dataclass(frozen=True)
class Episode:
    """Alarms of one pair close together in time."""

    pair: Pair
    alarms: tuple[Alarm, ...]  # by time

    @property
    def first_sec(self) -> float:
        return min(alarm.raised_sec for alarm in self.alarms)

    @property
    def last_sec(self) -> float:
        return max(alarm.time_sec for alarm in self.alarms)

    @property
    def score(self) -> float:
        return max(alarm.score for alarm in self.alarms)

    @property
    def level(self) -> int:
        return max(alarm.level for alarm in self.alarms)


@dataclass(frozen=True)
class DriveScore:
    """One method on one drive.

    Attributes:
        hours: length of the drive
        score, level: (n,) of the alarms that count; duplicates are left out already
        hit: (n,) whether it found a conflict
        mild: (n,) whether it is false, but of a pair in a mild encounter
        conflicts: how many there were to find
        cut_ins, cut_ins_named: close cut-ins beside them, and how many of those an alarm named
        found: a conflict's alarms, (time before its peak in s, level) each; one entry a conflict that was found
    """

    hours: float
    score: Array
    level: NDArray[np.int64]
    hit: NDArray[np.bool_]
    mild: NDArray[np.bool_]
    conflicts: int
    cut_ins: int
    cut_ins_named: int
    found: tuple[tuple[tuple[float, int], ...], ...]


@dataclass(frozen=True)
class Value:
    """A figure with its 95 % bootstrap interval and the number it was taken from; NaN: nothing to take it from."""

    value: float
    low: float
    high: float
    count: int


def episodes(alarms: Iterable[Alarm]) -> list[Episode]:
    """Alarms put together by pair and time."""
    of_pair: dict[Pair, list[Alarm]] = defaultdict(list)
    for alarm in sorted(alarms, key=lambda one: (one.pair, one.raised_sec)):
        of_pair[alarm.pair].append(alarm)
    found: list[Episode] = []
    for pair, ordered in of_pair.items():
        run = [ordered[0]]
        for alarm in ordered[1:]:
            if alarm.raised_sec - max(one.time_sec for one in run) < MERGE_SEC:
                run.append(alarm)
            else:
                found.append(Episode(pair, tuple(run)))
                run = [alarm]
        found.append(Episode(pair, tuple(run)))
    return found


def score_drive(alarms: Iterable[Alarm], conflicts: Sequence[Conflict], hours: float) -> DriveScore:
    """Match one drive's alarms to its conflicts; mild ones among these excuse nothing, but are told apart."""
    serious, mild, cut_ins = ([one for one in conflicts if one.grade == grade] for grade in get_args(Grade))
    hits: dict[int, list[Episode]] = defaultdict(list)
    false: list[tuple[Episode, bool]] = []
    named: set[int] = set()
    for episode in episodes(alarms):
        of = [n for n, one in enumerate(serious) if _near(episode, one)]
        if of:
            middle = (episode.first_sec + episode.last_sec) / 2
            hits[min(of, key=lambda n: abs(serious[n].peak_sec - middle))].append(episode)
        elif any(_near(episode, one) for one in cut_ins):
            named |= {n for n, one in enumerate(cut_ins) if _near(episode, one)}
        else:
            false.append((episode, any(_near(episode, one) for one in mild)))
    best = [max(found, key=lambda episode: episode.score) for found in hits.values()]
    counted = [(episode, True, False) for episode in best] + [(episode, False, near) for episode, near in false]
    return DriveScore(
        hours=hours,
        score=np.array([episode.score for episode, _, _ in counted], dtype=np.float64),
        level=np.array([episode.level for episode, _, _ in counted], dtype=np.int64),
        hit=np.array([hit for _, hit, _ in counted], dtype=bool),
        mild=np.array([near for _, _, near in counted], dtype=bool),
        conflicts=len(serious),
        cut_ins=len(cut_ins),
        cut_ins_named=len(named),
        found=tuple(
            tuple((serious[n].peak_sec - alarm.raised_sec, alarm.level) for one in found for alarm in one.alarms)
            for n, found in hits.items()
        ),
    )


def _near(episode: Episode, conflict: Conflict) -> bool:
    in_time = episode.first_sec <= conflict.end_sec + MATCH_SEC and episode.last_sec >= conflict.start_sec - MATCH_SEC
    return episode.pair == conflict.pair and in_time


def curve(drives: Sequence[DriveScore]) -> list[tuple[float, float]]:
    """(recall, precision) at every score that occurs, strictest first; equal scores are one point."""
    conflicts = sum(one.conflicts for one in drives)
    score = np.concatenate([one.score for one in drives]) if drives else np.zeros(0)
    if not conflicts or not len(score):
        return []
    hit = np.concatenate([one.hit for one in drives])
    order = np.argsort(-score, kind="stable")
    hits, counted = np.cumsum(hit[order]), np.arange(1, len(order) + 1)
    last = np.append(np.diff(score[order]) != 0, True)
    return [(float(h / conflicts), float(h / n)) for h, n in zip(hits[last], counted[last], strict=True)]


def average_precision(drives: Sequence[DriveScore]) -> float:
    """Sum of precision times gain in recall over all thresholds, without interpolation; conflicts never reported count
    as missed. NaN where there is no conflict, 0 where there is no alarm."""
    if not sum(one.conflicts for one in drives):
        return math.nan
    total = before = 0.0
    for recall, precision in curve(drives):
        total += precision * (recall - before)
        before = recall
    return total


def recall(drives: Sequence[DriveScore], level: int) -> float:
    """Conflicts with an alarm of at least `level` / conflicts."""
    found = sum(any(at >= level for _, at in one) for drive in drives for one in drive.found)
    conflicts = sum(drive.conflicts for drive in drives)
    return found / conflicts if conflicts else math.nan


def precision(drives: Sequence[DriveScore], level: int) -> float:
    """Alarms of at least `level` that are hits / all of them."""
    counted = sum(int((drive.level >= level).sum()) for drive in drives)
    hits = sum(int(drive.hit[drive.level >= level].sum()) for drive in drives)
    return hits / counted if counted else math.nan


def false_alarms_per_hour(drives: Sequence[DriveScore], level: int, *, not_even_mild: bool = False) -> float:
    """False alarms of at least `level` an hour of driving; `not_even_mild` leaves out those of mild encounters."""
    false = sum(int(((drive.level >= level) & ~drive.hit & ~(drive.mild & not_even_mild)).sum()) for drive in drives)
    hours = sum(drive.hours for drive in drives)
    return false / hours if hours else math.nan


def lead_sec(drives: Sequence[DriveScore], level: int) -> float:
    """Mean time from a found conflict's first alarm of at least `level` to its most dangerous moment."""
    leads = [
        max(at for at, of in one if of >= level) for drive in drives for one in drive.found if _reaches(one, level)
    ]
    return float(np.mean(leads)) if leads else math.nan


def _reaches(found: tuple[tuple[float, int], ...], level: int) -> bool:
    return any(at >= level for _, at in found)


def with_interval(
    drives: Sequence[DriveScore], figure: Callable[[Sequence[DriveScore]], float], count: int, seed: int = 0
) -> Value:
    """The figure over all drives, and between which values 95 % of BOOTSTRAPS resamplings of the drives put it."""
    draw = np.random.default_rng(seed)
    picks = draw.integers(0, len(drives), (BOOTSTRAPS, len(drives)))
    values = np.array([figure([drives[n] for n in pick]) for pick in picks])
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (math.nan, math.nan)
    return Value(figure(drives), float(low), float(high), count)
