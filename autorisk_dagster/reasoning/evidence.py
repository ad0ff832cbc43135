"""Everything that was measured about one clip, gathered for a reasoner: facts with units and times, no judgement.

Times are seconds from the first video frame. Positions and speeds of a road user come from its boxes
(`reasoning.paths`), times to contact from `CLIP_TTC.timeline`. NaN is "cannot say", `inf` "not approaching".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster.errors import InputError
from autorisk_dagster.reasoning.encounters import Encounter, encounters
from autorisk_dagster.reasoning.geometry import Array, cut_at_side, robust_line, side_gap_m
from autorisk_dagster.reasoning.paths import FIT_SEC, Path, paths, turning_rad_per_sec

Ttc = tuple[float, float, float]  # time to contact, low and high end of its interval, s
NO_TTC: Final = (math.nan, math.nan, math.nan)
NEAR_HEIGHT_SHARE: Final = 0.1  # an unfollowed box this high (share of the frame) is too near to be passed over


@dataclass(frozen=True)
class ActorSample:
    """One road user at one time.

    Attributes:
        timestamp_sec: presentation time
        side: "left", "right" or "ahead" (in the own path), or why that cannot be said
        gap_m: free room between the own flank and it; 0: in the own path; NaN: cannot say
        inward_mps: its own speed into that room, the own car's turning taken out; NaN in the own path
        inward_error_mps: standard error of it
        distance_m: distance ahead, within about 30 %
        area_share: box area / frame area
        ttc_sec, low_sec, high_sec: time to contact with its 90 % interval
        contact_gap_m: free room at the time of contact if it moves on as it did, by the larger of what the fit and its
            later half say; NaN without a finite TTC
    """

    timestamp_sec: float
    side: str
    gap_m: float
    inward_mps: float
    inward_error_mps: float
    distance_m: float
    area_share: float
    ttc_sec: float
    low_sec: float
    high_sec: float
    contact_gap_m: float


@dataclass(frozen=True)
class Actor:
    """One followed road user."""

    track_id: int
    label: str
    road_user: str
    entered_from_side: bool  # first seen at a side border of the frame, after the scene had begun
    growth_per_sec: float  # of the logarithm of the box's size, over the whole clip
    closest: ActorSample  # where its box is largest
    samples: tuple[ActorSample, ...]

    @property
    def name(self) -> str:
        """What people are told: "car #3"."""
        return f"{self.label} #{self.track_id}"


@dataclass(frozen=True)
class NearMiss:
    """A near-miss event of version 1.0 inside the clip."""

    timestamp_sec: float
    track_ids: tuple[int, int]
    labels: tuple[str, str]
    distance_px: float
    ttc_sec: float  # inf: diverging
    risk_level: str
    risk_score: float


@dataclass(frozen=True)
class Sound:
    """A signal window with sound in it."""

    start_sec: float
    end_sec: float
    loudness_db: float  # over the local floor
    tonality: float  # 0..1, over the local floor


@dataclass(frozen=True)
class ClipEvidence:
    """What is known about one clip."""

    clip_id: str
    start_sec: float
    end_sec: float
    actors: tuple[Actor, ...]
    ttc_measured: bool  # whether times to contact were asked for at all
    encounters: tuple[Encounter, ...]
    near_misses: tuple[NearMiss, ...]
    sounds: tuple[Sound, ...]  # empty: no sound was measured
    flow_sec: tuple[float, ...]  # middle of each window whose flow was measured
    flow_px: tuple[float, ...]  # mean flow there, px of a frame 240 px high, per 0.1 s
    scene_cut_sec: tuple[float, ...]
    detections: int | None  # boxes seen in the clip; None: no detector looked
    near_unfollowed: int  # near boxes among them that could not be followed


def clip_evidence(
    clip: Mapping[str, Any],
    tracks: pl.DataFrame,
    clip_ttc: Mapping[str, Any] | None,
    near_miss_events: pl.DataFrame,
    frame_signals: pl.DataFrame,
    frame_size: tuple[int, int],
) -> ClipEvidence:
    """Gather what was measured in [start_sec, end_sec).

    Args:
        clip: a row of tables.MINED_CLIPS (clip_id, start_sec and end_sec are read)
        tracks: tables.TRACKS of the whole video; still and unfollowed boxes may be in it
        clip_ttc: the clip's row of tables.CLIP_TTC; None: no time to contact was measured
        near_miss_events: tables.NEAR_MISS_EVENTS of the whole video
        frame_signals: tables.FRAME_SIGNALS of the whole video
        frame_size: (width, height) in px of the frames that the boxes refer to

    Raises:
        InputError: the row of `clip_ttc` belongs to another clip.
    """
    clip_id, start_sec, end_sec = clip["clip_id"], float(clip["start_sec"]), float(clip["end_sec"])
    if clip_ttc is not None and clip_ttc["clip_id"] != clip_id:
        raise InputError(f"clip {clip_id} was given the TTC of clip {clip_ttc['clip_id']}")
    during = pl.col("timestamp_sec").is_between(start_sec, end_sec, closed="left")
    boxes = tracks.filter(during & ~pl.col("still"))
    followed = boxes.filter(pl.col("track_id").is_not_null())
    ttc_of = _ttc_by_sample(clip_ttc)
    found = paths(followed, frame_size)
    turning = turning_rad_per_sec(found)
    entered = _entered_from_side(tracks, frame_size)
    actors = tuple(
        _actor(path, turning[path.track_id], ttc_of, path.track_id in entered, frame_size[0] * frame_size[1])
        for path in found
    )
    events = near_miss_events.filter(during).sort("timestamp_sec", "event_id")
    # A window belongs to the clip when its middle does, so that clips side by side share none.
    windows = frame_signals.filter(
        ((pl.col("start_sec") + pl.col("end_sec")) / 2).is_between(start_sec, end_sec, closed="left")
    )
    counted = windows["detections"].drop_nulls()
    flow = windows.drop_nulls("flow_mean_px")
    return ClipEvidence(
        clip_id=clip_id,
        start_sec=start_sec,
        end_sec=end_sec,
        actors=actors,
        ttc_measured=clip_ttc is not None,
        encounters=encounters(found),
        near_misses=tuple(_near_miss(row) for row in events.iter_rows(named=True)),
        sounds=tuple(
            Sound(row["start_sec"], row["end_sec"], row["loudness_over_floor_db"], row["tonality"] or 0.0)
            for row in windows.drop_nulls("loudness_over_floor_db").iter_rows(named=True)
        ),
        flow_sec=tuple(((flow["start_sec"] + flow["end_sec"]) / 2).to_list()),
        flow_px=tuple(flow["flow_mean_px"].to_list()),
        scene_cut_sec=tuple(windows.filter(pl.col("scene_cuts") > 0)["start_sec"].to_list()),
        detections=max(int(counted.sum()), boxes.height) if len(counted) else (boxes.height or None),
        near_unfollowed=_near_unfollowed(boxes, {actor.track_id for actor in actors}, frame_size),
    )


def _ttc_by_sample(clip_ttc: Mapping[str, Any] | None) -> dict[tuple[int, float], Ttc]:
    """(track, time) -> (TTC, low, high); a null in the table is NaN here."""
    timeline = (clip_ttc or {}).get("timeline") or []
    return {
        (sample["track_id"], round(sample["timestamp_sec"], 4)): (
            _number(sample["ttc_sec"]),
            _number(sample["low_sec"]),
            _number(sample["high_sec"]),
        )
        for sample in timeline
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _actor(path: Path, turning: Array, ttc_of: Mapping[tuple[int, float], Ttc], entered: bool, frame: int) -> Actor:
    size_px2 = (path.boxes_px[:, 2] - path.boxes_px[:, 0]) * (path.boxes_px[:, 3] - path.boxes_px[:, 1])
    samples = tuple(
        _sample(
            path,
            index,
            turning=float(turning[index]),
            area_share=float(size_px2[index]) / frame,
            ttc=ttc_of.get((path.track_id, round(float(path.times_sec[index]), 4)), NO_TTC),
        )
        for index in range(len(path.times_sec))
    )
    closest = int(np.argmax(size_px2))
    return Actor(
        track_id=path.track_id,
        label=path.label,
        road_user=path.road_user,
        entered_from_side=entered,
        growth_per_sec=robust_line(path.times_sec, np.log(np.maximum(size_px2, 1.0)) / 2)[1],
        closest=samples[closest],
        samples=samples,
    )


def _sample(path: Path, index: int, *, turning: float, area_share: float, ttc: Ttc) -> ActorSample:
    left_m, right_m = (float(edge) for edge in path.edges_m[index])
    gap_m = side_gap_m(left_m, right_m)
    turned_mps = turning * float(path.distance_m[index])
    inward_mps, inward_error_mps = math.nan, math.nan
    if gap_m > 0:
        # Towards the path is leftwards (negative) for what stands right of it, and the other way round.
        edge, sign = (0, -1.0) if left_m > 0 else (1, 1.0)
        inward_mps = sign * (float(path.drift_mps[index, edge]) - turned_mps)
        inward_error_mps = float(path.drift_error_mps[index, edge])
    contact_gap_m = math.nan
    if math.isfinite(ttc[0]):
        gaps = []
        for drift_mps in (path.drift_mps[index], path.late_drift_mps[index]):
            moved = (drift_mps - turned_mps / 2) * ttc[0]
            gaps.append(side_gap_m(left_m + float(moved[0]), right_m + float(moved[1])))
        known = [gap for gap in gaps if not math.isnan(gap)]
        contact_gap_m = max(known, default=math.nan)
    return ActorSample(
        timestamp_sec=float(path.times_sec[index]),
        side=_side(left_m, right_m),
        gap_m=gap_m,
        inward_mps=inward_mps,
        inward_error_mps=inward_error_mps,
        distance_m=float(path.distance_m[index]),
        area_share=area_share,
        ttc_sec=ttc[0],
        low_sec=ttc[1],
        high_sec=ttc[2],
        contact_gap_m=contact_gap_m,
    )


def _side(left_m: float, right_m: float) -> str:
    if math.isnan(left_m) or math.isnan(right_m):
        return "too near or too short in view to place"
    if side_gap_m(left_m, right_m) == 0:
        return "ahead"
    return "right" if left_m > 0 else "left"


def _entered_from_side(tracks: pl.DataFrame, frame_size: tuple[int, int]) -> set[int]:
    """Tracks that begin at a side border of the frame, and not where the scene begins."""
    known = tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still"))
    begins = known.with_columns(pl.col("timestamp_sec").min().over("scene_index").alias("scene_sec"))
    firsts = begins.sort("timestamp_sec").unique("track_id", keep="first", maintain_order=True)
    boxes = firsts.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy().astype(np.float64)
    later = (firsts["timestamp_sec"] - firsts["scene_sec"]).to_numpy() > FIT_SEC
    return {int(track) for track in firsts["track_id"].to_numpy()[cut_at_side(boxes, frame_size) & later]}


def _near_miss(row: Mapping[str, Any]) -> NearMiss:
    return NearMiss(
        timestamp_sec=row["timestamp_sec"],
        track_ids=(row["object_id_1"], row["object_id_2"]),
        labels=(row["label_1"], row["label_2"]),
        distance_px=row["distance_px"],
        ttc_sec=math.inf if row["ttc_sec"] is None else row["ttc_sec"],
        risk_level=row["risk_level"],
        risk_score=row["risk_score"],
    )


def _near_unfollowed(boxes: pl.DataFrame, judged: set[int], frame_size: tuple[int, int]) -> int:
    high = (boxes["y2_px"] - boxes["y1_px"]) >= NEAR_HEIGHT_SHARE * frame_size[1]
    followed = boxes["track_id"].is_in(sorted(judged)).fill_null(False)
    return int((high & ~followed).sum())
