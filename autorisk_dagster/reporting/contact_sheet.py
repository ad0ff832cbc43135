"""Clips at a glance: a grid of frames around each clip's peak as one picture, and single pictures as JPEG.

The sheet is drawn from the clip files; time 0 of a clip file is its first frame, and `start_sec` of its row in the
video. Pillow is imported on first use.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError, VideoError
from autorisk_dagster.reporting.plots import SEVERITY_COLORS
from autorisk_dagster.reporting.words import NOT_JUDGED, clock
from autorisk_dagster.video.reader import VideoFrame, VideoReader

if TYPE_CHECKING:
    from PIL import Image as PillowImage

MAX_CLIPS = 12  # more would be too small to recognise; the sheet says how many are left out
SHEET_WIDTH_PX = 1100
AROUND_PEAK_SEC = (-1.2, 0.0, 1.2)
THUMBNAIL_WIDTH_PX = 640
_LABEL_PX = 26
_GAP_PX = 8


@dataclass(frozen=True)
class _Tile:
    caption: str
    color: str
    frames: list[NDArray[np.uint8]]


def contact_sheet(
    clip_paths: Sequence[Path],
    mined_clips: pl.DataFrame,
    severities: Mapping[str, str | None] | None = None,
) -> bytes:
    """PNG with three frames a clip: 1.2 s before its peak, at it and 1.2 s after, as far as the clip has them.

    Args:
        clip_paths: file of each clip, in the order of the rows
        mined_clips: tables.MINED_CLIPS, at least one row, best first
        severities: severity by clip id, shown in the caption; without it only what mining knows

    Raises:
        InputError: no clip, or not one path a row.
        VideoError: a clip that cannot be read.
    """
    rows = mined_clips.to_dicts()
    if not rows or len(rows) != len(clip_paths):
        raise InputError(f"a contact sheet needs one path a clip, got {len(clip_paths)} paths for {len(rows)} clips")
    tiles = [_tile(path, row, severities) for path, row in zip(clip_paths[:MAX_CLIPS], rows, strict=False)]
    left_out = len(rows) - len(tiles)
    target = io.BytesIO()
    # Whoever keeps it makes it small: packed tightly it would be unpacked again at once.
    _drawn(tiles, SHEET_WIDTH_PX, left_out).save(target, "PNG", compress_level=1)
    return target.getvalue()


def thumbnail_jpeg(path: Path, at_sec: float, width_px: int = THUMBNAIL_WIDTH_PX) -> bytes:
    """JPEG of the frame shown at `at_sec` of the file (the nearest there is), at most `width_px` wide.

    Raises:
        VideoError: the file cannot be read.
    """
    from PIL import Image

    (frame,) = frames_at(path, [at_sec], width_px)
    target = io.BytesIO()
    Image.fromarray(frame[:, :, ::-1]).save(target, "JPEG", quality=78, optimize=True, progressive=True)
    return target.getvalue()


def _tile(path: Path, row: Mapping[str, Any], severities: Mapping[str, str | None] | None) -> _Tile:
    peak_sec = row["peak_sec"] - row["start_sec"]
    length_sec = row["end_sec"] - row["start_sec"]
    wanted = [min(max(peak_sec + step, 0.0), length_sec) for step in AROUND_PEAK_SEC]
    span = f"{clock(row['start_sec'])} to {clock(row['end_sec'])}"
    raised = f"{row['raised_by']} {100 * row['raised_by_share']:.0f} %"
    severity = severities.get(row["clip_id"]) if severities is not None else None
    said = f"{severity or NOT_JUDGED}   " if severities is not None else ""
    return _Tile(
        caption=f"{row['mining_rank']}   {said}{span}   raised by {raised}   score {row['fused_score']:.2f}",
        color=SEVERITY_COLORS[severity],
        frames=frames_at(path, wanted, SHEET_WIDTH_PX // len(AROUND_PEAK_SEC)),
    )


def frames_at(path: Path, wanted_sec: Sequence[float], long_edge_px: int) -> list[NDArray[np.uint8]]:
    """For each time the last frame at or before it, or the first one there is; BGR."""
    found: dict[float, NDArray[np.uint8]] = {}
    previous: VideoFrame | None = None
    with VideoReader(path, audio=False) as reader:
        for item in reader:
            if not isinstance(item, VideoFrame):
                continue
            for wanted in wanted_sec:
                if wanted not in found and item.timestamp_sec > wanted:
                    found[wanted] = (previous or item).bgr(long_edge_px)
            previous = item
            if len(found) == len(set(wanted_sec)):
                break
    if previous is None:
        raise VideoError(path, "holds no frame", "Cut the clip again")
    return [found[wanted] if wanted in found else previous.bgr(long_edge_px) for wanted in wanted_sec]


def _drawn(tiles: Sequence[_Tile], width_px: int, left_out: int) -> PillowImage.Image:
    from PIL import Image, ImageDraw, ImageFont

    columns = 1 if len(tiles) <= 3 else 2
    tile_width = (width_px - _GAP_PX * (columns + 1)) // columns
    frame_width = (tile_width - 2 * (len(AROUND_PEAK_SEC) - 1)) // len(AROUND_PEAK_SEC)
    # Portrait footage would make a tower of a row: frames are at most as high as they are wide.
    heights = [round(frame_width * t.frames[0].shape[0] / t.frames[0].shape[1]) for t in tiles]
    frame_height = min(max(heights), frame_width)
    rows = -(-len(tiles) // columns)
    row_height = _LABEL_PX + frame_height + _GAP_PX
    footer = _LABEL_PX if left_out else 0
    sheet = Image.new("RGB", (width_px, rows * row_height + _GAP_PX + footer), "#ffffff")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=max(11, 14 if columns == 1 else 12))
    for number, tile in enumerate(tiles):
        left = _GAP_PX + number % columns * (tile_width + _GAP_PX)
        top = _GAP_PX + number // columns * row_height
        pen.rectangle((left, top + 4, left + 5, top + _LABEL_PX - 6), fill=tile.color)
        pen.text((left + 12, top + _LABEL_PX / 2 - 1), tile.caption, fill="#1b2430", font=font, anchor="lm")
        for position, frame in enumerate(tile.frames):
            picture = Image.fromarray(frame[:, :, ::-1])
            picture.thumbnail((frame_width, frame_height), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + position * (frame_width + 2), top + _LABEL_PX))
    if left_out:
        text = f"{left_out} more of lower rank are not on this sheet"
        pen.text((_GAP_PX, sheet.height - footer / 2 - 2), text, fill="#4d5a68", font=font, anchor="lm")
    return sheet
