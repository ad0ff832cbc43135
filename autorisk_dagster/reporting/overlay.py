"""Which boxes, and which time to contact, are in force at any moment of a clip.

Boxes exist for processed frames only (`detection_rate_hz`), while people watch every frame: between two neighbouring
processed frames boxes are interpolated, and where the next one saw nothing, or another scene, they are held for one
detection interval at most.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

import polars as pl

MAX_SHOWN_TTC_SEC = 10.0  # a longer time is no news to the viewer and would flicker
_DEFAULT_INTERVAL_SEC = 0.1  # of a clip with one processed frame, which tells no interval
_EPSILON_SEC = 1e-6  # two ways of computing one presentation time may differ in the last digits


@dataclass(frozen=True)
class ShownBox:
    """One box at one moment. `xyxy_px` is in pixels of the source frame."""

    track_id: int | None
    label: str
    still: bool
    xyxy_px: tuple[float, float, float, float]


@dataclass(frozen=True)
class Moment:
    """One processed frame."""

    frame_index: int
    timestamp_sec: float
    scene_index: int
    boxes: tuple[ShownBox, ...]


class BoxTimeline:
    """Boxes at any time, from the rows of processed frames."""

    def __init__(self, tracks: pl.DataFrame) -> None:
        """`tracks`: tables.TRACKS."""
        self.moments = [
            Moment(
                frame_index=rows["frame_index"][0],
                timestamp_sec=rows["timestamp_sec"][0],
                scene_index=rows["scene_index"][0],
                boxes=tuple(
                    ShownBox(
                        track_id=row["track_id"],
                        label=row["label"],
                        still=row["still"],
                        xyxy_px=(row["x1_px"], row["y1_px"], row["x2_px"], row["y2_px"]),
                    )
                    for row in rows.iter_rows(named=True)
                ),
            )
            for _, rows in tracks.sort("frame_index").group_by("frame_index", maintain_order=True)
        ]
        self._times = [moment.timestamp_sec for moment in self.moments]
        # Frames without a box leave no row: the interval is the time between two rows over the frames between them.
        steps = [
            (after.timestamp_sec - before.timestamp_sec) / (after.frame_index - before.frame_index)
            for before, after in pairwise(self.moments)
        ]
        self.interval_sec = median(steps) if steps else _DEFAULT_INTERVAL_SEC

    def at(self, timestamp_sec: float) -> tuple[int | None, tuple[ShownBox, ...]]:
        """Index of the processed frame in force (None: none) and the boxes at `timestamp_sec`."""
        position = bisect_right(self._times, timestamp_sec + _EPSILON_SEC) - 1
        if position < 0:
            return None, ()
        moment = self.moments[position]
        following = self.moments[position + 1] if position + 1 < len(self.moments) else None
        adjacent = (
            following is not None
            and following.frame_index == moment.frame_index + 1
            and following.scene_index == moment.scene_index
        )
        if following is not None and adjacent:
            span = following.timestamp_sec - moment.timestamp_sec
            share = (timestamp_sec - moment.timestamp_sec) / span if span > 0 else 0.0
            return moment.frame_index, _between(moment, following, min(max(share, 0.0), 1.0))
        if timestamp_sec - moment.timestamp_sec >= self.interval_sec - _EPSILON_SEC:
            return None, ()
        return moment.frame_index, moment.boxes


class TtcReadout:
    """The last measured time to contact of each track, as long as it is fresh."""

    def __init__(self, timeline: Iterable[Mapping[str, Any]], fresh_sec: float) -> None:
        """`timeline`: samples of tables.TTC_SAMPLE; a sample counts for `fresh_sec` after its timestamp."""
        self._fresh_sec = fresh_sec
        self._by_track: dict[int, tuple[list[float], list[float]]] = {}
        for sample in sorted(timeline, key=lambda sample: float(sample["timestamp_sec"])):
            times, values = self._by_track.setdefault(sample["track_id"], ([], []))
            times.append(sample["timestamp_sec"])
            values.append(math.nan if sample["ttc_sec"] is None else sample["ttc_sec"])

    def at(self, track_id: int | None, timestamp_sec: float) -> float | None:
        """Seconds to contact; None when it is not measured, not closing, or over MAX_SHOWN_TTC_SEC."""
        if track_id is None or track_id not in self._by_track:
            return None
        times, values = self._by_track[track_id]
        position = bisect_right(times, timestamp_sec + _EPSILON_SEC) - 1
        if position < 0 or timestamp_sec - times[position] > self._fresh_sec + _EPSILON_SEC:
            return None
        value = values[position]
        return value if value <= MAX_SHOWN_TTC_SEC else None  # NaN and infinity fail the comparison


def _between(before: Moment, after: Moment, share: float) -> tuple[ShownBox, ...]:
    """Boxes at `share` (0 to 1) of the way; a box that the later moment does not follow stays where it was."""
    later = {box.track_id: box for box in after.boxes if box.track_id is not None}
    return tuple(
        replace(box, xyxy_px=_mixed(box.xyxy_px, later[box.track_id].xyxy_px, share)) if box.track_id in later else box
        for box in before.boxes
    )


def _mixed(start: tuple[float, ...], end: tuple[float, ...], share: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (a + (b - a) * share for a, b in zip(start, end, strict=True))
    return x1, y1, x2, y2
