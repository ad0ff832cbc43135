"""How each followed road user moves beside the own path: where it is, how fast it comes in, where it would pass.

Seen from the car, with heading and position of the present moment, the own path is an arc. With own speed V and yaw
rate w (left positive) its curvature is k = w / V. A road user x m right of the axis and z m ahead is beside the arc by

    e = (2 x + k (x^2 + z^2)) / (1 + n),  n = sqrt((1 + k x)^2 + (k z)^2)      [x + k z^2 / 2 where the turn is wide]

(its distance from the circle's centre less the radius) and comes towards or leaves it at

    e' = ((1 + k x) x' + k z z') / n

with x' its drift as seen, the own turning included, and z' = -closing. What stands has x' = w z and z' = -V - w x, so
that its e' is 0, and so it is for whoever follows the same bend, in either direction. At contact, after T, it passes
at e + e' T. An error of the curvature moves that by |(x^2 + z^2) / 2 - z closing T|, some z^2 / 2.

Without own turning that is constant bearing, decreasing range: x' T = -x says collision. In px, with bearing
b = f x / z and b' its rate, x + x' T = (z / f) b' T, and divided by its width, in widths of the road user:
b' T / width (Bootsma and Oudejans 1993: passing distance in sizes = rate of bearing / rate of expansion). T is the time
to contact by expansion (Lee 1976). Neither needs a distance: the scale cancels. What is taken here is the flank instead
of the middle of the box, which drifts as a long car comes nearer and shows its side (a car passed at 1.8 widths would
seem to pass at 0.9).

The own motion comes from the background's flow (`kinematics.own_motion`). The own path on the picture, k z^2 / 2 =
pan / (2 (road flow) y) px aside at y px below the horizon, needs neither focal length nor camera height. Where the
background says nothing, what most other road users do in proportion to their distance is taken as the own motion
(`common_motion`), as if most of them stood; where they disagree, the path is taken as straight.

Edges (`kinematics.flanks`) are fitted robustly over the last `FIT_SEC`, so that a value uses past and present samples
only and one wrong box moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from autorisk_dagster.kinematics.camera import Array, Camera, Distances, Mask, cut_at_side, distances
from autorisk_dagster.kinematics.flanks import lateral_edges_m, side_gap_m
from autorisk_dagster.kinematics.own_motion import OwnMotion, error_of_median, own_heading
from autorisk_dagster.kinematics.robust_line import Index, trailing_lines
from autorisk_dagster.kinematics.sizes import SIZE_M

FIT_SEC: Final = 0.8  # long enough for eight samples at 10 Hz, short enough for a cut-in, which takes 2-4 s
COMMON_SEC: Final = 1.0  # a turn lasts for seconds: what the others showed in the last one still holds
MIN_OTHERS: Final = 3
AGREES_SHARE, AGREE = 0.3, 0.6  # so many of the others' closing speeds must be within this share of their median
SLOWEST_CLOSING_MPS: Final = 3.0  # who closes more slowly is rather driving ahead than standing
MIN_SAMPLES: Final = 3  # a road user seen fewer times is not judged
SIGNIFICANT: Final = 3.0  # times its standard error


@dataclass(frozen=True)
class Track:
    """One followed road user as the camera sees it, arrays over its n samples; NaN is "cannot say".

    Attributes:
        times_sec: (n,)
        frame_index: (n,)
        boxes_px: (n, 4) left, top, right, bottom
        distance: of the near end
        cut: (n,) reaches out of the frame at a side
        edges_m: (n, 2) flanks beside the camera's axis, right positive, fitted
        drift_mps: (n, 2) their speed, right positive, as seen
        drift_error_mps: (n, 2) its standard error
        late_drift_mps: (n, 2) the same speed over the later half of the fit alone: who swerves back shows it here first
        next_drift_mps: (n, 2) where the two lead to, where they differ significantly; else the late one
        closing_mps: (n,) speed at which the distance shrinks
    """

    track_id: int
    label: str
    road_user: str
    times_sec: Array
    frame_index: np.ndarray[tuple[int], np.dtype[np.int64]]
    boxes_px: Array
    distance: Distances
    cut: Mask
    edges_m: Array
    drift_mps: Array
    drift_error_mps: Array
    late_drift_mps: Array
    next_drift_mps: Array
    closing_mps: Array


@dataclass(frozen=True)
class BesidePath:
    """One road user beside the own path, arrays over its n samples; NaN is "cannot say".

    Attributes:
        edges_m: (n, 2) flanks beside the middle of the own path, right positive
        speed_mps: (n, 2) their speed across the own path, right positive
        gap_m: (n,) free room between the own flank and it; 0: in the own path
        inward_mps: (n,) its own speed into that room; NaN in the own path
        inward_error_mps: (n,) standard error of it
        contact_middle_m: (n,) where its middle passes beside the own path if it moves on as it did, right positive
        contact_gap_m: (n,) free room at contact if it moves on as it did, by the largest of what the fit, its later
            half, the change between them and the fit with its standard error either way say; NaN without a finite time
            to contact
    """

    edges_m: Array
    speed_mps: Array
    gap_m: Array
    inward_mps: Array
    inward_error_mps: Array
    contact_middle_m: Array
    contact_gap_m: Array


def followed_tracks(tracks: pl.DataFrame, camera: Camera, ego_motion: pl.DataFrame) -> list[Track]:
    """Every followed road user of tables.TRACKS, by id, with at least `MIN_SAMPLES` samples.

    Earlier samples are turned by what the own car has turned since (tables.EGO_MOTION), so that the beginning of a turn
    is not taken for a road user's own motion.
    """
    followed = tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still"))
    parts = followed.sort("track_id", "timestamp_sec").partition_by("track_id", maintain_order=True)
    return [_track(part, camera, ego_motion) for part in parts if part.height >= MIN_SAMPLES]


def common_motion(tracks: Sequence[Track], track: Track) -> OwnMotion:
    """The own motion as the other road users show it, if most of them stand: NaN where too few say the same.

    What stands has x' = w z and closes at V + w x: the medians of x' / z and of closing - (x' / z) x are w and V. Those
    that stand agree on V, those that drive do not.
    """
    first_sec, last_sec = track.times_sec[0] - COMMON_SEC, track.times_sec[-1]
    # only who was there meanwhile: a long video has thousands of road users
    others = [
        other
        for other in tracks
        if other is not track and other.times_sec[-1] > first_sec and other.times_sec[0] <= last_sec
    ]
    found = np.full((4, len(track.times_sec)), np.nan)
    if len(others) >= MIN_OTHERS:
        rate = np.concatenate([other.drift_mps.mean(axis=1) / other.distance.m for other in others])
        closing = np.concatenate([other.closing_mps for other in others])
        closing -= rate * np.concatenate([other.edges_m.mean(axis=1) for other in others])
        at_sec = np.concatenate([other.times_sec for other in others])
        owner = np.concatenate([np.full(len(other.times_sec), other.track_id) for other in others])
        usable = np.isfinite(rate) & np.isfinite(closing)
        rate, closing, at_sec, owner = rate[usable], closing[usable], at_sec[usable], owner[usable]
        for index, time_sec in enumerate(track.times_sec):
            recent = (at_sec > time_sec - COMMON_SEC + 1e-6) & (at_sec <= time_sec)
            count = len(np.unique(owner[recent]))  # samples of one road user share their errors
            if count < MIN_OTHERS:
                continue
            speed = float(np.median(closing[recent]))
            if np.mean(np.abs(closing[recent] - speed) < AGREES_SHARE * abs(speed)) >= AGREE:
                errors = (error_of_median(values[recent], count) for values in (rate, closing))
                found[:, index] = np.median(rate[recent]), speed, *errors
    return OwnMotion(*found)


def best_motion(seen: OwnMotion, shown: OwnMotion, track: Track) -> OwnMotion:
    """What the background says where it does, else what the others show; a speed that neither tells is the closing.

    The last takes the road user itself as standing: for one that does, the turning is taken out exactly.
    """
    untold, still_untold = np.isnan(seen.turning_rad_per_sec), np.isnan(seen.speed_mps)
    speed = np.where(still_untold, shown.speed_mps, seen.speed_mps)
    as_standing = np.where(track.closing_mps > SLOWEST_CLOSING_MPS, track.closing_mps, np.nan)
    return OwnMotion(
        turning_rad_per_sec=np.where(untold, shown.turning_rad_per_sec, seen.turning_rad_per_sec),
        speed_mps=np.where(np.isnan(speed), as_standing, speed),
        turning_error_rad_per_sec=np.where(untold, shown.turning_error_rad_per_sec, seen.turning_error_rad_per_sec),
        speed_error_mps=np.where(still_untold, shown.speed_error_mps, seen.speed_error_mps),
    )


def beside_path(track: Track, own: OwnMotion, ttc_sec: Array) -> BesidePath:
    """Place and course of a road user beside the own path.

    Args:
        track: of n samples
        own: own motion at its n times; what is unknown in it is taken as straight on
        ttc_sec: (n,) time to contact; inf: not approaching, NaN: cannot say
    """
    bend, bend_error = own.curvature_per_m()[:, None], own.curvature_error_per_m()[:, None]
    ahead, closing = track.distance.m[:, None], track.closing_mps[:, None]
    edges = beside_arc_m(track.edges_m, ahead, bend)
    speed, *later = (
        speed_beside_arc_mps(track.edges_m, ahead, bend, drift, closing)
        for drift in (track.drift_mps, track.late_drift_mps, track.next_drift_mps)
    )
    gap = side_gap_m(edges)
    # Towards the path is leftwards (negative) for what stands right of it, and the other way round.
    on_right = edges[:, 0] > 0
    inward = np.where(on_right, -speed[:, 0], speed[:, 1])
    inward_error = np.where(on_right, track.drift_error_mps[:, 0], track.drift_error_mps[:, 1])
    finite = np.isfinite(ttc_sec)
    left_sec = np.where(finite, ttc_sec, 0.0)[:, None]
    at_contact = [edges + each * left_sec for each in (speed, *later)]
    by_bend = bend_error * ((track.edges_m**2 + ahead**2) / 2 - ahead * closing * left_sec)
    error = np.hypot(track.drift_error_mps * left_sec, by_bend)
    at_contact += [at_contact[0] - error, at_contact[0] + error]
    return BesidePath(
        edges_m=edges,
        speed_mps=speed,
        gap_m=gap,
        inward_mps=np.where(gap > 0, inward, np.nan),
        inward_error_mps=np.where(gap > 0, inward_error, np.nan),
        contact_middle_m=np.where(finite, _middle(edges + speed * left_sec, track.label), np.nan),
        contact_gap_m=np.where(finite, np.fmax.reduce([side_gap_m(each) for each in at_contact]), np.nan),
    )


def _middle(edges_m: Array, label: str) -> Array:
    """Half its width beyond the flank towards the own path, because the other end may be cut off or far."""
    left, right = edges_m.T
    half = SIZE_M[label][1] / 2
    middle: Array = np.where(left > 0, left + half, np.where(right < 0, right - half, (left + right) / 2))
    return middle


def beside_arc_m(right_m: Array, ahead_m: Array, curvature_per_m: Array) -> Array:
    """e of the module: how far right of the own path a place is, `right_m` of the axis and `ahead_m` of the camera."""
    bend, x, z = curvature_per_m, right_m, ahead_m
    beside: Array = (2 * x + bend * (x**2 + z**2)) / (1 + np.hypot(1 + bend * x, bend * z))
    return beside


def speed_beside_arc_mps(
    right_m: Array, ahead_m: Array, curvature_per_m: Array, right_mps: Array, closing_mps: Array
) -> Array:
    """e' of the module: speed away from the own path to the right."""
    bend, x, z = curvature_per_m, right_m, ahead_m
    speed: Array = ((1 + bend * x) * right_mps - bend * z * closing_mps) / np.hypot(1 + bend * x, bend * z)
    return speed


def _track(part: pl.DataFrame, camera: Camera, ego_motion: pl.DataFrame) -> Track:
    label = str(part["label"].mode().sort()[0])
    times = part["timestamp_sec"].to_numpy().astype(np.float64)
    boxes = part.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy().astype(np.float64)
    raw = lateral_edges_m(boxes, label, camera)
    distance = distances(boxes, label, camera)
    heading, turning = own_heading(ego_motion, camera, times)

    def fitted(x: Array, z: Array, sign: float, window_sec: float) -> Array:
        """Line through x, turned with z into the present heading: to the right for what lies ahead (sign 1)."""

        def seen_now(then: Index, now: Index) -> Array:
            turn = heading[now] - heading[then]
            more: Array = x[then] * (np.cos(turn) - 1) + sign * z[then] * np.sin(turn)
            return more

        return trailing_lines(times, x, window_sec, seen_now)

    lines, late = (
        np.stack([fitted(raw[:, edge], distance.m, 1.0, window_sec) for edge in (0, 1)], axis=1)
        for window_sec in (FIT_SEC, FIT_SEC / 2)
    )
    turn_mps = (turning * distance.m)[:, None]  # by which all drifts at the present moment
    drift, late_drift = lines[:, :, 1] + turn_mps, late[:, :, 1] + turn_mps
    middle = raw.mean(axis=1)
    closing = turning * middle - fitted(distance.m, middle, -1.0, FIT_SEC)[:, 1]
    change = late_drift - drift  # the fit stands for its middle, the late one for half as long ago
    turns = np.abs(change) > SIGNIFICANT * np.hypot(lines[:, :, 2], late[:, :, 2])
    return Track(
        track_id=int(part["track_id"][0]),
        label=label,
        road_user=str(part["road_user"][0]),
        times_sec=times,
        frame_index=part["frame_index"].to_numpy(),
        boxes_px=boxes,
        distance=distance,
        cut=cut_at_side(boxes, camera),
        edges_m=lines[:, :, 0],
        drift_mps=drift,
        drift_error_mps=lines[:, :, 2],
        late_drift_mps=late_drift,
        next_drift_mps=np.where(turns, late_drift + change, late_drift),
        closing_mps=closing,
    )
