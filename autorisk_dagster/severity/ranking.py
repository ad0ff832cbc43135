"""The order in which a person should look at the clips of a video.

Worst first, by these keys in turn:

1. severity, as corrected; a clip that was never judged (null) comes last, but is listed: not judged is not safe
2. level of the worst near miss in the clip (High, Medium, Low, none), of version v2 (`tables.NEAR_MISS_SHOWN`): the
   level and not the score, so that a difference of a hundredth between two scores does not outvote a car half a second
   away
3. shortest time to contact; then `inf` (nothing approaches), then null (cannot say)
4. fused mining score, larger first
5. clip id, so that the order never depends on the order of the input
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError

LEVELS = ("Low", "Medium", "High")


def rank(
    corrected: pl.DataFrame, mined_clips: pl.DataFrame, clip_ttc: pl.DataFrame, near_miss_events: pl.DataFrame
) -> pl.DataFrame:
    """Rank every clip of `corrected` (tables.CORRECTED_SEVERITIES).

    Near-miss events (tables.NEAR_MISS_EVENTS; those of version 1.0 are not counted) belong to a clip when their worst
    moment is in [start_sec, end_sec); an event in two overlapping clips counts in both. `worst_risk_score` is null for
    a clip without events.

    Returns:
        tables.SEVERITY_RANKING, rank 1 first.

    Raises:
        InputError: a clip of `corrected` that `mined_clips` does not know: it has no place in the video.
    """
    clips = {row["clip_id"]: row for row in mined_clips.iter_rows(named=True)}
    shortest = dict(clip_ttc.select("clip_id", "min_ttc_sec").iter_rows())
    events = near_miss_events.filter(pl.col("version") == tables.NEAR_MISS_SHOWN)
    unknown = sorted(set(corrected["clip_id"]) - set(clips))
    if unknown:
        raise InputError(
            f"no mined clip for {', '.join(unknown)}: corrected severities and clips are of different runs"
        )

    ranked: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    for clip_id, severity in corrected.select("clip_id", "severity").iter_rows():
        clip = clips[clip_id]
        inside = events.filter(pl.col("timestamp_sec").is_between(clip["start_sec"], clip["end_sec"], closed="left"))
        row = {
            "clip_id": clip_id,
            "severity": severity,
            "start_sec": clip["start_sec"],
            "end_sec": clip["end_sec"],
            "min_ttc_sec": shortest.get(clip_id),
            "near_miss_events": inside.height,
            "worst_risk_score": inside["risk_score"].max(),
            "fused_score": clip["fused_score"],
        }
        level = max((LEVELS.index(name) for name in inside["risk_level"].drop_nulls()), default=-1)
        ranked.append((order_key(row, level), row))
    ranked.sort(key=lambda pair: pair[0])
    return tables.frame(
        [{"rank": position, **row} for position, (_, row) in enumerate(ranked, start=1)], tables.SEVERITY_RANKING
    )


def worst_severity(table: pl.DataFrame) -> str | None:
    """The worst value of a `severity` column; None when no clip was judged."""
    judged = table["severity"].drop_nulls()
    return max(judged, key=tables.SEVERITIES.index) if len(judged) else None


def order_key(row: Mapping[str, Any], level: int) -> tuple[int, int, int, float, float, str]:
    """Sorts the worst first, over one video or a fleet.

    Args:
        row: `severity`, `min_ttc_sec`, `fused_score`, `clip_id`
        level: of the worst near miss in the clip, an index of LEVELS; -1: none
    """
    severity, ttc, fused = row["severity"], row["min_ttc_sec"], row["fused_score"]
    cannot_say = ttc is None or math.isnan(ttc)
    return (
        len(tables.SEVERITIES) if severity is None else -tables.SEVERITIES.index(severity),
        -level,
        int(cannot_say),
        math.inf if cannot_say else ttc,
        math.inf if fused is None or math.isnan(fused) else -fused,
        row["clip_id"],
    )
