"""Generated videos as files: H.264 in mp4 like the clips, with what they are in the container's tags.

mp4 knows `title`, `comment` and `description`; the comment is JSON, so that a program can read who made it from what.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from autorisk_dagster.errors import VideoError
from autorisk_dagster.prediction.picture import STRIP_PX, Image, letterboxed, with_strip
from autorisk_dagster.privacy.hide import Hider
from autorisk_dagster.video.clips import Mp4Writer
from autorisk_dagster.video.reader import VideoFrame, VideoReader

SYNTHETIC: Final = "Synthetic"
_HEAD_PX: Final = 26
_HEADS: Final = (("original", (200, 200, 200)), ("danger", (48, 59, 255)), ("safe", (110, 200, 90)))


def write(pictures: Sequence[Image], fps: float, target: Path, made: Mapping[str, Any]) -> None:
    """Write `pictures`, all of one size, at `fps`.

    Args:
        pictures: (h, w, 3) BGR, the strip burnt in
        fps: pictures a second
        target: where the mp4 goes
        made: what it was made by and from: JSON values
    """
    tags = {
        "title": f"{SYNTHETIC}: {made['label']}",
        "comment": json.dumps({"synthetic": True, **made}, sort_keys=True),
        "description": f"{SYNTHETIC} video. It shows what did not happen; it is no recording.",
    }
    height, width = pictures[0].shape[:2]
    with Mp4Writer(target, width, height, tags=tags) as writer:
        for number, picture in enumerate(pictures):
            writer.write(picture, number / fps)
        writer.close(last_frame_sec=1 / fps)


def read(path: Path) -> list[Image]:
    """Every picture of a generated video as it is stored, (h, w, 3) BGR."""
    with VideoReader(path, audio=False) as reader:
        return [item.bgr() for item in reader if isinstance(item, VideoFrame)]


def read_original(
    source: Path,
    at_sec: float,
    times_sec: Sequence[float],
    picture_size: tuple[int, int],
    hider: Hider | None = None,
) -> list[Image]:
    """What the source shows at `at_sec` plus each of `times_sec` (rising), letterboxed to (width, height), without what
    `hider` hides; the last frame stays after the source's end.

    Raises:
        VideoError: the source has no frame from `at_sec` on.
    """
    frames: list[tuple[float, Image]] = []
    with VideoReader(source, audio=False, start_sec=at_sec - 1e-3, end_sec=at_sec + times_sec[-1] + 1e-3) as reader:
        for item in reader:
            if isinstance(item, VideoFrame):
                shown = item.bgr() if hider is None else hider.picture(item.bgr(), item.timestamp_sec)
                frames.append((item.timestamp_sec - at_sec, letterboxed(shown, picture_size)))
    if not frames:
        raise VideoError(source, f"shows no frame from {at_sec:g} s on", "Mine it again: it has changed")
    starts = np.array([shown_sec for shown_sec, _ in frames])
    index = np.maximum(np.searchsorted(starts, np.asarray(times_sec) + 1e-3, side="right") - 1, 0)
    return [frames[int(number)][1] for number in index]


def side_by_side(original: Sequence[Image], danger: Sequence[Image], safe: Sequence[Image], label: str) -> list[Image]:
    """The three in one row at half size, under their names; original pictures are without a strip."""
    rows = []
    for trio in zip(original, danger, safe, strict=True):
        height, width = trio[0].shape[:2]
        half = (width // 2, height // 2)
        shown = [cv2.resize(picture, half, interpolation=cv2.INTER_AREA) for picture in trio]
        shown[0][half[1] - STRIP_PX // 2 :] = 0  # what the other two hide by their strips
        row = np.full((_HEAD_PX + half[1] + STRIP_PX, 3 * half[0], 3), (28, 22, 17), np.uint8)
        row[_HEAD_PX : _HEAD_PX + half[1]] = np.hstack(shown)
        for number, (name, colour) in enumerate(_HEADS):
            text = name if number == 0 else f"{name} - synthetic"
            cv2.putText(row, text, (number * half[0] + 8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
        rows.append(with_strip(row, label, "left: footage; middle and right: not footage"))
    return rows


def strip_png(pictures: Sequence[Image], count: int = 6, width_px: int = 260) -> bytes:
    """`count` pictures spread over a video, side by side, as a PNG for the UI."""
    chosen = [pictures[int(number)] for number in np.linspace(0, len(pictures) - 1, count).round()]
    height = round(chosen[0].shape[0] * width_px / chosen[0].shape[1])
    row = np.hstack([cv2.resize(picture, (width_px, height), interpolation=cv2.INTER_AREA) for picture in chosen])
    done, png = cv2.imencode(".png", row)
    if not done:
        raise ValueError("the strip could not be written as PNG")
    return bytes(png.tobytes())
