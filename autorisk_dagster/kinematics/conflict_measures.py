"""The own vehicle against every followed road user, sample by sample: course, distance and surrogate measures.

What needs no scale (time to contact, bearing, where it would pass, in own widths) comes from image motion alone. What
is in metres has the error of the camera's scale: one factor in all of a video's distances and speeds, so that times,
which are ratios, hold where lengths are off. `distance_low_m` and `distance_high_m` carry it.

All values but two look at past and present samples only: the camera is calibrated on the whole video, because it does
not change, and post-encroachment time is known only when the own car has come to where the other was.

A camera that does not move in the whole video (`own_motion.camera_stays`) has no own path: nothing is in it or on a
collision course, and what is measured against it is null. Who drives into an own car that waits all the time is missed.

`distance_m` is from the lens. Times to collision in space, headway and braking needed are from the own bumper where the
profile says how far ahead of the lens that is, else from the lens: late by 1 to 2 m.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.kinematics import surrogate_measures as measures
from autorisk_dagster.kinematics.camera import Array, Camera, Mask, calibrate
from autorisk_dagster.kinematics.flanks import OWN_HALF_WIDTH_M
from autorisk_dagster.kinematics.own_motion import OwnMotion, camera_stays, own_motion
from autorisk_dagster.kinematics.own_path import (
    FIT_SEC,
    SIGNIFICANT,
    BesidePath,
    Track,
    beside_path,
    best_motion,
    common_motion,
    followed_tracks,
)
from autorisk_dagster.kinematics.robust_line import trailing_lines
from autorisk_dagster.kinematics.sizes import SIZE_M
from autorisk_dagster.kinematics.ttc import TtcEstimates, estimate_ttc
from autorisk_dagster.profile import CameraSettings

PATH_MARGIN_M: Final = 0.1  # mirrors: the own path is 2 m wide
COURSE_GAP_M: Final = 0.3  # less room than this at contact is a hit: mirrors, and the error of a measured path
APPROACH_SEC: Final = 10.0  # an approach counts when the upper bound of its time to contact is under this
HOLD_SAMPLES: Final = 3  # samples running that must show it
OWN_LENGTH_M: Final = 4.5
LEAVING_MPS: Final = 0.5
AGAINST_OWN_PATH: Final = (
    *("miss_widths", "gap_m", "inward_mps", "inward_error_mps", "contact_gap_m", "headway_sec"),
    *("ttc_2d_sec", "drac_mps2", "pet_sec"),
)


def conflict_measures(
    tracks: pl.DataFrame, ego_motion: pl.DataFrame, frame_size: tuple[int, int], settings: CameraSettings
) -> pl.DataFrame:
    """One row of tables.CONFLICT_MEASURES for each sample of each followed, not still road user, by track and time.

    Args:
        tracks: tables.TRACKS of the whole video
        ego_motion: tables.EGO_MOTION of the whole video; may be empty: the other road users then show the own turning
        frame_size: (width, height) of the frames that the boxes refer to, px
        settings: the profile's section `camera`
    """
    camera = calibrate(tracks, frame_size, settings)
    speed_known = camera.focal_spread == 0 and camera.height_spread == 0
    found = followed_tracks(tracks, camera, ego_motion)
    chunks = [tables.empty(tables.CONFLICT_MEASURES)]
    bumper_m = settings.bumper_ahead_m or 0.0
    for track in found:
        seen = own_motion(ego_motion, camera, track.times_sec)
        own = best_motion(seen, common_motion(found, track), track)
        own_speed_mps = seen.speed_mps if speed_known else None
        chunks.append(_rows(track, camera, own, own_speed_mps, ego_motion, bumper_m))
    table = pl.concat(chunks)
    if not camera_stays(ego_motion):
        return table
    false = [pl.lit(False).alias(name) for name in ("in_own_path", "on_collision_course")]
    null = [pl.lit(None, pl.Float64).alias(name) for name in AGAINST_OWN_PATH]
    return table.with_columns(*false, *null)


def _rows(
    track: Track,
    camera: Camera,
    own: OwnMotion,
    own_speed_mps: Array | None,
    ego_motion: pl.DataFrame,
    bumper_m: float,
) -> pl.DataFrame:
    times, ahead_m = track.times_sec, track.distance.m - bumper_m
    ttc = estimate_ttc(times, track.boxes_px, (camera.width_px, camera.height_px))
    path = beside_path(track, own, ttc.ttc_sec)
    in_path = path.gap_m <= PATH_MARGIN_M
    bearing_px, rate_px = _bearing(track, camera, own)
    _, width_m, length_m = SIZE_M[track.label]
    ttc_2d = measures.time_to_collision_2d_sec(
        path.edges_m,
        path.speed_mps,
        ahead_m,
        track.closing_mps,
        own_half_width_m=OWN_HALF_WIDTH_M + PATH_MARGIN_M,
        own_length_m=OWN_LENGTH_M,
        length_m=length_m,
    )
    drac = measures.deceleration_to_avoid_crash_mps2(ahead_m, track.closing_mps)
    nothing = np.full(len(times), np.nan)
    headway = nothing if own_speed_mps is None else measures.time_headway_sec(ahead_m, own_speed_mps)
    columns: dict[str, Any] = {
        "frame_index": track.frame_index,
        "timestamp_sec": times,
        "track_id": np.full(len(times), track.track_id),
        "label": [track.label] * len(times),
        "ttc_sec": ttc.ttc_sec,
        "ttc_low_sec": ttc.low_sec,
        "ttc_high_sec": ttc.high_sec,
        "bearing_px": bearing_px,
        "bearing_rate_px_per_sec": rate_px,
        "miss_widths": path.contact_middle_m / width_m,
        "in_own_path": in_path,
        "on_collision_course": _on_course(ttc, path),
        "gap_m": path.gap_m,
        "inward_mps": path.inward_mps,
        "inward_error_mps": path.inward_error_mps,
        "contact_gap_m": path.contact_gap_m,
        "distance_m": track.distance.m,
        "distance_low_m": track.distance.low_m,
        "distance_high_m": track.distance.high_m,
        "lateral_m": path.edges_m.mean(axis=1),
        "closing_mps": track.closing_mps,
        "own_speed_mps": nothing if own_speed_mps is None else own_speed_mps,
        "headway_sec": np.where(in_path, headway, np.nan),
        "ttc_space_sec": measures.time_to_collision_sec(ahead_m, track.closing_mps),
        "ttc_2d_sec": ttc_2d,
        "drac_mps2": np.where(np.isinf(ttc_2d), 0.0, np.where(np.isnan(ttc_2d), np.nan, drac)),
        "pet_sec": _post_encroachment(track, path, in_path, ego_motion, camera),
    }
    table = pl.DataFrame(columns, schema=tables.CONFLICT_MEASURES)
    floats = [name for name, dtype in tables.CONFLICT_MEASURES.items() if dtype == pl.Float64]
    return table.with_columns(pl.col(floats).fill_nan(None))


def _on_course(ttc: TtcEstimates, path: BesidePath) -> Mask:
    """Approaches significantly and passes within the own path, at this sample and those just before."""
    holds = (ttc.high_sec < APPROACH_SEC) & (path.contact_gap_m <= COURSE_GAP_M)
    run = np.zeros(len(holds), dtype=np.int64)
    for index, one in enumerate(holds):
        run[index] = (run[index - 1] if index else 0) + 1 if one else 0
    return run >= HOLD_SAMPLES


def _bearing(track: Track, camera: Camera, own: OwnMotion) -> tuple[Array, Array]:
    """Bearing of its middle, px right of the frame's middle, and its rate without own turning."""
    middle = (track.boxes_px[:, 0] + track.boxes_px[:, 2]) / 2 - camera.width_px / 2
    rate = trailing_lines(track.times_sec, np.where(track.cut, np.nan, middle), FIT_SEC)[:, 1]
    return middle, rate - np.nan_to_num(own.turning_rad_per_sec) * camera.focal_px


