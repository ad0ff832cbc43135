"""Metres beside the own path, against a world projected point by point."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.kinematics.camera import Camera
from autorisk_dagster.kinematics.flanks import lateral_edges_m, side_gap_m
from tests.reasoning.scene import FRAME_SIZE, RoadUser

CAMERA = Camera(
    *FRAME_SIZE,
    focal_px=832.0,
    focal_spread=0.0,
    horizon_px=360.0,
    horizon_spread_px=0.0,
    height_m=1.3,
    height_spread=0.0,
)


def edges(user: RoadUser) -> tuple[float, float]:
    box = user.box_px(0.0)
    assert box is not None
    left, right = lateral_edges_m(np.array([box]), user.label, CAMERA)[0]
    return float(left), float(right)


def test_a_box_by_hand():
    # Car, 1.55 m high in 77.5 px: 0.02 m a px by its size; 1.3 m over 65 px: 0.02 m a px by its foot. Edges 560 and
    # 650 are 80 px left and 10 px right of the middle (640): -1.6 and 0.2 m; it spans the middle: taken as they are.
    box = np.array([[560.0, 347.5, 650.0, 425.0]])
    assert lateral_edges_m(box, "car", CAMERA)[0] == pytest.approx([-1.6, 0.2])


@given(st.floats(1.2, 6.0), st.floats(5.0, 40.0), st.sampled_from([-1, 1]))
def test_the_flank_of_a_parked_car_stays_where_it_is_however_near_it_comes(middle_m, ahead_m, side):
    """The far end of its box moves to the middle of the picture; a car 3 m aside must not seem to swerve in."""
    left, right = edges(RoadUser(1, lambda _: (side * middle_m, ahead_m)))
    box = RoadUser(1, lambda _: (side * middle_m, ahead_m)).box_px(0.0)
    inner = left if side > 0 else -right
    if box[0] > 10 and box[2] < 1270 and box[3] < 710:
        assert inner == pytest.approx(
            middle_m - 0.9, abs=0.1 + 0.035 * (middle_m + 0.9)
        )  # 1.6 m high, the usual car 1.55


def test_a_car_that_stands_across_reaches_as_far_in_as_its_box():
    # Turned by 90 degrees to the left, it reaches from its near end's middle 4.4 m to the left: from 7.0 to 2.6 m.
    left, _ = edges(RoadUser(1, lambda _: (7.0, 12.0), turned_rad=math.pi / 2))
    assert left == pytest.approx(2.6, abs=0.3)


def test_a_car_beside_us_that_the_frame_cuts_is_placed_by_its_far_end():
    # Middle at -3.3 m, flank at -2.4 m; its rear is behind the camera, its front 4.4 - 0.5 = 3.9 m ahead.
    _, right = edges(RoadUser(1, lambda _: (-3.3, -0.5)))
    assert right == pytest.approx(-2.4, abs=0.35)


def test_in_the_own_path_there_is_no_gap_and_beside_it_the_gap_is_to_the_flank():
    places = np.array([[-0.5, 1.3], [0.9, 2.0], [2.1, 3.9], [-4.0, -1.5], [math.nan, 1.0]])
    gaps = side_gap_m(places)
    assert gaps[:4] == pytest.approx([0.0, 0.0, 1.2, 0.6])  # 0.9: touches; 2.1 - 0.9; 1.5 - 0.9
    assert math.isnan(gaps[4])


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((0.0, 100.0, 1280.0, 700.0), "cut at both sides: the windscreen"),
        ((300.0, 640.0, 1000.0, 715.0), "700 px wide in 75 px: as a car 15 m, the own bonnet"),
        ((300.0, 400.0, 400.0, 400.0), "no height"),
    ],
)
def test_a_box_that_is_no_road_user_of_known_height_has_no_place(box, why):
    assert np.isnan(lateral_edges_m(np.array([box]), "car", CAMERA)).all(), why
