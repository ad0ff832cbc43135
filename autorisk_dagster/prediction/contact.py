"""Predicted contacts: of the own vehicle with a road user, and of two road users, from what is seen until now.

Own vehicle: `tables.CONFLICT_MEASURES` at the condition. On a collision course, the time to contact by expansion with
its 90 % interval; of who is beside the own car, the room between the flanks over the speed into it, where that speed is
significant.
Braking moves the first: contact is when closing speed * t - what braking saves reaches the distance.

Two others: the same relative positions on the road as the near misses (`kinematics.pair_motion`), but by best estimate:
near misses take the errors of both distances off the room between them, so as to miss none, which is early as a
forecast. Touching is an ellipse with half of both widths and of both lengths as half axes: the rectangle around a car
that stands slanting is empty at its corners. Offset and velocity are drawn `DRAWS` times within their errors; a contact
is predicted where at least half of the draws touch within the horizon, its time is their median, its interval the
middle 90 %. The own braking changes nothing in it.

Not covered: contact after a turn, with what was not followed, and with anything but road users.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster.kinematics.camera import Array
from autorisk_dagster.kinematics.conflict_measures import OWN_LENGTH_M
from autorisk_dagster.kinematics.identities import identities
from autorisk_dagster.kinematics.near_miss_v2 import OWN_VEHICLE
from autorisk_dagster.kinematics.own_path import SIGNIFICANT
from autorisk_dagster.kinematics.pair_motion import (
    FOCAL_SHARE,
    FOOT_ERROR_M,
    NOISE_SHARE,
    SIZE_ERROR,
    PairMotion,
    camera_height_m,
    pair_motion,
    road_users,
)
from autorisk_dagster.kinematics.recent_lines import recent_lines
from autorisk_dagster.prediction.forecast import Z_90, Braking

DRAWS: Final = 400
SURE: Final = 2.5  # standard errors by which two others must close in, as for near misses
MIN_CLOSING_MPS: Final = 1.5  # of two others: slower, it is rather two who stand beside each other
STEP_SEC: Final = 0.01


@dataclass(frozen=True)
class Contact:
    """A predicted contact, seconds after the condition.

    Attributes:
        sec: best estimate
        low_sec, high_sec: 90 % interval; high is inf where no contact is within it
        track_ids: the road user, or the two
        between: "own vehicle and car #5"
    """

    sec: float
    low_sec: float
    high_sec: float
    track_ids: tuple[int, ...]
    between: str


def predicted_contacts(
    tracks: pl.DataFrame,
    conflicts: pl.DataFrame,
    frame_size: tuple[int, int],
    at_sec: float,
    horizon_sec: float,
    braking: Braking,
) -> list[Contact]:
    """Contacts within `horizon_sec` after `at_sec`, the earliest first; nothing later than `at_sec` is looked at."""
    now = conflicts.filter((pl.col("timestamp_sec") - at_sec).abs() < 1e-6)
    own = [contact for row in now.iter_rows(named=True) if (contact := _own_contact(row, horizon_sec, braking))]
    pairs = _pair_contacts(tracks.filter(pl.col("timestamp_sec") <= at_sec + 1e-6), frame_size, at_sec, horizon_sec)
    return sorted([*own, *pairs], key=lambda contact: (contact.sec, contact.track_ids))


def _own_contact(row: Mapping[str, Any], horizon_sec: float, braking: Braking) -> Contact | None:
    if row["on_collision_course"]:
        times = [_braked(row[name], row["distance_m"], horizon_sec, braking) for name in _TTC]
    elif _comes_in_beside(row):
        speeds = [row["inward_mps"] + side * Z_90 * row["inward_error_mps"] for side in (0.0, 1.0, -1.0)]
        times = [row["gap_m"] / speed for speed in speeds]
    else:
        return None
    sec, low, high = times
    if not sec <= horizon_sec:
        return None
    return Contact(sec, low, high, (row["track_id"],), f"{OWN_VEHICLE} and {row['label']} #{row['track_id']}")


def _comes_in_beside(row: Mapping[str, Any]) -> bool:
    if None in (row["distance_m"], row["gap_m"], row["inward_mps"], row["inward_error_mps"]):
        return False
    beside = row["distance_m"] <= OWN_LENGTH_M and row["gap_m"] > 0
    # an error of exactly 0 is that of too few samples
    return bool(beside and row["inward_error_mps"] > 0 and row["inward_mps"] > SIGNIFICANT * row["inward_error_mps"])


_TTC: Final = ("ttc_sec", "ttc_low_sec", "ttc_high_sec")


def _braked(ttc_sec: float, distance_m: float | None, horizon_sec: float, braking: Braking) -> float:
    """Time of contact with braking; inf: none within twice the horizon. Without a distance it is the one without."""
    if not braking.has_effect or distance_m is None or not math.isfinite(ttc_sec):
        return ttc_sec
    after = np.arange(0.0, 2 * horizon_sec, STEP_SEC)
    left = distance_m * (1.0 - after / ttc_sec) + braking.saved_m(after)
    touched = np.flatnonzero(left <= 0)
    return float(after[touched[0]]) if len(touched) else math.inf


def _pair_contacts(
    tracks: pl.DataFrame, frame_size: tuple[int, int], at_sec: float, horizon_sec: float
) -> list[Contact]:
    followed = tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still"))
    if followed.is_empty():
        return []
    users = road_users(followed, identities(followed), frame_size)
    motion = pair_motion(users, frame_size, min_closing_mps=0.0, significance=0.0)
    here = np.flatnonzero(np.abs(motion.times_sec - at_sec) < 1e-6)
    return [
        contact for index in here if (contact := _pair_contact(users, motion, int(index), frame_size[0], horizon_sec))
    ]


def _pair_contact(
    users: pl.DataFrame, motion: PairMotion, index: int, frame_width_px: int, horizon_sec: float
) -> Contact | None:
    """The contact of one pair at sample `index`, whose earlier samples stand before it in the arrays."""
    both = [users.row(int(row), named=True) for row in motion.row[index]]
    same = (motion.first == motion.first[index]) & (motion.second == motion.second[index])
    series = np.flatnonzero(same[: index + 1])
    distance = FOCAL_SHARE * frame_width_px * float(np.mean([1.0 / user["px_per_m"] for user in both]))
    lines = recent_lines(
        motion.times_sec[series],
        motion.offset_m[series],
        np.full((len(series), 2), NOISE_SHARE * distance),
        np.zeros(len(series), np.int64),
    )
    offset, velocity, error = lines.value[-1], lines.slope[-1], lines.error[-1]
    if not np.isfinite(velocity).all():
        return None
    closing = -float(offset @ velocity) / max(float(np.linalg.norm(offset)), 1e-9)
    closing_error = float(np.abs(offset) @ error) / max(float(np.linalg.norm(offset)), 1e-9)
    if closing < max(MIN_CLOSING_MPS, SURE * closing_error):
        return None
    height = camera_height_m(users)
    size, foot = SIZE_ERROR, FOOT_ERROR_M / height
    depth_error = distance * size * foot / math.hypot(size, foot)  # of the mean by inverse variance
    draws = np.random.default_rng(0).standard_normal((DRAWS, 2, 2))
    drawn_offset = offset + draws[:, 0] * np.array([0.0, depth_error])
    drawn_velocity = velocity + draws[:, 1] * error
    touched = _touch_sec(drawn_offset, drawn_velocity, _touching_m(both))
    touched = touched[touched <= horizon_sec]
    if 2 * len(touched) < DRAWS:
        return None
    low, sec, high = np.quantile(touched, (0.05, 0.5, 0.95)).tolist()
    track_ids = tuple(int(user["track_id"]) for user in both)
    between = " and ".join(f"{user['shown_label']} #{user['track_id']}" for user in both)
    return Contact(sec, low, high, track_ids, between)


def _touching_m(both: Sequence[Mapping[str, Any]]) -> Array:
    """(2,) half axes, m across and along: half of both widths, half of both lengths as seen."""
    wide = [(user["x2_px"] - user["x1_px"]) / user["px_per_m"] for user in both]
    along = [
        float(np.clip(user["wide_m"] + user["long_m"] - width, user["wide_m"], user["long_m"]))
        for user, width in zip(both, wide, strict=True)
    ]
    return np.array([sum(wide) / 2, sum(along) / 2])


def _touch_sec(offset: Array, velocity: Array, reach: Array) -> Array:
    """First time (n,) at which offset + velocity t comes into the ellipse with half axes `reach`; inf: never.

    |(offset + velocity t) / reach| = 1 is a quadratic equation in t.
    """
    place, speed = offset / reach, velocity / reach
    a, b, c = (speed**2).sum(axis=1), 2 * (place * speed).sum(axis=1), (place**2).sum(axis=1) - 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        first = (-b - np.sqrt(b**2 - 4 * a * c)) / (2 * a)
    found: Array = np.where(c <= 0, 0.0, np.where(first >= 0, first, np.inf))
    return found
