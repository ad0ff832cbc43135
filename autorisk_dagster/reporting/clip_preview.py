"""A clip as a small animation around its peak, for Dagster's UI and the dashboard's lists."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from autorisk_dagster.reporting.contact_sheet import frames_at

WIDTH_PX: Final = 320
STEP_SEC: Final = 0.3
AROUND_PEAK_SEC: Final = 1.8
QUALITY: Final = 55  # about 60 kB a clip: the first is kept in Dagster's event log


def preview_path(clip_path: str) -> str:
    """Where a clip's preview lies, from where the clip lies; both relative to the media store.

    >>> preview_path("drive-0badcafe/clips/000001000-000004000.mp4")
    'drive-0badcafe/clips/previews/000001000-000004000.webp'
    """
    clip = PurePosixPath(clip_path)
    return str(clip.parent / "previews" / f"{clip.stem}.webp")


def clip_preview(path: Path, row: Mapping[str, Any]) -> bytes:
    """Animated WebP, WIDTH_PX on its long edge, of AROUND_PEAK_SEC before and after the clip's peak, for ever.

    Args:
        path: the clip's file
        row: of tables.MINED_CLIPS

    Raises:
        VideoError: the file cannot be read.
    """
    from PIL import Image

    peak_sec, length_sec = row["peak_sec"] - row["start_sec"], row["end_sec"] - row["start_sec"]
    steps = round(AROUND_PEAK_SEC / STEP_SEC)
    wanted = [peak_sec + step * STEP_SEC for step in range(-steps, steps + 1)]
    inside = [at for at in wanted if 0 <= at <= length_sec] or [min(max(peak_sec, 0.0), length_sec)]
    pictures = [Image.fromarray(frame[:, :, ::-1]) for frame in frames_at(path, inside, WIDTH_PX)]
    target = io.BytesIO()
    pictures[0].save(
        target,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=round(STEP_SEC * 1000),
        loop=0,
        quality=QUALITY,
        method=2,
    )
    return target.getvalue()
