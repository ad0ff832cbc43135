"""Severities on hand-labelled tracks of real drives (KITTI, 10 Hz), so that no detector stands between.

What happens in them was read off their 3-D labels: 0003, 0012 and 0014 have nothing in the own path that closes;
in 0000 the car turns in between parked cars and closes on one that stands in its path (TTC 1.7 s); in 0001, 10 to 20 s,
it passes a row of parked cars at 13 m/s with 1.2 m of room.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.kinematics.conflict_measures import conflict_measures
from autorisk_dagster.profile import CameraSettings
from autorisk_dagster.reasoning.evidence import clip_evidence
from autorisk_dagster.reasoning.kinematic import KinematicReasoner
from tests.benchmarks.kitti_drive import ego_motion_table, read_drive

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "kitti_tracking"
FRAME_SIZE = (1242, 375)
LABELS = {"Car": "car", "Van": "car", "Truck": "truck", "Tram": "train", "Pedestrian": "person", "Cyclist": "bicycle"}

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs ../shared/data/kitti_tracking")


def kitti_tracks(sequence: str, max_occlusion: int = 3) -> pl.DataFrame:
    """`max_occlusion`: 0 fully visible, 1 partly hidden, 2 largely hidden, 3 unknown."""
    rows = []
    for line in (FOLDER / f"{sequence}.txt").read_text().splitlines():
        frame, track, kind, *numbers = line.split()
        if kind not in LABELS or int(numbers[1]) > max_occlusion:
            continue
        label = LABELS[kind]
        box = [float(number) for number in numbers[3:7]]
        rows.append(
            {
                "frame_index": int(frame),
                "source_frame": int(frame),
                "timestamp_sec": int(frame) / 10,
                "scene_index": 0,
                "track_id": int(track) + 1,
                "road_user": "pedestrian" if label == "person" else "vehicle",
                "label": label,
                "confidence": 0.9,
                "x1_px": box[0],
                "y1_px": box[1],
                "x2_px": box[2],
                "y2_px": box[3],
                "still": False,
            }
        )
    return tables.frame(rows, tables.TRACKS)


def severity(sequence: str, start_sec: float, seconds: float, ego_motion: pl.DataFrame) -> str:
    tracks = kitti_tracks(sequence)
    clip = {"clip_id": "c1", "start_sec": start_sec, "end_sec": start_sec + seconds}
    evidence = clip_evidence(
        clip,
        tracks,
        conflict_measures(tracks, ego_motion, FRAME_SIZE, CameraSettings()),
        tables.empty(tables.NEAR_MISS_EVENTS),
        tables.empty(tables.FRAME_SIGNALS),
        FRAME_SIZE,
    )
    return KinematicReasoner().assess(evidence).severity


@pytest.mark.parametrize(
    ("sequence", "start_sec", "allowed"),
    [
        ("0003", 0.0, {"NONE", "LOW"}),
        ("0012", 0.0, {"NONE", "LOW"}),
        ("0014", 0.0, {"NONE", "LOW"}),
        ("0001", 10.0, {"NONE", "LOW"}),
        ("0000", 9.0, {"LOW", "MEDIUM", "HIGH"}),
    ],
)
def test_severity_where_only_the_road_users_show_the_own_turning(sequence, start_sec, allowed):
    assert severity(sequence, start_sec, 10.0, tables.empty(tables.EGO_MOTION)) in allowed


@pytest.mark.parametrize(
    ("sequence", "start_sec", "seconds", "allowed"),
    [
        ("0001", 10.0, 10.0, {"NONE", "LOW"}),
        # 36.5 s: a car comes round the bend towards the own lane's edge and passes 2 m aside; it was HIGH.
        ("0001", 30.0, 12.0, {"NONE", "LOW", "MEDIUM"}),
        # 13.5 s: turning in, closing on a parked car with 1.7 s left; it was LOW.
        ("0000", 9.0, 10.0, {"MEDIUM", "HIGH"}),
        ("0003", 0.0, 14.0, {"NONE", "LOW"}),
        ("0014", 0.0, 10.0, {"NONE", "LOW"}),
    ],
)
def test_severity_where_the_background_shows_it(sequence, start_sec, seconds, allowed):
    """As the background would show it: the turning, not the speed. KITTI's images are not here; parked cars tell."""
    assert severity(sequence, start_sec, seconds, ego_motion_table(read_drive(sequence), speed=False)) in allowed
