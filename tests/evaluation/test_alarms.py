"""Near-miss alarms against labels: what the verifier takes away, counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.evaluation.alarms import NO_LABELS, NOT_HEARD, alarm_metrics, labelled_alarms
from autorisk_dagster.reporting.judgement_plots import events_plot, letters_plot, outcomes_plot

AT = datetime(2026, 1, 1, tzinfo=UTC)


def truth(*labels: tuple[str, float, str], origin: str = "label_file") -> pl.DataFrame:
    """Clips of 10 s: id, start and severity."""
    rows = [
        dict.fromkeys(tables.GROUND_TRUTH)
        | {"video_id": "v", "clip_id": clip, "clip_sha256": "ab" * 32, "start_sec": start, "end_sec": start + 10}
        | {"severity": severity, "origin": origin, "labelled_at": AT, "frozen_at": AT}
        for clip, start, severity in labels
    ]
    return tables.frame(rows, tables.GROUND_TRUTH)


def events(*alarms: tuple[str, float, str], video: str = "v") -> pl.DataFrame:
    rows = [
        dict.fromkeys(tables.VERIFIED_EVENTS)
        | {"event_id": name, "version": "v2", "actors": "car 1", "timestamp_sec": at, "outcome": outcome}
        | {"reason_category": "parallel_lanes" if outcome == "rejected" else None, "verifier": "cosmos"}
        for name, at, outcome in alarms
    ]
    return tables.frame(rows, tables.VERIFIED_EVENTS).with_columns(video_id=pl.lit(video))


LABELS = truth(
    ("quiet", 0, "NONE"),
    ("margin", 100, "LOW"),
    ("danger", 200, "HIGH"),
    ("lost", 300, "MEDIUM"),
    ("missed", 400, "MEDIUM"),
    ("after", 209, "NONE"),  # overlaps "danger"
)
EVENTS = events(
    ("e1", 1.0, "rejected"),
    ("e2", 9.0, "confirmed"),
    ("e3", 100.0, "rejected"),
    ("e4", 203.0, "confirmed"),
    ("e5", 204.0, "rejected"),
    ("e6", 305.0, "rejected"),
    ("e7", 500.0, "confirmed"),  # in no labelled clip
    ("e8", 209.5, "failed"),  # in "danger" and in "after": it may be the danger's
    ("e9", 10.0, "confirmed"),  # a clip ends before its end
)


def found(table: pl.DataFrame, metric: str, stage: str, origin: str = "label_file") -> dict[str, Any]:
    (row,) = table.filter(
        (pl.col("metric") == metric) & (pl.col("stage") == stage) & (pl.col("label_origin") == origin)
    ).to_dicts()
    return row


def test_false_alarms_with_and_without_the_verifier() -> None:
    table = alarm_metrics(LABELS, EVENTS)
    tables.check(table, tables.ALARM_METRICS)
    # Labelled: e1 e2 (NONE), e3 (LOW): false; e4 e5 e8 (HIGH), e6 (MEDIUM). Standing: e2, e4, and e8, not judged.
    assert found(table, "false_share", "detector")["value"] == pytest.approx(3 / 7)
    assert found(table, "false_share", "verified")["value"] == pytest.approx(1 / 3)
    assert [found(table, "false_alarms", stage)["value"] for stage in ("detector", "verified")] == [3, 1]
    assert found(table, "false_rejected", "verified")["value"] == pytest.approx(2 / 3)
    # An alarm stands in "danger" and in "lost" before, in "danger" after; "missed" never had one.
    assert found(table, "danger_pointed_at", "detector")["value"] == pytest.approx(2 / 3)
    assert found(table, "danger_pointed_at", "verified")["value"] == pytest.approx(1 / 3)
    change = found(table, "danger_pointed_at", "difference")
    assert change["value"] == pytest.approx(-1 / 3) and change["low"] < -1 / 3 < change["high"]
    assert (found(table, "false_share", "detector")["n"], change["n"]) == (7, 3)


def test_an_alarm_belongs_to_its_most_severe_clip_once() -> None:
    alarms = labelled_alarms(LABELS, EVENTS)
    assert dict(alarms.select("event_id", "clip_id").iter_rows())["e8"] == "danger"
    assert alarms["event_id"].is_unique().all() and not {"e7", "e9"} & set(alarms["event_id"])


def test_where_no_model_was_heard_the_verifier_has_no_figure() -> None:
    stub = EVENTS.with_columns(outcome=pl.lit("not_run").cast(EVENTS.schema["outcome"]))
    table = alarm_metrics(LABELS, stub)
    assert found(table, "false_share", "detector")["value"] == pytest.approx(3 / 7)
    for metric, stage in (("false_share", "verified"), ("danger_pointed_at", "difference")):
        row = found(table, metric, stage)
        assert row["value"] is None and row["note"] == NOT_HEARD


def test_without_labels_nothing_is_said_and_origins_are_kept_apart() -> None:
    table = alarm_metrics(LABELS.clear(), EVENTS)
    assert table["value"].null_count() == table.height > 0
    assert found(table, "false_share", "detector")["note"] == NO_LABELS
    both = pl.concat([LABELS, truth(("quiet", 0, "HIGH"), origin="review")])  # a reviewer saw it otherwise
    table = alarm_metrics(both, EVENTS)
    assert found(table, "false_share", "detector", "review")["value"] == 0
    assert found(table, "false_share", "detector")["value"] == pytest.approx(3 / 7)


def test_labels_of_a_video_that_was_not_verified_miss_nothing() -> None:
    table = alarm_metrics(LABELS, events(("e1", 5.0, "confirmed"), video="other"))
    assert table["value"].null_count() == table.height


PNG = b"\x89PNG"


def test_the_pictures_are_drawn_where_there_is_something_to_see() -> None:
    assert (events_plot(EVENTS, 600.0) or b"").startswith(PNG)
    by_label = labelled_alarms(LABELS, EVENTS)
    assert (outcomes_plot(by_label, "severity", tables.SEVERITIES) or b"").startswith(PNG)
    letters = dict.fromkeys(tables.SEVERITIES, -1.5)
    row = dict.fromkeys(tables.REASON_OUTPUTS) | {"clip_id": "v-c01", "letter_log_probability": letters}
    judged = tables.frame([row | {"outcome": "abstained"}], tables.REASON_OUTPUTS)
    assert (letters_plot(judged) or b"").startswith(PNG)
    assert events_plot(EVENTS.clear(), 1.0) is None
    assert outcomes_plot(by_label.clear(), "severity", tables.SEVERITIES) is None
    unread = judged.with_columns(pl.lit(None, judged.schema["letter_log_probability"]).alias("letter_log_probability"))
    assert letters_plot(unread) is None
