"""Everything that was measured about one clip, gathered for a reasoner: facts with units and times, no judgement.

Times are seconds from the first video frame. Positions, courses and times to contact of a road user come from
tables.CONFLICT_MEASURES, its size from its boxes. NaN is "cannot say", `inf` "not approaching".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster.kinematics.camera import assumed_camera, cut_at_side
from autorisk_dagster.kinematics.own_path import FIT_SEC, MIN_SAMPLES
from autorisk_dagster.kinematics.robust_line import robust_line
from autorisk_dagster.profile import CameraSettings
from autorisk_dagster.reasoning.encounters import Encounter, encounters

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
        closing_mps: speed at which it shrinks
        area_share: box area / frame area
        ttc_sec, low_sec, high_sec: time to contact with its 90 % interval
        contact_gap_m: free room at the time of contact if it moves on as it did, the upper end of what the fits say;
            NaN without a finite TTC
    """

    timestamp_sec: float
    side: str
    gap_m: float
    inward_mps: float
    inward_error_mps: float
    distance_m: float
    closing_mps: float
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
    unmeasured: int  # road users followed for long enough that have no row in the conflict measures
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
    conflict_measures: pl.DataFrame,
    near_miss_events: pl.DataFrame,
    frame_signals: pl.DataFrame,
    frame_size: tuple[int, int],
) -> ClipEvidence:
    """Gather what was measured in [start_sec, end_sec).

    Args:
        clip: a row of tables.MINED_CLIPS (clip_id, start_sec and end_sec are read)
        tracks: tables.TRACKS of the whole video; still and unfollowed boxes may be in it
        conflict_measures: tables.CONFLICT_MEASURES of the whole video
        near_miss_events: tables.NEAR_MISS_EVENTS of the whole video, of which those of version 1.0 are read
        frame_signals: tables.FRAME_SIGNALS of the whole video
        frame_size: (width, height) in px of the frames that the boxes refer to
    """
    start_sec, end_sec = float(clip["start_sec"]), float(clip["end_sec"])
    during = pl.col("timestamp_sec").is_between(start_sec, end_sec, closed="left")
    boxes = tracks.filter(during & ~pl.col("still"))
    followed = boxes.filter(pl.col("track_id").is_not_null() & (pl.len().over("track_id") >= MIN_SAMPLES))
    measured = followed.join(
        conflict_measures.drop("timestamp_sec", "label"), on=["track_id", "frame_index"], how="inner"
    ).sort("track_id", "timestamp_sec")
    entered = _entered_from_side(tracks, frame_size)
    actors = tuple(
        _actor(rows, entered, frame_size[0] * frame_size[1])
        for rows in measured.partition_by("track_id", maintain_order=True)
    )
    events = near_miss_events.filter(during & (pl.col("version") == "1.0")).sort("timestamp_sec", "event_id")
    # A window belongs to the clip when its middle does, so that clips side by side share none.
    windows = frame_signals.filter(
        ((pl.col("start_sec") + pl.col("end_sec")) / 2).is_between(start_sec, end_sec, closed="left")
    )
    counted = windows["detections"].drop_nulls()
    flow = windows.drop_nulls("flow_mean_px")
    return ClipEvidence(
        clip_id=clip["clip_id"],
        start_sec=start_sec,
        end_sec=end_sec,
        actors=actors,
        unmeasured=followed["track_id"].n_unique() - len(actors),
        encounters=encounters(followed),
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


def _actor(rows: pl.DataFrame, entered: set[int], frame_px2: int) -> Actor:
    track_id = int(rows["track_id"][0])
    size_px2 = ((rows["x2_px"] - rows["x1_px"]) * (rows["y2_px"] - rows["y1_px"])).to_numpy()
    samples = tuple(
        _sample(row, float(size) / frame_px2) for row, size in zip(rows.iter_rows(named=True), size_px2, strict=True)
    )
    times_sec = rows["timestamp_sec"].to_numpy()
    return Actor(
        track_id=track_id,
        label=str(rows["label"].mode().sort()[0]),
        road_user=str(rows["road_user"][0]),
        entered_from_side=track_id in entered,
        growth_per_sec=robust_line(times_sec, np.log(np.maximum(size_px2, 1.0)) / 2)[1],
        closest=samples[int(np.argmax(size_px2))],
        samples=samples,
    )


def _sample(row: Mapping[str, Any], area_share: float) -> ActorSample:
    return ActorSample(
        timestamp_sec=row["timestamp_sec"],
        side=_side(_number(row["gap_m"]), _number(row["lateral_m"])),
        gap_m=_number(row["gap_m"]),
        inward_mps=_number(row["inward_mps"]),
        inward_error_mps=_number(row["inward_error_mps"]),
        distance_m=_number(row["distance_m"]),
        closing_mps=_number(row["closing_mps"]),
        area_share=area_share,
        ttc_sec=_number(row["ttc_sec"]),
        low_sec=_number(row["ttc_low_sec"]),
        high_sec=_number(row["ttc_high_sec"]),
        contact_gap_m=_number(row["contact_gap_m"]),
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _side(gap_m: float, lateral_m: float) -> str:
    if math.isnan(gap_m):
        return "too near or too short in view to place"
    if gap_m == 0:
        return "ahead"
    return "right" if lateral_m > 0 else "left"


def _entered_from_side(tracks: pl.DataFrame, frame_size: tuple[int, int]) -> set[int]:
    """Tracks that begin at a side border of the frame, and not where the scene begins."""
    known = tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still"))
    begins = known.with_columns(pl.col("timestamp_sec").min().over("scene_index").alias("scene_sec"))
    firsts = begins.sort("timestamp_sec").unique("track_id", keep="first", maintain_order=True)
    boxes = firsts.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy().astype(np.float64)
    cut = cut_at_side(boxes, assumed_camera(frame_size, CameraSettings()))
    later = (firsts["timestamp_sec"] - firsts["scene_sec"]).to_numpy() > FIT_SEC
    return {int(track) for track in firsts["track_id"].to_numpy()[cut & later]}


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
