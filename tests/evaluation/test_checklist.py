"""The explanation checklist: each item true, false and not to be checked, against tracks laid by hand."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.evaluation.checklist import (
    CHECKS,
    action_fits_hazard,
    actors_exist,
    cause_named,
    explanation_checklist,
    prediction_fits_ttc,
    relation_is_there,
)
from autorisk_dagster.evaluation.clip_facts import ClipFacts, SeenTrack

LEFT_CAR = SeenTrack(3, "car", (-0.30, -0.25, -0.20), in_own_path=False, moves_in=False)
RIGHT_CAR = SeenTrack(4, "car", (0.20, 0.25, 0.30), in_own_path=False, moves_in=False)
AHEAD_BUS = SeenTrack(5, "bus", (-0.01, 0.0, 0.01), in_own_path=True, moves_in=None)
WALKER = SeenTrack(6, "person", (-0.3, 0.0, 0.25), in_own_path=True, moves_in=True)


def facts(*tracks: SeenTrack, labels: set[str] | None = None, **more: Any) -> ClipFacts:
    values = {"ttc_sec": None, "ttc_low_sec": None, "ttc_high_sec": None, "critical_course": 0, **more}
    seen = frozenset({track.label for track in tracks} if labels is None else labels)
    return ClipFacts(labels=seen, tracks=tracks, **values)


def answer(**said: Any) -> dict[str, Any]:
    empty = dict.fromkeys(tables.REASON_OUTPUTS)
    return {**empty, "severity": "MEDIUM", "hazards": [], **said}


def hazard(actor: str, relation: str, kind: str = "Hazard") -> dict[str, Any]:
    return {"type": kind, "actors": [actor], "spatial_relation": relation}


@pytest.mark.parametrize(
    ("actor", "seen", "holds"),
    [
        ("Person in blue", facts(WALKER), True),
        ("Person in blue", facts(LEFT_CAR), False),  # detected: a car, no person
        ("white SUV", facts(LEFT_CAR), True),
        ("a lorry", facts(LEFT_CAR), True),  # the detector's car may be a lorry: the kind is right
        ("a cyclist", facts(LEFT_CAR, WALKER), True),  # a rider is often seen as a person
        ("a cyclist", facts(LEFT_CAR), False),
        ("a car", facts(labels=set()), None),  # the detector saw nothing: it cannot speak against it
        ("a car", facts(labels={"car"}), True),  # seen, if not followed
        ("an animal", facts(LEFT_CAR), None),  # not of a kind that is looked for
        ("our own car", facts(LEFT_CAR), None),
        ("no pedestrian", facts(LEFT_CAR), None),
        ("car #3", facts(LEFT_CAR), True),
        ("car #9", facts(LEFT_CAR), False),
    ],
)
def test_named_actors_exist(actor: str, seen: ClipFacts, holds: bool | None) -> None:
    found = actors_exist(answer(hazards=[hazard(actor, "ahead")]), seen)
    assert found.holds is holds, found.evidence


def test_a_pedestrian_in_the_reasoning_alone_counts_too() -> None:
    said = answer(hazards=[hazard("car", "ahead")], causal_reasoning="A pedestrian steps out behind it.")
    found = actors_exist(said, facts(LEFT_CAR))
    assert (found.holds, found.evidence) == (False, "names car, person; detected: car; no person")


@pytest.mark.parametrize(
    ("actor", "relation", "tracks", "holds"),
    [
        ("car", "to the left of the own vehicle", [LEFT_CAR], True),
        ("car", "to the left of the own vehicle", [RIGHT_CAR], False),
        ("car", "on the left", [RIGHT_CAR, LEFT_CAR], True),  # one of that kind is enough
        ("car #4", "on the left", [RIGHT_CAR, LEFT_CAR], False),  # unless it is named by number
        ("bus", "on the left", [AHEAD_BUS], None),  # in the middle: neither
        ("car", "in the left lane, ahead", [LEFT_CAR], True),
        ("bus", "ahead in the own path", [AHEAD_BUS], True),
        ("car", "ahead in the own path", [LEFT_CAR], False),  # measured, and never there
        ("bus", "directly in front", [AHEAD_BUS], True),
        ("pedestrian", "crossing the lane", [WALKER], True),
        ("bus", "crossing the road", [AHEAD_BUS], None),  # nothing measured of its own motion
        ("car", "crossing", [SeenTrack(7, "car", (0.2, 0.21), False, False)], False),
        ("car", "behind the own vehicle", [LEFT_CAR], None),  # no camera looks there
        ("car", "turning left", [RIGHT_CAR], None),  # where it goes to is not where it is
        ("car", "has just left the road", [RIGHT_CAR], None),
        ("pedestrian", "on the left", [LEFT_CAR], None),  # nobody of that kind was followed
        ("car", "not on the left", [RIGHT_CAR], None),
        ("car", "", [LEFT_CAR], None),
    ],
)
def test_spatial_relations(actor: str, relation: str, tracks: list[SeenTrack], holds: bool | None) -> None:
    found = relation_is_there(answer(hazards=[hazard(actor, relation)]), facts(*tracks))
    assert found.holds is holds, found.evidence


def test_one_false_relation_is_false_whatever_the_others_are() -> None:
    both = [hazard("car #3", "left"), hazard("car #4", "left")]
    assert relation_is_there(answer(hazards=both), facts(LEFT_CAR, RIGHT_CAR)).holds is False


NEAR = {"ttc_sec": 1.5, "ttc_low_sec": 1.2, "ttc_high_sec": 2.0}
FAR = {"ttc_sec": 9.0, "ttc_low_sec": 7.0, "ttc_high_sec": 14.0}
NOTHING = {"ttc_sec": math.inf, "ttc_low_sec": None, "ttc_high_sec": None}


@pytest.mark.parametrize(
    ("prediction", "measured", "holds"),
    [
        ("Collision within 2 seconds if speed is maintained", NEAR, True),
        ("Collision within 2 seconds if speed is maintained", FAR, False),
        ("Collision within 0.5 s", NEAR, False),  # at the earliest 1.2 s: over twice as late
        ("The car will be hit", NEAR, True),
        ("The car will be hit", NOTHING, False),
        ("The car will be hit", {}, None),  # nothing could be measured
        ("No collision is expected", NEAR, True),  # the approaching one may pass: nothing on a collision course
        ("No collision is expected", {**NEAR, "critical_course": 3}, False),
        ("No collision is expected", {**NEAR, "critical_course": 2}, True),  # two samples hold nothing
        ("No measured motion leads to contact.", NOTHING, True),
        ("No measured motion leads to contact.", {}, None),
        ("Braking will avoid a collision", FAR, None),  # neither contact nor its absence
        ("Traffic goes on", NEAR, None),
        ("", NEAR, None),
        (None, NEAR, None),
    ],
)
def test_predictions_against_the_time_to_contact(prediction: str, measured: Any, holds: bool | None) -> None:
    found = prediction_fits_ttc(answer(short_term_prediction=prediction), facts(LEFT_CAR, **measured))
    assert found.holds is holds, found.evidence


@pytest.mark.parametrize(
    ("severity", "action", "holds"),
    [
        ("HIGH", "Emergency braking for car #3.", True),
        ("HIGH", "Brake and yield", True),
        ("HIGH", "Keep a safe distance", False),
        ("HIGH", "Continue as before", False),
        ("HIGH", "Do not brake, continue", False),
        ("MEDIUM", "Slow down and give way", True),
        ("MEDIUM", "Stay alert", False),
        ("MEDIUM", "Accelerate to pass", False),
        ("LOW", "Watch car #3 and keep the distance.", True),
        ("LOW", "Slow down", True),
        ("LOW", "Immediate emergency braking", False),
        ("LOW", "Proceed normally", False),
        ("NONE", "Drive on as before.", True),
        ("NONE", "Brake hard", False),
        ("HIGH", "Look at the clip", None),
        ("HIGH", "", None),
        ("NONE", None, None),
    ],
)
def test_actions_against_the_severity(severity: str, action: str | None, holds: bool | None) -> None:
    found = action_fits_hazard(answer(severity=severity, recommended_action=action), facts())
    assert (found.holds if found.holds is not None else None) is holds, found.evidence


@pytest.mark.parametrize(
    ("action", "holds"),
    [
        ("Brake and steer to the left", False),
        ("Brake and steer to the right", True),
        ("Brake and steer away from the left", True),
        ("Brake; do not swerve left", True),
    ],
)
def test_nobody_is_to_steer_towards_the_hazard(action: str, holds: bool) -> None:
    said = answer(severity="HIGH", recommended_action=action, hazards=[hazard("car", "on the left")])
    assert action_fits_hazard(said, facts()).holds is holds


@pytest.mark.parametrize(
    ("severity", "reasoning", "holds"),
    [
        ("HIGH", "A car merges into the lane.", True),
        ("HIGH", "Pedestrian stepping into road while car door blocks visibility", True),
        ("HIGH", "Snow; the bend is blocked.", True),
        ("HIGH", "The situation is dangerous.", False),
        ("HIGH", "A car.", False),
        ("HIGH", "No car merges.", False),
        ("HIGH", None, False),
        ("NONE", "Normal driving.", None),
    ],
)
def test_a_cause_is_who_and_what(severity: str, reasoning: str | None, holds: bool | None) -> None:
    found = cause_named(answer(severity=severity, causal_reasoning=reasoning), facts())
    assert found.holds is holds, found.evidence


def test_the_published_example_holds_where_it_is_so() -> None:
    """The answer that seed 000 shows, against a person who walks across, a car, and 1.5 s to contact."""
    said = answer(
        severity="HIGH",
        hazards=[hazard("Person in blue", "crossing lane", "Pedestrian")],
        causal_reasoning="Pedestrian stepping into road while car door blocks visibility...",
        short_term_prediction="Collision risk within 2 seconds if speed maintained...",
        recommended_action="Emergency braking and yield to pedestrian...",
    )
    true, empty = facts(WALKER, LEFT_CAR, **NEAR), facts(LEFT_CAR, **NOTHING)
    assert [check(said, true).holds for check in CHECKS.values()] == [True] * 5
    # Only a car, and nothing approaches: nobody is there who could cross.
    assert [check(said, empty).holds for check in CHECKS.values()] == [False, None, False, True, True]


def world() -> tuple[pl.DataFrame, ...]:
    """One clip from 0 to 2 s: a car comes nearer left of the middle, on a collision course at 1.2 to 1.4 s to contact;
    a bus, on the right, is in the video only after the clip, from its very end."""
    boxes, measures = [], []
    for step in range(40):
        at = step / 10
        car = (at < 2.0, 1, 300.0)
        shown, track, middle = car if car[0] else (True, 2, 900.0)
        boxes.append(
            dict.fromkeys(tables.TRACKS)
            | {
                "frame_index": step,
                "timestamp_sec": at,
                "track_id": track,
                "road_user": "vehicle",
                "label": "car" if track == 1 else "bus",
            }
            | {"x1_px": middle - 50, "x2_px": middle + 50, "y1_px": 300.0, "y2_px": 400.0, "still": False}
        )
        measures.append(
            dict.fromkeys(tables.CONFLICT_MEASURES)
            | {"frame_index": step, "timestamp_sec": at, "track_id": track, "in_own_path": at < 1.0 and shown}
            | {"on_collision_course": 1.15 < at < 1.45, "ttc_high_sec": 1.4}
        )
    clip = dict.fromkeys(tables.MINED_CLIPS) | {"clip_id": "c01", "start_sec": 0.0, "end_sec": 2.0}
    ttc = dict.fromkeys(tables.CLIP_TTC) | {"clip_id": "c01", "min_ttc_sec": 1.2, "min_ttc_low_sec": 1.0}
    return (
        tables.frame([clip], tables.MINED_CLIPS),
        tables.frame(boxes, tables.TRACKS),
        tables.frame(measures, tables.CONFLICT_MEASURES),
        tables.frame([ttc], tables.CLIP_TTC),
    )


def test_the_checklist_of_a_clip_reads_its_own_samples_only() -> None:
    clips, boxes, measures, ttc = world()
    said = answer(
        clip_id="c01",
        outcome="severity",
        severity="HIGH",
        clip_sha256="ab",
        hazards=[hazard("car", "ahead in the own path, on the left"), hazard("car", "on the right")],
        causal_reasoning="A car closes in.",
        short_term_prediction="No collision.",
        recommended_action="Brake hard.",
    )
    abstained = answer(clip_id="c02", outcome="abstained", severity=None)
    outputs = tables.frame([said, abstained], tables.REASON_OUTPUTS)
    table = explanation_checklist(outputs, clips, boxes, measures, ttc, 1280.0)
    tables.check(table, tables.EXPLANATION_CHECKLIST)
    found = dict(table.select("item", "holds").iter_rows())
    assert found == {
        "actors_exist": True,
        "relation_holds": False,  # nothing on the right before 2 s
        "prediction_fits_ttc": False,  # three samples on a collision course
        "action_fits_hazard": True,
        "cause_named": True,
    }
    evidence = dict(table.select("item", "evidence").iter_rows())
    assert "car #1 was 27 % left of it, in the own path" in evidence["relation_holds"]
    assert evidence["prediction_fits_ttc"].startswith("no contact predicted, but 3 samples on a collision course")
    assert evidence["actors_exist"] == "names car; detected: car"  # the bus's first sample is at the clip's end
    assert table["clip_sha256"].unique().to_list() == ["ab"]
