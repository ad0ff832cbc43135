"""The evidence window: 8 to 12 JPEG frames around an event, evenly spread over time.

Source: seed 001, "What to send Cosmos". Even in time, not in frame numbers: a variable frame rate would bunch them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError
from autorisk_dagster.video.frames import VideoFrame
from autorisk_dagster.video.reader import VideoReader

MIN_FRAMES: Final = 8
MAX_FRAMES: Final = 12
MAX_FRAME_BYTES: Final = 512 * 1024
_WIDEST_SEC: Final = 8.0  # a window over this is not the moment any more
_QUALITIES: Final = (85, 70, 50, 30)


@dataclass(frozen=True)
class EvidenceWindow:
    """JPEG frames in order of time, and when each is shown, seconds from the video's first frame."""

    frames: tuple[bytes, ...]
    timestamps_sec: tuple[float, ...]


def evidence_window(
    path: Path, at_sec: float, *, count: int = 10, window_sec: float = 1.0, long_edge_px: int = 640
) -> EvidenceWindow:
    """Frames of the video at `path` around `at_sec`.

    A window that reaches over an end of the video is moved inside. Where it holds fewer than 8 frames (under 8 a
    second) it is doubled, up to 8 s.

    Args:
        at_sec: the event, seconds from the video's first frame
        count: frames wanted, 8 to 12
        window_sec: length of the window
        long_edge_px: long edge of the frames; never enlarged

    Raises:
        InputError: `count` out of range, no time of the video, or fewer than 8 frames within 8 s.
        VideoError: the video cannot be read.
    """
    if not MIN_FRAMES <= count <= MAX_FRAMES:
        raise InputError(f"evidence: count must be {MIN_FRAMES} to {MAX_FRAMES}, got {count}")
    if not (np.isfinite(at_sec) and at_sec >= 0 and 0 < window_sec <= _WIDEST_SEC):
        raise InputError(f"evidence: no window of {window_sec} s at {at_sec} s")
    while True:
        frames = _nearest(path, at_sec, count, window_sec)
        if len(frames) >= MIN_FRAMES:
            break
        if window_sec >= _WIDEST_SEC:
            raise InputError(
                f"evidence: {path.name} has {len(frames)} frames within {window_sec:.0f} s of {at_sec:.2f} s, "
                f"needed are {MIN_FRAMES}: the event cannot be shown to a verifier"
            )
        window_sec = min(2 * window_sec, _WIDEST_SEC)
    return EvidenceWindow(
        tuple(jpeg(frame.bgr(long_edge_px)) for frame in frames), tuple(frame.timestamp_sec for frame in frames)
    )


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """A BGR picture, shape (h, w, 3), as JPEG of at most `MAX_FRAME_BYTES`.

    Raises:
        InputError: no quality is small enough.
    """
    for quality in _QUALITIES:
        _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        data = cast("NDArray[np.uint8]", encoded).tobytes()
        if len(data) <= MAX_FRAME_BYTES:
            return data
    raise InputError(f"evidence: a frame has {len(data)} bytes as JPEG, allowed are {MAX_FRAME_BYTES}; scale it down")


def _nearest(path: Path, at_sec: float, count: int, window_sec: float) -> list[VideoFrame]:
    """The frames nearest to `count` evenly spread times in the window, each frame once."""
    half = window_sec / 2
    times, ended = _times(path, max(0.0, at_sec - window_sec), max(at_sec + half, window_sec))
    if times.size == 0 or (ended and at_sec > times[-1] + half):
        raise InputError(f"evidence: {path.name} shows nothing at {at_sec:.2f} s")
    end = min(max(at_sec + half, window_sec), float(times[-1]) if ended else np.inf)
    start = max(0.0, end - window_sec)
    inside = times[(times >= start) & (times <= end)]
    picked = np.abs(inside[:, None] - np.linspace(start, end, count)).argmin(axis=0)
    keep = set(inside[picked].tolist())
    with VideoReader(path, audio=False, start_sec=start, end_sec=end + 1e-6) as reader:
        return [item for item in reader if isinstance(item, VideoFrame) and item.timestamp_sec in keep]


def _times(path: Path, start_sec: float, end_sec: float) -> tuple[NDArray[np.float64], bool]:
    """Presentation times of the frames in [start_sec, end_sec], and whether the video ends there."""
    with VideoReader(path, audio=False, start_sec=start_sec, end_sec=end_sec + 1e-6) as reader:
        times = np.array([item.timestamp_sec for item in reader if isinstance(item, VideoFrame)])
        return times, reader.next_timestamp_sec is None
