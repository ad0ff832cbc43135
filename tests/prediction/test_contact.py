"""Predicted contacts: arithmetic by hand, worlds that are known, and the collision of `intersection_crash`."""

from __future__ import annotations

import math

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.mining.one_pass import perceive
from autorisk_dagster.perception.nanodet import NanoDetDetector
from autorisk_dagster.prediction.contact import Contact, predicted_contacts
from autorisk_dagster.prediction.forecast import NO_REACTION, Braking
from autorisk_dagster.profile import PerceptionSettings
from autorisk_dagster.video.probe import probe
from tests.prediction.world import NO_CONFLICTS, SIZE, conflict_row, conflicts, driven
from tests.video_factory import SHARED_VIDEO

NOBODY = tables.empty(tables.TRACKS)
FULL = {"on_collision_course": True, "ttc_sec": 1.0, "ttc_low_sec": 0.9, "ttc_high_sec": 1.2, "distance_m": 10.0}


def own(braking: Braking = NO_REACTION, **changes: object) -> list[Contact]:
    return predicted_contacts(NOBODY, conflicts(conflict_row(**changes)), SIZE, 1.5, 3.0, braking)


def test_a_collision_course_gives_the_time_to_contact_with_its_interval() -> None:
    (found,) = own(**FULL)
    assert (found.sec, found.low_sec, found.high_sec) == (1.0, 0.9, 1.2)
    assert (found.track_ids, found.between) == ((3,), "own vehicle and car #3")


def test_no_collision_course_or_a_late_one_is_no_contact() -> None:
    assert own(ttc_sec=1.0, ttc_low_sec=0.9, ttc_high_sec=1.2) == []
    assert own(**{**FULL, "ttc_sec": 3.5, "ttc_high_sec": 5.0}) == []


def test_braking_too_late_puts_the_contact_off() -> None:
    """10 m at 10 m/s, 6 m/s2 after 0.7 s: 10 - 10 t + 3 (t - 0.7)^2 = 0 at t = (14.2 - 8) / 6 = 1.033."""
    (found,) = own(Braking(6.0, 0.7, 10.0), **FULL)
    assert found.sec == pytest.approx(1.033, abs=0.011)


def test_braking_in_time_ends_it() -> None:
    """20 m at 10 m/s: the least room is 20 - 10 * 2.367 + 3 * 1.667^2 = 4.7 m."""
    far = {**FULL, "ttc_sec": 2.0, "ttc_low_sec": 1.8, "ttc_high_sec": 2.2, "distance_m": 20.0}
    assert own(**far) and own(Braking(6.0, 0.7, 10.0), **far) == []


def test_who_comes_in_beside_touches_when_the_room_is_used_up() -> None:
    beside = {"distance_m": 3.0, "gap_m": 1.0, "inward_mps": 0.8, "inward_error_mps": 0.1}
    (found,) = own(**beside)
    assert found.sec == pytest.approx(1.25)
    assert (found.low_sec, found.high_sec) == (pytest.approx(1 / 0.9645), pytest.approx(1 / 0.6355))
    assert own(**{**beside, "inward_error_mps": 0.4}) == []  # two standard errors are no move
    assert own(**{**beside, "distance_m": 15.0}) == []  # ahead, not beside


def test_two_others_on_a_collision_course() -> None:
    """Towards each other at 12 m/s along the road, 24 m apart: they touch when a car's length is left."""
    one = driven(2.0, 25.0, 0.0, 4.0, track_id=1)
    other = driven(2.0, 49.0 + 12.0 * 1.5 - 4.0 * 1.5, 0.0, -8.0, track_id=2)
    tracks = pl.concat([one, other]).sort("timestamp_sec", "track_id")
    (found,) = predicted_contacts(tracks, NO_CONFLICTS, SIZE, 1.5, 3.0, NO_REACTION)
    # 25 + 6 = 31 and 61 - 12 = 49 m: 18 m apart at 1.5 s. A road user seen end on is taken to be 4.4 m long.
    assert found.track_ids == (1, 2)
    assert found.sec == pytest.approx((18 - 4.4) / 12, abs=0.2)
    assert found.low_sec < found.sec < found.high_sec


def test_two_side_by_side_that_stand_are_no_contact() -> None:
    tracks = pl.concat([driven(-2.0, 20.0, 0.0, 0.0, track_id=1), driven(2.0, 20.5, 0.0, 0.0, track_id=2)])
    assert predicted_contacts(tracks.sort("timestamp_sec"), NO_CONFLICTS, SIZE, 1.5, 3.0, NO_REACTION) == []


@pytest.mark.skipif(not SHARED_VIDEO.is_dir(), reason="needs ../shared/data/video")
def test_the_collision_is_predicted_within_a_fifth_of_a_second_of_when_it_came() -> None:
    """The boxes touch at 0.8 s and the impact is at 0.9 s; from 0.4 s on, each forecast says so."""
    path = SHARED_VIDEO / "intersection_crash.mp4"
    facts = probe(path)
    seen = perceive(path, 1.0, NanoDetDetector(), PerceptionSettings(), lambda _: None)
    size = (facts.width_px, facts.height_px)
    for tenth in (4, 5, 6, 7):
        at_sec = seen.tracks["timestamp_sec"].unique().sort()[tenth]
        assert math.isclose(at_sec, tenth / 10, abs_tol=0.01)
        first, *_ = predicted_contacts(seen.tracks, NO_CONFLICTS, size, at_sec, 3.0, NO_REACTION)
        assert first.between == "car #1 and car #2"
        assert at_sec + first.sec == pytest.approx(0.85, abs=0.2)
