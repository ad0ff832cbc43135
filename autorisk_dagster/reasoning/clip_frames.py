"""The frames of a clip that a vision-language model sees: sampled by timestamp, within a pixel budget.

Cosmos-Reason2 was trained on video at 4 frames a second. Frames are taken by presentation time, so that 29.97 fps,
variable rate and cut streams give the model true times. The budget bounds the sum of pixels over all frames: it, and
not the source's resolution, decides how much memory and time a clip costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError, VideoError
from autorisk_dagster.video.reader import VideoFrame, VideoReader


@dataclass(frozen=True)
class ClipFrames:
    """Sampled frames of one clip.

    Attributes:
        rgb: (n, h, w, 3) uint8
        timestamps_sec: (n,) from the clip's first frame
        duration_sec: of the clip
    """

    rgb: NDArray[np.uint8]
    timestamps_sec: NDArray[np.float64]
    duration_sec: float

    @property
    def pixels(self) -> int:
        """Pixels over all frames."""
        return int(np.prod(self.rgb.shape[:3]))


def sample_frames(clip: Path, duration_sec: float, *, frames_per_sec: float, max_pixels: int) -> ClipFrames:
    """The frames shown at 0, 1/f, 2/f ... s of `clip`, scaled so that all together have at most `max_pixels`.

    A frame is shown from its timestamp until the next one's; one that is shown at several sampling times is given once.

    Args:
        clip: the clip file
        duration_sec: its length
        frames_per_sec: sampling rate, Hz
        max_pixels: budget over all frames

    Raises:
        InputError: a rate or budget that is not positive.
        VideoError: the clip cannot be read or shows no frame.
    """
    if not (frames_per_sec > 0 and max_pixels > 0):
        raise InputError(f"frames_per_sec and max_pixels must be positive, got {frames_per_sec} and {max_pixels}")
    budget = max_pixels / max(1, math.ceil(duration_sec * frames_per_sec))
    pictures: list[NDArray[np.uint8]] = []
    times_sec: list[float] = []
    covered = -1  # last sampling time that a frame was kept for
    with VideoReader(clip, audio=False) as reader:
        for frame, until_sec in _shown((item for item in reader if isinstance(item, VideoFrame)), duration_sec):
            last = math.ceil(until_sec * frames_per_sec - 1e-6) - 1  # sampling times lie in [timestamp, until)
            if last > covered:
                covered = last
                pictures.append(np.ascontiguousarray(frame.bgr(_long_edge(frame, budget))[..., ::-1]))
                times_sec.append(frame.timestamp_sec)
    if not pictures:
        raise VideoError(clip, "shows no frame to sample", "Mine the clip again: autorisk run VIDEO")
    return ClipFrames(np.stack(pictures), np.array(times_sec), duration_sec)


def _shown(frames: Iterable[VideoFrame], duration_sec: float) -> Iterator[tuple[VideoFrame, float]]:
    """Each frame with the time at which the next one, or the clip's end, takes its place."""
    waiting: VideoFrame | None = None
    for frame in frames:
        if waiting is not None:
            yield waiting, frame.timestamp_sec
        waiting = frame
    if waiting is not None:
        yield waiting, max(duration_sec, waiting.timestamp_sec)


def _long_edge(frame: VideoFrame, budget: float) -> int:
    """Longest edge with which the picture, its edges rounded, has at most `budget` pixels."""
    longest = max(frame.width_px, frame.height_px)
    share = min(1.0, math.sqrt(budget / (frame.width_px * frame.height_px)))
    edge = max(1, math.floor(share * longest))
    while edge > 1 and round(frame.width_px * edge / longest) * round(frame.height_px * edge / longest) > budget:
        edge -= 1
    return edge
