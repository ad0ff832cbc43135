"""What the kinematic reasoner says about scenes whose truth is known by construction."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.reasoning.evidence import ClipEvidence, clip_evidence
from autorisk_dagster.reasoning.kinematic import KinematicReasoner
from autorisk_dagster.reasoning.rules import findings
from autorisk_dagster.reasoning.schema import Assessment
from tests.reasoning.scene import FRAME_SIZE, RoadUser, evidence_of, track_row, tracks_of, windows

REASONER = KinematicReasoner()


def severity(evidence: ClipEvidence) -> str:
    return REASONER.assess(evidence).severity


def fired(evidence: ClipEvidence) -> set[str]:
    return {finding.rule for finding in findings(evidence)}


def approach(duration_sec: float, x_m: float = 0.1) -> pl.DataFrame:
    """A car at 50 m ahead that comes nearer at 10 m/s: TTC is 5 s - t."""
    return tracks_of([RoadUser(3, lambda t: (x_m, 50 - 10 * t))], duration_sec)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.9, "NONE"),  # TTC down to 4.2 s
        (2.6, "LOW"),  # 2.5 s, the interval ends at about 3.1 s
        (3.6, "MEDIUM"),  # 1.5 s, at about 1.8 s
        (4.4, "HIGH"),  # 0.7 s, at about 0.9 s
    ],
)
def test_severity_rises_as_the_time_to_contact_falls(seconds, expected):
    assert severity(evidence_of(approach(seconds), 0.0, seconds)) == expected


def test_the_answer_names_who_where_and_when_with_figures():
    assessment = REASONER.assess(evidence_of(approach(4.4), 0.0, 4.4))
    assert assessment.hazards[0].type == "Rear-end"
    assert assessment.hazards[0].actors == ["car #3"]
    assert assessment.causal_reasoning.startswith("car #3 ahead in the own path, about ")
    told = re.search(r"TTC ([\d.]+) s \(([\d.]+)-([\d.]+)\)", assessment.causal_reasoning)
    assert told is not None
    value, low, high = map(float, told.groups())
    assert low <= 0.7 <= high  # 5 s - 4.3 s
    assert value == pytest.approx(0.7, rel=0.2)
    assert "at 4.3 s" in assessment.causal_reasoning
    assert assessment.recommended_action == "Emergency braking for car #3."
    assert assessment.evidence[0].startswith("approach-critical: ")
    assert assessment.confidence is None


def test_times_are_those_of_the_video_and_only_the_clip_counts():
    tracks = approach(4.4)
    assert severity(evidence_of(tracks, 0.0, 1.0)) == "NONE"
    assert "at 4.3 s" in REASONER.assess(evidence_of(tracks, 3.0, 4.4)).causal_reasoning


def test_a_car_that_draws_away_is_no_hazard():
    assert severity(evidence_of(tracks_of([RoadUser(1, lambda t: (0.0, 8 + 4 * t))], 4.0), 0.0, 4.0)) == "NONE"


@pytest.mark.parametrize("middle_m", [-3.3, 3.0])
@pytest.mark.parametrize("speed_mps", [5.0, 13.0, 25.0])
def test_passing_a_car_in_the_next_lane_is_no_collision_course(middle_m, speed_mps):
    """It grows as fast as one ahead: TTC under 1 s, but 1.2 m of room."""
    tracks = tracks_of([RoadUser(1, lambda t: (middle_m, 45 - speed_mps * t))], 45 / speed_mps)
    evidence = evidence_of(tracks, 0.0, 45 / speed_mps)
    assert min(s.high_sec for a in evidence.actors for s in a.samples if not math.isnan(s.high_sec)) < 1.5
    assert severity(evidence) == "NONE"


def test_a_car_from_the_side_on_a_constant_bearing_is_a_collision_course():
    # 18 m to the left at 30 m, 6 m/s across and 10 m/s closing: both are 0 after 3 s.
    crossing = RoadUser(7, lambda t: (-18 + 6 * t, 30 - 10 * t), turned_rad=-math.pi / 2)
    assert severity(evidence_of(tracks_of([crossing], 2.8), 0.0, 2.8)) == "HIGH"


def test_a_car_from_the_side_that_clears_the_path_in_time_is_none():
    # It starts 12 m further right, so that its tail is past when the own car arrives.
    crossing = RoadUser(7, lambda t: (6 + 6 * t, 30 - 10 * t), turned_rad=-math.pi / 2)
    assert severity(evidence_of(tracks_of([crossing], 2.8), 0.0, 2.8)) == "NONE"


def bend(offset_m: float, count: int) -> pl.DataFrame:
    """Cars parked along a left bend of 32 m radius, driven at 8 m/s; `offset_m` right of the own path's middle."""
    radius_m, rate = 32.0, 8.0 / 32.0

    def parked(number: int) -> RoadUser:
        angle = (14 + 7 * number) / radius_m
        x, z = -radius_m + (radius_m + offset_m) * math.cos(angle), (radius_m + offset_m) * math.sin(angle)
        return RoadUser(
            number,
            lambda t: (x + radius_m * (1 - math.cos(rate * t)), z - radius_m * math.sin(rate * t)),
            turned_rad=angle,
        )

    return tracks_of([parked(number) for number in range(count)], 4.0, lambda t: rate * t)


