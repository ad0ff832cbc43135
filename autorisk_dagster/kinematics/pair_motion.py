"""How two road users move to each other on the road, in metres, from one uncalibrated camera that may move itself.

The box of a road user h px high, of something H m high, shows h / H px a metre (`kinematics.sizes`). On a plane road
the foot of a box lies y_horizon + C h / H down the picture, C the height of the camera (Hoiem, Efros and Hebert 2006,
"Putting Objects in Perspective"). For a pair, with m = sqrt(m1 m2) their mean scale in m / px, this gives:

    ln(Z1 / Z2) by size    ln(m1 / m2)                          whatever the camera; sizes vary by a fifth
    ln(Z1 / Z2) by foot    -2 asinh((foot1 - foot2) m / (2 C))  no horizon needed; good where the camera is high
    Z1 - Z2 = 2 f m sinh(ln(Z1 / Z2) / 2),   X = (x - width / 2) Z / f

with the mean of both by inverse variance. Two boxes that touch in the picture at different ground rows or scales are
apart here: that is the check of depth order. Differences of positions do not change when the camera drives past, so
that parallax between two parked cars is no approach; what the error of ln(Z1 / Z2) leaves of it grows with the own
speed and counts as an error of the closing speed.

A road user is a rectangle: as wide as its box, as deep as its class allows for that width. Relative motion is a robust
line through the last second (`kinematics.recent_lines`); time to collision is that of two rectangles at constant
relative velocity. Doubling all pixels changes nothing.

Not covered: boxes cut by the frame's border (left out); hills; two road users in one line of sight, one hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster.kinematics.recent_lines import recent_lines
from autorisk_dagster.kinematics.sizes import SIZE_M
from autorisk_dagster.kinematics.ttc import BORDER_PX, BORDER_SHARE

FOCAL_SHARE: Final = 0.65  # focal length / frame width: 75 degrees across, between a phone's 65 and a dashcam's 100
CAMERA_HEIGHT_M: Final = 1.3  # behind a windscreen; where the tracks do not show the true one
CAMERA_HEIGHTS_M: Final = (0.9, 12.0)
SIZE_ERROR: Final = 0.2  # of ln(Z1 / Z2) by size: heights of two cars, 0.14 each
FOOT_ERROR_M: Final = 0.11  # of a foot row, as a height on the road user: 7 % of a car
EDGE_NOISE_SHARE: Final = 0.001  # least error of a box edge, of the frame's width: 1 px of 1000
NOISE_SHARE: Final = 0.02  # least error of a distance
WANDER_SEC: Final = 1.0  # time in which the depth's error may become another one: occlusion, the angle of view
STEADY_SHARE: Final = 0.4  # of the speed must be left without the largest single step
NEAR_M: Final = 15.0  # a pair that never comes nearer is not looked at
MAX_GAP_SEC: Final = 0.65  # a pair that was away longer starts anew: two missed samples at 4 a second
# A box that moves or changes its width or height (in natural logarithms) by more is another road user under the same
# id, or two in one box. A true approach changes the size by 0.1 in 0.1 s where only 1 s is left.
JUMP_SIZES, JUMP_SIZES_PER_SEC = 0.5, 4.0
JUMP_LOG, JUMP_LOG_PER_SEC = 0.2, 1.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PairMotion:
    """All samples of all pairs that ever come near, by pair and time; arrays of one length n.

    Attributes:
        first, second: identities, smaller first
        row: (n, 2) rows of the two in `users`
        times_sec: (n,)
        offset_m: (n, 2) second from first as seen: to the right, and further away; between middles of the rectangles
        gap_m: (n,) free room between the two rectangles as seen; 0: they touch
        velocity_mps: (n, 2) of the offset; NaN where it cannot be measured
        ttc_sec: (n,) inf: not on a collision course, or too little certainty for one; NaN: cannot be measured
        closing_mps: (n,) gap over time to collision; NaN where there is none
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    row: NDArray[np.int64]
    times_sec: Array
    offset_m: Array
    gap_m: Array
    velocity_mps: Array
    ttc_sec: Array
    closing_mps: Array


def road_users(tracks: pl.DataFrame, identity: dict[int, int], frame_size: tuple[int, int]) -> pl.DataFrame:
    """Followed, not still road users whose whole box is in the frame, with `identity`, foot, scale and class sizes."""
    border_x, border_y = (max(BORDER_PX, BORDER_SHARE * edge) for edge in frame_size)
    label = pl.col("label").mode().sort().first().over("identity")
    kind = pl.when(pl.col("road_user") == "pedestrian").then(pl.lit("person")).otherwise(pl.lit("car"))
    size_label = pl.when(label.is_in(list(SIZE_M))).then(label).otherwise(kind)
    sizes = {axis: {name: size[i] for name, size in SIZE_M.items()} for i, axis in enumerate(("high", "wide", "long"))}
    return (
        tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still").fill_null(False))
        .with_columns(identity=pl.col("track_id").replace_strict(identity, return_dtype=pl.Int64))
        .with_columns(shown_label=label, size_label=size_label)
        .filter(
            (pl.col("x1_px") > border_x)
            & (pl.col("x2_px") < frame_size[0] - border_x)
            & (pl.col("y1_px") > border_y)
            & (pl.col("y2_px") < frame_size[1] - border_y)
            & (pl.col("x2_px") > pl.col("x1_px"))
            & (pl.col("y2_px") > pl.col("y1_px"))
        )
        .with_columns(
            pl.col("size_label").replace_strict(of_label, return_dtype=pl.Float64).alias(f"{axis}_m")
            for axis, of_label in sizes.items()
        )
        .with_columns(px_per_m=(pl.col("y2_px") - pl.col("y1_px")) / pl.col("high_m"))
        .sort("identity", "timestamp_sec")
        .unique(["identity", "frame_index"], keep="first", maintain_order=True)
        .with_row_index("row")
    )


