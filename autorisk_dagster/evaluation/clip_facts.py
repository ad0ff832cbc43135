"""What was measured about the road users of a clip, as the checklist asks for it.

Times are seconds from the first video frame. Null in a table is "cannot say" and stays None here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

LEAST_SAMPLES = 3  # a track seen fewer times says nothing of where its road user was


@dataclass(frozen=True)
class SeenTrack:
    """One followed road user in a clip.

    Attributes:
        label: of the detector, the commonest
        offsets: middle of its box right of the frame's middle, in shares of the frame's width, in order of time
        in_own_path: whether it ever was; None: never measured
        moves_in: whether it significantly moved towards the own path at some time; None: never measured
    """

    track_id: int
    label: str
    offsets: tuple[float, ...]
    in_own_path: bool | None
    moves_in: bool | None

    @property
    def name(self) -> str:
        """What people are told: "car #3"."""
        return f"{self.label} #{self.track_id}"


@dataclass(frozen=True)
class ClipFacts:
    """What the detector and the measurements say of one clip.

    Attributes:
        labels: of everything detected in it, followed or not
        tracks: the road users followed for long enough
        ttc_sec, ttc_low_sec, ttc_high_sec: shortest time to contact with its interval; inf: nothing approaches; None:
            cannot say
        critical_course: samples at which a road user on a collision course had an upper bound of time to contact under
            the `critical_sec` asked for
    """

    labels: frozenset[str]
    tracks: tuple[SeenTrack, ...]
    ttc_sec: float | None
    ttc_low_sec: float | None
    ttc_high_sec: float | None
    critical_course: int


def clip_facts(
    clip: Mapping[str, Any],
    tracks: pl.DataFrame,
    conflict_measures: pl.DataFrame,
    clip_ttc: Mapping[str, Any] | None,
    frame_width_px: float,
    critical_sec: float,
) -> ClipFacts:
    """Gather the facts of [start_sec, end_sec).

    Args:
        clip: a row of tables.MINED_CLIPS
        tracks, conflict_measures: of the whole video
        clip_ttc: the clip's row of tables.CLIP_TTC; None: it has none
        frame_width_px: of the upright frame
    """
    during = pl.col("timestamp_sec").is_between(clip["start_sec"], clip["end_sec"], closed="left")
    boxes = tracks.filter(during & ~pl.col("still"))
    measured = conflict_measures.filter(during)
    followed = boxes.drop_nulls("track_id").sort("track_id", "timestamp_sec")
    found = [
        _track(part, measured.filter(pl.col("track_id") == key), frame_width_px)
        for (key,), part in followed.group_by("track_id", maintain_order=True)
        if part.height >= LEAST_SAMPLES
    ]
    critical = measured.filter(pl.col("on_collision_course").fill_null(False) & (pl.col("ttc_high_sec") < critical_sec))
    row = clip_ttc or {}
    return ClipFacts(
        labels=frozenset(boxes["label"].drop_nulls().to_list()),
        tracks=tuple(found),
        ttc_sec=_number(row.get("min_ttc_sec")),
        ttc_low_sec=_number(row.get("min_ttc_low_sec")),
        ttc_high_sec=_number(row.get("min_ttc_high_sec")),
        critical_course=critical.height,
    )


def _track(part: pl.DataFrame, measured: pl.DataFrame, width_px: float) -> SeenTrack:
    middle = (part["x1_px"] + part["x2_px"]) / 2
    in_path = measured["in_own_path"].drop_nulls()
    inward = measured.drop_nulls(["inward_mps", "inward_error_mps"])
    moves = (inward["inward_mps"] > 0.5) & (inward["inward_mps"] > 3 * inward["inward_error_mps"])
    return SeenTrack(
        track_id=int(part["track_id"][0]),
        label=str(part["label"].mode().sort()[0]),
        offsets=tuple(((middle - width_px / 2) / width_px).to_list()),
        in_own_path=bool(in_path.any()) if len(in_path) else None,
        moves_in=bool(moves.any()) if inward.height else None,
    )


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
