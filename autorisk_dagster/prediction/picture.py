"""The picture a world model works on: a frame of the source letterboxed to its size, and the label burnt into it.

Everything generated carries a strip at its lower border, `STRIP_PX` high, that says what it is in each frame: the label
at the left, always at the same place, and what the frame shows after it. What lies under the strip counts in no
measure of quality.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import VideoError
from autorisk_dagster.video.reader import VideoFrame, VideoReader

STRIP_PX: Final = 24
LABEL_WIDTH_PX: Final = 300  # room of the label in the strip: all but small pictures leave the rest to what is shown
LABELS: Final = {
    "kinematic": "Kinematic forecast - synthetic",
    "cosmos": "Cosmos Predict - synthetic",
}
_STRIP_BGR, _LABEL_BGR, _TEXT_BGR = (28, 22, 17), (80, 200, 255), (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Letterbox:
    """How a frame of (width, height) px lies in a picture of another size: scaled by `scale`, moved by (left, top)."""

    scale: float
    left_px: int
    top_px: int
    width_px: int
    height_px: int

    def boxes(self, xyxy_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 4) px of the frame as px of the picture."""
        moved: NDArray[np.float64] = xyxy_px * self.scale + np.array([self.left_px, self.top_px] * 2)
        return moved


def letterbox(frame_size: tuple[int, int], picture_size: tuple[int, int]) -> Letterbox:
    """The largest frame of the same shape in the middle of the picture; both sizes are (width, height)."""
    scale = min(picture_size[0] / frame_size[0], picture_size[1] / frame_size[1])
    width, height = (min(round(edge * scale), room) for edge, room in zip(frame_size, picture_size, strict=True))
    return Letterbox(scale, (picture_size[0] - width) // 2, (picture_size[1] - height) // 2, width, height)


def letterboxed(frame_bgr: Image, picture_size: tuple[int, int]) -> Image:
    """`frame_bgr` in a black picture of (width, height)."""
    place = letterbox((frame_bgr.shape[1], frame_bgr.shape[0]), picture_size)
    method = cv2.INTER_AREA if place.scale < 1 else cv2.INTER_LINEAR
    picture = np.zeros((picture_size[1], picture_size[0], 3), np.uint8)
    picture[place.top_px : place.top_px + place.height_px, place.left_px : place.left_px + place.width_px] = cv2.resize(
        frame_bgr, (place.width_px, place.height_px), interpolation=method
    )
    return picture


def with_strip(picture: Image, label: str, text: str) -> Image:
    """A copy of `picture` with the strip: the label, and `text` right of it where there is room."""
    height, width = picture.shape[:2]
    shown = picture.copy()
    shown[height - STRIP_PX :] = _STRIP_BGR
    scale = min(0.5, 0.5 * width / LABEL_WIDTH_PX)
    baseline = height - 8
    cv2.putText(shown, label, (8, baseline), _FONT, scale, _LABEL_BGR, 1, cv2.LINE_AA)
    if text and width > 1.5 * LABEL_WIDTH_PX:
        # Nothing of the text reaches over the border: a cut word would look like another one.
        room = width - LABEL_WIDTH_PX - 8
        wide = cv2.getTextSize(text, _FONT, 0.45, 1)[0][0]
        cv2.putText(shown, text, (LABEL_WIDTH_PX, baseline), _FONT, 0.45 * min(1.0, room / wide), _TEXT_BGR, 1,
                    cv2.LINE_AA)  # fmt: skip
    return shown


def label_region(picture: Image) -> Image:
    """The part of a picture in which the label stands, the same in each frame."""
    return picture[picture.shape[0] - STRIP_PX :, :LABEL_WIDTH_PX]


@dataclass(frozen=True)
class Condition:
    """The moment that a forecast starts from.

    Attributes:
        frame_bgr: (h, w, 3) the source's frame, upright, full size
        at_sec: its time in the source
    """

    frame_bgr: Image
    at_sec: float


def read_condition(source: Path, at_sec: float) -> Condition:
    """The frame shown at `at_sec`.

    Raises:
        VideoError: the source has no frame until then.
    """
    shown: VideoFrame | None = None
    with VideoReader(source, audio=False, start_sec=max(0.0, at_sec - 1.0), end_sec=at_sec + 1e-3) as reader:
        for item in reader:
            if isinstance(item, VideoFrame):
                shown = item
    if shown is None:
        raise VideoError(source, f"shows no frame at {at_sec:g} s", "Mine it again: it has changed")
    return Condition(shown.bgr(), shown.timestamp_sec)
