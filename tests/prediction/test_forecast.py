"""Road users carried forward: against pinhole worlds whose future is known, and what must not move."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.prediction.forecast import NO_REACTION, Braking, Carried, carried_forward
from tests.prediction.world import (
    FOCAL_PX,
    NO_CONFLICTS,
    NO_EGO_MOTION,
    SIZE,
    box_of,
    conflict_row,
    conflicts,
    driven,
    tracks_of,
)


def carried(tracks: pl.DataFrame, measured: pl.DataFrame = NO_CONFLICTS, own: pl.DataFrame = NO_EGO_MOTION) -> Carried:
    """The one road user of `tracks` at 1.5 s."""
    (user,) = carried_forward(tracks, measured, own, SIZE, 1.5)
    return user


@settings(max_examples=30, deadline=None)
@given(
    x_m=st.floats(-4, 4),
    z_m=st.floats(20, 40),
    x_mps=st.floats(-1.5, 1.5),
    z_mps=st.floats(-8, 6),
)
def test_constant_velocity_in_space_is_carried_exactly(x_m: float, z_m: float, x_mps: float, z_mps: float) -> None:
    """Exact boxes: the forecast after 1 s is where the pinhole shows it, up to what counts as nothing."""
    user = carried(driven(x_m, z_m, x_mps, z_mps))
    expected = box_of(x_m + 2.5 * x_mps, z_m + 2.5 * z_mps)
    found = user.boxes_px(np.array([0.0, 1.0]))
    assert found[0] == pytest.approx(user.box_px)
    # What shrinking can take away is at most 1.5 standard errors of each slope, over 1 s, at the depth of then.
    depth = user.depth_share(np.array([1.0]))[0] - 1.5 * user.growth_error_hz
    span = expected[2] - expected[0] + np.abs(expected[2:] - user.box_px[2:]).max()
    reach = 1.5 * (user.growth_error_hz * span + user.across_error_px_per_sec.max()) / depth + 1.0
    assert np.abs(found[1] - expected).max() < reach


def test_a_parked_car_under_detector_noise_does_not_creep() -> None:
    noise = np.random.default_rng(1)
    moved = []
    for _ in range(40):
        boxes = [box_of(3.0, 20.0) + noise.normal(0, 1.0, 4) for _ in range(16)]
        user = carried(tracks_of(boxes))
        moved.append(np.abs(user.boxes_px(np.array([1.0]))[0] - user.box_px).max())
    assert np.median(moved) < 1.0
    assert max(moved) < 25.0


def test_what_comes_later_is_not_looked_at() -> None:
    now = driven(1.0, 30.0, 0.0, -6.0)
    later = driven(1.0, 30.0, 0.0, -6.0, seconds=3.0).with_columns(
        pl.when(pl.col("timestamp_sec") > 1.55).then(pl.col("x1_px") - 300).otherwise(pl.col("x1_px")).alias("x1_px")
    )
    one, other = carried(now), carried(later)
    times = np.linspace(0, 3, 7)
    assert (one.boxes_px(times) == other.boxes_px(times)).all()


def test_the_measured_time_to_contact_gives_the_growth() -> None:
    row = conflict_row(ttc_sec=2.0, ttc_low_sec=1.8, ttc_high_sec=2.25, distance_m=18.0)
    user = carried(driven(0.5, 30.0, 0.0, -6.0), conflicts(row))
    # depth share 1 - t / 2; the interval's lower end is 1 / 1.8 - 1 / 2 = 0.0556 away: 1.645 standard errors
    assert user.growth_error_hz == pytest.approx(0.0556 / 1.645, rel=0.01)
    assert user.depth_share(np.array([1.0]))[0] == pytest.approx(0.5, abs=0.01)
    height = user.box_px[3] - user.box_px[1]
    grown = user.boxes_px(np.array([1.0]))[0]
    assert grown[3] - grown[1] == pytest.approx(2 * height, rel=0.02)


def test_the_own_turning_is_taken_out() -> None:
    """The own car turns left by 0.1 rad/s: a parked car seems to move right by 83 px/s, and would not after."""
    times = np.arange(16) / 10
    boxes = [box_of(0.0, 25.0) + np.array([1, 0, 1, 0]) * 0.1 * FOCAL_PX * t for t in times]
    own = tables.frame(
        [
            dict.fromkeys(tables.EGO_MOTION)
            | {
                "timestamp_sec": t,
                "gap_sec": 0.1,
                "pan_px_per_sec": 0.1 * FOCAL_PX,
                "tilt_px_per_sec": 0.0,
                "roll_rad_per_sec": 0.0,
                "road_flow_per_px_sec": None,
                "support": 1.0,
            }
            for t in times[1:].tolist()
        ],
        tables.EGO_MOTION,
    )
    assert abs(carried(tracks_of(boxes)).across_px_per_sec[0]) > 60
    assert abs(carried(tracks_of(boxes), own=own).across_px_per_sec[0]) < 1


def test_a_car_cut_at_the_left_is_carried_by_its_right_edge() -> None:
    """It moves right at 40 px/s; what is cut stays cut, and its width is no sign of its growth."""
    boxes = [np.array([0.0, 300.0, 200.0 + 4 * n, 500.0]) for n in range(16)]
    user = carried(tracks_of(boxes))
    assert user.measured and user.anchor_share[0] == 1.0
    assert user.growth_hz == 0.0
    assert user.across_px_per_sec[0] == pytest.approx(40.0, rel=0.02)


def test_who_was_seen_too_briefly_or_is_cut_both_ways_is_held() -> None:
    short = driven(0.0, 20.0, 0.0, -5.0).filter(pl.col("timestamp_sec") > 1.35)
    corner = tracks_of([np.array([0.0, 300.0, 200.0 + 4 * n, 720.0]) for n in range(16)])
    for tracks in (short, corner):
        user = carried(tracks)
        assert not user.measured
        assert (user.boxes_px(np.array([0.0, 2.0])) == user.box_px).all()


def test_still_ones_and_those_without_a_number_are_left_out() -> None:
    tracks = driven(0.0, 20.0, 0.0, 0.0)
    assert carried_forward(tracks.with_columns(still=True), NO_CONFLICTS, NO_EGO_MOTION, SIZE, 1.5) == []
    unnumbered = tracks.with_columns(track_id=pl.lit(None, pl.Int64))
    assert carried_forward(unnumbered, NO_CONFLICTS, NO_EGO_MOTION, SIZE, 1.5) == []


@pytest.mark.parametrize(
    ("after_sec", "saved_m"),
    [
        (0.7, 0.0),  # the reaction time
        (1.7, 3.0),  # 6 * 1^2 / 2
        (2.7, 12.0),  # 6 * 2^2 / 2: stands after 12 / 6 = 2 s of braking
        (3.7, 24.0),  # and a further second of 12 m/s is not driven
    ],
)
def test_braking_saves_what_the_formula_says(after_sec: float, saved_m: float) -> None:
    braking = Braking(6.0, 0.7, 12.0)
    assert braking.saved_m(np.array([after_sec]))[0] == pytest.approx(saved_m)


def test_a_standing_car_or_an_unknown_speed_is_not_braked() -> None:
    for speed in (0.0, math.nan):
        braking = Braking(6.0, 0.7, speed)
        assert not braking.has_effect
        assert braking.saved_m(np.array([3.0]))[0] == 0.0


def test_uncertainty_grows_with_time() -> None:
    user = carried(driven(0.5, 30.0, 0.3, -4.0))
    spread = user.spread_px(np.array([0.0, 0.5, 1.0, 2.0]), NO_REACTION)
    assert (spread[0] == 0).all()
    assert (np.diff(spread, axis=0) > 0).all()
