"""Where each road user will be in the picture if it goes on as it did, and how sure that is.

Constant velocity relative to the camera in three dimensions, seen through a pinhole. With s the depth in units of the
depth now and x an anchor on the box, which moves in the picture at u px/s now,

    s(t) = 1 + g t,        x(t) = x(0) + u t / s(t),        size(t) = size(0) / s(t)

because X(t) / Z(t) = (X + X' t) / (Z (1 + g t)) and u = f (X' / Z - g X / Z): neither the true size nor the camera is
needed (Lee 1976 for -1 / g as time to contact). g is the slope of a robust line through size(0) / size over the last
second, u that of (x - x(0)) s (`kinematics.recent_lines`: Tukey's biweight, standard errors by Student's t); later
samples are never looked at. Where the time to contact is measured (`kinematics.ttc`, which models the detector's
noise), it gives g. A slope within its error counts as nothing, and one not far from it as less: a parked car must not
creep (positive-part shrinkage, James and Stein 1961).

What the own car has turned since is added to earlier positions (tables.EGO_MOTION), so that the forecast holds the
heading of now. The anchor is the middle of the lower edge; at an edge that the frame cuts, the opposite one, and the
width stands in where the height is cut. Who is cut both ways, or was seen too briefly, is not carried forward.

Braking of the own car by b m/s2 from the reaction time on adds to every depth what the own car drives less:
b t^2 / 2 until it stands, then the whole of what it would have driven (`Braking.saved_m`).

Not covered: turning and changing speed of the others, hills, a bend of the own path.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster.kinematics.camera import EDGE_PX_SHARE, Array
from autorisk_dagster.kinematics.recent_lines import WINDOW_SEC, recent_lines
from autorisk_dagster.kinematics.ttc import BORDER_PX, BORDER_SHARE, MAX_GAP_SEC

Z_90: Final = 1.645
SURE: Final = 1.5  # standard errors within which a slope counts as nothing
NEAREST_SHARE: Final = 0.05  # of the depth now: nearer than this it fills the picture, and no box has a meaning


@dataclass(frozen=True)
class Braking:
    """The own car's braking: full strength after the reaction time, until it stands.

    Attributes:
        deceleration_mps2: 0: none
        reaction_sec: before it begins
        own_speed_mps: at the condition; NaN: unknown, nothing is braked
    """

    deceleration_mps2: float
    reaction_sec: float
    own_speed_mps: float

    @property
    def has_effect(self) -> bool:
        """Whether anything changes by it."""
        return self.deceleration_mps2 > 0 and self.own_speed_mps > 0

    def saved_m(self, after_sec: Array) -> Array:
        """How much less far the own car has driven (n,) m after (n,) s than without braking."""
        if not self.has_effect:
            return np.zeros_like(after_sec)
        braked = np.maximum(after_sec - self.reaction_sec, 0.0)
        stands_after = self.own_speed_mps / self.deceleration_mps2
        slowing = np.minimum(braked, stands_after)
        saved: Array = self.deceleration_mps2 * slowing**2 / 2 + self.own_speed_mps * (braked - slowing)
        return saved


NO_REACTION: Final = Braking(0.0, 0.0, math.nan)


@dataclass(frozen=True)
class Carried:
    """One road user at the condition, and how it moves on. Lengths are px of the full frame.

    Attributes:
        box_px: (4,) left, top, right, bottom now
        anchor_px: (2,) the point of the box that is carried
        anchor_share: (2,) where that is in the box: 0 left or top, 1 right or bottom
        growth_hz, growth_error_hz: g, and its standard error; negative: comes nearer
        across_px_per_sec, across_error_px_per_sec: (2,) u
        distance_m: from the camera; NaN: not measured
        measured: False: its motion cannot be told, it is held where it is
    """

    track_id: int
    label: str
    box_px: Array
    anchor_px: Array
    anchor_share: Array
    growth_hz: float
    growth_error_hz: float
    across_px_per_sec: Array
    across_error_px_per_sec: Array
    distance_m: float
    measured: bool

    @property
    def name(self) -> str:
        """As in the judgements: "car #5"."""
        return f"{self.label} #{self.track_id}"

    def depth_share(self, after_sec: Array, braking: Braking = NO_REACTION) -> Array:
        """Depth over the depth now, (n,), after (n,) s; at least NEAREST_SHARE."""
        saved = braking.saved_m(after_sec) / self.distance_m if math.isfinite(self.distance_m) else 0.0
        share: Array = np.maximum(1.0 + self.growth_hz * after_sec + saved, NEAREST_SHARE)
        return share

    def boxes_px(self, after_sec: Array, braking: Braking = NO_REACTION) -> Array:
        """Where its box is after (n,) s: (n, 4) px of the frame; it may lie outside."""
        scale = 1.0 / self.depth_share(after_sec, braking)[:, None]
        anchor = self.anchor_px + self.across_px_per_sec * after_sec[:, None] * scale
        size = (self.box_px[2:] - self.box_px[:2]) * scale
        corner = anchor - self.anchor_share * size
        return np.concatenate([corner, corner + size], axis=1)

    def spread_px(self, after_sec: Array, braking: Braking = NO_REACTION) -> Array:
        """Standard error of the anchor after (n,) s: (n, 2) px."""
        time, depth = after_sec[:, None], self.depth_share(after_sec, braking)[:, None]
        of_motion = self.across_error_px_per_sec * time / depth
        of_growth = self.across_px_per_sec * self.growth_error_hz * (time / depth) ** 2
        return np.hypot(of_motion, of_growth)


def carried_forward(
    tracks: pl.DataFrame,
    conflicts: pl.DataFrame,
    ego_motion: pl.DataFrame,
    frame_size: tuple[int, int],
    at_sec: float,
) -> list[Carried]:
    """The followed road users in the picture at `at_sec`, the largest last, as a painter wants them.

    Args:
        tracks: tables.TRACKS of the video; samples after `at_sec` are not looked at
        conflicts: tables.CONFLICT_MEASURES of it
        ego_motion: tables.EGO_MOTION of it
        frame_size: (width, height) of the frames that the boxes refer to
        at_sec: timestamp of a processed frame
    """
    followed = tracks.filter(
        pl.col("track_id").is_not_null()
        & ~pl.col("still")
        & (pl.col("timestamp_sec") <= at_sec + 1e-6)
        & (pl.col("timestamp_sec") > at_sec - WINDOW_SEC - 1e-6)
    ).sort("track_id", "timestamp_sec")
    measured = {
        row["track_id"]: row
        for row in conflicts.filter((pl.col("timestamp_sec") - at_sec).abs() < 1e-6).iter_rows(named=True)
    }
    turned = _Turned(ego_motion, at_sec)
    found = [
        _carried(rows, measured.get(rows["track_id"][0], {}), turned, frame_size)
        for rows in followed.partition_by("track_id", maintain_order=True)
        if abs(rows["timestamp_sec"][-1] - at_sec) < 1e-6
    ]
    return sorted(found, key=lambda user: (float(np.prod(user.box_px[2:] - user.box_px[:2])), user.track_id))


def _carried(rows: pl.DataFrame, measured: Mapping[str, Any], turned: _Turned, frame_size: tuple[int, int]) -> Carried:
    times = rows["timestamp_sec"].to_numpy()
    boxes = rows.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy()
    border = np.array([max(BORDER_PX, BORDER_SHARE * edge) for edge in frame_size])
    cut_low, cut_high = boxes[:, :2] <= border, boxes[:, 2:] >= np.asarray(frame_size) - border  # (n, 2) x and y
    cut = cut_low | cut_high
    label = min(rows["label"].mode())
    # the lower edge's middle; where the frame cuts, the edge that is in view
    share = np.where(cut_low[-1], 1.0, np.where(cut_high[-1], 0.0, [0.5, 1.0]))
    anchors = boxes[:, :2] + share * (boxes[:, 2:] - boxes[:, :2])
    distance = measured.get("distance_m")
    held = Carried(
        track_id=int(rows["track_id"][0]),
        label=label,
        box_px=boxes[-1],
        anchor_px=anchors[-1],
        anchor_share=share,
        growth_hz=0.0,
        growth_error_hz=0.0,
        across_px_per_sec=np.zeros(2),
        across_error_px_per_sec=np.zeros(2),
        distance_m=math.nan if distance is None else distance,
        measured=False,
    )
    axis = 1 if not cut[-1, 1] else 0  # the height, else the width
    if cut[-1].all() or (cut_low[-1] & cut_high[-1]).any():
        return held
    # Only samples that show what the last one shows: the same edges, the same dimension.
    alike = (cut_low == cut_low[-1]).all(axis=1) & (cut_high == cut_high[-1]).all(axis=1)
    times, boxes, anchors = times[alike], boxes[alike], anchors[alike]
    size = boxes[:, 2 + axis] - boxes[:, axis]
    edge_px = EDGE_PX_SHARE * frame_size[0]
    segment = np.concatenate([[0], np.cumsum(np.diff(times) > MAX_GAP_SEC)]).astype(np.int64)
    depth = (size[-1] / size)[:, None]
    lines = recent_lines(times, depth, np.sqrt(2.0) * edge_px / size[:, None], segment)
    if not np.isfinite(lines.slope[-1, 0]):
        return held
    growth, growth_error = _growth(
        measured, *(float(of[-1, 0] / lines.value[-1, 0]) for of in (lines.slope, lines.error))
    )
    moved = (anchors - anchors[-1] + turned.since(times)) * (1.0 + growth * (times - times[-1]))[:, None]
    lines = recent_lines(times, moved, np.full_like(moved, edge_px), segment)
    return replace(
        held,
        growth_hz=growth,
        growth_error_hz=growth_error,
        across_px_per_sec=_shrunk(lines.slope[-1], lines.error[-1]),
        across_error_px_per_sec=lines.error[-1],
        measured=True,
    )


def _growth(measured: Mapping[str, Any], fitted_hz: float, error_hz: float) -> tuple[float, float]:
    """Growth of the depth share and its standard error: by the time to contact where that is told."""
    ttc, low = measured.get("ttc_sec"), measured.get("ttc_low_sec")
    if ttc is not None and math.isfinite(ttc) and low:
        fitted_hz, error_hz = -1.0 / ttc, (1.0 / low - 1.0 / ttc) / Z_90
    elif ttc is not None:
        fitted_hz = max(fitted_hz, 0.0)
    return float(_shrunk(np.array([fitted_hz]), np.array([error_hz]))[0]), error_hz


def _shrunk(slope: Array, error: Array) -> Array:
    """(n,) slopes taken towards 0 by what their errors could have made of 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        kept = np.nan_to_num(1.0 - (SURE * error / slope) ** 2, nan=0.0, neginf=0.0)
    shrunk: Array = slope * np.maximum(kept, 0.0)
    return shrunk


class _Turned:
    """How far points have moved in the picture by the own car's turning from a time until now."""

    def __init__(self, ego_motion: pl.DataFrame, at_sec: float) -> None:
        rows = ego_motion.filter(pl.col("timestamp_sec") <= at_sec + 1e-6).sort("timestamp_sec")
        self._times = rows["timestamp_sec"].to_numpy()
        gap = rows["gap_sec"].to_numpy()
        moved = [rows[name].fill_null(0.0).to_numpy() * gap for name in ("pan_px_per_sec", "tilt_px_per_sec")]
        self._total = np.cumsum(np.stack(moved, axis=1), axis=0)

    def since(self, times_sec: Array) -> Array:
        """(n, 2) px, right and down, that a far point has moved since each of (n,) times."""
        if not len(self._times):
            return np.zeros((len(times_sec), 2))
        then = np.stack([np.interp(times_sec, self._times, self._total[:, i]) for i in range(2)], axis=1)
        left: Array = self._total[-1] - then
        return left
