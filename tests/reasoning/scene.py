"""A camera on a road, from first principles: solid boxes in metres are projected point by point into image boxes.

Nothing here knows the reasoner's geometry: the camera is 1.3 m up, looks along the road, and every road user is a solid
box. x is right, z ahead, m.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.kinematics.conflict_measures import conflict_measures
from autorisk_dagster.profile import CameraSettings
from autorisk_dagster.reasoning.evidence import ClipEvidence, clip_evidence

FRAME_SIZE = (1280, 720)
FOCAL_PX = 0.65 * 1280
CAMERA_M = 1.3
RATE_HZ = 10.0
CAR_M = (1.6, 1.8, 4.4)  # height, width, length


@dataclass(frozen=True)
class RoadUser:
    """A solid box. `at(t)` gives x and z of the middle of its near end; it stands along the road unless turned.

    `turned_rad` turns it about that point, left positive: pi / 2 is a road user that stands across, to the left.
    """

    track_id: int
    at: Callable[[float], tuple[float, float]]
    label: str = "car"
    size_m: tuple[float, float, float] = CAR_M
    turned_rad: float = 0.0

    def box_px(self, time_sec: float, yaw_rad: float = 0.0) -> tuple[float, float, float, float] | None:
        """Left, top, right, bottom of what is in the frame; None without. `yaw_rad`: the camera's, left positive."""
        x, z = self.at(time_sec)
        height, width, length = self.size_m
        side, depth, up = np.meshgrid([-width / 2, width / 2], np.linspace(0, length, 60), [0.0, height])
        world_x = x + side * math.cos(self.turned_rad) - depth * math.sin(self.turned_rad)
        world_z = z + side * math.sin(self.turned_rad) + depth * math.cos(self.turned_rad)
        right = world_x * math.cos(yaw_rad) + world_z * math.sin(yaw_rad)
        ahead = world_z * math.cos(yaw_rad) - world_x * math.sin(yaw_rad)
        in_front = ahead > 0.3
        u = 640 + FOCAL_PX * right[in_front] / ahead[in_front]
        v = 360 + FOCAL_PX * (CAMERA_M - up[in_front]) / ahead[in_front]
        seen = (u >= 0) & (u <= 1280)
        if not seen.any():
            return None
        reaches_left, reaches_right = (u < 0).any(), (u > 1280).any()
        left = 0.0 if reaches_left else float(u[seen].min())
        right_px = 1280.0 if reaches_right else float(u[seen].max())
        top, bottom = max(float(v[seen].min()), 0.0), min(float(v[seen].max()), 720.0)
        return (left, top, right_px, bottom) if right_px - left > 4 and bottom - top > 4 else None


def tracks_of(
    users: list[RoadUser], duration_sec: float, yaw: Callable[[float], float] = lambda _: 0.0
) -> pl.DataFrame:
    """tables.TRACKS of everybody, `RATE_HZ` samples a second."""
    rows = []
    for frame in range(round(duration_sec * RATE_HZ)):
        time_sec = frame / RATE_HZ
        for user in users:
            box = user.box_px(time_sec, yaw(time_sec))
            if box is not None:
                rows.append(track_row(frame, user.track_id, user.label, box))
    return tables.frame(rows, tables.TRACKS)


def track_row(frame: int, track_id: int | None, label: str, box: tuple[float, float, float, float]) -> dict[str, Any]:
    return {
        "frame_index": frame,
        "source_frame": frame,
        "timestamp_sec": frame / RATE_HZ,
        "scene_index": 0,
        "track_id": track_id,
        "road_user": "pedestrian" if label == "person" else "vehicle",
        "label": label,
        "confidence": 0.8,
        "x1_px": box[0],
        "y1_px": box[1],
        "x2_px": box[2],
        "y2_px": box[3],
        "still": False,
    }


def windows(
    duration_sec: float,
    *,
    flow_px: float | None = 1.0,
    detections: int | None = 5,
    sounds: dict[float, tuple[float, float]] | None = None,
) -> pl.DataFrame:
    """tables.FRAME_SIGNALS; `sounds`: start of a window -> (dB over the floor, tonality); without, no sound."""
    rows = []
    for index in range(math.ceil(duration_sec * 2)):
        loud, tonal = (None, None) if sounds is None else sounds.get(index / 2, (0.0, 0.0))
        rows.append(
            dict.fromkeys(tables.FRAME_SIGNALS)
            | {
                "window_index": index,
                "start_sec": index / 2,
                "end_sec": (index + 1) / 2,
                "flow_mean_px": flow_px,
                "detections": detections,
                "scene_cuts": 0,
                "loudness_over_floor_db": loud,
                "tonality": tonal,
            }
        )
    return tables.frame(rows, tables.FRAME_SIGNALS)


def evidence_of(
    tracks: pl.DataFrame,
    start_sec: float,
    end_sec: float,
    *,
    events: pl.DataFrame | None = None,
    signals: pl.DataFrame | None = None,
) -> ClipEvidence:
    """The evidence of one clip, with courses as `conflict_measures` measures them."""
    clip = {"clip_id": "c1", "start_sec": start_sec, "end_sec": end_sec}
    return clip_evidence(
        clip,
        tracks,
        conflict_measures(tracks, tables.empty(tables.EGO_MOTION), FRAME_SIZE, CameraSettings()),
        tables.empty(tables.NEAR_MISS_EVENTS) if events is None else events,
        windows(end_sec) if signals is None else signals,
        FRAME_SIZE,
    )