def _post_encroachment(
    track: Track, path: BesidePath, in_path: Mask, ego_motion: pl.DataFrame, camera: Camera
) -> Array:
    """PET at the sample where it has just left the own path by its own motion: time until the own car is there.

    The own car is there when it has driven the distance there was; NaN elsewhere, and where it did not get there while
    its motion was measured.
    """
    pet = np.full(len(track.times_sec), np.nan)
    driven = ego_motion.drop_nulls("road_flow_per_px_sec").sort("timestamp_sec")
    left = np.flatnonzero(in_path[:-1] & (path.gap_m[1:] > PATH_MARGIN_M)) + 1
    moved_out = (path.inward_mps <= -LEAVING_MPS) & (path.inward_mps <= -SIGNIFICANT * path.inward_error_mps)
    left = left[moved_out[left]]
    if not len(left) or driven.height < 2:
        return pet
    at_sec = driven["timestamp_sec"].to_numpy()
    speed_mps = driven["road_flow_per_px_sec"].to_numpy() * camera.focal_px * camera.height_m
    steps_m = np.maximum(speed_mps, 0.0) * np.minimum(driven["gap_sec"].to_numpy(), np.diff(at_sec, prepend=-np.inf))
    way_m = np.cumsum(steps_m)
    for index in left:
        leaves_sec = float(track.times_sec[index])
        there_m = np.interp(leaves_sec, at_sec, way_m) + track.distance.m[index]
        if way_m[-1] >= there_m:
            arrives_sec = float(np.interp(there_m, way_m, at_sec))
            pet[index] = measures.post_encroachment_time_sec(leaves_sec, arrives_sec)
    return pet
