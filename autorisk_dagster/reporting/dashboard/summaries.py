"""What the pages say of a video, of a group of videos, and of the fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from autorisk_dagster import tables
from autorisk_dagster.reporting import words

JUDGED: Final = tuple(reversed(tables.SEVERITIES))
LEVEL: Final = 0.95  # of every interval on these pages


@dataclass(frozen=True)
class VideoSummary:
    """One video that was probed.

    Attributes:
        rows: its clips, rows of the dashboard's clip list
        near_misses: of the version that people see; None: not made
        reasoner: model or reasoner that judged; None: nothing was judged
        left_out: assets whose table is of another version
    """

    video_id: str
    file_name: str
    profile: str
    duration_sec: float
    rows: Sequence[dict[str, Any]]
    near_misses: int | None
    reasoner: str | None
    left_out: Sequence[str]


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; `value` is None where there is nothing to count over."""

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Group:
    """Videos side by side with others."""

    name: str
    videos: int
    hours: float
    clips: int
    counts: dict[str, int]
    severe_share: Estimate  # clips of MEDIUM or HIGH, of those judged
    near_misses_an_hour: Estimate
    clips_an_hour: Estimate
    median_ttc_sec: float | None  # of the clips in which something approaches
    ttc_clips: int


def severity_counts(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Clips by corrected severity, worst first, and those not judged."""
    counts = dict.fromkeys((*JUDGED, words.NOT_JUDGED), 0)
    for row in rows:
        counts[row["severity"] or words.NOT_JUDGED] += 1
    return counts


def share_of(count: int, n: int) -> Estimate:
    """A share with Wilson's interval."""
    from scipy.stats import binomtest

    if n == 0:
        return Estimate(None, None, None, 0)
    found = binomtest(count, n).proportion_ci(LEVEL, method="wilson")
    return Estimate(count / n, float(found.low), float(found.high), n)


def rate_of(count: int, hours: float) -> Estimate:
    """Events an hour with the exact Poisson interval (Garwood, Biometrika 28, 1936)."""
    from scipy.stats import chi2

    if hours <= 0:
        return Estimate(None, None, None, count)
    tail = (1 - LEVEL) / 2
    low = chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    high = chi2.ppf(1 - tail, 2 * (count + 1)) / 2
    return Estimate(count / hours, float(low) / hours, float(high) / hours, count)


def groups_of(videos: Sequence[VideoSummary], name_of: Callable[[VideoSummary], str]) -> list[Group]:
    """The videos by `name_of`, most hours first, then by name."""
    found: dict[str, list[VideoSummary]] = {}
    for video in videos:
        found.setdefault(name_of(video), []).append(video)
    groups = [_group(name, members) for name, members in found.items()]
    return sorted(groups, key=lambda group: (-group.hours, group.name))


def _group(name: str, videos: Sequence[VideoSummary]) -> Group:
    rows = [row for video in videos for row in video.rows]
    counts = severity_counts(rows)
    judged = sum(counts[severity] for severity in JUDGED)
    hours = sum(video.duration_sec for video in videos) / 3600
    looked_for = [video for video in videos if video.near_misses is not None]
    times = [row["ttc"] for row in rows if row["ttc"] is not None and row["ttc"] != float("inf")]
    return Group(
        name=name,
        videos=len(videos),
        hours=hours,
        clips=len(rows),
        counts=counts,
        severe_share=share_of(counts["HIGH"] + counts["MEDIUM"], judged),
        near_misses_an_hour=rate_of(
            sum(video.near_misses or 0 for video in looked_for),
            sum(video.duration_sec for video in looked_for) / 3600,
        ),
        clips_an_hour=rate_of(len(rows), hours),
        median_ttc_sec=median(times) if times else None,
        ttc_clips=len(times),
    )