@pytest.mark.parametrize("offset_m", [-3.0, 3.0])
def test_cars_parked_along_a_bend_are_told_from_cars_in_the_way_by_taking_out_the_turn(offset_m):
    assert severity(evidence_of(bend(offset_m, 5), 0.0, 4.0)) in ("NONE", "LOW")


def test_a_car_that_stands_in_the_bend_is_still_a_collision_course():
    assert severity(evidence_of(bend(0.0, 5), 0.0, 4.0)) == "HIGH"


def test_one_bad_sample_decides_nothing():
    evidence = evidence_of(approach(0.9), 0.0, 0.9)
    calm = evidence.actors[0]
    bad = replace(calm.samples[5], ttc_sec=0.3, low_sec=0.2, high_sec=0.4, contact_gap_m=0.0)
    samples = (*calm.samples[:5], bad, *calm.samples[6:])
    assert severity(replace(evidence, actors=(replace(calm, samples=samples),))) == "NONE"
    three = tuple(replace(sample, ttc_sec=0.3, high_sec=0.4, contact_gap_m=0.0) for sample in calm.samples[3:6])
    samples = (*calm.samples[:3], *three, *calm.samples[6:])
    assert severity(replace(evidence, actors=(replace(calm, samples=samples),))) == "HIGH"


def test_an_insignificant_time_to_contact_decides_nothing():
    """TTC 0.7 s, but its interval reaches to infinity: standing still is within it."""
    evidence = evidence_of(approach(4.4), 0.0, 4.4)
    unsure = tuple(replace(sample, high_sec=math.inf) for sample in evidence.actors[0].samples)
    assert severity(replace(evidence, actors=(replace(evidence.actors[0], samples=unsure),))) == "NONE"


def overtaker(inward_mps: float) -> pl.DataFrame:
    """A car comes from behind on the left, stays 2.5 m ahead from 3.5 s on and from 4 s on moves in, down to 1.9 m."""

    def at(t: float) -> tuple[float, float]:
        return min(-3.1 + max(t - 4.0, 0.0) * inward_mps, -1.9), (-8 + 3 * t if t < 3.5 else 2.5)

    # Somebody far ahead, in the next lane but one, from the start.
    return tracks_of([RoadUser(9, at), RoadUser(1, lambda _: (7.0, 40.0))], 7.0)


def test_a_car_that_comes_alongside_and_moves_in_is_first_low_then_high():
    assert severity(evidence_of(overtaker(0.0), 0.0, 7.0)) in ("NONE", "LOW")
    evidence = evidence_of(overtaker(0.8), 0.0, 7.0)
    assert severity(evidence) == "HIGH"
    assert "side-contact" in fired(evidence)
    assessment = REASONER.assess(evidence)
    assert (assessment.hazards[0].type, assessment.hazards[0].actors) == ("Side-swipe", ["car #9"])
    assert assessment.hazards[0].spatial_relation.startswith("left, about 3 m away")


HORN = {4.5: (10.0, 0.9)}


def test_a_horn_makes_medium_of_low_only_with_a_road_user_close_by():
    quiet = evidence_of(overtaker(0.3), 0.0, 5.5)
    assert severity(quiet) == "LOW"
    heard = evidence_of(overtaker(0.3), 0.0, 5.5, signals=windows(5.5, sounds=HORN))
    assert severity(heard) == "MEDIUM"
    assert REASONER.assess(heard).causal_reasoning.startswith("A horn 10 dB over the noise at 4.5 s; car #9")
    alone = tracks_of([RoadUser(1, lambda _: (7.0, 40.0))], 5.5)
    assert severity(evidence_of(alone, 0.0, 5.5, signals=windows(5.5, sounds=HORN))) == "NONE"


