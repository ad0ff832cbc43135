"""Near-miss events of a video: the track table, frame by frame, through `NearMissDetector` version 1.0.

Assumptions: a road user's centroid is the middle of its box; ids are never reused, and start anew at a scene cut, so
that no trajectory crosses one; a row without an id, or marked still (own bonnet, overlay), is no road user in traffic.
Processed frames in which nothing was tracked are passed too: they break the runs that confirm an event.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from typing import Any

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.kinematics.near_miss import TRAJECTORY_POINTS, NearMissDetector
from autorisk_dagster.profile import NearMissSettings

VERSION = "1.0"


def find_near_misses(tracks: pl.DataFrame, settings: NearMissSettings, rate_hz: float) -> pl.DataFrame:
    """`tables.NEAR_MISS_EVENTS` of one video, version 1.0, ordered by frame and ids.

    Args:
        tracks: `tables.TRACKS`
        settings: the detector's parameters
        rate_hz: processed frames per second, measured on this video; the detector's `fps`
    """
    detector = NearMissDetector(fps=rate_hz, **settings.model_dump())
    moving = tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still").fill_null(False)).sort(
        "frame_index", "track_id"
    )
    if moving.is_empty():
        return tables.empty(tables.NEAR_MISS_EVENTS)

    rows_of_frame: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in moving.iter_rows(named=True):
        rows_of_frame[row["frame_index"]].append(row)
    trajectories: dict[int, deque[tuple[int, float, float]]] = defaultdict(lambda: deque(maxlen=TRAJECTORY_POINTS))
    events: list[dict[str, Any]] = []
    for frame_index in range(min(rows_of_frame), max(rows_of_frame) + 1):
        rows = rows_of_frame.get(frame_index, [])
        for event in detector.process_frame(frame_index, _tracked_objects(rows, trajectories)):
            events.append(
                event
                | {
                    "event_id": f"e{len(events) + 1:04d}",
                    "version": VERSION,
                    "actors": " and ".join(f"{event[f'label_{i}']} {event[f'object_id_{i}']}" for i in (1, 2)),
                    "start_sec": rows[0]["timestamp_sec"],
                    "end_sec": rows[0]["timestamp_sec"],
                    "gap_m": None,
                    "closing_mps": None,
                    "evidence": None,
                    "source_frame": rows[0]["source_frame"],
                    "timestamp_sec": rows[0]["timestamp_sec"],
                }
            )
    return tables.frame(events, tables.NEAR_MISS_EVENTS)


def processed_rate_hz(detection_rate_hz: float, mean_fps: float) -> float:
    """Processed frames a second: the detector's rate, or the video's where that is lower."""
    return min(detection_rate_hz, mean_fps)


def _tracked_objects(
    rows: list[dict[str, Any]], trajectories: dict[int, deque[tuple[int, float, float]]]
) -> OrderedDict[int, dict[str, Any]]:
    """The detector's input of one frame; extends each object's trajectory, of which only the last points are kept."""
    objects: OrderedDict[int, dict[str, Any]] = OrderedDict()
    for row in rows:
        center = (row["x1_px"] + row["x2_px"]) / 2, (row["y1_px"] + row["y2_px"]) / 2
        trajectory = trajectories[row["track_id"]]
        trajectory.append((row["frame_index"], *center))
        objects[row["track_id"]] = {
            "id": row["track_id"],
            "class": row["road_user"],
            "label": row["label"],
            "bbox": [row["x1_px"], row["y1_px"], row["x2_px"], row["y2_px"]],
            "confidence": row["confidence"],
            "center": center,
            "trajectory": trajectory,
        }
    return objects
