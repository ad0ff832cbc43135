"""The table of conflict measures on scenes projected point by point, whose truth follows from their construction."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.kinematics.conflict_measures import conflict_measures
from autorisk_dagster.profile import CameraSettings
from tests.kinematics.test_own_path import ego_motion
from tests.reasoning.scene import FRAME_SIZE, RoadUser, tracks_of

NONE = tables.empty(tables.EGO_MOTION)
KNOWN = CameraSettings(focal_px=832.0, horizon_share=0.5, height_m=1.3)
BOX = ("x1_px", "y1_px", "x2_px", "y2_px")


def measured(
    users: list[RoadUser], seconds: float, ego: pl.DataFrame = NONE, known: CameraSettings = KNOWN
) -> pl.DataFrame:
    return conflict_measures(tracks_of(users, seconds), ego, FRAME_SIZE, known)


def last(table: pl.DataFrame, track_id: int = 1) -> dict[str, float]:
    return table.filter(pl.col("track_id") == track_id).sort("timestamp_sec").row(-1, named=True)


def approaching(x_m: float = 0.0) -> list[RoadUser]:
    """50 m ahead, 10 m/s closing: time to contact 5 s - t."""
    return [RoadUser(1, lambda t: (x_m, 50 - 10 * t))]


def test_the_table_holds_its_schema_one_row_a_followed_sample():
    tracks = tracks_of([*approaching(), RoadUser(2, lambda _: (4.0, 30.0))], 3.0)
    table = conflict_measures(tracks, NONE, FRAME_SIZE, KNOWN)
    tables.check(table, tables.CONFLICT_MEASURES)
    assert table.height == tracks.height
    assert not any(table[name].is_nan().any() for name, kind in table.schema.items() if kind == pl.Float64)
    still = tracks.with_columns(pl.col("track_id").eq(2).alias("still"))
    assert set(conflict_measures(still, NONE, FRAME_SIZE, KNOWN)["track_id"]) == {1}
    assert conflict_measures(tracks.clear(), NONE, FRAME_SIZE, KNOWN).schema == pl.Schema(tables.CONFLICT_MEASURES)


def test_closing_on_what_stands_ahead():
    """The last sample is at 3.4 s: 16 m, 10 m/s, 1.6 s, DRAC 100 / 32 = 3.1 m/s2; at 10 m/s the headway is 1.6 s."""
    row = last(measured(approaching(), 3.5, ego_motion(3.5, 0.0, 10.0)))
    assert row["distance_m"] == pytest.approx(16.0, rel=0.08)
    assert row["distance_low_m"] < 16.0 < row["distance_high_m"]
    assert row["closing_mps"] == pytest.approx(10.0, rel=0.1)
    for name in ("ttc_sec", "ttc_space_sec", "ttc_2d_sec", "headway_sec"):
        assert row[name] == pytest.approx(1.6, rel=0.15), name
    assert row["drac_mps2"] == pytest.approx(3.1, rel=0.2)
    assert row["own_speed_mps"] == pytest.approx(10.0, rel=0.01)
    assert row["miss_widths"] == pytest.approx(0.0, abs=0.1)
    assert (row["in_own_path"], row["on_collision_course"], row["gap_m"]) == (True, True, 0.0)


def test_the_own_bumper_is_there_before_the_lens():
    """50 - 10 * 2.9 = 21 m from the lens, 1.5 m of it bonnet: 19.5 m at 10 m/s."""
    known = KNOWN.model_copy(update={"bumper_ahead_m": 1.5})
    row = last(measured(approaching(), 3.0, ego_motion(3.0, 0.0, 10.0), known))
    assert row["distance_m"] == pytest.approx(21.0, rel=0.05)
    assert row["ttc_space_sec"] == pytest.approx(1.95, rel=0.05)
    assert row["ttc_2d_sec"] == pytest.approx(1.95, rel=0.05)
    assert row["headway_sec"] == pytest.approx(1.95, rel=0.05)
    assert row["drac_mps2"] == pytest.approx(10**2 / (2 * 19.5), rel=0.08)


def test_what_is_passed_aside_is_no_conflict():
    """A car 3.2 m to the right, 2.3 m from the own middle to its flank: it passes 1.8 widths aside."""
    row = last(measured(approaching(3.2), 3.5))
    assert (row["in_own_path"], row["on_collision_course"]) == (False, False)
    assert row["miss_widths"] == pytest.approx(3.2 / 1.8, rel=0.15)
    assert row["contact_gap_m"] == pytest.approx(2.3 - 0.9, abs=0.4)
    assert row["ttc_2d_sec"] == math.inf
    assert row["drac_mps2"] == 0.0
    assert row["ttc_sec"] < 2.0


def test_constant_bearing_is_a_collision_course_before_it_is_in_the_path():
    """From 18 m left at 30 m, 6 m/s across, 10 m/s closing: both are 0 after 3 s; 12 m further right it is not."""
    course, clears = (
        last(measured([RoadUser(1, lambda t, x=x: (x + 6 * t, 30 - 10 * t), turned_rad=-math.pi / 2)], 2.0))
        for x in (-18.0, -6.0)
    )
    assert course["on_collision_course"] and not course["in_own_path"]
    assert course["ttc_2d_sec"] == pytest.approx(1.1, abs=0.35)
    assert not clears["on_collision_course"]
    assert clears["miss_widths"] > 1.0


def test_a_camera_that_never_moves_has_no_own_path():
    """Somebody comes towards it: measured, but in nobody's path. A single pair in which all else moves is a lorry."""
    fixed = ego_motion(3.0, 0.0, None).with_columns(still_share=pl.lit(0.9))
    lorry = pl.when(pl.int_range(pl.len()) == 5).then(0.1).otherwise(0.9)
    for ego in (fixed, fixed.with_columns(still_share=lorry)):
        table = measured(approaching(), 3.0, ego)
        tables.check(table, tables.CONFLICT_MEASURES)
        assert not (table["in_own_path"] | table["on_collision_course"]).any()
        for name in ("drac_mps2", "ttc_2d_sec", "gap_m", "contact_gap_m"):
            assert table[name].is_null().all(), name
        assert table["ttc_sec"].drop_nulls()[-1] == pytest.approx(2.0, rel=0.15)
    waits_first = fixed.with_columns(still_share=pl.when(pl.col("timestamp_sec") < 1.5).then(0.9).otherwise(0.05))
    for ego in (waits_first, fixed.with_columns(still_share=pl.lit(None, pl.Float64))):
        assert measured(approaching(), 3.0, ego)["in_own_path"].any()


