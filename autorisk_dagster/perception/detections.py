"""Boxes of road users in one frame, and what every detector back end does with its raw output.

A detector here reports road users only: people on foot or on a cycle, and everything that carries them on the road.
All vehicle classes share one non-maximum suppression, because detectors name one lorry "car", "truck" and "bus" at
once and a second box on it would be a second road user; people have their own, so that a cyclist keeps two boxes,
the bicycle (a vehicle) and the rider (a pedestrian, the seeds' word for every person).

The own vehicle is no road user: detectors see "a car" in the bonnet and in the frame of the own windscreen. Those boxes
are kept, suppress nothing but each other, and are told by `is_own_vehicle`; what else of it stands still in the
picture is found afterwards, in `still_boxes`.

Labels are those of COCO (Lin et al. 2014); the two kinds are those of the near-miss
document, section "Input".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError

RoadUser = Literal["vehicle", "pedestrian"]

ROAD_USER_OF_LABEL: dict[str, RoadUser] = {
    "person": "pedestrian",
    "bicycle": "vehicle",
    "car": "vehicle",
    "motorcycle": "vehicle",
    "bus": "vehicle",
    "train": "vehicle",
    "truck": "vehicle",
}


BOTTOM_SHARE = 0.95  # from here down a box reaches the bottom border: NanoDet's end up to 0.04 of the height before it
WINDSCREEN_WIDTH_SHARE = 0.9
BONNET_WIDTH_SHARE = 0.5
BONNET_ASPECT = 5.0  # width over height; a bus broadside is 4, a car 3, the bonnet of `residential_parked` 6.4


@dataclass(frozen=True)
class Detections:
    """The road users found in one frame, most confident first.

    Attributes:
        xyxy_px: (n, 4) float64, left, top, right, bottom in px of the frame that was given; inside the frame
        confidence: (n,) float64 in 0..1, the detector's own score
        label: n COCO labels, each a key of `ROAD_USER_OF_LABEL`

    Raises:
        InputError: the three do not have one length, or a label is no road user.
    """

    xyxy_px: NDArray[np.float64]
    confidence: NDArray[np.float64]
    label: tuple[str, ...]

    def __post_init__(self) -> None:
        count = len(self.label)
        if self.xyxy_px.shape != (count, 4) or self.confidence.shape != (count,):
            raise InputError(
                f"detections need boxes (n, 4), confidences (n,) and n labels; got {self.xyxy_px.shape}, "
                f"{self.confidence.shape} and {count}"
            )
        strange = sorted(set(self.label) - set(ROAD_USER_OF_LABEL))
        if strange:
            raise InputError(f"labels {strange} are no road users; known: {', '.join(ROAD_USER_OF_LABEL)}")

    def __len__(self) -> int:
        return len(self.label)

    @property
    def road_user(self) -> tuple[RoadUser, ...]:
        """For each box "vehicle" or "pedestrian"."""
        return tuple(ROAD_USER_OF_LABEL[label] for label in self.label)


class Detector(Protocol):
    """A detector back end.

    Attributes:
        model_id: name of the model, for lineage
        model_revision: SHA-256 of its weights file
        input_long_edge_px: long edge of the pictures its network sees; a larger frame is only scaled down once more
    """

    model_id: str
    model_revision: str
    input_long_edge_px: int

    def detect(self, frames_bgr: list[NDArray[np.uint8]]) -> list[Detections]:
        """Road users in each frame: (h, w, 3) uint8 BGR in, one `Detections` a frame out, same order."""
        ...


def select_road_users(
    xyxy_px: NDArray[np.floating],
    confidence: NDArray[np.floating],
    label: Sequence[str],
    *,
    frame_size: tuple[int, int],
    min_confidence: float,
    nms_iou: float,
) -> Detections:
    """Turn a back end's raw boxes into `Detections`.

    Keeps road-user labels with `confidence >= min_confidence`, clips boxes to the frame, drops those with no area left
    and those of the own vehicle, and suppresses doubles: once over all vehicle classes, once over people.

    Args:
        xyxy_px: (n, 4) boxes in px, may reach out of the frame
        confidence: (n,)
        label: n labels, other than road users allowed
        frame_size: (width, height) in px
        min_confidence: boxes under it are dropped
        nms_iou: of two boxes that overlap more than this, the more confident one stays
    """
    width_px, height_px = frame_size
    boxes = np.clip(np.asarray(xyxy_px, np.float64).reshape(-1, 4), 0.0, [width_px, height_px] * 2)
    scores = np.asarray(confidence, np.float64)
    road_user = np.array([ROAD_USER_OF_LABEL.get(name, "") for name in label], dtype="U10")
    usable = (road_user != "") & (scores >= min_confidence)
    usable &= (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    # A box over the whole windscreen must not suppress the vehicles that are seen through it.
    road_user[(road_user == "vehicle") & is_own_vehicle(boxes, frame_size)] = "own"
    kept: list[int] = []
    for kind in ("vehicle", "pedestrian", "own"):
        candidates = np.flatnonzero(usable & (road_user == kind))
        kept.extend(candidates[suppress_doubles(boxes[candidates], scores[candidates], nms_iou)].tolist())
    kept.sort(key=lambda index: -scores[index])
    return Detections(boxes[kept], scores[kept], tuple(label[index] for index in kept))


def is_own_vehicle(xyxy_px: NDArray[np.float64], frame_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which vehicle boxes can only be the own one: the view through its windscreen, or its bonnet.

    Such a box reaches the bottom border and is either as wide as the frame, to a tenth, or over half as wide at 5 : 1
    or flatter. No other vehicle looks so from a dashcam. With a field of view of 60 x 36 degrees and the camera 1.3 m
    up, the road at the bottom border is 1.3 / tan 18 = 4.0 m away. What is cut off there is nearer than that, about 2 m
    before the bumper or less; a bus (2.5 m) fills 2.5 / (2 * 4.0 * tan 30) = 54 % of the width there, and 90 % only at
    2.4 m, when it touches. And what is so near and as high as a car reaches up to the horizon, so it is not flat.
    Left out, knowingly: a lorry standing across the road less than two metres away.

    Args:
        xyxy_px: (n, 4), inside the frame
        frame_size: (width, height) in px

    Returns:
        (n,) bool
    """
    width_px, height_px = frame_size
    left, top, right, bottom = xyxy_px.T
    at_bottom = bottom >= BOTTOM_SHARE * height_px
    windscreen = right - left >= WINDSCREEN_WIDTH_SHARE * width_px
    bonnet = (right - left >= BONNET_WIDTH_SHARE * width_px) & (right - left >= BONNET_ASPECT * (bottom - top))
    found: NDArray[np.bool_] = at_bottom & (windscreen | bonnet)
    return found


def suppress_doubles(
    xyxy: NDArray[np.float64], confidence: NDArray[np.float64], iou_threshold: float
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of the boxes that stay, most confident first.

    Args:
        xyxy: (n, 4)
        confidence: (n,)
        iou_threshold: a box whose IoU with a kept, more confident box is over this goes
    """
    order = np.argsort(-confidence, kind="stable")
    overlap = box_iou(xyxy, xyxy)
    alive = np.ones(len(order), dtype=bool)
    kept = []
    for index in order:
        if alive[index]:
            kept.append(index)
            alive &= overlap[index] <= iou_threshold
    return np.array(kept, dtype=np.intp)


def box_iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of every box of `first` (n, 4) with every box of `second` (m, 4): (n, m) in 0..1.

    An inverted or empty box overlaps nothing.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common: NDArray[np.float64] = np.prod(np.clip(high - low, 0.0, None), axis=2)
    area_first = np.prod(np.clip(first[:, 2:] - first[:, :2], 0.0, None), axis=1)
    area_second = np.prod(np.clip(second[:, 2:] - second[:, :2], 0.0, None), axis=1)
    union = area_first[:, None] + area_second[None, :] - common
    iou: NDArray[np.float64] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return iou
