"""Surrogate measures by hand: infinity is "no conflict", NaN "cannot be taken"."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.kinematics import surrogate_measures as measures

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("gap_m", "closing_mps", "expected"),
    [
        (30.0, 10.0, 3.0),
        (30.0, 0.0, INF),
        (30.0, -5.0, INF),  # draws away
        (0.0, -5.0, 0.0),  # touches
        (NAN, 10.0, NAN),
        (30.0, NAN, NAN),
    ],
)
def test_time_to_collision(gap_m, closing_mps, expected):
    assert measures.time_to_collision_sec(gap_m, closing_mps) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("gap_m", "speed_mps", "expected"), [(30.0, 15.0, 2.0), (30.0, 0.0, INF), (-1.0, 10.0, 0.0), (30.0, NAN, NAN)]
)
def test_time_headway(gap_m, speed_mps, expected):
    assert measures.time_headway_sec(gap_m, speed_mps) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("gap_m", "closing_mps", "expected"),
    [
        (25.0, 10.0, 2.0),  # 10^2 / (2 * 25); braking so takes 5 s and 25 m
        (25.0, -10.0, 0.0),
        (0.0, 10.0, INF),
        (0.0, -1.0, 0.0),
        (NAN, 10.0, NAN),
    ],
)
def test_deceleration_to_avoid_a_crash(gap_m, closing_mps, expected):
    assert measures.deceleration_to_avoid_crash_mps2(gap_m, closing_mps) == pytest.approx(expected, nan_ok=True)


def in_the_plane(flanks_m, across_mps, ahead_m, closing_mps):
    found = measures.time_to_collision_2d_sec(
        np.array([flanks_m]),
        np.array([[across_mps, across_mps]]),
        np.array([ahead_m]),
        np.array([closing_mps]),
        own_half_width_m=1.0,
        own_length_m=4.5,
        length_m=2.0,
    )
    return float(found[0])


@pytest.mark.parametrize(
    ("flanks_m", "across_mps", "ahead_m", "closing_mps", "expected"),
    [
        ((-0.5, 0.5), 0.0, 20.0, 10.0, 2.0),  # straight ahead
        ((2.0, 3.0), 0.0, 20.0, 10.0, INF),  # passes 1 m aside
        # From the right at 2 m/s: in the 2 m from (3 - 1) / 2 = 1 s to (4 + 1) / 2 = 2.5 s; ahead is 0 at 2 s.
        ((3.0, 4.0), -2.0, 20.0, 10.0, 2.0),
        # Slower ahead: 0 only after 4 s, when it has left.
        ((3.0, 4.0), -2.0, 20.0, 5.0, INF),
        # Beside the own car (1 m behind its front) and moving in: (1.5 - 1) / 0.5 = 1 s.
        ((1.5, 2.5), -0.5, -1.0, 0.0, 1.0),
        ((-0.5, 0.5), 0.0, -1.0, 0.0, 0.0),  # touches already
        ((-0.5, 0.5), 0.0, 20.0, -3.0, INF),
        ((NAN, 0.5), 0.0, 20.0, 10.0, NAN),
    ],
)
def test_time_to_collision_in_the_plane(flanks_m, across_mps, ahead_m, closing_mps, expected):
    assert in_the_plane(flanks_m, across_mps, ahead_m, closing_mps) == pytest.approx(expected, nan_ok=True)


@given(st.floats(-20, 20), st.floats(-5, 5), st.floats(0.5, 60), st.floats(-10, 20))
def test_in_the_plane_left_and_right_are_alike_and_never_before_the_straight_line(middle, across, ahead, closing):
    one = in_the_plane((middle - 0.5, middle + 0.5), across, ahead, closing)
    other = in_the_plane((-middle - 0.5, -middle + 0.5), -across, ahead, closing)
    assert one == pytest.approx(other)
    assert one >= float(measures.time_to_collision_sec(ahead, closing)) - 1e-9


def test_post_encroachment_time():
    assert measures.post_encroachment_time_sec(3.0, 4.2) == pytest.approx(1.2)
    assert measures.post_encroachment_time_sec(3.0, 2.5) == pytest.approx(-0.5)  # both at once
    assert measures.post_encroachment_time_sec(3.0, INF) == INF
    assert math.isnan(measures.post_encroachment_time_sec(NAN, 4.0))


def crossing(second_late_sec: float, scale: float = 1.0) -> float:
    """One drives east at 10 m/s through (0, 0) at 5 s, one north at 5 m/s through it later; both 4 m long."""
    times = np.arange(0.0, 12.0, 0.1)
    east = np.stack([10 * (times - 5), np.zeros_like(times)], axis=1)
    north = np.stack([np.zeros_like(times), 5 * (times - 5 - second_late_sec)], axis=1)
    return measures.pair_post_encroachment_sec(times, east * scale, 4 * scale, times, north * scale, 4 * scale)


def test_the_pair_leaves_and_enters_by_its_lengths():
    # The first leaves at 5 + 2 / 10 = 5.2 s, the second enters at 7 - 2 / 5 = 6.6 s.
    assert crossing(2.0) == pytest.approx(1.4)
    assert crossing(0.3) == pytest.approx(5.3 - 0.4 - 5.2)  # at once: -0.3
    # North is first now: it leaves at 3 + 2 / 5 = 3.4 s, east enters at 5 - 2 / 10 = 4.8 s.
    assert crossing(-2.0) == pytest.approx(1.4)


def test_the_pair_measure_has_no_unit_of_length():
    assert crossing(2.0, scale=37.0) == pytest.approx(crossing(2.0))


def test_ways_that_do_not_cross_have_no_conflict_and_unseen_ends_none_that_is_known():
    times = np.arange(0.0, 5.0, 0.1)
    east = np.stack([10 * times, np.zeros_like(times)], axis=1)
    assert measures.pair_post_encroachment_sec(times, east, 4.0, times, east + np.array([0.0, 3.0]), 4.0) == INF
    # The second is seen from 1 s on, when its front is past the crossing: when it entered is not known.
    north = np.stack([np.full_like(times, 5.0), 5 * times - 0.5], axis=1)
    assert math.isnan(measures.pair_post_encroachment_sec(times, east, 4.0, times + 1.0, north, 4.0))


FEET, MINUTES = 1 / 0.3048, 1 / 60


@given(
    gap=st.floats(0.5, 100),
    closing=st.floats(-20, 20),
    own=st.floats(0.5, 40),
    left=st.floats(-5, 5),
    across=st.floats(-3, 3),
)
def test_other_units_of_length_and_time_change_the_figures_by_their_dimension(gap, closing, own, left, across):
    """Times are free of the unit of length; DRAC is a length over a time squared."""

    def all_of(length, time):
        speed = length / time
        flanks, drift = np.array([left, left + 1.8]) * length, np.array([across, across]) * speed
        sizes = {"own_half_width_m": length, "own_length_m": 4.5 * length, "length_m": 4.4 * length}
        return (
            measures.time_to_collision_sec(gap * length, closing * speed) / time,
            measures.time_headway_sec(gap * length, own * speed) / time,
            measures.deceleration_to_avoid_crash_mps2(gap * length, closing * speed) / (length / time**2),
            measures.time_to_collision_2d_sec(flanks, drift, gap * length, closing * speed, **sizes) / time,
        )

    assert all_of(FEET, MINUTES) == pytest.approx(all_of(1.0, 1.0), rel=1e-9)