def test_nothing_is_said_of_speed_where_the_camera_is_not_known():
    row = last(measured(approaching(), 3.5, ego_motion(3.5, 0.0, 10.0), CameraSettings()))
    assert row["own_speed_mps"] is None and row["headway_sec"] is None
    assert row["ttc_sec"] == pytest.approx(1.6, rel=0.15)
    assert row["distance_high_m"] / row["distance_low_m"] > 1.5


def test_who_draws_away_has_infinite_times_and_needs_no_braking():
    row = last(measured([RoadUser(1, lambda t: (0.0, 10 + 4 * t))], 3.0))
    assert (row["ttc_sec"], row["ttc_space_sec"], row["ttc_2d_sec"]) == (math.inf, math.inf, math.inf)
    assert row["drac_mps2"] == 0.0
    assert row["closing_mps"] == pytest.approx(-4.0, rel=0.15)
    assert row["miss_widths"] is None and not row["on_collision_course"]


def bend(z_m: float, offset_m: float, closing_mps: float, turning: float, speed_mps: float) -> RoadUser:
    """A car that keeps its place `offset_m` right of the own left-hand arc, while its way along it shortens."""
    radius = speed_mps / turning

    def at(time_sec: float) -> tuple[float, float]:
        angle = (z_m - closing_mps * time_sec) / radius
        return (radius + offset_m) * math.cos(angle) - radius, (radius + offset_m) * math.sin(angle)

    return RoadUser(1, at)


@pytest.mark.parametrize(("closing_mps", "what"), [(10.0, "parked"), (20.0, "oncoming"), (4.0, "slower ahead")])
def test_in_a_bend_the_neighbouring_lane_is_told_from_the_own(closing_mps, what):
    """Left bend of 60 m radius at 10 m/s; a car in the own lane and one 3.5 m to the right of it, 12 m away at last."""
    seconds = 1.6
    rows = [
        last(
            measured(
                [bend(12 + seconds * closing_mps, offset, closing_mps, 1 / 6, 10.0)],
                seconds,
                ego_motion(seconds, 1 / 6, 10.0),
            )
        )
        for offset in (0.0, 3.5)
    ]
    own, aside = rows
    assert own["in_own_path"] and own["contact_gap_m"] <= 0.3, what
    assert not aside["in_own_path"] and not aside["on_collision_course"], what
    assert aside["gap_m"] == pytest.approx(3.5 - 1.8, abs=0.8), what


def crossing_person(clears_sec: float) -> list[RoadUser]:
    """Walks from left to right over the own path, 20 m ahead at first; leaves it (1 m right) at `clears_sec`."""
    walker = RoadUser(1, lambda t: (1.25 + 1.6 * (t - clears_sec), 20 - 5 * t), "person", (1.7, 0.5, 0.5))
    return [walker]


def test_post_encroachment_time_is_from_leaving_the_path_to_the_own_arrival():
    """The own car drives 5 m/s; at 2 s the walker leaves the path 10 m ahead: the own car is there 2 s later."""
    table = measured(crossing_person(2.0), 3.0, ego_motion(6.0, 0.0, 5.0))
    pet = table.drop_nulls("pet_sec")
    assert pet.height == 1
    assert pet["timestamp_sec"][0] == pytest.approx(2.1, abs=0.25)
    assert pet["pet_sec"][0] == pytest.approx(2.0, abs=0.35)


