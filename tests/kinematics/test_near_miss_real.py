"""Near misses v2 on real footage and on hand-labelled drives, where what happened is known.

`intersection_crash`: a sedan and an SUV collide at 0.8 to 0.9 s before a fixed camera. KITTI: nobody comes close to
anybody else in these drives, through parked cars, oncoming traffic and cyclists; largely hidden ones, which no detector
sees, are left out.
"""

from __future__ import annotations

import functools

import numpy as np
import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.kinematics.conflict_measures import conflict_measures
from autorisk_dagster.kinematics.near_miss_v2 import find_near_misses_v2
from autorisk_dagster.kinematics.own_motion import camera_stays, stands_at
from autorisk_dagster.mining.one_pass import perceive
from autorisk_dagster.perception.nanodet import NanoDetDetector
from autorisk_dagster.profile import CameraSettings, NearMissV2Settings, PerceptionSettings
from autorisk_dagster.video.probe import probe
from tests.benchmarks.kitti_drive import ego_motion_table, read_drive
from tests.reasoning.test_on_real_tracks import FOLDER as KITTI
from tests.reasoning.test_on_real_tracks import FRAME_SIZE, kitti_tracks

VIDEOS = KITTI.parent / "video"
NO_CONFLICTS = tables.empty(tables.CONFLICT_MEASURES)


@functools.cache
def seen_in(name):
    path = VIDEOS / f"{name}.mp4"
    facts = probe(path)
    seen = perceive(path, facts.duration_sec, NanoDetDetector(), PerceptionSettings(), lambda _: None)
    return seen, (facts.width_px, facts.height_px), min(10.0, facts.mean_fps)


def events_of(name, conflicts=NO_CONFLICTS):
    seen, frame, rate_hz = seen_in(name)
    return find_near_misses_v2(seen.tracks, conflicts, frame, rate_hz, NearMissV2Settings())


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs ../shared/data/video")
def test_the_collision_of_the_sedan_and_the_suv_is_found():
    (event,) = events_of("intersection_crash").to_dicts()  # and not the wreck that spins beside a lorry
    assert event["timestamp_sec"] == pytest.approx(0.8, abs=0.15)
    assert (event["risk_level"], event["class_1"], event["class_2"]) == ("High", "vehicle", "vehicle")


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs ../shared/data/video")
@pytest.mark.parametrize("name", ["residential_parked", "highway_two_cars_negative"])
def test_quiet_footage_has_no_event(name):
    assert events_of(name).is_empty()


@pytest.mark.skipif(not VIDEOS.is_dir(), reason="needs ../shared/data/video")
@pytest.mark.parametrize(
    ("name", "stays"),
    [("intersection_crash", True), ("residential_parked", False), ("highway_two_cars_negative", False)],
)
def test_a_fixed_camera_is_told_and_has_no_event_of_its_own(name, stays):
    """The wreck that slides past under the fixed camera was once a collision course with it."""
    seen, frame, _ = seen_in(name)
    assert camera_stays(seen.ego_motion) == stays
    assert {stands_at(seen.ego_motion, at_sec) for at_sec in seen.ego_motion["timestamp_sec"]} == {stays}
    conflicts = conflict_measures(seen.tracks, seen.ego_motion, frame, CameraSettings())
    events = events_of(name, conflicts)
    assert events.filter(pl.col("object_id_2").is_null()).is_empty()
    assert events.filter(pl.col("risk_level") == "High").height == (1 if stays else 0)


@pytest.mark.skipif(not KITTI.is_dir(), reason="needs ../shared/data/kitti_tracking")
@pytest.mark.parametrize(("noise_px", "allowed"), [(0.0, 0), (1.0, 1)])
def test_nobody_comes_dangerously_near_anybody_in_170_s_of_drives(noise_px, allowed):
    """Version 1.0 has 30 events in them without noise."""
    noise = np.random.default_rng(5)
    alarms = []
    for sequence in ("0000", "0001", "0003", "0009", "0012", "0014"):
        tracks = kitti_tracks(sequence, max_occlusion=1)
        edges = ["x1_px", "y1_px", "x2_px", "y2_px"]
        tracks = tracks.with_columns(pl.col(edge) + noise.normal(0, noise_px, tracks.height) for edge in edges)
        found = find_near_misses_v2(tracks, NO_CONFLICTS, FRAME_SIZE, 10.0, NearMissV2Settings())
        alarms += found.filter(pl.col("risk_level") != "Low").select("timestamp_sec", "actors", "evidence").rows()
    assert len(alarms) <= allowed, alarms


@pytest.mark.skipif(not KITTI.is_dir(), reason="needs ../shared/data/kitti_tracking")
@pytest.mark.parametrize(
    ("sequence", "expected"),
    [("0000", [("car 6", 13.4)]), ("0001", []), ("0003", []), ("0009", []), ("0012", []), ("0014", [])],
)
def test_the_car_that_stands_in_the_own_path_after_a_turn_is_found_by_the_own_turning(sequence, expected):
    """0000: the own car turns in between parked cars and closes on one (TTC 1.7 s and less). The own turning is what
    the background's flow tells of it; without it the path is taken as straight and the car passes for one beside it.
    0009: an oncoming car in a bend, 3 m aside, was once a Medium by the braking needed for it.
    """
    tracks = kitti_tracks(sequence)
    turning = ego_motion_table(read_drive(sequence), speed=False)
    conflicts = conflict_measures(tracks, turning, FRAME_SIZE, CameraSettings())
    found = find_near_misses_v2(tracks, conflicts, FRAME_SIZE, 10.0, NearMissV2Settings())
    own = found.filter(pl.col("object_id_2").is_null() & (pl.col("risk_level") != "Low"))
    assert own["actors"].to_list() == [f"own vehicle and {name}" for name, _ in expected]
    assert own["timestamp_sec"].to_list() == pytest.approx([sec for _, sec in expected], abs=0.3)
