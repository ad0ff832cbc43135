"""Where the flanks of a road user are beside the camera's axis, in metres, from its box.

Lateral position of an edge: x_m = (x_px - width / 2) * z / f, the scale z / f of the box (`kinematics.camera`). No
focal length is needed. Something on a collision course comes to 0 m at contact, wherever the camera points: a yaw error
e adds e * z, which vanishes with the distance.

A car beside the own path needs care. Its height is that of its near end, but the edge of its box towards the path is
its *far* end, and perspective carries that edge towards the middle the nearer the car comes: every parked car would
seem to swerve. Its *outer* edge is the near end, so that a car of width B that stands along the road has its flank at

    flank = x_outer - B

and its inner edge shows at flank * z / (z + length). A box that reaches further in than that is of a car that stands
across, and as far as it does so, up to the whole length, its inner edge is taken instead (at its far side, z + width).
Where the frame cuts the outer edge, what is seen at the border is the flank or the near end, and the far end decides:
flank = inner edge * (z + length) / z, between x_outer - B and x_outer.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from autorisk_dagster.kinematics.camera import Array, Camera, cut_at_side, metres_per_px
from autorisk_dagster.kinematics.sizes import SIZE_M

OWN_HALF_WIDTH_M: Final = 0.9


def lateral_edges_m(boxes_xyxy_px: Array, label: str, camera: Camera) -> Array:
    """Left and right flank beside the camera's axis: (n, 2) m, right positive; NaN where the box has no scale.

    Of the two, the one towards the own path counts; the other, where the frame cuts it, is at the border.

    Args:
        boxes_xyxy_px: (n, 4)
        label: COCO label, gives the size
        camera: gives the scale
    """
    _, width_m, length_m = SIZE_M[label]
    scale, _ = metres_per_px(boxes_xyxy_px, label, camera)
    edges: Array = (boxes_xyxy_px[:, [0, 2]] - camera.width_px / 2) * scale[:, None]
    left_side, right_side = edges[:, 1] < 0, edges[:, 0] > 0
    outer = np.where(left_side, -edges[:, 0], edges[:, 1])
    inner = np.where(left_side, -edges[:, 1], edges[:, 0])
    ahead = camera.focal_px * scale

    whole = np.maximum(outer - width_m, 0.0)
    from_far_end = inner * (ahead + length_m) / ahead
    along = np.where(cut_at_side(boxes_xyxy_px, camera), np.clip(from_far_end, whole, outer), whole)
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


def side_gap_m(edges_m: Array) -> Array:
    """Free room between the own flank and road users that reach from left to right, (..., 2) m; 0 in the own path.

    NaN where an edge is NaN.
    """
    left, right = edges_m[..., 0], edges_m[..., 1]
    gap: Array = np.maximum(np.maximum(left - OWN_HALF_WIDTH_M, -OWN_HALF_WIDTH_M - right), 0.0)
    return gap