def test_without_the_own_speed_or_before_the_own_arrival_there_is_no_post_encroachment_time():
    for ego in (NONE, ego_motion(6.0, 0.0, None), ego_motion(2.8, 0.0, 5.0)):
        assert measured(crossing_person(2.0), 3.0, ego)["pet_sec"].null_count() == 30


PLACES = st.tuples(st.floats(-6, 6), st.floats(25, 40), st.floats(-3, 3), st.floats(2, 12))


def users_of(places: list[tuple[float, float, float, float]]) -> list[RoadUser]:
    return [
        RoadUser(number, lambda t, p=place: (p[0] + p[2] * t, p[1] - p[3] * t))
        for number, place in enumerate(places, start=1)
    ]


@settings(max_examples=15, deadline=None)
@given(st.lists(PLACES, min_size=1, max_size=2), st.floats(-0.1, 0.1))
def test_a_mirrored_world_has_the_same_conflicts_on_the_other_side(places, turning):
    tracks = tracks_of(users_of(places), 1.5)
    width = FRAME_SIZE[0]
    mirrored = tracks.with_columns(x1_px=width - pl.col("x2_px"), x2_px=width - pl.col("x1_px"))
    one = conflict_measures(tracks, ego_motion(1.5, turning, 8.0), FRAME_SIZE, KNOWN)
    other = conflict_measures(mirrored, ego_motion(1.5, -turning, 8.0), FRAME_SIZE, KNOWN)
    for name in ("bearing_px", "bearing_rate_px_per_sec", "miss_widths", "lateral_m"):
        assert_same(one[name], -other[name])
    for name in ("gap_m", "inward_mps", "contact_gap_m", "distance_m", "ttc_2d_sec", "drac_mps2"):
        assert_same(one[name], other[name])
    assert one["on_collision_course"].equals(other["on_collision_course"])


@settings(max_examples=10, deadline=None)
@given(st.lists(PLACES, min_size=1, max_size=2))
@example([(0.0, 30.0, 0.0, 2.0)])  # rounded timestamps moved a sample over the edge of a window
def test_a_picture_of_twice_the_size_and_a_later_clock_show_the_same(places):
    tracks = tracks_of(users_of(places), 1.5)
    ego = ego_motion(1.5, 0.05, 8.0)
    one = conflict_measures(tracks, ego, FRAME_SIZE, KNOWN)
    scaled = tracks.with_columns(*(pl.col(name) * 2 for name in BOX), timestamp_sec=pl.col("timestamp_sec") + 100.0)
    scaled_ego = ego.with_columns(
        pl.col("timestamp_sec") + 100.0, pl.col("pan_px_per_sec") * 2, pl.col("road_flow_per_px_sec") / 2
    )
    double = CameraSettings(focal_px=1664.0, horizon_share=0.5, height_m=1.3)
    other = conflict_measures(scaled, scaled_ego, (2 * FRAME_SIZE[0], 2 * FRAME_SIZE[1]), double)
    for name in ("gap_m", "lateral_m", "distance_m", "closing_mps", "ttc_space_sec"):
        assert_same(one[name], other[name], tolerance=0.03)
    assert_same(one["bearing_px"] * 2, other["bearing_px"])


@settings(max_examples=10, deadline=None)
@given(st.lists(PLACES, min_size=2, max_size=3))
def test_the_numbers_of_the_tracks_mean_nothing(places):
    tracks = tracks_of(users_of(places), 1.2)
    renamed = tracks.with_columns(track_id=100 - pl.col("track_id"))
    one = conflict_measures(tracks, NONE, FRAME_SIZE, CameraSettings()).sort("track_id", "frame_index")
    other = (
        conflict_measures(renamed, NONE, FRAME_SIZE, CameraSettings())
        .with_columns(track_id=100 - pl.col("track_id"))
        .sort("track_id", "frame_index")
    )
    for name in ("contact_gap_m", "distance_m", "miss_widths", "closing_mps"):
        assert_same(one[name], other[name])


def test_what_comes_later_changes_nothing_but_the_post_encroachment_time():
    whole = tracks_of(approaching(), 3.0)
    begun = whole.filter(pl.col("timestamp_sec") < 2.0)
    one = conflict_measures(begun, NONE, FRAME_SIZE, KNOWN)
    other = conflict_measures(whole, NONE, FRAME_SIZE, KNOWN).filter(pl.col("timestamp_sec") < 2.0)
    assert one.drop("pet_sec").equals(other.drop("pet_sec"), null_equal=True)


def assert_same(one: pl.Series, other: pl.Series, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(
        one.cast(pl.Float64).to_numpy(), other.cast(pl.Float64).to_numpy(), rtol=tolerance, atol=tolerance
    )
