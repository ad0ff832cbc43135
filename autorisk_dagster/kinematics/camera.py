"""The camera: what turns pixels into metres, as far as it is known, and how far that is.

Pinhole, upright, optical axis near the middle of the frame, looking along the car over a flat road. With focal length
f px, camera height c m and the horizon at y_h px, something H m high that stands on the road at z m shows

    height h = f * H / z        foot y_f = y_h + f * c / z

so that a box measures its distance twice: by its size, z = f * H / h, and by where it touches the road,
z = f * c / (y_f - y_h). The first needs the true size, known to some 10 % a road user; the second the camera. And
eliminating z, all boxes of a video lie around the line

    y_f = y_h + c * (h / H)

whose offset is the horizon and whose slope is the camera height (Hoiem, Efros and Hebert 2008, "Putting Objects in
Perspective", eq. 4): `calibrate` fits it over the whole video, a road user counting once however long it is seen. The
focal length cannot be had from boxes; where the profile does not give it, it is assumed, within `FOCAL_SPREAD`. Lateral
positions need none: x_m = (x_px - middle) * H / h.

Standard deviations are carried along; those of lengths are of their logarithm. A profile's value counts as exact.
Not covered: hills, lens distortion, a camera that looks aside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError
from autorisk_dagster.kinematics.sizes import SIZE_M, SIZE_SPREAD
from autorisk_dagster.profile import CameraSettings

TOO_LONG: Final = 1.5  # times its length: a box that would be wider shows something else
FOCAL_SHARE: Final = 0.65  # focal length / frame width: 75 degrees across, between a phone's 65 and a dashcam's 100
FOCAL_SPREAD: Final = 0.18  # 90 % between 60 and 92 degrees
HORIZON_SHARE, HORIZON_SPREAD_SHARE = 0.5, 0.08  # of the frame's height, before anything is seen
HEIGHT_M, HEIGHT_SPREAD_M = 1.4, 0.4  # behind the windscreen of a car or van
EDGE_PX_SHARE: Final = 0.0015  # error of a box edge / frame width: 2 px of 1280
PITCH_RAD: Final = (
    0.015  # the car nods, and roads rise and fall by a percent or two; see tests/benchmarks/kitti_measures
)
SAMPLES_A_TRACK: Final = 15
BORDER_PX, BORDER_SHARE = 3.0, 0.005  # a box edge this near the frame border counts as cut
ROBUST_STEPS: Final = 5
HUBER: Final = 1.345
Z_90: Final = 1.645

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Camera:
    """What is known of a camera; px of the full upright frame.

    Attributes:
        width_px, height_px: of the frame
        focal_px, focal_spread: focal length, standard deviation of its logarithm
        horizon_px, horizon_spread_px: y of the horizon, standard deviation
        height_m, height_spread: above the road, standard deviation of its logarithm
        road_users: how many road users the horizon and height were fitted to; 0: assumed, or given by the profile
    """

    width_px: int
    height_px: int
    focal_px: float
    focal_spread: float
    horizon_px: float
    horizon_spread_px: float
    height_m: float
    height_spread: float
    road_users: int = 0

    @property
    def edge_px(self) -> float:
        """Standard error of the edge of a detected box."""
        return EDGE_PX_SHARE * self.width_px

    @property
    def border_px(self) -> float:
        """A box edge this near the border of the frame counts as cut."""
        return max(BORDER_PX, BORDER_SHARE * self.width_px)


@dataclass(frozen=True)
class Distances:
    """Distance of the near end from the camera along its axis, (n,) m each, with a 90 % interval; NaN: cannot say.

    Where the lower border cuts a box, what is in view gives an upper bound: `low_m` is 0.
    """

    m: Array
    low_m: Array
    high_m: Array


def assumed_camera(frame_size: tuple[int, int], settings: CameraSettings) -> Camera:
    """The camera before anything was seen: the profile's values, and the usual ones where it has none."""
    width_px, height_px = frame_size
    if min(frame_size) < 1:
        raise InputError(f"frame_size must be two positive numbers of px, got {frame_size}")
    focal_px, focal_spread = FOCAL_SHARE * width_px, FOCAL_SPREAD
    if settings.focal_px is not None:
        focal_px, focal_spread = settings.focal_px, 0.0
    elif settings.horizontal_view_deg is not None:
        focal_px, focal_spread = width_px / 2 / math.tan(math.radians(settings.horizontal_view_deg) / 2), 0.0
    horizon_known, height_known = settings.horizon_share is not None, settings.height_m is not None
    height_m = settings.height_m if settings.height_m is not None else HEIGHT_M
    horizon_share = settings.horizon_share if settings.horizon_share is not None else HORIZON_SHARE
    return Camera(
        width_px=width_px,
        height_px=height_px,
        focal_px=focal_px,
        focal_spread=focal_spread,
        horizon_px=horizon_share * height_px,
        horizon_spread_px=0.0 if horizon_known else HORIZON_SPREAD_SHARE * height_px,
        height_m=height_m,
        height_spread=0.0 if height_known else HEIGHT_SPREAD_M / HEIGHT_M,
    )


