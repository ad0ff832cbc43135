"""How good a generated video is, measured on the file that was written.

- First frame: structural similarity (Wang et al. 2004, scikit-image) of its first picture and the condition. A video
  that begins elsewhere goes on from something else.
- Neighbours: the least similarity of two neighbouring pictures after the motion between them is taken out by optical
  flow. Motion may be fast; what jumps, melts or flickers is not carried by any flow.
- Actors: each road user of the hazard, from its box in the condition on, looked for by the detector: found where it can
  be followed, detection by detection, through half of the pictures that are looked at.
- Pair: similarity of danger and safe, mean over the pictures. What is the same shows no choice.

All without the strip, on grey pictures; similarity at a short edge of 240 px, so that the grain of the encoder counts
little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.mining.motion import SHORT_EDGE_PX, dense_flow
from autorisk_dagster.perception.detections import Detector
from autorisk_dagster.prediction.picture import STRIP_PX, Image

FIRST_FRAME_SSIM: Final = 0.80  # a letterboxed frame after H.264 has 0.97, the next second of a drive 0.3 to 0.7
NEIGHBOUR_SSIM: Final = 0.60
PAIR_SSIM: Final = 0.995  # over this the two are the same but for the encoder
EVERY: Final = 2  # pairs of neighbours that one is taken of
LOOKS: Final = 7  # pictures that the detector looks at
FOLLOWS_IOU: Final = 0.15  # of a box and the last one, 0.5 s earlier
FOUND_SHARE: Final = 0.5


@dataclass(frozen=True)
class Actor:
    """A road user of the hazard: its box in the condition, (4,) px of the picture, and "vehicle" or "pedestrian"."""

    box_px: NDArray[np.float64]
    road_user: str


def first_frame_ssim(pictures: Sequence[Image], condition: Image) -> float:
    """Similarity of the first picture and the letterboxed condition, -1 to 1."""
    return _ssim(_grey(pictures[0]), _grey(condition))


def lowest_neighbour_ssim(pictures: Sequence[Image]) -> float:
    """Least similarity of two neighbours, the later brought back to the earlier by the flow between them."""
    lowest = 1.0
    for index in range(0, len(pictures) - 1, EVERY):
        before, after = _grey(pictures[index]), _grey(pictures[index + 1])
        flow = dense_flow(before, after)
        rows, columns = np.indices(before.shape, np.float32)
        back = cv2.remap(
            after, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        lowest = min(lowest, _ssim(before, cast("Image", back)))
    return lowest


def pair_ssim(danger: Sequence[Image], safe: Sequence[Image]) -> float:
    """Similarity of two videos of one length after the first picture, which they share: mean over every fourth one."""
    return float(np.mean([_ssim(_grey(danger[i]), _grey(safe[i])) for i in range(1, min(len(danger), len(safe)), 4)]))


def actors_found(pictures: Sequence[Image], actors: Sequence[Actor], detector: Detector) -> int:
    """How many of `actors` the detector can follow from the first picture on."""
    if not actors:
        return 0
    chosen = [pictures[int(index)] for index in np.linspace(0, len(pictures) - 1, LOOKS).round()]
    frames = [picture[: picture.shape[0] - STRIP_PX] for picture in chosen]
    boxes = [actor.box_px for actor in actors]
    seen = [0] * len(actors)
    for frame in frames:
        (found,) = detector.detect([np.ascontiguousarray(frame)])
        for number, actor in enumerate(actors):
            overlaps = [
                _iou(box, boxes[number]) if kind == actor.road_user else 0.0
                for box, kind in zip(found.xyxy_px, found.road_user, strict=True)
            ]
            if overlaps and max(overlaps) >= FOLLOWS_IOU:
                boxes[number] = found.xyxy_px[int(np.argmax(overlaps))]
                seen[number] += 1
    return sum(count >= FOUND_SHARE * LOOKS for count in seen)


def _grey(picture: Image) -> Image:
    shown = cast("Image", cv2.cvtColor(picture[: picture.shape[0] - STRIP_PX], cv2.COLOR_BGR2GRAY))
    scale = SHORT_EDGE_PX / min(shown.shape)
    if scale >= 1:
        return np.ascontiguousarray(shown)
    return cast("Image", cv2.resize(shown, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _ssim(one: Image, other: Image) -> float:
    from skimage.metrics import structural_similarity  # costs 0.3 s to import

    return float(structural_similarity(one, other))  # type: ignore[no-untyped-call]


def _iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.maximum(high - low, 0.0)))
    total = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / total if total > 0 else 0.0
