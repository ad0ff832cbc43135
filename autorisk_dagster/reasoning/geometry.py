"""Where a road user is beside the own car, in metres, from one uncalibrated camera.

The size of a road user is roughly known, so its box carries its own scale: a box h px high round something H m high
says that one px there is H / h metres. With a camera that looks along the car (pinhole, optical axis at the frame
centre):

    lateral position of an edge   x_m = (x_px - width / 2) * H / h          no focal length needed
    distance                      z_m = f * H / h,  f = FOCAL_SHARE * width

Something on a collision course comes to 0 m at contact, wherever the camera points: a yaw error e adds e * z_m, which
vanishes with the distance. That is the test of constant bearing, in metres.

A car beside the own path needs care. Its height is that of its near end, but the edge of its box towards the path is
its *far* end, and perspective carries that edge towards the middle the nearer the car comes: every parked car would
seem to swerve. Its *outer* edge is the near end, so that a car of width B that stands along the road has its flank at

    flank = x_outer - B

and its inner edge shows at flank * z / (z + length). A box that reaches further in than that is of a car that stands
across, and as far as it does so, up to the whole length, its inner edge is taken instead (at its far side, z + width).
Where the frame cuts the outer edge, what is seen at the border is the flank or the near end, and the far end decides:
flank = inner edge * (z + length) / z, between x_outer - B and x_outer.

Assumptions: a forward-looking camera near the middle of the car; sizes as in `SIZE_M`, within a quarter; no focal
length is known, so that distances are good to about 30 %. A box cut by the upper or lower border gives upper bounds.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.kinematics.sizes import SIZE_M
from autorisk_dagster.kinematics.ttc import BORDER_PX, BORDER_SHARE

Array = NDArray[np.float64]

TOO_LONG: Final = 1.5  # times its length: a box that would be wider shows something else
OWN_HALF_WIDTH_M: Final = 0.9
LANE_HALF_WIDTH_M: Final = 1.75
FOCAL_SHARE: Final = 0.65  # focal length / frame width: 75 degrees across, between a phone's 65 and a dashcam's 100


def lateral_edges_m(boxes_xyxy_px: Array, label: str, frame_size: tuple[int, int]) -> Array:
    """Left and right flank beside the camera's axis: (n, 2) m, right positive; NaN where `metres_per_px` is.

    Of the two, the one towards the own path counts; the other, where the frame cuts it, is at the border.

    Args:
        boxes_xyxy_px: (n, 4)
        label: COCO label, gives the size
        frame_size: (width, height) in px
    """
    _, width_m, length_m = SIZE_M[label]
    scale = metres_per_px(boxes_xyxy_px, label, frame_size)
    edges: Array = (boxes_xyxy_px[:, [0, 2]] - frame_size[0] / 2) * scale[:, None]
    left_side, right_side = edges[:, 1] < 0, edges[:, 0] > 0
    outer = np.where(left_side, -edges[:, 0], edges[:, 1])
    inner = np.where(left_side, -edges[:, 1], edges[:, 0])
    ahead = FOCAL_SHARE * frame_size[0] * scale

    whole = np.maximum(outer - width_m, 0.0)
    from_far_end = inner * (ahead + length_m) / ahead
    along = np.where(cut_at_side(boxes_xyxy_px, frame_size), np.clip(from_far_end, whole, outer), whole)
    expected = along * ahead / (ahead + length_m)
    across = np.maximum(outer - length_m, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        turned = np.nan_to_num(np.clip((expected - inner) / (expected - across), 0.0, 1.0), nan=0.0)
    turned = np.where(expected > across, turned, 0.0)
    inner_across = inner * (ahead + width_m) / ahead
    flank = np.maximum(along + turned * (inner_across - along), inner)
    edges[:, 1] = np.where(left_side, -flank, edges[:, 1])
    edges[:, 0] = np.where(right_side, flank, edges[:, 0])
    return edges


def distance_m(boxes_xyxy_px: Array, label: str, frame_size: tuple[int, int]) -> Array:
    """Distance from the camera: (n,) m, within about 30 %; NaN where `metres_per_px` is."""
    return FOCAL_SHARE * frame_size[0] * metres_per_px(boxes_xyxy_px, label, frame_size)


def metres_per_px(boxes_xyxy_px: Array, label: str, frame_size: tuple[int, int]) -> Array:
    """Scale at the road user: (n,) m/px; NaN where the box cannot be that of a road user with a known height.

    That is a box without height, one cut at both sides, and one far too flat: detectors call the own bonnet a car.
    Where the upper or lower border cuts the box, the true height is more, so that this, and with it every distance and
    gap, is an upper bound.
    """
    height_m, _, length_m = SIZE_M[label]
    border_px = max(BORDER_PX, BORDER_SHARE * frame_size[0])
    width_px = boxes_xyxy_px[:, 2] - boxes_xyxy_px[:, 0]
    height_px = boxes_xyxy_px[:, 3] - boxes_xyxy_px[:, 1]
    usable = (boxes_xyxy_px[:, 0] > border_px) | (boxes_xyxy_px[:, 2] < frame_size[0] - border_px)
    usable &= (height_px > 0) & (width_px * height_m <= TOO_LONG * length_m * height_px)
    return np.where(usable, height_m / np.where(usable, height_px, 1.0), np.nan)


def cut_at_side(boxes_xyxy_px: Array, frame_size: tuple[int, int]) -> NDArray[np.bool_]:
    """(n,) whether the box touches the left or right border, so that the road user reaches out of the frame."""
    border_px = max(BORDER_PX, BORDER_SHARE * frame_size[0])
    return (boxes_xyxy_px[:, 0] <= border_px) | (boxes_xyxy_px[:, 2] >= frame_size[0] - border_px)


def side_gap_m(left_m: float, right_m: float) -> float:
    """Free room between the own car's flank and a road user that reaches from `left_m` to `right_m`; 0 in the own path.

    NaN when an edge is NaN.
    """
    if math.isnan(left_m) or math.isnan(right_m):
        return math.nan
    return max(left_m - OWN_HALF_WIDTH_M, -OWN_HALF_WIDTH_M - right_m, 0.0)


def robust_line(times_sec: Array, values: Array) -> tuple[float, float, float]:
    """Theil-Sen line: (value at the last time, slope per second, standard error of the slope).

    The median of all pairwise slopes, so that a third of the boxes may be wrong (Theil 1950, Sen 1968); the error comes
    from the median absolute residual. NaN values are left out; under three values all three results are NaN.
    """
    usable = np.isfinite(values)
    times, found = times_sec[usable], values[usable]
    if len(found) < 3:
        return float("nan"), float("nan"), float("nan")
    first, second = np.triu_indices(len(found), 1)
    slope = float(np.median((found[second] - found[first]) / (times[second] - times[first])))
    residuals = found - slope * times
    offset = float(np.median(residuals))
    noise = 1.4826 * float(np.median(np.abs(residuals - offset)))
    spread = float(np.sqrt(np.sum((times - times.mean()) ** 2)))
    return offset + slope * float(times_sec[-1]), slope, noise / spread
