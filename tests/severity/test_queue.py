"""The review queue: what a label is worth, by hand, and the order that follows."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.profile import ReviewSettings
from autorisk_dagster.severity.conformal import ANYTHING, Calibration, SeveritySet
from autorisk_dagster.severity.queue import belief, label_value, review_queue

SETTINGS = ReviewSettings()
NOTHING = {"letter_log_probability": None, "votes": None}


def test_without_labels_or_probabilities_each_step_is_half_as_probable():
    # LOW: 1/2, 1, 1/2, 1/4 of 2.25. What a LOW costs: NONE 1, MEDIUM 4, HIGH 15.
    beliefs = belief("LOW", ANYTHING, NOTHING, 0.9)
    assert list(beliefs.values()) == pytest.approx([2 / 9, 4 / 9, 2 / 9, 1 / 9])
    assert label_value("LOW", beliefs, SETTINGS) == pytest.approx((2 * 1 + 2 * 4 + 1 * 15) / 9)


def test_a_clip_that_was_not_judged_may_be_anything_and_stands_as_none():
    beliefs = belief(None, ANYTHING, NOTHING, 0.9)
    assert set(beliefs.values()) == {0.25}
    assert label_value(None, beliefs, SETTINGS) == pytest.approx((2 + 8 + 20) / 4)


def test_the_set_holds_what_it_promises_and_the_rest_lies_outside():
    # Letters 0.1, 0.2, 0.3, 0.4; the set MEDIUM, HIGH shares 0.9 as 3 : 4, NONE and LOW share 0.1 as 1 : 2.
    judgement = {
        "letter_log_probability": dict(zip(tables.SEVERITIES, map(math.log, (0.1, 0.2, 0.3, 0.4)), strict=True))
    }
    beliefs = belief("HIGH", SeveritySet(("MEDIUM", "HIGH"), calibrated=True), judgement | {"votes": None}, 0.9)
    assert beliefs == pytest.approx({"NONE": 0.1 / 3, "LOW": 0.2 / 3, "MEDIUM": 2.7 / 7, "HIGH": 3.6 / 7})
    assert sum(beliefs.values()) == pytest.approx(1)


def test_a_judge_that_is_sure_of_the_wrong_part_leaves_equal_parts():
    sure = {"letter_log_probability": {"NONE": 0.0, "LOW": None, "MEDIUM": None, "HIGH": None}, "votes": None}
    beliefs = belief("HIGH", SeveritySet(("MEDIUM", "HIGH"), calibrated=True), sure, 0.9)
    assert beliefs == pytest.approx({"NONE": 0.1, "LOW": 0.0, "MEDIUM": 0.45, "HIGH": 0.45})


def queue(clips: dict[str, dict[str, Any]], calibrations=None, states=None, events=()) -> pl.DataFrame:
    """Clips by id, in the order of the ranking: final, and optionally raw, rule, outcome."""

    def table(schema: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
        columns = tables.TABLES[schema]
        return tables.frame([dict.fromkeys(columns) | row for row in rows], columns)

    places = {clip: {"start_sec": 10.0 * at, "end_sec": 10.0 * at + 10} for at, clip in enumerate(clips)}
    found = review_queue(
        table(
            "severity_ranking",
            [
                {"rank": at, "clip_id": clip, "severity": facts["final"], **places[clip]}
                for at, (clip, facts) in enumerate(clips.items(), start=1)
            ],
        ),
        table(
            "corrected_severities",
            [
                {"clip_id": c, "severity": f["final"], "raw_severity": f.get("raw", f["final"]), "rule": f.get("rule")}
                for c, f in clips.items()
            ],
        ),
        table(
            "reason_outputs",
            [{"clip_id": c, "outcome": f.get("outcome", "severity"), "reasoner": "k"} for c, f in clips.items()],
        ),
        table("mined_clips", [{"clip_id": c, "clip_sha256": f"sha-{c}", **places[c]} for c in clips]),
        table(
            "near_miss_events",
            [
                {
                    "event_id": str(at),
                    "version": version,
                    "actors": "car 1",
                    "frame_index": 0,
                    "timestamp_sec": time,
                    "risk_level": level,
                }
                for at, (time, level, version) in enumerate(events)
            ],
        ),
        calibrations or {},
        states or {},
        SETTINGS,
    )
    return tables.check(found, tables.REVIEW_QUEUE)


def test_what_must_be_reviewed_comes_first_by_the_value_of_its_label():
    clips = {
        "high": {"final": "HIGH"},
        "medium": {"final": "MEDIUM"},
        "unread": {"final": None, "outcome": "parse_failure"},
        "lowered": {"final": "NONE", "raw": "HIGH", "rule": "R1"},
        "none": {"final": "NONE"},
    }
    found = queue(clips)
    assert found["clip_id"].to_list() == ["unread", "lowered", "high", "none", "medium"]
    assert found["must_review"].to_list() == [True, True, True, False, False]
    assert found["position"].to_list() == [1, 2, 3, 4, 5]
    assert found["label_value"][:3].is_sorted(descending=True)
    assert found["severity_set"].to_list() == [list(tables.SEVERITIES)] * 5
    assert not found["set_calibrated"].any()
    assert found["clip_sha256"][0] == "sha-unread"


def test_a_reviewed_clip_goes_behind_the_open_ones_of_its_kind_and_a_stale_one_does_not():
    clips = {name: {"final": "HIGH"} for name in "abc"} | {"d": {"final": "LOW"}}
    found = queue(clips, states={"a": "reviewed", "b": "stale"})
    assert found.select("clip_id", "state").rows() == [("b", "stale"), ("c", "open"), ("a", "reviewed"), ("d", "open")]


def test_near_misses_that_people_see_count_where_they_lie():
    clips = {"first": {"final": "LOW"}, "second": {"final": "LOW"}}
    assert queue(clips, events=[(9.9, "High", "v2")])["must_review"].to_list() == [True, False]
    assert queue(clips, events=[(10.0, "High", "v2")])["clip_id"][0] == "second"
    assert not queue(clips, events=[(9.9, "High", "1.0")])["must_review"].any()


def test_a_calibrated_judge_has_sets_of_its_own():
    limits = {name: [(1.0, group) for group in range(20)] for name in tables.SEVERITIES}
    calibration = Calibration("distance", limits | {"NONE": [(0.0, group) for group in range(20)]})
    found = queue({"low": {"final": "LOW"}, "none": {"final": "NONE"}}, {"k | - | - | - | -": calibration})
    assert found.select("clip_id", "severity_set", "set_calibrated", "must_review").rows() == [
        ("low", ["NONE", "LOW", "MEDIUM"], True, True),
        ("none", ["NONE"], True, False),
    ]
    assert not queue({"low": {"final": "LOW"}}, {"another judge": calibration})["set_calibrated"][0]


def test_no_clips_give_an_empty_queue():
    assert queue({}).is_empty()
