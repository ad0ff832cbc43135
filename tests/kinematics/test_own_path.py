"""The own path, against a world in which everybody's course is known."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.kinematics.camera import Camera
from autorisk_dagster.kinematics.own_motion import OwnMotion, own_motion
from autorisk_dagster.kinematics.own_path import (
    BesidePath,
    beside_arc_m,
    beside_path,
    best_motion,
    common_motion,
    followed_tracks,
    speed_beside_arc_mps,
)
from tests.reasoning.scene import FRAME_SIZE, RoadUser, tracks_of

CAMERA = Camera(*FRAME_SIZE, 832.0, 0.0, 360.0, 0.0, 1.3, 0.0)
NONE = tables.empty(tables.EGO_MOTION)


def ego_motion(
    seconds: float, turning_rad_per_sec: float, speed_mps: float | None, since_sec: float = 0.0
) -> pl.DataFrame:
    """tables.EGO_MOTION at 10 Hz of a car that begins to turn at `since_sec`."""
    rows = [
        {
            **dict.fromkeys(tables.EGO_MOTION),
            "timestamp_sec": index / 10,
            "gap_sec": 0.1,
            "pan_px_per_sec": turning_rad_per_sec * CAMERA.focal_px if index / 10 > since_sec else 0.0,
            "road_flow_per_px_sec": None if speed_mps is None else speed_mps / (CAMERA.focal_px * CAMERA.height_m),
            "support": 0.9,
            "still_share": 0.0,
        }
        for index in range(1, round(seconds * 10))
    ]
    return tables.frame(rows, tables.EGO_MOTION)


def test_places_beside_an_arc_by_hand():
    """Left turn of 50 m radius: its centre is 50 m to the left."""
    bend = np.full(4, 1 / 50)
    right, ahead = np.array([0.0, 3.0, -50.0, -10.0]), np.array([0.0, 0.0, 50.0, 30.0])
    # On the car; 3 m right of it; a quarter turn on; (40^2 + 30^2) = 50^2: on the arc.
    assert beside_arc_m(right, ahead, bend) == pytest.approx([0.0, 3.0, 0.0, 0.0])
    assert beside_arc_m(right, ahead, np.zeros(4)) == pytest.approx(right)


@given(st.floats(-20, 20), st.floats(1, 60), st.floats(-1 / 15, 1 / 15))
def test_left_and_right_turns_are_mirror_images_and_a_wide_one_is_a_parabola(x, z, bend):
    values = [np.array([each]) for each in (x, z, bend)]
    one = float(beside_arc_m(*values)[0])
    assert one == pytest.approx(-float(beside_arc_m(-values[0], values[1], -values[2])[0]), abs=1e-9)
    wide = bend / 100
    expected = x + wide * (x * x + z * z) / 2
    assert float(beside_arc_m(values[0], values[1], np.array([wide]))[0]) == pytest.approx(expected, rel=0.03, abs=0.05)


@given(st.floats(-15, 15), st.floats(3, 50), st.floats(2, 30), st.floats(-0.4, 0.4))
def test_what_stands_keeps_its_place_beside_the_own_path(x, z, speed_mps, turning):
    """Seen from a car with speed V and yaw rate w, what stands moves by x' = w z and closes at V + w x."""
    bend = turning / speed_mps
    drift, closing = turning * z, speed_mps + turning * x
    speed = speed_beside_arc_mps(*(np.array([each]) for each in (x, z, bend, drift, closing)))
    assert speed[0] == pytest.approx(0.0, abs=1e-9)


def test_own_motion_is_the_median_of_what_was_told_before():
    table = ego_motion(4.0, 0.2, 9.0)
    found = own_motion(table, CAMERA, np.array([0.0, 2.0, 3.9]))
    assert found.turning_rad_per_sec == pytest.approx([math.nan, 0.2, 0.2], nan_ok=True)
    assert found.speed_mps == pytest.approx([math.nan, 9.0, 9.0], nan_ok=True)
    wild = table.with_columns(
        pl.when(pl.col("timestamp_sec") == 2.0).then(9e3).otherwise("pan_px_per_sec").alias("pan_px_per_sec")
    )
    assert own_motion(wild, CAMERA, np.array([2.0])).turning_rad_per_sec == pytest.approx([0.2])


def test_a_speed_that_only_one_pair_in_three_tells_is_not_believed():
    table = ego_motion(3.0, 0.1, 9.0).with_columns(
        pl.when((pl.col("timestamp_sec") * 10).round().cast(pl.Int64) % 3 == 0)
        .then("road_flow_per_px_sec")
        .alias("road_flow_per_px_sec")
    )
    found = own_motion(table, CAMERA, np.array([2.0]))
    assert found.turning_rad_per_sec[0] == pytest.approx(0.1)
    assert math.isnan(found.speed_mps[0])


def test_the_path_of_a_standing_car_and_of_one_whose_motion_is_unknown_is_straight():
    turning, speed = np.array([0.2, math.nan, 0.2, 9.0]), np.array([0.0, 8.0, math.nan, 8.0])
    own = OwnMotion(turning, speed, np.full(4, 0.1), np.full(4, math.nan))
    assert own.curvature_per_m() == pytest.approx([0.0, 0.0, 0.0, 1 / 6])  # 9 rad/s is no car's turning
    assert own.curvature_error_per_m() == pytest.approx([0.0, 0.0, 0.0, 0.1 / 8.0])


