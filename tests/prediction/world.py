"""Road users whose true motion is known, projected by a pinhole: focal length 832 px, frame 1280 x 720.

A road user is a box 1.5 m high and 1.8 m wide whose foot is 1.3 m under the camera. Samples ten times a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables

SIZE = (1280, 720)
FOCAL_PX = 832.0
HIGH_M, WIDE_M, CAMERA_M = 1.5, 1.8, 1.3

NO_CONFLICTS = tables.empty(tables.CONFLICT_MEASURES)
NO_EGO_MOTION = tables.empty(tables.EGO_MOTION)


def box_of(x_m: float, z_m: float) -> NDArray[np.float64]:
    """(4,) px of a road user whose middle is x_m to the right and z_m ahead."""
    left, right = (SIZE[0] / 2 + FOCAL_PX * (x_m + side * WIDE_M / 2) / z_m for side in (-1, 1))
    foot = SIZE[1] / 2 + FOCAL_PX * CAMERA_M / z_m
    return np.array([left, foot - FOCAL_PX * HIGH_M / z_m, right, foot])


def tracks_of(boxes: Sequence[NDArray[np.float64]], track_id: int = 3, label: str = "car") -> pl.DataFrame:
    """tables.TRACKS of one road user with these boxes, from 0 s on."""
    rows: list[dict[str, Any]] = [
        {
            "frame_index": number,
            "source_frame": number,
            "timestamp_sec": number / 10,
            "scene_index": 0,
            "track_id": track_id,
            "road_user": "pedestrian" if label == "person" else "vehicle",
            "label": label,
            "confidence": 0.9,
            **dict(zip(("x1_px", "y1_px", "x2_px", "y2_px"), map(float, box), strict=True)),
            "still": False,
        }
        for number, box in enumerate(boxes)
    ]
    return tables.frame(rows, tables.TRACKS)


def driven(x_m: float, z_m: float, x_mps: float, z_mps: float, seconds: float = 1.5, **more: Any) -> pl.DataFrame:
    """tables.TRACKS of a road user at constant velocity relative to the camera."""
    times = np.arange(round(seconds * 10) + 1) / 10
    return tracks_of([box_of(x_m + x_mps * t, z_m + z_mps * t) for t in times], **more)


def conflict_row(track_id: int = 3, at_sec: float = 1.5, **changes: Any) -> dict[str, Any]:
    """One row of tables.CONFLICT_MEASURES: nothing approaches."""
    return {
        **dict.fromkeys(tables.CONFLICT_MEASURES),
        "frame_index": round(10 * at_sec),
        "timestamp_sec": at_sec,
        "track_id": track_id,
        "label": "car",
        "ttc_sec": None,
        "in_own_path": False,
        "on_collision_course": False,
    } | changes


def conflicts(*rows: dict[str, Any]) -> pl.DataFrame:
    """tables.CONFLICT_MEASURES of these rows."""
    return tables.frame(list(rows), tables.CONFLICT_MEASURES)