def camera_height_m(users: pl.DataFrame) -> float:
    """Height of the camera over the road, from how foot rows follow scales over all vehicles; the default where
    fewer than 4 of them, or only ones at one distance, are seen."""
    vehicles = users.filter(pl.col("road_user") == "vehicle")
    if vehicles["identity"].n_unique() < 4:
        return CAMERA_HEIGHT_M
    step = max(vehicles.height // 300, 1)
    some = vehicles.sort("timestamp_sec", "x1_px").gather_every(step)
    scale, foot, who = (some[name].to_numpy() for name in ("px_per_m", "y2_px", "identity"))
    one, two = np.triu_indices(len(scale), 1)
    ratio = np.abs(np.log(scale[one] / scale[two]))
    telling = (ratio > np.log(1.4)) & (who[one] != who[two])
    if telling.sum() < 30:
        return CAMERA_HEIGHT_M
    one, two = one[telling], two[telling]
    slope = float(np.median((foot[one] - foot[two]) / (scale[one] - scale[two])))
    return float(np.clip(slope, *CAMERA_HEIGHTS_M))


def pair_motion(
    users: pl.DataFrame, frame_size: tuple[int, int], *, min_closing_mps: float, significance: float
) -> PairMotion:
    """Relative motion of every pair of `road_users` in one frame; pairs of two pedestrians are left out.

    Args:
        users: of `road_users`
        frame_size: (width, height), px
        min_closing_mps: least closing speed of a collision course
        significance: standard errors that a closing speed must be over 0
    """
    first, second = _pairs(users)
    focal_px = FOCAL_SHARE * frame_size[0]
    camera_m = camera_height_m(users)
    column = {name: users[name].to_numpy() for name in users.columns if users[name].dtype.is_numeric()}
    scale = column["px_per_m"]
    mean_scale = 1.0 / np.sqrt(scale[first] * scale[second])
    by_size = np.log(scale[second] / scale[first])
    by_foot = -2 * np.arcsinh((column["y2_px"][first] - column["y2_px"][second]) * mean_scale / (2 * camera_m))
    size_error, foot_error = SIZE_ERROR, FOOT_ERROR_M / camera_m
    share = size_error**2 / (size_error**2 + foot_error**2)
    depth = share * by_foot + (1 - share) * by_size  # ln(Z1 / Z2)
    depth_error = float(np.hypot(share * foot_error, (1 - share) * size_error))

    scales = mean_scale * np.exp(depth / 2), mean_scale * np.exp(-depth / 2)
    distance = focal_px * mean_scale
    middle = (column["x1_px"] + column["x2_px"]) / 2 - frame_size[0] / 2
    halves, depths, across = [], [], []
    wide = (column["wide_m"][first] + column["wide_m"][second]) / 2
    for rows, metres in zip((first, second), scales, strict=True):
        width = (column["x2_px"][rows] - column["x1_px"][rows]) * metres
        least, most = column["wide_m"][rows], column["long_m"][rows]
        halves.append(width / 2)
        depths.append(np.clip(least + most - width, least, most))
        across.append(middle[rows] * metres)
    ahead = -2 * distance * np.sinh(depth / 2)  # Z2 - Z1, of the near ends
    offset = np.stack([across[1] - across[0], ahead + (depths[1] - depths[0]) / 2], axis=1)
    reach = np.stack([halves[0] + halves[1], (depths[0] + depths[1]) / 2], axis=1)
    gap = np.linalg.norm(np.maximum(np.abs(offset) - reach, 0.0), axis=1)

    keep = _near(column["identity"][first], column["identity"][second], gap)
    first, second, offset, reach, gap = first[keep], second[keep], offset[keep], reach[keep], gap[keep]
    distance, mean_scale = distance[keep], mean_scale[keep]
    times = column["timestamp_sec"][first]
    side = (np.abs(across[0]) + np.abs(across[1]))[keep] / 2
    edge_m = EDGE_NOISE_SHARE * frame_size[0] * mean_scale
    depth_noise = np.hypot(NOISE_SHARE, np.sqrt(2) * share * edge_m / camera_m)  # of ln(Z1 / Z2)
    floor = np.stack([np.hypot(edge_m, depth_noise * side), depth_noise * distance], axis=1)
    values = np.column_stack([offset, distance])
    lines = recent_lines(
        times, values, np.column_stack([floor, NOISE_SHARE * distance]), _segments(users, first, second, times)
    )
    velocity = lines.slope[:, :2]
    # the error of ln(Z1 / Z2) changes as the two are passed, and by itself; it moves X by X and Z by Z
    wander_hz = depth_error * np.hypot(lines.slope[:, 2] / distance, 1 / WANDER_SEC)
    error = np.hypot(lines.error[:, :2], wander_hz[:, None] * np.stack([side, distance], axis=1))
    steady = np.sign(velocity) * lines.without_step[:, :2] > STEADY_SHARE * np.abs(velocity)
    reach = reach + np.stack([np.zeros(len(reach)), depth_error * distance], axis=1)
    ttc = _ttc(lines.value[:, :2], reach, wide[keep], velocity, np.where(steady, significance * error, np.inf))
    now_gap = np.linalg.norm(np.maximum(np.abs(lines.value[:, :2]) - reach, 0.0), axis=1)
    with np.errstate(all="ignore"):
        closing = np.where(np.isfinite(ttc) & (ttc > 0), now_gap / ttc, np.nan)
    ttc = np.where(np.isfinite(ttc) & ~(closing >= min_closing_mps), np.inf, ttc)
    return PairMotion(
        first=column["identity"][first],
        second=column["identity"][second],
        row=np.stack([first, second], axis=1),
        times_sec=times,
        offset_m=offset,
        gap_m=np.linalg.norm(np.maximum(np.abs(offset) - reach, 0.0), axis=1),
        velocity_mps=velocity,
        ttc_sec=ttc,
        closing_mps=np.where(np.isfinite(ttc), closing, np.nan),
    )


def _pairs(users: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (first, second) of every two road users in one frame, by identities and time."""
    some = users.select("row", "identity", "frame_index", "road_user", "scene_index")
    pairs = (
        some.join(some, on=["frame_index", "scene_index"], suffix="_2")
        .filter(
            (pl.col("identity") < pl.col("identity_2"))
            & ((pl.col("road_user") == "vehicle") | (pl.col("road_user_2") == "vehicle"))
        )
        .sort("identity", "identity_2", "frame_index")
    )
    return pairs["row"].to_numpy().astype(np.int64), pairs["row_2"].to_numpy().astype(np.int64)


def _near(one: NDArray[np.int64], two: NDArray[np.int64], gap: Array) -> NDArray[np.bool_]:
    """Samples of the pairs that come within NEAR_M at some time."""
    table = pl.DataFrame({"one": one, "two": two, "gap": gap})
    near: NDArray[np.bool_] = table.select(pl.col("gap").min().over("one", "two") <= NEAR_M).to_series().to_numpy()
    return near


def _segments(
    users: pl.DataFrame, first: NDArray[np.int64], second: NDArray[np.int64], times: Array
) -> NDArray[np.int64]:
    """Number of the unbroken stretch of each sample: another pair, a gap in time or a jump of either starts one."""
    if not len(first):
        return np.zeros(0, np.int64)
    identity = users["identity"].to_numpy()
    boxes = users.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy()
    centre, edges = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    size = np.sqrt(np.prod(edges, axis=1))
    elapsed = np.diff(times)
    breaks = elapsed > MAX_GAP_SEC
    for rows in (first, second):
        breaks |= np.diff(identity[rows]) != 0
        moved = np.abs(np.diff(centre[rows], axis=0)).max(axis=1)
        least = np.minimum(size[rows][1:], size[rows][:-1])
        breaks |= moved > (JUMP_SIZES + JUMP_SIZES_PER_SEC * np.maximum(elapsed, 0.0)) * least
        grown = np.abs(np.diff(np.log(edges[rows]), axis=0)).max(axis=1)
        breaks |= grown > JUMP_LOG + JUMP_LOG_PER_SEC * np.maximum(elapsed, 0.0)
    return np.concatenate([[0], np.cumsum(breaks)])


def _ttc(offset: Array, reach: Array, wide: Array, velocity: Array, margin: Array) -> Array:
    """Time until two rectangles touch, per axis the interval in which they overlap; inf: not on a collision course.

    An axis that still has a gap must close by more than `margin`. Two that are beside each other already must be so by
    their mere widths, `wide`, or close in across as well: the side of a car, which a slanted view adds to its box, is
    in nobody's way.
    """
    with np.errstate(all="ignore"):
        closing = -np.sign(offset) * velocity
        apart = np.abs(offset) - reach
        certain = closing > margin
        enters = np.where(apart <= 0, 0.0, np.where(certain, apart / closing, np.inf))
        beyond = np.where(closing > 0, (np.abs(offset) + reach) / closing, (reach - np.abs(offset)) / -closing)
        leaves = np.where(closing == 0, np.inf, np.where((apart > 0) & ~certain, 0.0, beyond))
        enter = enters.max(axis=1)
        in_the_way = (apart[:, 0] > 0) | (np.abs(offset[:, 0]) < wide) | certain[:, 0]
        ttc = np.where((enter < leaves.min(axis=1)) & (enter > 0) & in_the_way, enter, np.inf)
    return np.where(np.isnan(velocity).any(axis=1), np.nan, ttc)
