"""Which clips must never be split between what is learned and what is tested.

Two clips show one danger twice when they overlap, lie so close in a video that the same road, traffic and light are in
both, or come from one drive that several files record. Such clips are one group, and so is everything that is joined
through a third clip: the groups are the connected components of these links.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from autorisk_dagster.errors import InputError

SAME_SCENE_GAP_SEC: Final = 30.0
"""Clips of one video with less than this between them are one scene. Chosen here: at 50 km/h the car is 400 m further,
past the road users and mostly past the junction of the clip before."""

COLUMNS: Final = ("video_id", "drive", "start_sec", "end_sec")


def clip_groups(clips: pl.DataFrame, gap_sec: float = SAME_SCENE_GAP_SEC) -> pl.Series:
    """The group of each clip.

    Clips of one named drive are one group, over all its videos; so are clips of one video that overlap or have less
    than `gap_sec` between the end of one and the start of the other. A null drive is unknown and links nothing.

    Args:
        clips: `video_id`, `drive` (may be null), `start_sec`, `end_sec` of one clip a row; other columns are ignored
        gap_sec: 0 or more; 0 links only what overlaps

    Returns:
        Int64 series `group`, in the order of `clips`; numbered from 0 by each group's first video and start, so that
        the order of the rows changes no number.

    Raises:
        InputError: a column is missing, a place in a video is null or NaN, or a clip ends before it starts.
    """
    missing = [name for name in COLUMNS if name not in clips.columns]
    if missing:
        raise InputError(f"clips need the columns {', '.join(COLUMNS)} to be grouped; missing: {', '.join(missing)}")
    video, drive, start, end = (clips[name].to_list() for name in COLUMNS)
    if any(v is None or s is None or e is None or not s <= e for v, s, e in zip(video, start, end, strict=True)):
        raise InputError("every clip needs its video_id, start_sec and end_sec, with start_sec at or before end_sec")
    links: list[tuple[int, int]] = []
    order = sorted(range(clips.height), key=lambda row: (video[row], start[row], end[row]))
    last_of_drive: dict[str, int] = {}
    farthest = -1  # row of the clip of this video that ends last so far
    for row in order:
        if farthest >= 0 and video[farthest] == video[row]:
            if start[row] - end[farthest] < gap_sec:
                links.append((farthest, row))
            if end[row] > end[farthest]:
                farthest = row
        else:
            farthest = row
        name = drive[row]
        if name is not None:
            links.append((last_of_drive.get(name, row), row))
            last_of_drive[name] = row
    component = _components(clips.height, links)
    number: dict[int, int] = {}
    for row in order:
        number.setdefault(int(component[row]), len(number))
    return pl.Series("group", [number[int(found)] for found in component], dtype=pl.Int64)


def _components(nodes: int, links: list[tuple[int, int]]) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not nodes:
        return np.zeros(0, dtype=np.int64)
    one, other = np.array(links, dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(links), dtype=bool), (one, other)), shape=(nodes, nodes))
    found: np.ndarray = connected_components(graph, directed=False)[1]
    return found
