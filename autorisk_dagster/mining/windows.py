"""Signal windows: half-open slices `[k * window_sec, (k + 1) * window_sec)` of a video's own time.

A sample belongs to a window by its presentation timestamp, never by its count. `assemble` puts what the single pass
measured into one `tables.FRAME_SIGNALS` row a window.
"""

from __future__ import annotations

import math

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError

# A timestamp is a rational number written as a float: 0.3 / 0.1 gives 2.9999999999999996, and must be window 3.
# A millionth of a window is far under any frame interval and far over that error, even after days of video.
_ROUNDING = 1e-6


def window_of(timestamp_sec: float, window_sec: float) -> int:
    """Index of the window that holds a timestamp; negative before the first frame."""
    return math.floor(timestamp_sec / window_sec + _ROUNDING)


def window_count(duration_sec: float, window_sec: float) -> int:
    """How many windows cover `[0, duration_sec)`; the last may be cut short. A video has at least one."""
    return max(1, math.ceil(duration_sec / window_sec - _ROUNDING))


class FrameCounts:
    """Frames and scene cuts a window, counted as the frames pass."""

    def __init__(self, window_sec: float) -> None:
        self._window_sec = window_sec
        self._frames: dict[int, int] = {}
        self._cuts: dict[int, int] = {}

    def add(self, timestamp_sec: float, is_cut: bool = False) -> None:
        """Count one decoded frame; `is_cut` says that a new scene begins with it."""
        window = window_of(timestamp_sec, self._window_sec)
        self._frames[window] = self._frames.get(window, 0) + 1
        self._cuts[window] = self._cuts.get(window, 0) + int(is_cut)

    def finish(self, duration_sec: float) -> pl.DataFrame:
        """One row a window: `frames`, `scene_cuts`."""
        windows = range(window_count(duration_sec, self._window_sec))
        counts = {"frames": self._frames, "scene_cuts": self._cuts}
        return pl.DataFrame(
            {name: [seen.get(k, 0) for k in windows] for name, seen in counts.items()},
            schema={name: tables.FRAME_SIGNALS[name] for name in counts},
        )


def assemble(
    duration_sec: float,
    window_sec: float,
    *,
    counts: pl.DataFrame,
    audio: pl.DataFrame,
    motion: pl.DataFrame,
    proximity: pl.DataFrame,
) -> pl.DataFrame:
    """Lay the four measurements side by side as a `tables.FRAME_SIGNALS` table.

    Each argument is the table that `finish(duration_sec)` (or `proximity_windows`) gave: one row a window, in order.
    A window without a single frame was not looked at, so that its detections and proximity become null, not "nobody".

    Raises:
        InputError: the measurements do not cover the same number of windows.
    """
    count = window_count(duration_sec, window_sec)
    parts = {"counts": counts, "audio": audio, "motion": motion, "proximity": proximity}
    heights = {name: part.height for name, part in parts.items()}
    if set(heights.values()) != {count}:
        raise InputError(
            f"{duration_sec:g} s in windows of {window_sec:g} s are {count} windows, but the measurements have "
            f"{heights}; finish all of them with the same duration"
        )
    starts = [k * window_sec for k in range(count)]
    times = pl.DataFrame(
        {
            "window_index": range(count),
            "start_sec": starts,
            "end_sec": [min(start + window_sec, duration_sec) for start in starts],
        },
        schema={name: tables.FRAME_SIGNALS[name] for name in ("window_index", "start_sec", "end_sec")},
    )
    seen = pl.col("frames") > 0
    return (
        pl.concat([times, *parts.values()], how="horizontal")
        .with_columns(pl.when(seen).then(pl.col(name)).alias(name) for name in ("detections", "proximity"))
        .select(pl.col(name).cast(dtype) for name, dtype in tables.FRAME_SIGNALS.items())
    )