def test_the_error_of_the_own_motion_is_that_of_a_median():
    """Five pairs, 1 to 5: median 3, median deviation 1, so that s = 1.4826, times sqrt(pi / 2 / 5)."""
    pan = pl.Series([3.0, 1.0, 5.0, 2.0, 4.0]) * CAMERA.focal_px
    table = ego_motion(0.6, 0.0, 10.0).with_columns(pan_px_per_sec=pan)
    found = own_motion(table, CAMERA, np.array([0.5]))
    assert found.turning_rad_per_sec == pytest.approx([3.0])
    assert found.turning_error_rad_per_sec == pytest.approx([1.4826 * math.sqrt(math.pi / 2 / 5)])
    assert found.speed_error_mps == pytest.approx([0.0])
    # k = w / V: both errors count, 3 / 10 * sqrt((0.831 / 3)^2 + (1 / 10)^2)
    both = OwnMotion(np.array([3.0]), np.array([10.0]), np.array([0.831]), np.array([1.0]))
    assert both.curvature_error_per_m() == pytest.approx([0.3 * math.hypot(0.831 / 3, 0.1)])


def test_the_beginning_of_a_turn_is_not_a_parked_cars_own_motion():
    """Straight on at 10 m/s, from 1.5 s on 0.25 rad/s to the left; a car parked 3 m to the right.

    Its drift as seen is w z from one sample to the next; over the last 0.8 s as they stand it would be a mixture.
    """
    turned = 0.25

    def yaw(time_sec: float) -> float:
        return turned * max(time_sec - 1.5, 0.0)

    parked = RoadUser(1, lambda t: (3.0, 40.0 - 10.0 * t))
    tracks = tracks_of([parked], 1.9, yaw)
    (track,) = followed_tracks(tracks, CAMERA, ego_motion(1.9, turned, 10.0, since_sec=1.55))
    (unaware,) = followed_tracks(tracks, CAMERA, NONE)
    expected = turned * track.distance.m[-1]
    told, mixed = (each.drift_mps[-1].mean() for each in (track, unaware))
    assert abs(told - expected) < 0.9
    assert abs(mixed - expected) > 3.0


def last_beside(
    user: RoadUser, ego: pl.DataFrame, turning: float, speed_mps: float, seconds: float, turning_error: float = 0.0
) -> tuple[float, BesidePath]:
    """Distance at the last sample, and the course beside the path, contact after distance / closing speed."""
    (track,) = followed_tracks(tracks_of([user], seconds), CAMERA, ego)
    count = len(track.times_sec)
    own = OwnMotion(*(np.full(count, each) for each in (turning, speed_mps, turning_error, 0.0)))
    return float(track.distance.m[-1]), beside_path(track, own, track.distance.m / track.closing_mps)


def test_an_error_of_the_curvature_takes_room_with_the_square_of_the_distance():
    """Straight on past somebody 4 m aside: 0.02 rad/s at 10 m/s is 0.002 per m, 0.9 m at 30 m, 0.1 m at 10 m."""
    for last_m in (30.0, 10.0):
        user = RoadUser(1, lambda t, last_m=last_m: (4.0, last_m + 10.0 * (0.9 - t)), "person", (1.7, 0.5, 0.1))
        exact, unsure = (last_beside(user, NONE, 0.0, 10.0, 1.0, error)[1].contact_gap_m[-1] for error in (0.0, 0.02))
        (distance_m, _) = last_beside(user, NONE, 0.0, 10.0, 1.0)
        assert distance_m == pytest.approx(last_m, rel=0.12)  # by the usual size of people
        assert unsure - exact == pytest.approx(0.002 * abs(4.0**2 - distance_m**2) / 2, rel=0.15)


def parked_row(count: int, speed_mps: float) -> list[RoadUser]:
    return [RoadUser(n, lambda t, n=n: (3.2 * (-1) ** n, 16 + 7 * n - speed_mps * t)) for n in range(count)]


def test_parked_cars_show_the_own_speed_and_turning():
    tracks = followed_tracks(tracks_of(parked_row(5, 8.0), 1.5), CAMERA, NONE)
    found = common_motion(tracks, tracks[4])
    assert found.speed_mps[-1] == pytest.approx(8.0, rel=0.1)
    assert found.turning_rad_per_sec[-1] == pytest.approx(0.0, abs=0.03)


def test_what_others_show_is_as_sure_as_they_agree():
    """Five that stand agree; with one of them drifting on its own the median stays, and its error is told."""
    straight = parked_row(5, 8.0)
    drifting = [*straight[:3], RoadUser(3, lambda t: (-3.2 + 2.0 * t, 37 - 8.0 * t)), straight[4]]
    for users, low, high in ((straight, 0.0, 0.002), (drifting, 0.003, 0.02)):
        tracks = followed_tracks(tracks_of(users, 1.5), CAMERA, NONE)
        found = common_motion(tracks, tracks[4])
        assert found.turning_rad_per_sec[-1] == pytest.approx(0.0, abs=0.03)
        assert low <= found.turning_error_rad_per_sec[-1] <= high
        nothing_seen = own_motion(NONE, CAMERA, tracks[4].times_sec)
        assert best_motion(nothing_seen, found, tracks[4]).turning_error_rad_per_sec == pytest.approx(
            found.turning_error_rad_per_sec, nan_ok=True
        )


def test_cars_that_drive_show_nothing_of_the_own_motion():
    """Four ahead, each with a speed of its own: their median is nobody's."""
    driving = [RoadUser(n, lambda t, n=n: (3.5 * (n % 3 - 1), 20 + 6 * n - (n - 1) * 3.0 * t)) for n in range(5)]
    tracks = followed_tracks(tracks_of(driving, 1.5), CAMERA, NONE)
    assert np.isnan(common_motion(tracks, tracks[0]).speed_mps).all()


def test_two_others_are_too_few():
    tracks = followed_tracks(tracks_of(parked_row(3, 8.0), 1.5), CAMERA, NONE)
    assert np.isnan(common_motion(tracks, tracks[0]).speed_mps).all()
