"""The join of labels with judgements: what counts, what is set aside and why."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.severity.labelled import for_search, judged_clips

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def labels(*rows: dict[str, Any]) -> pl.DataFrame:
    base = dict.fromkeys(tables.GROUND_TRUTH) | {
        "video_id": "v",
        "clip_sha256": "aa",
        "start_sec": 0.0,
        "end_sec": 10.0,
        "severity": "LOW",
        "origin": "label_file",
        "frozen_at": NOW,
    }
    return tables.frame([base | row for row in rows], tables.GROUND_TRUTH)


def of_fleet(asset: str, *rows: dict[str, Any]) -> pl.LazyFrame:
    """Rows of one asset's tables as `FleetTable.rows` hands them over."""
    schema = {"video_id": pl.String, **tables.TABLES[asset]}
    base = dict.fromkeys(schema) | {"video_id": "v"}
    if "clip_sha256" in schema:
        base["clip_sha256"] = "aa"
    return tables.frame([base | row for row in rows], schema).lazy()


def outputs(*rows: dict[str, Any]) -> pl.LazyFrame:
    base = {"outcome": "severity", "severity": "HIGH", "reasoner": "kinematic", "model_id": "k", "model_revision": "1"}
    return of_fleet("reason_outputs", *(base | row for row in rows))


def test_a_label_meets_what_was_said_and_measured():
    found = judged_clips(
        labels({"clip_id": "c1", "drive": "d", "severity": "MEDIUM"}),
        outputs({"clip_id": "c1"}, {"clip_id": "unlabelled"}),
        of_fleet("clip_ttc", {"clip_id": "c1", "min_ttc_sec": 2.0, "min_area_tau_sec": 1.0, "critical_tracks": 3}),
        of_fleet("mined_clips", {"clip_id": "c1", "fused_score": 0.2, "fused_score_seed": 0.9}),
    )
    (row,) = found.table.to_dicts()
    assert found.set_aside.is_empty()
    assert {name: row[name] for name in ("label", "raw_severity", "judge", "origin", "group", "drive")} == {
        "label": "MEDIUM",
        "raw_severity": "HIGH",
        "judge": "kinematic | k | 1 | - | -",
        "origin": "label_file",
        "group": 0,
        "drive": "d",
    }
    clips = for_search(found.table)
    # The rule set `seed` reads the area form and the min-max score.
    assert (clips.label, clips.severity, clips.min_ttc_sec, clips.fused_score, clips.critical_tracks) == (
        ["MEDIUM"],
        ["HIGH"],
        [1.0],
        [0.9],
        [3],
    )


@pytest.mark.parametrize(
    ("label", "judged", "mined", "reason"),
    [
        ({"clip_sha256": "old"}, {}, {}, "the clip is another file now than the one that was labelled"),
        ({}, {"clip_sha256": "old"}, {}, "another file was judged than the one that was labelled"),
        ({"clip_id": "gone"}, {}, {}, "there is no such clip now"),
        ({"video_id": "w"}, {}, {}, "there is no such clip now"),  # the same clip id in another video is another clip
        ({}, {"clip_id": "another"}, {}, "the clip was not judged yet"),
        ({"severity": None}, {}, {}, "the label names no severity"),
    ],
)
def test_what_does_not_count_is_set_aside_with_the_reason(label, judged, mined, reason):
    found = judged_clips(
        labels({"clip_id": "c1"} | label),
        outputs({"clip_id": "c1"} | judged),
        of_fleet("clip_ttc", {"clip_id": "c1"}),
        of_fleet("mined_clips", {"clip_id": "c1"} | mined),
    )
    assert found.table.is_empty()
    assert found.set_aside["reason"].to_list() == [reason]


def test_a_clip_that_was_judged_without_a_severity_or_not_measured_counts():
    found = judged_clips(
        labels({"clip_id": "c1", "origin": "review"}),
        outputs({"clip_id": "c1", "outcome": "abstained", "severity": None}),
        of_fleet("clip_ttc"),
        of_fleet("mined_clips", {"clip_id": "c1"}),
    )
    (row,) = found.table.to_dicts()
    assert (row["raw_severity"], row["outcome"], row["critical_tracks"], row["origin"]) == (
        None,
        "abstained",
        None,
        "review",
    )


def test_two_labels_for_one_clip_are_refused():
    with pytest.raises(InputError, match="ground_truth has more than one row for c1 of v"):
        judged_clips(
            labels({"clip_id": "c1"}, {"clip_id": "c1", "severity": "HIGH"}),
            outputs({"clip_id": "c1"}),
            of_fleet("clip_ttc"),
            of_fleet("mined_clips", {"clip_id": "c1"}),
        )


def test_no_labels_give_no_rows():
    found = judged_clips(labels(), outputs(), of_fleet("clip_ttc"), of_fleet("mined_clips"))
    assert (found.table.height, found.set_aside.height) == (0, 0)
    assert found.table.schema["group"] == pl.Int64
