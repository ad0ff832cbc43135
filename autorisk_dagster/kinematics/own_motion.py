"""How the own car moved at given times, from the table of its motion: turning, speed, heading, whether it stands.

The table is what the background's flow tells pair by pair (`kinematics.ego_motion`): w = pan / f, V = (road flow) * f
* c. A single pair may be wrong, so that what counts is the median of the last `OWN_SEC`. Its standard error is that of
a median, sqrt(pi / 2) s / sqrt(n) (Kendall and Stuart, vol. 1, 10.10), with s from the median absolute deviation; it
grows where the car begins to turn, too. Of under `MIN_SPREAD` pairs nothing is said of it, and it counts as 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster.kinematics.camera import Camera
from autorisk_dagster.kinematics.robust_line import MAD_TO_SIGMA

OWN_SEC: Final = 0.5  # of background flow, median
TOLD_SHARE: Final = 0.6  # of those pairs
MIN_SPREAD: Final = 3
TIGHTEST_M: Final = 6.0  # radius of the tightest turn of a car, kerb to kerb 10-12 m
# Test videos: a fixed camera at a crash 0.33-0.70 (10th to 90th percentile of the pairs), slow motorway traffic
# 0.01-0.17, driving 0-0.11. Who crosses close by hides the background for a moment.
STILL_SHARE, STAYS_PAIRS = 0.3, 0.8
STANDING_MPS: Final = 0.5  # slower, the own path has no curvature that could be measured

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OwnMotion:
    """How the own car moves at n times: (n,) each; NaN: cannot say.

    Attributes:
        turning_rad_per_sec: left positive
        speed_mps: along its axis
        turning_error_rad_per_sec, speed_error_mps: standard errors
    """

    turning_rad_per_sec: Array
    speed_mps: Array
    turning_error_rad_per_sec: Array
    speed_error_mps: Array

    def curvature_per_m(self) -> Array:
        """Of the own path, left positive; 0 where standing or unknown."""
        with np.errstate(invalid="ignore", divide="ignore"):
            curvature = np.where(self._bends(), self.turning_rad_per_sec / self.speed_mps, 0.0)
        bounded: Array = np.clip(np.nan_to_num(curvature), -1 / TIGHTEST_M, 1 / TIGHTEST_M)
        return bounded

    def curvature_error_per_m(self) -> Array:
        """Standard error of it; 0 where it is taken as 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            by_turning = np.nan_to_num(self.turning_error_rad_per_sec) / self.speed_mps
            by_speed = self.turning_rad_per_sec * np.nan_to_num(self.speed_error_mps) / self.speed_mps**2
            error: Array = np.where(self._bends(), np.hypot(by_turning, by_speed), 0.0)
        return error

    def _bends(self) -> NDArray[np.bool_]:
        moves: NDArray[np.bool_] = (self.speed_mps > STANDING_MPS) & np.isfinite(self.turning_rad_per_sec)
        return moves


def own_motion(ego_motion: pl.DataFrame, camera: Camera, times_sec: Array) -> OwnMotion:
    """What the background's flow says of the own motion at each time, median over the last `OWN_SEC`.

    Args:
        ego_motion: tables.EGO_MOTION
        camera: gives turning and speed their scale; the shape of the own path does not depend on it
        times_sec: (n,)
    """
    turning, turning_error = recent_median(ego_motion, "pan_px_per_sec", times_sec)
    road_flow, road_flow_error = recent_median(ego_motion, "road_flow_per_px_sec", times_sec)
    scale_mps = camera.focal_px * camera.height_m
    return OwnMotion(
        turning_rad_per_sec=turning / camera.focal_px,
        speed_mps=np.maximum(road_flow, 0.0) * scale_mps,
        turning_error_rad_per_sec=turning_error / camera.focal_px,
        speed_error_mps=road_flow_error * scale_mps,
    )


def own_heading(ego_motion: pl.DataFrame, camera: Camera, times_sec: Array) -> tuple[Array, Array]:
    """What the own car has turned up to each time, rad left positive, and its yaw rate then; 0 where not told."""
    told = ego_motion.sort("timestamp_sec").with_columns(pl.col("pan_px_per_sec").fill_null(strategy="forward"))
    if told.is_empty():
        return np.zeros(len(times_sec)), np.zeros(len(times_sec))
    rate = told["pan_px_per_sec"].fill_null(0.0).to_numpy() / camera.focal_px
    at_sec = told["timestamp_sec"].to_numpy()
    turned = np.interp(times_sec, at_sec, np.cumsum(rate * told["gap_sec"].to_numpy()))
    return turned, np.nan_to_num(recent_median(ego_motion, "pan_px_per_sec", times_sec)[0] / camera.focal_px)


def camera_stays(ego_motion: pl.DataFrame) -> bool:
    """Whether the camera did not move in a whole video, on a pole or in a car that waits: it has no own path.

    Args:
        ego_motion: tables.EGO_MOTION of the whole video; False where nothing in it says so
    """
    still = ego_motion["still_share"].drop_nulls().to_numpy()
    return len(still) > 0 and bool(np.mean(still >= STILL_SHARE) >= STAYS_PAIRS)


def stands_at(ego_motion: pl.DataFrame, at_sec: float) -> bool:
    """Whether the camera stands at a time of a video: it does in the whole of it, or did over the last `OWN_SEC`.

    Args:
        ego_motion: tables.EGO_MOTION of the whole video; False where nothing in it says so
        at_sec: presentation time
    """
    recent = recent_median(ego_motion, "still_share", np.array([at_sec]))[0][0]
    return bool(recent >= STILL_SHARE) or camera_stays(ego_motion)


def recent_median(ego_motion: pl.DataFrame, name: str, times_sec: Array) -> tuple[Array, Array]:
    """Median of a column over the last `OWN_SEC` before each time, and its standard error: (n,) each.

    NaN where under `TOLD_SHARE` of it is told: a single pair that tells a speed among many that do not is rather a
    mistake.
    """
    rows = ego_motion.sort("timestamp_sec")
    at_sec, values = rows["timestamp_sec"].to_numpy(), rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    first = np.searchsorted(at_sec, times_sec - OWN_SEC + 1e-6, side="right")
    after = np.searchsorted(at_sec, times_sec + 1e-6, side="right")
    found = np.full((2, len(times_sec)), np.nan)
    for index, (begin, end) in enumerate(zip(first, after, strict=True)):
        told = values[begin:end][np.isfinite(values[begin:end])]
        if len(told) and len(told) >= TOLD_SHARE * (end - begin):
            found[:, index] = np.median(told), error_of_median(told, len(told))
    return found[0], found[1]


def error_of_median(values: Array, independent: int) -> float:
    """Standard error of the median of (n,) values of which so many err independently; 0 of under `MIN_SPREAD`."""
    if independent < MIN_SPREAD:
        return 0.0
    spread = MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))
    return math.sqrt(math.pi / 2 / independent) * spread
