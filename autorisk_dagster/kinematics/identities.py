"""Who is who across lost tracks: a fresh track at the place where another was just lost is the same road user.

A tracker gives a new number after an occlusion or a swap, and an encounter would be told twice, or cut before it
became one. A track that begins within `LOST_SEC` after another of its kind ended, in the same scene, where that one was
heading and about as large, takes over its identity. Each ended track is taken over once, by the nearest.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

LOST_SEC: Final = 1.0  # as long as the tracker itself keeps a lost road user
REACH_SIZES: Final = 0.6  # distance to the forecast, in sizes (root of the box's area), that still is the same place
REACH_SIZES_PER_SEC: Final = 0.8  # more of it for each second that nobody looked
SIZE_RATIO: Final = 1.4
HEADING_SEC: Final = 0.5  # of the track's end that says where it was heading

_BOX: Final = ["x1_px", "y1_px", "x2_px", "y2_px"]


def identities(followed: pl.DataFrame) -> dict[int, int]:
    """Track id -> the id of the first track of the same road user (mostly its own).

    Args:
        followed: rows of `tables.TRACKS` with a `track_id`
    """
    tracks = [rows for _, rows in followed.sort("track_id", "timestamp_sec").group_by("track_id", maintain_order=True)]
    first_id = {int(rows["track_id"][0]): int(rows["track_id"][0]) for rows in tracks}
    by_start = sorted(tracks, key=lambda rows: (rows["timestamp_sec"][0], rows["track_id"][0]))
    ends = sorted(tracks, key=lambda rows: (rows["timestamp_sec"][-1], rows["track_id"][0]))
    end_sec = np.array([rows["timestamp_sec"][-1] for rows in ends])
    taken: set[int] = set()
    for later in by_start:
        start_sec = float(later["timestamp_sec"][0])
        lost = range(
            int(np.searchsorted(end_sec, start_sec - LOST_SEC)), int(np.searchsorted(end_sec, start_sec, side="left"))
        )
        near = [(_distance(ends[i], later), i) for i in lost if i not in taken]
        distance, best = min(near, default=(np.inf, -1))
        if np.isfinite(distance):
            taken.add(best)
            first_id[int(later["track_id"][0])] = first_id[int(ends[best]["track_id"][0])]
    return first_id


def _distance(earlier: pl.DataFrame, later: pl.DataFrame) -> float:
    """From the forecast of `earlier` to the start of `later`, in sizes; inf where they cannot be one road user."""
    if earlier["scene_index"][-1] != later["scene_index"][0] or earlier["road_user"][-1] != later["road_user"][0]:
        return float("inf")
    times = earlier["timestamp_sec"].to_numpy()
    recent = times >= times[-1] - HEADING_SEC
    boxes = earlier.select(_BOX).to_numpy()[recent]
    begin = later.select(_BOX).to_numpy()[0]
    gap_sec = float(later["timestamp_sec"][0] - times[-1])
    span_sec = float(times[-1] - times[recent][0])
    velocity = (_centre(boxes[-1]) - _centre(boxes[0])) / span_sec if span_sec > 0 else np.zeros(2)
    size, begin_size = _size(boxes[-1]), _size(begin)
    if not 1 / SIZE_RATIO <= begin_size / max(size, 1e-9) <= SIZE_RATIO:
        return float("inf")
    off = float(np.linalg.norm(_centre(begin) - _centre(boxes[-1]) - velocity * gap_sec)) / max(size, 1e-9)
    return off if off <= REACH_SIZES + REACH_SIZES_PER_SEC * gap_sec else float("inf")


def _centre(box: NDArray[np.float64]) -> NDArray[np.float64]:
    centre: NDArray[np.float64] = (box[:2] + box[2:]) / 2
    return centre


def _size(box: NDArray[np.float64]) -> float:
    return float(np.sqrt(max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)))
