"""Road users in a known world, seen by a pinhole camera: boxes whose truth is known in metres.

The camera looks along +z from `height_m` over the road, 1280x720 px with 832 px focal length (75 degrees across), with
the horizon where it is asked for. A road user is a cuboid on the road with a heading; its box is that of its eight
projected corners. What is behind or out of the frame leaves no row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.kinematics.sizes import SIZE_M

FRAME = (1280, 720)
FOCAL_PX = 0.65 * 1280

Pose = tuple[float, float, float]  # x to the right, z ahead, m; heading, degrees: 0 along +z, 90 along +x


@dataclass(frozen=True)
class User:
    """One road user: `pose(t)` in the world, None where it is not in it."""

    track_id: int
    pose: Callable[[float], Pose | None]
    label: str = "car"


def straight(
    x: float, z: float, vx: float = 0.0, vz: float = 0.0, until_sec: float = math.inf
) -> Callable[[float], Pose]:
    """At (x, z) at time 0, at constant velocity until it stops at `until_sec`; heads where it drives, else along z."""
    heading = math.degrees(math.atan2(vx, vz)) if vx or vz else 0.0
    return lambda t: (x + vx * min(t, until_sec), z + vz * min(t, until_sec), heading)


FIXED = straight(0.0, 0.0)


def film(
    users: Sequence[User],
    seconds: float = 4.0,
    rate_hz: float = 10.0,
    *,
    camera: Callable[[float], Pose] = FIXED,
    height_m: float = 1.4,
    horizon_px: float = 330.0,
    noise_px: float = 0.0,
    seed: int = 1,
) -> pl.DataFrame:
    """`tables.TRACKS` of what the camera sees."""
    noise = np.random.default_rng(seed)
    rows = []
    for frame in range(round(seconds * rate_hz) + 1):
        at_sec = frame / rate_hz
        eye_x, eye_z, eye_deg = camera(at_sec)
        for user in users:
            pose = user.pose(at_sec)
            if pose is None:
                continue
            box = _box(user.label, pose, (eye_x, eye_z, eye_deg), height_m, horizon_px)
            if box is None:
                continue
            box = box + noise.normal(0, noise_px, 4)
            box = np.clip(box, 0, [FRAME[0], FRAME[1]] * 2)
            if box[2] - box[0] < 4 or box[3] - box[1] < 4:
                continue
            rows.append(
                {
                    "frame_index": frame,
                    "source_frame": frame * 3,
                    "timestamp_sec": at_sec,
                    "scene_index": 0,
                    "track_id": user.track_id,
                    "road_user": "pedestrian" if user.label == "person" else "vehicle",
                    "label": user.label,
                    "confidence": 0.8,
                    **dict(zip(("x1_px", "y1_px", "x2_px", "y2_px"), box.tolist(), strict=True)),
                    "still": False,
                }
            )
    return tables.frame(rows, tables.TRACKS)


def _box(label: str, pose: Pose, eye: Pose, height_m: float, horizon_px: float) -> np.ndarray | None:
    high, wide, long = SIZE_M[label]
    x, z, heading = pose
    ahead = np.array([math.sin(math.radians(heading)), math.cos(math.radians(heading))])
    right = np.array([ahead[1], -ahead[0]])
    ground = [np.array([x, z]) + a * long / 2 * ahead + b * wide / 2 * right for a in (-1, 1) for b in (-1, 1)]
    turn = math.radians(eye[2])
    corners = []
    for point in ground:
        dx, dz = point - np.array(eye[:2])
        side, depth = dx * math.cos(turn) - dz * math.sin(turn), dx * math.sin(turn) + dz * math.cos(turn)
        if depth < 2.0:
            return None
        for up in (0.0, high):
            corners.append((FRAME[0] / 2 + FOCAL_PX * side / depth, horizon_px + FOCAL_PX * (height_m - up) / depth))
    points = np.array(corners)
    box = np.concatenate([points.min(axis=0), points.max(axis=0)])
    return box if box[2] > 0 and box[0] < FRAME[0] and box[3] > 0 and box[1] < FRAME[1] else None
