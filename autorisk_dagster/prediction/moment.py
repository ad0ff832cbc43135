"""The moment of a clip that a video goes on from, and all that is known of it until then.

Seed 000 goes on from the clip's last frame. That fits "what happens next"; a pair of what could have happened has to
begin before it is decided, so that `danger` is where the clip's worst encounter begins (near misses v2), else its
smallest time to contact, else its mining peak.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.prediction.picture import Condition, read_condition
from autorisk_dagster.privacy.hide import Hider

SNAP_SEC: Final = 0.3  # a sample of the road users this long before the moment stands for it
LAST_FRAME_SEC: Final = 1e-3


@dataclass(frozen=True)
class Seen:
    """The tables of one video that a forecast reads: tables of the same names in capitals."""

    tracks: pl.DataFrame
    conflict_measures: pl.DataFrame
    ego_motion: pl.DataFrame
    near_miss_events: pl.DataFrame
    clip_ttc: pl.DataFrame


@dataclass(frozen=True)
class Moment:
    """What a video goes on from.

    Attributes:
        condition: the frame and its time
        seen: the video's tables
    """

    condition: Condition
    seen: Seen

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) px of the source's frames."""
        return self.condition.frame_bgr.shape[1], self.condition.frame_bgr.shape[0]

    def road_users(self) -> pl.DataFrame:
        """Rows of tables.TRACKS in the frame: followed, not still."""
        return self.seen.tracks.filter(
            ((pl.col("timestamp_sec") - self.condition.at_sec).abs() < LAST_FRAME_SEC)
            & pl.col("track_id").is_not_null()
            & ~pl.col("still")
        )


def moment_of(source: Path, clip: Mapping[str, Any], seen: Seen, begin: str, hider: Hider | None = None) -> Moment:
    """The moment of a clip (a row of tables.MINED_CLIPS); `begin` is "clip_end" or "danger".

    With a `hider` its frame has no face and no plate any more, so that nothing that goes on from it has.
    """
    condition = read_condition(source, condition_sec(clip, seen, begin))
    if hider is not None:
        condition = replace(condition, frame_bgr=hider.picture(condition.frame_bgr, condition.at_sec))
    return Moment(condition, seen)


def condition_sec(clip: Mapping[str, Any], seen: Seen, begin: str) -> float:
    """Time in the source of the frame to go on from, at a sample of the road users where one is near."""
    start, end = clip["start_sec"], clip["end_sec"]
    wanted = end - LAST_FRAME_SEC if begin == "clip_end" else _danger_sec(clip, seen)
    wanted = min(max(wanted, start), end - LAST_FRAME_SEC)
    sampled = seen.tracks.filter(
        (pl.col("timestamp_sec") <= wanted + LAST_FRAME_SEC)
        & (pl.col("timestamp_sec") >= max(start, wanted - SNAP_SEC))
    )["timestamp_sec"].max()
    return wanted if sampled is None else float(str(sampled))


def _danger_sec(clip: Mapping[str, Any], seen: Seen) -> float:
    events = seen.near_miss_events.filter(
        (pl.col("version") == tables.NEAR_MISS_SHOWN)
        & (pl.col("start_sec") < clip["end_sec"])
        & (pl.col("end_sec") >= clip["start_sec"])
    )
    if not events.is_empty():
        return float(events.sort("risk_score", descending=True).row(0, named=True)["start_sec"])
    nearest = seen.clip_ttc.filter(pl.col("clip_id") == clip["clip_id"])["min_ttc_at_sec"].drop_nulls()
    return float(clip["peak_sec"] if nearest.is_empty() else nearest[0])
