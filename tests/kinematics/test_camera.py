"""The camera from the boxes of road users, and distances from the camera, against a world projected point by point."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.kinematics.camera import Camera, assumed_camera, calibrate, distances, metres_per_px
from autorisk_dagster.profile import CameraSettings
from tests.reasoning.scene import FRAME_SIZE, RoadUser, tracks_of

KNOWN = Camera(*FRAME_SIZE, 832.0, 0.0, 360.0, 0.0, 1.3, 0.0)


def traffic(heights_m: list[float]) -> list[RoadUser]:
    """Cars of these heights in lanes side by side, each coming nearer by 10 m."""
    return [
        RoadUser(number, lambda t, n=number: (3.0 * (n % 3 - 1), 18 + 6 * n - 2 * t), size_m=(height, 1.8, 4.4))
        for number, height in enumerate(heights_m)
    ]


def test_both_ways_to_measure_a_distance_by_hand():
    # 1.55 m in 62 px: 0.025 m a px; the foot 52 px under the horizon, 1.3 m: 0.025 m a px. 832 * 0.025 = 20.8 m.
    box = np.array([[600.0, 350.0, 680.0, 412.0]])
    assert metres_per_px(box, "car", KNOWN)[0] == pytest.approx([0.025])
    assert distances(box, "car", KNOWN).m == pytest.approx([20.8])


def test_where_size_and_foot_disagree_the_more_certain_counts_more():
    # By size 20.8 m, by foot (104 px under the horizon) 10.4 m: the foot near by is the better one.
    box = np.array([[600.0, 402.0, 680.0, 464.0]])
    between = float(distances(box, "car", KNOWN).m[0])
    assert 10.4 < between < math.sqrt(10.4 * 20.8)
    unsure = replace(KNOWN, horizon_spread_px=40.0, height_spread=0.5)
    assert float(distances(box, "car", unsure).m[0]) == pytest.approx(20.8, rel=0.05)


def test_the_interval_grows_with_what_is_not_known():
    box = np.array([[600.0, 350.0, 680.0, 412.0]])
    widths = []
    for camera in (KNOWN, replace(KNOWN, height_spread=0.3), replace(KNOWN, height_spread=0.3, focal_spread=0.18)):
        found = distances(box, "car", camera)
        widths.append(float(found.high_m[0] / found.low_m[0]))
    assert widths == sorted(widths) and widths[0] < widths[1] < widths[2]


def test_a_box_that_the_lower_border_cuts_gives_an_upper_bound():
    found = distances(np.array([[500.0, 300.0, 800.0, 720.0]]), "car", KNOWN)
    assert found.low_m[0] == 0.0
    assert found.high_m[0] > found.m[0]


@pytest.mark.parametrize("ratio", [0.5, 0.6])
def test_somebody_who_strides_or_pushes_a_bicycle_is_still_a_person(ratio):
    """Boxes of walkers are up to 0.6 times as wide as high; they must not be taken for something else."""
    box = np.array([[600.0, 300.0, 600.0 + 100 * ratio, 400.0]])
    assert np.isfinite(distances(box, "person", KNOWN).m).all()


def test_horizon_and_camera_height_are_found_from_road_users_of_various_sizes():
    """Camera 1.3 m up, horizon at 360 px: heights of 1.4 to 1.75 m average to the usual car's."""
    tracks = tracks_of(traffic([1.45, 1.5, 1.55, 1.6, 1.65, 1.55, 1.4, 1.7]), 5.0)
    camera = calibrate(tracks, FRAME_SIZE, CameraSettings())
    assert camera.road_users == 8
    assert camera.horizon_px == pytest.approx(360.0, abs=2 * camera.horizon_spread_px)
    assert camera.horizon_px == pytest.approx(360.0, abs=12)
    assert camera.height_m == pytest.approx(1.3, rel=0.12)
    assert camera.height_spread < 0.2


def test_what_the_profile_gives_is_exact():
    tracks = tracks_of(traffic([1.55] * 4), 3.0)
    known = CameraSettings(height_m=2.2, horizontal_view_deg=90.0, horizon_share=0.4)
    camera = calibrate(tracks, FRAME_SIZE, known)
    assert (camera.height_m, camera.height_spread) == (2.2, 0.0)
    assert (camera.horizon_px, camera.horizon_spread_px) == (pytest.approx(288.0), 0.0)
    assert (camera.focal_px, camera.focal_spread) == (pytest.approx(640.0), 0.0)  # half the width / tan 45
    one = calibrate(tracks, FRAME_SIZE, CameraSettings(horizon_share=0.5))
    assert one.horizon_spread_px == 0.0 and 0 < one.height_spread < 0.4


def test_nobody_seen_leaves_the_usual_camera_with_its_error():
    camera = calibrate(tables.empty(tables.TRACKS), FRAME_SIZE, CameraSettings())
    assert camera == assumed_camera(FRAME_SIZE, CameraSettings())
    assert camera.road_users == 0 and camera.focal_spread > 0.1


def test_one_road_user_counts_once_however_long_it_is_seen():
    short, long = (
        calibrate(tracks_of([RoadUser(1, lambda t: (2.0, 30 - t))], seconds), FRAME_SIZE, CameraSettings())
        for seconds in (2.0, 15.0)
    )
    assert short.road_users == long.road_users == 1
    assert long.height_spread > 0.1


def test_two_focal_lengths_and_a_frame_without_size_are_refused():
    with pytest.raises(ValidationError, match="focal_px or horizontal_view_deg, not both"):
        CameraSettings(focal_px=800.0, horizontal_view_deg=90.0)
    with pytest.raises(InputError, match="frame_size"):
        assumed_camera((0, 720), CameraSettings())