@pytest.mark.parametrize("sound", [(10.0, 0.05), (3.0, 0.9)])
def test_a_loud_noise_or_a_soft_tone_is_no_horn(sound):
    assert severity(evidence_of(overtaker(0.3), 0.0, 5.5, signals=windows(5.5, sounds={4.5: sound}))) == "LOW"


def person(at) -> pl.DataFrame:
    return tracks_of([RoadUser(2, at, "person", (1.7, 0.5, 0.5))], 3.0)


def test_a_person_who_steps_into_the_path_is_medium_before_contact_is_near_in_time():
    # At 3 s 6.5 m ahead, 1.5 m/s: TTC 4.3 s, too long for the approach rules.
    evidence = evidence_of(person(lambda t: (2.5 - t, 11 - 1.5 * t)), 0.0, 3.0)
    assert severity(evidence) == "MEDIUM"
    assert REASONER.assess(evidence).hazards[0].type == "Pedestrian"


def test_a_person_on_the_pavement_is_none_and_at_the_kerb_low():
    assert severity(evidence_of(person(lambda t: (4.0, 20 - 4 * t)), 0.0, 3.0)) == "NONE"
    assert severity(evidence_of(person(lambda t: (1.6, 20 - 4 * t)), 0.0, 3.0)) == "LOW"


def two_cars(stops: bool) -> pl.DataFrame:
    """From a fixed camera, 20 m away: one drives right at 5 m/s, one left at 4 m/s, each 4.4 m long.

    Their fronts are at -4.6 m and 4.4 m: the 9 m between are gone after 1.0 s. When they collide, both stand still from
    then on.
    """

    def first(t: float) -> tuple[float, float]:
        return -9.0 + 5 * (min(t, 1.0) if stops else t), 20.0

    def second(t: float) -> tuple[float, float]:
        return 8.8 - 4 * (min(t, 1.0) if stops else t), 21.0

    half = math.pi / 2
    return tracks_of([RoadUser(1, first, turned_rad=-half), RoadUser(2, second, turned_rad=half)], 2.5)


def test_two_cars_whose_motion_breaks_off_where_they_meet_have_collided():
    evidence = evidence_of(two_cars(stops=True), 0.0, 2.5)
    met = evidence.encounters[0]
    assert met.track_ids == (1, 2)
    assert met.closing_mps == pytest.approx(9.0, rel=0.15)  # 5 + 4 m/s
    assert met.speed_left == pytest.approx(0.0, abs=0.1)
    assert met.speed_change_mps == pytest.approx((5.0, 4.0), rel=0.15)
    assessment = REASONER.assess(evidence)
    assert assessment.severity == "HIGH"
    assert (assessment.hazards[0].type, assessment.hazards[0].actors) == ("Intersection", ["car #1", "car #2"])


def test_two_cars_that_pass_each_other_have_not():
    evidence = evidence_of(two_cars(stops=False), 0.0, 2.5)
    assert evidence.encounters[0].speed_left == pytest.approx(1.0, abs=0.15)
    assert "collision-of-others" not in fired(evidence)
    assert "near-miss-of-others" not in fired(evidence)


def test_near_misses_of_version_1_are_evidence_but_alone_no_severity():
    """In a moving picture it fires on any two cars near each other in image space."""
    event = dict.fromkeys(tables.NEAR_MISS_EVENTS) | {
        "event_id": "e1",
        "version": "1.0",
        "frame_index": 5,
        "timestamp_sec": 0.5,
        "object_id_1": 1,
        "object_id_2": 2,
        "label_1": "car",
        "label_2": "bus",
        "risk_level": "High",
        "risk_score": 0.83,
    }
    events = tables.frame([event, event | {"event_id": "e2", "timestamp_sec": 2.0}], tables.NEAR_MISS_EVENTS)
    far = tracks_of([RoadUser(1, lambda _: (-8.0, 50.0)), RoadUser(2, lambda _: (-8.0, 58.0))], 2.0)
    assessment = REASONER.assess(evidence_of(far, 0.0, 2.0, events=events))
    assert assessment.severity == "NONE"
    told = [line for line in assessment.evidence if line.startswith("near miss")]
    assert told == ["near miss v1.0 High (0.83) between car #1 and bus #2 at 0.5 s"]  # the one at 2.0 s is outside


def nothing(**signals) -> ClipEvidence:
    return evidence_of(tables.empty(tables.TRACKS), 0.0, 2.0, signals=windows(2.0, **signals))


