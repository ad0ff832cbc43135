"""The own car's turning and speed, pair by pair of the frames that optical flow looks at: tables.EGO_MOTION."""

from __future__ import annotations

from array import array

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.kinematics.camera import assumed_camera
from autorisk_dagster.kinematics.ego_motion import background_motion
from autorisk_dagster.mining.motion import FlowField
from autorisk_dagster.profile import CameraSettings

# OpenCV's vector code leaves differences of 1e-14 between two runs on the same frames: rounded away.
_DECIMALS = 6


class OwnMotion:
    """Takes flow fields in order; holds eight numbers each."""

    def __init__(self, settings: CameraSettings) -> None:
        self._settings = settings
        self._rows = array("d")

    def add(self, timestamp_sec: float, field: FlowField, frame_size: tuple[int, int]) -> None:
        """Add the flow that ends at `timestamp_sec`; `frame_size` is the full frame's, px."""
        focal_px = assumed_camera(frame_size, self._settings).focal_px
        found = background_motion(
            field.flow, field.before, field.gap_sec, focal_px / frame_size[0], self._settings.horizon_share
        )
        values = (
            found.pan * focal_px,
            found.tilt * focal_px,
            found.roll,
            found.road_hz / focal_px,
            found.support,
            found.still,
        )
        self._rows.extend((timestamp_sec, field.gap_sec, *(float(f"{value:.{_DECIMALS}g}") for value in values)))

    def finish(self) -> pl.DataFrame:
        """tables.EGO_MOTION of all pairs."""
        columns = np.frombuffer(self._rows).reshape(-1, len(tables.EGO_MOTION)).T
        return pl.DataFrame(dict(zip(tables.EGO_MOTION, columns, strict=True)), schema=tables.EGO_MOTION).fill_nan(None)
