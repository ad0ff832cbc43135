"""Errors, worst first, and what the rules did to them."""

from __future__ import annotations

import math

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.evaluation.error_analysis import error_analysis, error_counts

CASES = [  # clip, label, raw, corrected, rule
    ("right", "LOW", "LOW", "LOW", None),
    ("over by one", "LOW", "LOW", "MEDIUM", "R3"),
    ("under by one", "HIGH", "HIGH", "MEDIUM", "R4"),
    ("under by three", "HIGH", "LOW", "NONE", "R1"),
    ("over by three", "NONE", "HIGH", "HIGH", None),
    ("unjudged HIGH", "HIGH", None, None, None),
    ("repaired", "NONE", "MEDIUM", "NONE", "R1"),
    ("nearer", "HIGH", "NONE", "LOW", "R6"),
    ("unjudged NONE", "NONE", None, None, None),
]


def clips() -> pl.DataFrame:
    rows = []
    for name, label, raw, corrected, rule in CASES:
        rows.append(
            dict.fromkeys(tables.ERROR_ANALYSIS)
            | {"video_id": "v", "clip_id": name, "label_origin": "label_file", "label": label, "group": 0}
            | {"outcome": "abstained" if raw is None else "severity", "raw_severity": raw, "severity": corrected}
            | {"rule": rule, "rule_set": "seed", "min_ttc_sec": math.inf, "critical_tracks": 1, "audio_score": None}
            | {"motion_score": 0.25, "proximity_score": 1.0, "start_sec": 0.0, "end_sec": 1.0}
        )
    return pl.DataFrame(rows, infer_schema_length=None).drop("verdict", "error_steps", "raw_error_steps", "measured")


def test_what_hurts_most_comes_first() -> None:
    table = error_analysis(clips())
    tables.check(table, tables.ERROR_ANALYSIS)
    assert table["clip_id"].to_list() == [
        "under by three",
        "unjudged HIGH",
        "over by three",
        "nearer",  # still under by two
        "under by one",
        "over by one",
        "unjudged NONE",
        "right",
        "repaired",
    ]
    steps = dict(table.select("clip_id", "error_steps").iter_rows())
    assert (steps["under by three"], steps["over by three"], steps["unjudged HIGH"]) == (-3, 3, None)
    verdicts = dict(table.select("clip_id", "verdict").iter_rows())
    assert verdicts["unjudged NONE"] == "not_judged" and verdicts["nearer"] == "under"


def test_what_the_rules_did() -> None:
    found = dict(error_analysis(clips()).select("clip_id", "correction").iter_rows())
    assert found == {
        "right": "unchanged",
        "over by one": "spoilt",
        "under by one": "spoilt",
        "under by three": "farther",
        "over by three": "unchanged",
        "unjudged HIGH": None,
        "repaired": "repaired",
        "nearer": "nearer",
        "unjudged NONE": None,
    }
    by_rule = {row["rule"]: row for row in error_counts(error_analysis(clips())).to_dicts()}
    assert (by_rule["R1"]["clips"], by_rule["R1"]["repaired"], by_rule["R1"]["farther"]) == (2, 1, 1)
    assert by_rule["none"]["clips"] == 4


def test_the_measured_in_words() -> None:
    words = error_analysis(clips()).item(0, "measured")
    assert words == "nothing approaches, 1 critical tracks, audio not measured, motion 0.25, proximity 1.00"
