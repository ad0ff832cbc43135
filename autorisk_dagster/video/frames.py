"""One decoded frame and its pixels: grey, BGR or 4:2:0, always upright, in square pixels, at the video's first size."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import cv2
import numpy as np
from av.video.frame import VideoFrame as DecodedFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from autorisk_dagster.video.container import Geometry, ticks_of

# Formats whose first plane is 8-bit luma, one byte a pixel.
_LUMA_FIRST = frozenset(
    f"yuv{full}{layout}p" for full in ("", "j") for layout in ("410", "411", "420", "422", "440", "444")
) | {"nv12", "nv21", "nv16", "gray"}
_FULL_RANGE = 2  # AVCOL_RANGE_JPEG
# Luma 16..235 to 0..255 (ITU-R BT.601, 2.5.3), so that grey means the same in every range and format.
_BLACK, _GAIN = 16, 255 / 219
_TURN = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Scalers:
    """libswscale contexts, one a use, kept over the frames of a video because building one costs more than a frame."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._of: dict[str, VideoReformatter] = {}

    def reformat(self, frame: DecodedFrame, width: int, height: int, pixels: str) -> DecodedFrame:
        scaler = self._of.setdefault(pixels, VideoReformatter())
        return scaler.reformat(
            frame, width=width, height=height, format=pixels, interpolation="AREA", threads=self.threads
        )


def reduced(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Grey `picture` at a smaller size: halved while it stays large enough, the rest bilinear.

    Each halving is the mean of 2 x 2, so that no step looks past pixels. Against OpenCV's INTER_AREA in one step, which
    is slow at ratios that are no whole number: 0.1 ms for 1.1 ms from 1280 x 720 to 427 x 240.
    """
    while picture.shape[1] >= 2 * width and picture.shape[0] >= 2 * height:
        even = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
        half = (even.shape[1] // 2, even.shape[0] // 2)
        picture = cast("NDArray[np.uint8]", cv2.resize(even, half, interpolation=cv2.INTER_AREA))
    if picture.shape != (height, width):
        picture = cast("NDArray[np.uint8]", cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR))
    return picture


def pixels_of(picture: DecodedFrame) -> NDArray[np.uint8]:
    """Pixels of an 8-bit packed or grey picture, shape (h, w) or (h, w, 3)."""
    return cast("NDArray[np.uint8]", picture.to_ndarray())


@dataclass(frozen=True)
class VideoFrame:
    """A presented frame.

    Attributes:
        index: counts the frames given out by the reader, from 0; in a window, from the window's first frame
        timestamp_sec: presentation time, seconds from the video's first frame

    The decoded picture is held until the object is dropped: a list of many frames is a list of many full pictures.
    """

    index: int
    timestamp_sec: float
    _frame: DecodedFrame = field(repr=False, compare=False)
    _geometry: Geometry = field(repr=False, compare=False)
    _scalers: Scalers = field(repr=False, compare=False)

    @property
    def width_px(self) -> int:
        """Upright width in square pixels, the same for every frame of a video."""
        return self._geometry.width_px

    @property
    def height_px(self) -> int:
        """Upright height in square pixels, the same for every frame of a video."""
        return self._geometry.height_px

    @property
    def duration_sec(self) -> float | None:
        """How long the file says the frame is shown; None where it does not say."""
        return float(self._frame.duration * ticks_of(self._frame)) or None

    def gray(self, height_px: int) -> NDArray[np.uint8]:
        """Grey picture, uint8 (h, w), upright, 0 black and 255 white, its SHORT edge `height_px`; never enlarged."""
        width, height = self._stored(min(1.0, height_px / min(self.width_px, self.height_px)))
        frame = self._frame
        if frame.format.name in _LUMA_FIRST:
            plane = frame.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)  # type: ignore[call-overload]
            picture: NDArray[np.uint8] = rows[: frame.height, : frame.width]
            picture = reduced(picture, width, height)
            full = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj")
            # swscale writes grey as full range, so a stream that is grey to begin with is taken as such.
            if not full and frame.format.name != "gray":
                # Both saturate at 0 and 255; half the time of a table.
                above_black = cv2.subtract(picture, _BLACK)  # type: ignore[call-overload]
                picture = cast("NDArray[np.uint8]", cv2.convertScaleAbs(above_black, alpha=_GAIN))
        else:
            picture = pixels_of(self._scalers.reformat(frame, width, height, "gray"))
        return self._upright(picture)

    def bgr(self, long_edge_px: int | None = None) -> NDArray[np.uint8]:
        """Colour picture, uint8 (h, w, 3) in B, G, R order, upright, its long edge `long_edge_px`; never enlarged."""
        longest = max(self.width_px, self.height_px)
        width, height = self._stored(1.0 if long_edge_px is None else min(1.0, long_edge_px / longest))
        return self._upright(pixels_of(self._scalers.reformat(self._frame, width, height, "bgr24")))

    def even_yuv420p(self, instead: NDArray[np.uint8] | None = None) -> DecodedFrame:
        """The upright picture as an encoder wants it: 4:2:0, both edges even (by scaling, one pixel at most).

        `instead`: a picture to show in its place, as `bgr()` gives it.
        """
        width, height = max(2, self.width_px // 2 * 2), max(2, self.height_px // 2 * 2)
        source = self._frame
        if instead is not None or self._geometry.rotation_deg:
            source = DecodedFrame.from_ndarray(self.bgr() if instead is None else instead, format="bgr24")
        return self._scalers.reformat(source, width, height, "yuv420p")

    def _stored(self, scale: float) -> tuple[int, int]:
        """(width, height) in the stored orientation of the upright picture scaled by `scale`."""
        width, height = max(1, round(self.width_px * scale)), max(1, round(self.height_px * scale))
        return (height, width) if self._geometry.turned else (width, height)

    def _upright(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        turn = _TURN.get(self._geometry.rotation_deg)
        if turn is not None:
            picture = cast("NDArray[np.uint8]", cv2.rotate(picture, turn))
        # A view of the decoder's buffer would keep the whole picture alive and cannot be written to.
        return np.ascontiguousarray(picture) if picture.flags.owndata else picture.copy()
