"""Two other road users that come together in the picture: how fast, and whether their motion breaks off.

One thing passing behind another and two things colliding look alike in a single frame. What tells them apart is the
motion after the boxes have met: what passes goes on, what collides stops relative to the other, and both change their
speed. All speeds are in metres a second as seen, by the scale of the boxes (size of the label / height), and relative,
so that a turning or shaking camera, which moves both alike, cancels out.

Not covered: two road users at one bearing, one behind the other (their closing is along the line of sight), and
contact that the detector sees as one box.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import polars as pl

from autorisk_dagster.kinematics.robust_line import Array, robust_line
from autorisk_dagster.kinematics.sizes import SIZE_M

BEFORE_SEC: Final = 0.8
AFTER_SEC: Final = 0.8
DISTANCE_RATIO: Final = 1.6  # two whose distances differ by more are one behind the other
FOOT_SHARE: Final = 0.5  # so are two whose lower edges differ by more than this share of the smaller height


@dataclass(frozen=True)
class Encounter:
    """Two road users at one distance whose boxes meet.

    Attributes:
        track_ids, labels: the two, smaller id first
        contact_sec: first time at which the boxes touch
        closing_mps: speed at which they came together before
        closing_error_mps: its standard error
        speed_left: what is left of that speed after contact, along the same direction; 1: passes by, 0: stopped,
            under 0: thrown back; NaN: not seen for long enough after
        speed_change_mps: how much each one's own speed changed at contact
    """

    track_ids: tuple[int, int]
    labels: tuple[str, str]
    contact_sec: float
    closing_mps: float
    closing_error_mps: float
    speed_left: float
    speed_change_mps: tuple[float, float]


@dataclass(frozen=True)
class _Seen:
    track_id: int
    label: str
    road_user: str
    times_sec: Array  # (n,)
    boxes_px: Array  # (n, 4)


def encounters(followed: pl.DataFrame) -> tuple[Encounter, ...]:
    """All encounters among the road users of tables.TRACKS (without nulls in `track_id`), by time."""
    parts = followed.sort("track_id", "timestamp_sec").partition_by("track_id", maintain_order=True)
    found = [_seen(part) for part in parts]
    met = [one for first, second in combinations(found, 2) if (one := _encounter(first, second)) is not None]
    return tuple(sorted(met, key=lambda one: (one.contact_sec, one.track_ids)))


def _seen(part: pl.DataFrame) -> _Seen:
    return _Seen(
        track_id=int(part["track_id"][0]),
        label=str(part["label"].mode().sort()[0]),
        road_user=str(part["road_user"][0]),
        times_sec=part["timestamp_sec"].to_numpy().astype(np.float64),
        boxes_px=part.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy().astype(np.float64),
    )


def _encounter(first: _Seen, second: _Seen) -> Encounter | None:
    if first.road_user == second.road_user == "pedestrian":
        return None  # people walk close to people
    shared, in_first, in_second = np.intersect1d(first.times_sec, second.times_sec, return_indices=True)
    if len(shared) < 3:
        return None
    one, two = first.boxes_px[in_first], second.boxes_px[in_second]
    overlap_px = np.minimum(one[:, 2:], two[:, 2:]) - np.maximum(one[:, :2], two[:, :2])
    touching = np.all(overlap_px > 0, axis=1)
    if touching[0] or not touching.any():
        return None  # never met, or met before they were seen
    contact = int(np.argmax(touching))
    at_sec = float(shared[contact])
    boxes = np.stack([one[contact], two[contact]])
    heights_px = boxes[:, 3] - boxes[:, 1]
    metres_per_px = np.array([SIZE_M[first.label][0], SIZE_M[second.label][0]]) / heights_px
    if metres_per_px.max() / metres_per_px.min() > DISTANCE_RATIO:
        return None
    if abs(boxes[0, 3] - boxes[1, 3]) > FOOT_SHARE * heights_px.min():
        return None

    scale = float(metres_per_px.mean())
    before = [_velocity_px(path, at_sec - BEFORE_SEC, at_sec) for path in (first, second)]
    after = [_velocity_px(path, at_sec, at_sec + AFTER_SEC) for path in (first, second)]
    relative_px, relative_after_px = before[1][0] - before[0][0], after[1][0] - after[0][0]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    offset_px = centres[1] - centres[0]
    closing_px = -float(relative_px @ offset_px) / max(float(np.linalg.norm(offset_px)), 1e-9)
    squared = float(relative_px @ relative_px)
    if math.isnan(closing_px):
        return None
    changes = [float(np.linalg.norm(late[0] - early[0])) for early, late in zip(before, after, strict=True)]
    return Encounter(
        track_ids=(first.track_id, second.track_id),
        labels=(first.label, second.label),
        contact_sec=at_sec,
        closing_mps=closing_px * scale,
        closing_error_mps=math.hypot(before[0][1], before[1][1]) * scale,
        speed_left=float(relative_after_px @ relative_px) / squared if squared > 0 else math.nan,
        speed_change_mps=(changes[0] * scale, changes[1] * scale),
    )


def _velocity_px(path: _Seen, from_sec: float, to_sec: float) -> tuple[Array, float]:
    """Velocity (2,) of the box's centre in px/s over [from, to] and its standard error; NaN under three samples."""
    during = (path.times_sec >= from_sec) & (path.times_sec <= to_sec)
    centres = (path.boxes_px[during, :2] + path.boxes_px[during, 2:]) / 2
    if len(centres) < 3:
        return np.full(2, math.nan), math.nan
    _, across, error_across = robust_line(path.times_sec[during], centres[:, 0])
    _, down, error_down = robust_line(path.times_sec[during], centres[:, 1])
    return np.array([across, down]), math.hypot(error_across, error_down)
