"""The narrative says what the tables say: each figure is parsed out of the text and looked up."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.reporting import coaching
from autorisk_dagster.reporting.figures import Figures
from autorisk_dagster.reporting.narrative import TOLD_CLIPS, NarrativeTables, narrate
from tests.reporting import example


def conflict_rows(track_id: int = 3, label: str = "car", **columns: list[Any]) -> pl.DataFrame:
    """CONFLICT_MEASURES of one road user, ten samples a second; what is not given is null."""
    length = max(len(values) for values in columns.values())
    rows = [
        dict.fromkeys(tables.CONFLICT_MEASURES)
        | {"frame_index": n, "timestamp_sec": n / 10, "track_id": track_id, "label": label}
        | {name: values[n] for name, values in columns.items()}
        for n in range(length)
    ]
    return tables.frame(rows, tables.CONFLICT_MEASURES)


NO_CONFLICTS = tables.empty(tables.CONFLICT_MEASURES)


def verified(outcome: str) -> pl.DataFrame:
    row = dict.fromkeys(tables.VERIFIED_EVENTS) | {"event_id": "e1", "version": "v2", "actors": "a", "outcome": outcome}
    return tables.frame([row], tables.VERIFIED_EVENTS)


def narrative_tables(clips: int = 2, **changes: Any) -> NarrativeTables:
    """A HIGH clip with a near miss of two others, then clips that nobody judged."""
    rows = [example.clip_row(n, 10.0 * n, 10.0 * n + 5, 10.0 * n + 2.25) for n in range(1, clips + 1)]
    ids = [row["clip_id"] for row in rows]
    ttc = [example.ttc_row(clip, min_ttc_at_sec=10.0 * n + 2.2) for n, clip in enumerate(ids, start=1)]
    given = NarrativeTables(
        video=example.video_row(duration_sec=75.0),
        mined_clips=tables.frame(rows, tables.MINED_CLIPS),
        clip_ttc=tables.frame(ttc, tables.CLIP_TTC),
        conflict_measures=NO_CONFLICTS,
        near_miss_events=tables.frame([example.event_row(12.5)], tables.NEAR_MISS_EVENTS),
        verified_events=verified("not_run"),
        reason_outputs=tables.frame(
            [example.reason_row(clip, "HIGH" if n == 0 else None) for n, clip in enumerate(ids)], tables.REASON_OUTPUTS
        ),
        corrected_severities=tables.frame(
            [example.corrected_row(clip, *(("HIGH", "HIGH") if n == 0 else (None, None)), None)
             for n, clip in enumerate(ids)],
            tables.CORRECTED_SEVERITIES,
        ),
        severity_ranking=tables.frame(
            [example.ranking_row(n + 1, row, "HIGH" if n == 0 else None, 0) for n, row in enumerate(rows)],
            tables.SEVERITY_RANKING,
        ),
    )  # fmt: skip
    return dataclasses.replace(given, **changes)


def seconds_of(text: str) -> float:
    """`1:15.3` as 75.3."""
    total = 0.0
    for part in text.split(":"):
        total = total * 60 + float(part)
    return total


def test_every_figure_of_the_text_is_the_tables() -> None:
    data = narrative_tables()
    found = narrate(data)
    assert found.figures.untold(found.text) == []
    text = found.text
    # independent of how the text was made: read it, and compare with the tables
    clip = data.clip_ttc.row(0, named=True)
    (shortest,) = re.findall(
        r"shortest time to contact was ([\d.]+) s, with car 3 at ([\d:.]+)\.", text.split("## ")[1]
    )
    assert float(shortest[0]) == pytest.approx(clip["min_ttc_sec"], abs=0.05)
    assert seconds_of(shortest[1]) == pytest.approx(clip["min_ttc_at_sec"], abs=0.05)
    low, high = re.search(r"between ([\d.]+) s and ([\d.]+) s", text).groups()
    assert (float(low), float(high)) == (clip["min_ttc_low_sec"], clip["min_ttc_high_sec"])
    event = data.near_miss_events.row(0, named=True)
    who, when, closing, gap = re.search(
        r"near miss of (.+?) \(high risk\) at ([\d:.]+), closing at ([\d.]+) m/s, ([\d.]+) m apart", text
    ).groups()
    assert (who, float(closing), float(gap)) == (event["actors"], event["closing_mps"], event["gap_m"])
    assert seconds_of(when) == event["timestamp_sec"]
    head = re.search(r"In ([\d:]+) of footage (\d+) moments stood out: (\d+) was HIGH and (\d+) was NOT JUDGED", text)
    assert [seconds_of(head[1]), *map(int, head.groups()[1:])] == [75.0, 2, 1, 1]


@given(
    ttc=st.floats(0.05, 40) | st.just(math.inf),
    at=st.floats(0, 7200),
    spread=st.floats(0.01, 3),
    duration=st.floats(1, 90_000),
)
def test_no_number_is_in_the_text_that_was_not_measured(ttc: float, at: float, spread: float, duration: float) -> None:
    finite = math.isfinite(ttc)
    row = example.ttc_row(
        "example-c01",
        min_ttc_sec=ttc,
        min_ttc_at_sec=at if finite else None,
        min_ttc_low_sec=ttc - spread / 100 if finite else None,
        min_ttc_high_sec=ttc + spread if finite else None,
        min_ttc_track_id=3 if finite else None,
    )
    data = narrative_tables(clips=1, clip_ttc=tables.frame([row], tables.CLIP_TTC))
    data = dataclasses.replace(data, video={**data.video, "duration_sec": duration})
    found = narrate(data)
    assert found.figures.untold(found.text) == []
    columns = {(figure.table, figure.column) for figure in found.figures.told}
    for table, column in columns - {("source_video", "duration_sec")}:
        assert column == "rows" or column in tables.TABLES[table]


def test_a_figure_that_nobody_told_is_found() -> None:
    figures = Figures()
    text = f"{figures.number(1.44, 1, 's', 'clip_ttc', 'min_ttc_sec')} at `clip-17`, then 9.5 s"
    assert text.startswith("1.4 s")
    assert figures.untold(text) == ["9.5"]


def test_what_a_model_wrote_is_not_repeated() -> None:
    hostile = [
        {"type": "Cut-in 0.2 s <b>", "actors": ["car"], "spatial_relation": "left"},
        {"type": "Pedestrian\n# HIGH", "actors": ["2 people"], "spatial_relation": "ahead"},
    ]
    words = {"causal_reasoning": "Contact in 0.3 s.", "recommended_action": "Brake at 9.9 m/s2"}
    answer = example.reason_row("example-c01", "HIGH", hazards=hostile, **words)
    found = narrate(narrative_tables(clips=1, reason_outputs=tables.frame([answer], tables.REASON_OUTPUTS)))
    assert found.figures.untold(found.text) == []
    for said in ("0.3", "9.9", "0.2", "<b>", "\n# HIGH", "2 people"):
        assert said not in found.text


def test_a_name_cannot_leave_its_quotes() -> None:
    data = narrative_tables(clips=1)
    data = dataclasses.replace(data, video={**data.video, "file_name": "a`\n# 77 dead.mp4"})
    assert narrate(data).text.splitlines()[0] == "# Safety narrative of `a''# 77 dead.mp4`"


def test_unjudged_is_never_safe_and_an_empty_video_says_so() -> None:
    text = narrate(narrative_tables()).text
    assert "not judged is not safe" in text
    assert "1 clip not judged: that does not mean safe." in text
    nothing = {name: tables.empty(tables.TABLES[name]) for name in ("mined_clips", "clip_ttc", "near_miss_events")}
    more = {name: tables.empty(tables.TABLES[name]) for name in ("reason_outputs", "corrected_severities")}
    ranking = {"severity_ranking": tables.empty(tables.SEVERITY_RANKING)}
    text = narrate(narrative_tables(**nothing, **more, **ranking)).text
    assert "no moment stood out" in text
    assert "not that nothing happened" in text


def test_more_clips_than_a_page_holds_are_counted() -> None:
    found = narrate(narrative_tables(clips=TOLD_CLIPS + 3))
    assert found.text.count("**What happened.**") == TOLD_CLIPS
    assert "3 more clips of this weight" in found.text


@pytest.mark.parametrize("outcome", ["confirmed", "rejected", "failed", "not_run"])
def test_only_a_model_that_was_heard_confirms_or_rejects(outcome: str) -> None:
    text = narrate(narrative_tables(verified_events=verified(outcome))).text
    assert (f"1 near miss {outcome} by the verifier" in text) == (outcome in ("confirmed", "rejected"))
    assert ("No model looked at the near misses" in text) == (outcome in ("failed", "not_run"))


def test_a_driver_who_took_no_part_is_a_witness() -> None:
    assert "may be a witness" in narrate(narrative_tables(clips=1)).text
    own = example.event_row(12.5) | dict.fromkeys(("object_id_2", "class_2", "label_2", "conf_2"))
    text = narrate(narrative_tables(clips=1, near_miss_events=tables.frame([own], tables.NEAR_MISS_EVENTS))).text
    assert "witness" not in text
    assert "talk to the driver" in text


# The measures of ten samples, 0.0 to 0.9 s.
TAILGATING = {
    "in_own_path": [True] * 10,
    "headway_sec": [1.5, 1.2, 0.9, 0.8, 0.7, 0.9, 1.1, 1.3, 1.5, 1.6],
}


def test_short_following_is_told_at_its_shortest() -> None:
    (point,) = coaching.to_talk_about(conflict_rows(**TAILGATING))
    assert (point.kind, point.value, point.at_sec, point.start_sec) == ("headway", 0.7, 0.4, 0.2)
    assert point.who == "car 3"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"headway_sec": [None] * 10}, id="not measured"),
        pytest.param({"headway_sec": [1.5, 0.5, 1.5, 0.5, 1.5, 0.5, 1.5, 0.5, 1.5, 0.5]}, id="single samples"),
        pytest.param({"in_own_path": [False] * 10}, id="beside the own path"),
    ],
)
def test_what_did_not_last_or_was_not_measured_is_no_point(changes: dict[str, list[Any]]) -> None:
    assert coaching.to_talk_about(conflict_rows(**TAILGATING | changes)) == []


def test_hard_braking_and_little_room_for_a_cyclist() -> None:
    braking = conflict_rows(on_collision_course=[True] * 4, drac_mps2=[3.5, 6.0, 4.0, 1.0])
    passing = conflict_rows(5, "bicycle", distance_m=[4.0] * 4, gap_m=[1.0, 0.8, 1.2, 1.6])
    points = coaching.to_talk_about(pl.concat([braking, passing]))
    assert [(point.kind, point.who, point.value) for point in points] == [
        ("braking", "car 3", 6.0),
        ("passing", "bicycle 5", 0.8),
    ]
    assert coaching.to_talk_about(passing.with_columns(label=pl.lit("car"))) == []


CUT_IN = {
    "gap_m": [2.0, 1.5, 1.0, 0.5, 0.0, 0.0],
    "inward_mps": [1.0, 2.0, 2.5, 2.0, None, None],
    "inward_error_mps": [0.2, 0.2, 0.2, 0.2, None, None],
    "in_own_path": [False, False, False, False, True, True],
}
JUDGED = tables.frame([example.ttc_row("c", min_ttc_at_sec=0.5)], tables.CLIP_TTC)
NO_EVENTS = tables.empty(tables.NEAR_MISS_EVENTS)


def test_who_moved_into_the_own_path_before_the_conflict_speaks_for_the_driver() -> None:
    (point,) = coaching.in_favour(conflict_rows(**CUT_IN), NO_EVENTS, JUDGED)
    assert (point.kind, point.who, point.value, point.before_m) == ("moved_in", "car 3", 2.5, 2.0)
    assert (point.start_sec, point.at_sec) == (0.0, 0.4)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"gap_m": [0.0] * 6}, id="was ahead all the time"),
        pytest.param({"in_own_path": [False] * 6}, id="never arrived"),
        pytest.param({"inward_error_mps": [9.0] * 6}, id="sideways speed within its error"),
        pytest.param({"inward_mps": [-1.0] * 6}, id="moved away"),
    ],
)
def test_nobody_is_said_to_have_moved_in_without_the_measurement(changes: dict[str, list[Any]]) -> None:
    assert coaching.in_favour(conflict_rows(**CUT_IN | changes), NO_EVENTS, JUDGED) == []


def test_who_moved_in_long_before_is_no_excuse() -> None:
    late = tables.frame([example.ttc_row("c", min_ttc_at_sec=9.0)], tables.CLIP_TTC)
    assert coaching.in_favour(conflict_rows(**CUT_IN), NO_EVENTS, late) == []