def test_an_empty_road_that_was_looked_at_is_none():
    assert severity(nothing(flow_px=1.5, detections=0)) == "NONE"


def jolt(sound: tuple[float, float], cut: bool) -> ClipEvidence:
    """A quiet drive with nobody in sight, and at 2.0-2.5 s six times the motion and a sound."""
    at_jolt = pl.col("start_sec") == 2.0
    signals = windows(4.0, flow_px=1.0, detections=0, sounds={2.0: sound}).with_columns(
        flow_mean_px=pl.when(at_jolt).then(6.0).otherwise(pl.col("flow_mean_px")),
        scene_cuts=pl.when(at_jolt & cut).then(1).otherwise(0).cast(pl.Int64),
    )
    return evidence_of(tables.empty(tables.TRACKS), 0.0, 4.0, signals=signals)


def test_a_jolt_with_a_bang_that_no_road_user_explains_needs_attention():
    assessment = REASONER.assess(jolt((20.0, 0.0), cut=False))
    assert (assessment.severity, assessment.hazards[0].type) == ("LOW", "Unexplained")
    assert "20 dB over the noise at 2.0 s" in assessment.causal_reasoning


@pytest.mark.parametrize(("sound", "cut"), [((20.0, 0.0), True), ((20.0, 0.9), False), ((8.0, 0.0), False)])
def test_a_cut_in_the_film_a_horn_or_a_soft_sound_is_no_such_jolt(sound, cut):
    assert severity(jolt(sound, cut)) == "NONE"


@pytest.mark.parametrize(
    ("evidence", "reason"),
    [
        (nothing(flow_px=None, detections=0), "no motion was seen"),
        (nothing(flow_px=0.01, detections=0), "dark, covered or frozen"),
        (nothing(flow_px=None, detections=None), "no detector looked"),
        (nothing(flow_px=1.0, detections=None), "no detector looked"),
        (
            evidence_of(
                tables.frame([track_row(3, None, "car", (500.0, 300.0, 700.0, 450.0))], tables.TRACKS), 0.0, 2.0
            ),
            "1 near boxes not followed",
        ),
    ],
)
def test_what_could_not_be_measured_is_abstained_and_never_none(evidence, reason):
    row = REASONER.judge(evidence, "digest")
    assert (row["outcome"], row["severity"], row["raw_text"]) == ("abstained", None, None)
    assert reason in row["error"]
    tables.check(tables.frame([row], tables.REASON_OUTPUTS), tables.REASON_OUTPUTS)
    with pytest.raises(ValueError, match="cannot be judged"):
        REASONER.assess(evidence)


def test_road_users_whose_course_was_not_measured_are_not_judged():
    clip = {"clip_id": "c1", "start_sec": 0.0, "end_sec": 4.4}
    nothing, no_events = tables.empty(tables.CONFLICT_MEASURES), tables.empty(tables.NEAR_MISS_EVENTS)
    evidence = clip_evidence(clip, approach(4.4), nothing, no_events, windows(4.4), FRAME_SIZE)
    row = REASONER.judge(evidence, "digest")
    assert (row["outcome"], row["error"]) == ("abstained", "1 road users were followed whose course was not measured")


def test_a_row_of_the_table_says_who_judged_and_keeps_the_answer():
    row = REASONER.judge(evidence_of(approach(4.4), 0.0, 4.4), "digest")
    tables.check(tables.frame([row], tables.REASON_OUTPUTS), tables.REASON_OUTPUTS)
    assert (row["outcome"], row["severity"]) == ("severity", "HIGH")
    assert (row["reasoner"], row["model_id"]) == ("kinematic", "kinematic-1")
    assert (row["prompt_hash"], row["settings_hash"], row["confidence"]) == (None, "digest", None)
    assert Assessment.model_validate_json(row["raw_text"]) == REASONER.assess(evidence_of(approach(4.4), 0.0, 4.4))
    assert json.loads(row["raw_text"])["hazards"] == row["hazards"]


def test_the_revision_follows_the_thresholds(monkeypatch):
    before = REASONER.model_revision
    assert before == KinematicReasoner().model_revision
    monkeypatch.setattr("autorisk_dagster.reasoning.rules.CRITICAL_TTC_SEC", 1.0)
    assert REASONER.model_revision != before


def test_still_boxes_take_no_part():
    bonnet = approach(4.4).with_columns(pl.lit(True).alias("still"))
    assert evidence_of(bonnet, 0.0, 4.4).actors == ()
