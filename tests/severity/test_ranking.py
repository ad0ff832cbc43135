"""The order in which a person should look at clips."""

from __future__ import annotations

import itertools
import math
from typing import Any

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.severity.ranking import rank, worst_severity


def ranking(
    clips: dict[str, dict[str, Any]], events: list[tuple[float, str, float]] = (), version: str = "v2"
) -> pl.DataFrame:
    """Clips by id: severity, and optionally ttc, fused, start (10 s long each); events: (time, level, score)."""
    corrected = [
        dict.fromkeys(tables.CORRECTED_SEVERITIES) | {"clip_id": clip, "severity": facts["severity"]}
        for clip, facts in clips.items()
    ]
    mined = [
        dict.fromkeys(tables.MINED_CLIPS)
        | {
            "clip_id": clip,
            "start_sec": facts.get("start", 0.0),
            "end_sec": facts.get("start", 0.0) + 10.0,
            "fused_score": facts.get("fused", 0.5),
        }
        for clip, facts in clips.items()
    ]
    times = [
        dict.fromkeys(tables.CLIP_TTC) | {"clip_id": clip, "min_ttc_sec": facts.get("ttc")}
        for clip, facts in clips.items()
    ]
    near = [
        dict.fromkeys(tables.NEAR_MISS_EVENTS)
        | {
            "event_id": f"e{number}",
            "version": version,
            "actors": "car 1 and car 2",
            "timestamp_sec": at_sec,
            "risk_level": level,
            "risk_score": score,
            "frame_index": 0,
        }
        for number, (at_sec, level, score) in enumerate(events)
    ]
    table = rank(
        tables.frame(corrected, tables.CORRECTED_SEVERITIES),
        tables.frame(mined, tables.MINED_CLIPS),
        tables.frame(times, tables.CLIP_TTC),
        tables.frame(near, tables.NEAR_MISS_EVENTS),
    )
    return tables.check(table, tables.SEVERITY_RANKING)


def order(*arguments: Any) -> list[str]:
    return ranking(*arguments)["clip_id"].to_list()


def test_severity_comes_first_and_what_was_never_judged_last_but_listed():
    clips = {
        "never": {"severity": None, "ttc": 0.1},
        "none": {"severity": "NONE", "ttc": 0.1},
        "high": {"severity": "HIGH"},
        "low": {"severity": "LOW"},
        "medium": {"severity": "MEDIUM"},
    }
    assert order(clips) == ["high", "medium", "low", "none", "never"]


def test_then_the_level_of_the_worst_near_miss_and_only_then_the_ttc():
    clips = {
        "close": {"severity": "HIGH", "start": 0.0, "ttc": 0.5},
        "near_miss": {"severity": "HIGH", "start": 10.0, "ttc": 5.0},
    }
    assert order(clips, [(12.0, "High", 0.7)]) == ["near_miss", "close"]
    # Of one level, a score 0.01 higher does not outvote the shorter TTC.
    assert order(clips, [(2.0, "High", 0.70), (12.0, "High", 0.71)]) == ["close", "near_miss"]


def test_then_the_shorter_ttc_with_not_approaching_before_cannot_say():
    clips = {
        "unknown": {"severity": "LOW"},
        "away": {"severity": "LOW", "ttc": math.inf},
        "late": {"severity": "LOW", "ttc": 4.0},
        "soon": {"severity": "LOW", "ttc": 1.0},
    }
    assert order(clips) == ["soon", "late", "away", "unknown"]


def test_then_the_score_then_the_id_whatever_the_order_of_the_input():
    clips = {
        "b": {"severity": "LOW", "fused": 0.5},
        "a": {"severity": "LOW", "fused": 0.5},
        "z": {"severity": "LOW", "fused": 0.6},
    }
    for shuffled in itertools.permutations(clips.items()):
        assert order(dict(shuffled)) == ["z", "a", "b"]


def test_events_count_in_the_clip_from_its_start_to_before_its_end():
    # 0.0 and 9.999 lie in [0, 10), 10.0 begins the next clip, 20.0 is in none.
    clips = {"first": {"severity": "LOW", "start": 0.0}, "second": {"severity": "LOW", "start": 10.0}}
    events = [(0.0, "Low", 0.1), (9.999, "Medium", 0.5), (10.0, "Low", 0.2), (20.0, "High", 0.9)]
    rows = {row["clip_id"]: row for row in ranking(clips, events).to_dicts()}
    assert (rows["first"]["near_miss_events"], rows["first"]["worst_risk_score"]) == (2, 0.5)
    assert (rows["second"]["near_miss_events"], rows["second"]["worst_risk_score"]) == (1, 0.2)


def test_events_of_version_1_do_not_count():
    (row,) = ranking({"a": {"severity": "LOW"}}, [(1.0, "High", 0.9)], version="1.0").to_dicts()
    assert (row["near_miss_events"], row["worst_risk_score"]) == (0, None)


def test_a_clip_without_events_has_no_risk_rather_than_risk_zero():
    row = ranking({"a": {"severity": "LOW"}}).row(0, named=True)
    assert (row["rank"], row["near_miss_events"], row["worst_risk_score"]) == (1, 0, None)


def test_severities_of_clips_that_were_never_mined_are_refused():
    corrected = tables.frame(
        [dict.fromkeys(tables.CORRECTED_SEVERITIES) | {"clip_id": "old", "severity": "LOW"}],
        tables.CORRECTED_SEVERITIES,
    )
    with pytest.raises(InputError, match="no mined clip for old"):
        rank(
            corrected,
            tables.empty(tables.MINED_CLIPS),
            tables.empty(tables.CLIP_TTC),
            tables.empty(tables.NEAR_MISS_EVENTS),
        )


def test_the_worst_severity_of_a_video():
    assert (
        worst_severity(ranking({"a": {"severity": "LOW"}, "b": {"severity": "MEDIUM"}, "c": {"severity": None}}))
        == "MEDIUM"
    )
    assert worst_severity(ranking({"c": {"severity": None}})) is None
    assert worst_severity(tables.empty(tables.SEVERITY_RANKING)) is None