def calibrate(tracks: pl.DataFrame, frame_size: tuple[int, int], settings: CameraSettings) -> Camera:
    """The camera of one video: the profile's values, and where it has none, what fits the video's road users best.

    Args:
        tracks: tables.TRACKS of the whole video; still and unfollowed boxes are left out
        frame_size: (width, height) px
        settings: the profile's section `camera`
    """
    camera = assumed_camera(frame_size, settings)
    followed = tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still") & pl.col("label").is_in(list(SIZE_M)))
    thinned = followed.sort("track_id", "timestamp_sec").filter(
        pl.int_range(pl.len()).over("track_id") % (1 + pl.len().over("track_id") // SAMPLES_A_TRACK) == 0
    )
    boxes = thinned.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy().astype(np.float64)
    labels = thinned["label"].to_numpy()
    whole = ~cut_at_top_or_bottom(boxes, camera) & ~cut_at_side(boxes, camera) & (boxes[:, 3] > boxes[:, 1])
    height_px = boxes[whole, 3] - boxes[whole, 1]
    size_m = np.array([SIZE_M[label][0] for label in labels[whole]])
    spread = np.array([SIZE_SPREAD[label] for label in labels[whole]])
    _, owners = np.unique(thinned["track_id"].to_numpy()[whole], return_inverse=True)
    return _fitted(camera, height_px / size_m, boxes[whole, 3], spread, owners.astype(np.int64))


def _fitted(camera: Camera, px_per_m: Array, foot_px: Array, size_spread: Array, owners: NDArray[np.int64]) -> Camera:
    """Robust line foot = horizon + height * px_per_m, starting from what is known before; one weight a road user."""
    known = np.array([camera.horizon_px, camera.height_m])
    spread = np.array([camera.horizon_spread_px, camera.height_spread * camera.height_m])
    free = spread > 0
    road_users = int(owners.max()) + 1 if len(owners) else 0
    if not free.any() or road_users == 0:
        return camera
    design = np.stack([np.ones_like(px_per_m), px_per_m], axis=1)[:, free]
    residual_px = foot_px - known[0] - known[1] * px_per_m  # from what is known before
    error_px = np.sqrt(
        (camera.edge_px**2 + (PITCH_RAD * camera.focal_px) ** 2) + (size_spread * known[1] * px_per_m) ** 2
    )
    one_each = 1.0 / np.bincount(owners)[owners]
    prior = np.diag(1.0 / spread[free] ** 2)
    change = np.zeros(int(free.sum()))
    for _ in range(ROBUST_STEPS):
        off = np.abs(residual_px - design @ change) / error_px
        weight = one_each * np.minimum(1.0, HUBER / np.maximum(off, 1e-9)) / error_px**2
        precision = prior + design.T @ (weight[:, None] * design)
        change = np.linalg.solve(precision, design.T @ (weight * residual_px))
    values, errors = known.copy(), spread.copy()
    values[free] += change
    errors[free] = np.sqrt(np.diag(np.linalg.inv(precision)))
    height_m = max(float(values[1]), 0.5)
    return Camera(
        width_px=camera.width_px,
        height_px=camera.height_px,
        focal_px=camera.focal_px,
        focal_spread=camera.focal_spread,
        horizon_px=float(values[0]),
        horizon_spread_px=float(errors[0]),
        height_m=height_m,
        height_spread=float(errors[1]) / height_m,
        road_users=road_users,
    )


def metres_per_px(boxes_xyxy_px: Array, label: str, camera: Camera) -> tuple[Array, Array]:
    """Scale at a road user, z / f: (n,) m/px, and the standard deviation of its logarithm; NaN where it has none.

    Mean of what its size and its foot say, by inverse variance. No scale has a box without height, one cut at both
    sides, and one far too flat for its label: detectors call the own bonnet a car. A box cut at the top or bottom shows
    less than the whole height, so that its scale is an upper bound.
    """
    size_m, _, length_m = SIZE_M[label]
    width_px = boxes_xyxy_px[:, 2] - boxes_xyxy_px[:, 0]
    height_px = boxes_xyxy_px[:, 3] - boxes_xyxy_px[:, 1]
    left_cut, right_cut = _cut(boxes_xyxy_px[:, 0], boxes_xyxy_px[:, 2], camera.width_px, camera.border_px)
    usable = ~(left_cut & right_cut) & (height_px > 0) & (width_px * size_m <= TOO_LONG * length_m * height_px)
    high = np.where(usable, height_px, np.nan)

    by_size = np.log(size_m / high)
    size_variance = SIZE_SPREAD[label] ** 2 + 2 * (camera.edge_px / high) ** 2
    below_px = boxes_xyxy_px[:, 3] - camera.horizon_px
    below_error_px = math.hypot(camera.horizon_spread_px, camera.edge_px, PITCH_RAD * camera.focal_px)
    on_road = below_px > 3 * below_error_px
    _, bottom_cut = _cut(boxes_xyxy_px[:, 1], boxes_xyxy_px[:, 3], camera.height_px, camera.border_px)
    on_road &= ~bottom_cut
    below = np.where(on_road, below_px, 1.0)
    by_foot = np.log(camera.height_m / below)
    foot_variance = camera.height_spread**2 + (below_error_px / below) ** 2
    top_or_bottom_cut = cut_at_top_or_bottom(boxes_xyxy_px, camera)
    of_size = np.where(top_or_bottom_cut & on_road, 0.0, 1.0 / size_variance)
    of_foot = np.where(on_road, 1.0 / foot_variance, 0.0)
    mean = (by_size * of_size + by_foot * of_foot) / (of_size + of_foot)
    scale: Array = np.exp(mean)
    return scale, np.sqrt(1.0 / (of_size + of_foot))


def distances(boxes_xyxy_px: Array, label: str, camera: Camera) -> Distances:
    """Distance of each of (n, 4) boxes of one label; the errors of scale and focal length are in the interval."""
    scale, spread = metres_per_px(boxes_xyxy_px, label, camera)
    distance_m = camera.focal_px * scale
    factor = np.exp(Z_90 * np.hypot(spread, camera.focal_spread))
    _, bottom_cut = _cut(boxes_xyxy_px[:, 1], boxes_xyxy_px[:, 3], camera.height_px, camera.border_px)
    return Distances(distance_m, np.where(bottom_cut, 0.0, distance_m / factor), distance_m * factor)


def cut_at_side(boxes_xyxy_px: Array, camera: Camera) -> Mask:
    """(n,) whether the box touches the left or right border, so that the road user reaches out of the frame."""
    left, right = _cut(boxes_xyxy_px[:, 0], boxes_xyxy_px[:, 2], camera.width_px, camera.border_px)
    return left | right


def cut_at_top_or_bottom(boxes_xyxy_px: Array, camera: Camera) -> Mask:
    """(n,) whether the box touches the upper or lower border, so that its height is not the road user's."""
    top, bottom = _cut(boxes_xyxy_px[:, 1], boxes_xyxy_px[:, 3], camera.height_px, camera.border_px)
    return top | bottom


def _cut(low_px: Array, high_px: Array, size_px: int, border_px: float) -> tuple[Mask, Mask]:
    return low_px <= border_px, high_px >= size_px - border_px
