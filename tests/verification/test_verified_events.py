"""Near-miss events before the verifier: what the model says is a verdict, everything else leaves the alarm standing."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.verification.endpoint import ChatClient, Endpoint
from autorisk_dagster.verification.event_log import EventLog, read_log
from autorisk_dagster.verification.figures import Judged, figures
from autorisk_dagster.verification.near_miss import CONTRACT
from autorisk_dagster.verification.verified_events import alarm_figures, verify_events
from autorisk_dagster.verification.verifier import Verifier
from tests.verification.servers import FaultyEndpoint, serving
from tests.video_factory import steady, write_video


def event(event_id: str, at_sec: float, **other: Any) -> dict[str, Any]:
    row = dict.fromkeys(tables.NEAR_MISS_EVENTS) | {
        "event_id": event_id,
        "version": "v2",
        "actors": "own vehicle and car 4",
        "frame_index": round(at_sec * 10),
        "timestamp_sec": at_sec,
        "object_id_1": 4,
        "label_1": "car",
        "ttc_sec": 1.2,
        "risk_score": 0.7,
        "risk_level": "High",
    }
    return row | other


EVENTS = tables.frame(
    [event("v-1", 1.0), event("v-2", 2.0), event("v-3", 3.0), event("old", 1.0, version="1.0"), event("late", 99.0)],
    tables.NEAR_MISS_EVENTS,
)
BOX = {"frame_index": 10, "track_id": 4, "x1_px": 16.0, "y1_px": 9.0, "x2_px": 80.0, "y2_px": 45.0}
TRACKS = tables.frame([dict.fromkeys(tables.TRACKS) | BOX], tables.TRACKS)


def reply(told: dict[str, Any]) -> str:
    """Confirms v-1, rejects v-2, and answers v-3 for another event."""
    verdict = {"version": "1.0", "event_id": told["event_id"], "confirmed": True, "confidence": 0.9}
    verdict |= {"reason_category": "genuine_conflict", "rationale": "The car brakes."}
    if told["event_id"] == "v-2":
        verdict |= {"confirmed": False, "reason_category": "parallel_lanes"}
    if told["event_id"] == "v-3":
        verdict |= {"event_id": "v-1"}
    return json.dumps(verdict)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "a.mp4", steady(40, 10.0))


def test_the_model_confirms_or_rejects_and_a_failure_does_neither(video: Path, tmp_path: Path) -> None:
    faulty = FaultyEndpoint([reply])
    log = EventLog(tmp_path / "log.jsonl")
    with serving(faulty) as url:
        verifier = Verifier(CONTRACT, ChatClient(Endpoint(url, "cosmos")), log)
        table = verify_events("drive-1", EVENTS, TRACKS, video, (160, 90), verifier)
    tables.check(table, tables.VERIFIED_EVENTS)
    found = {row["event_id"]: row for row in table.iter_rows(named=True)}
    assert list(found) == ["v-1", "v-2", "v-3", "late"]  # of profile v2
    assert [row["outcome"] for row in found.values()] == ["confirmed", "rejected", "failed", "failed"]
    assert (found["v-1"]["reason_category"], found["v-1"]["stated_confidence"]) == ("genuine_conflict", 0.9)
    assert found["v-2"]["reason_category"] == "parallel_lanes"
    assert "event_id is not that of the proposal" in found["v-3"]["error"]
    assert (found["v-3"]["reason_category"], found["v-3"]["stated_confidence"]) == (None, None)
    assert "shows nothing at 99.00 s" in found["late"]["error"]
    assert {record["event_id"] for record in read_log(log.path).records} == {
        "drive-1:v-1",  # two videos share a log, and each counts its events from 1
        "drive-1:v-2",
        "drive-1:v-3",
    }
    counted = alarm_figures(table)
    assert (counted.proposals, counted.passing, counted.rejected, counted.failed) == (4, 3, 1, 2)
    told = {request["event_id"]: request for request in (_told(request) for request in faulty.requests)}
    assert told["v-1"]["road_users"] == [{"name": "car 4", "box": [100, 100, 500, 500]}, {"name": "own vehicle"}]
    assert told["v-2"]["road_users"][0] == {"name": "car 4"}  # no box in that frame
    assert told["v-1"]["frame_times_sec"] == sorted(told["v-1"]["frame_times_sec"])
    first = faulty.requests[0]["messages"][1]["content"][0]["image_url"]["url"]
    assert base64.b64decode(first.removeprefix("data:image/jpeg;base64,")).startswith(b"\xff\xd8\xff")


def _told(request: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(request["messages"][1]["content"][-1]["text"])
    assert 8 <= len(request["messages"][1]["content"]) - 1 <= 12
    return told


def test_without_an_endpoint_nothing_is_run_and_every_alarm_stands(video: Path) -> None:
    table = verify_events("drive-1", EVENTS, TRACKS, video, (160, 90), Verifier(CONTRACT, None, None))
    tables.check(table, tables.VERIFIED_EVENTS)
    assert table["outcome"].unique().to_list() == ["not_run"]
    assert table["verifier"].unique().to_list() == ["stub"]
    assert table["reason_category"].null_count() == table["stated_confidence"].null_count() == table.height
    assert table["error"].str.contains("COSMOS_NIM_URL is not set").all()
    assert alarm_figures(table).passing == table.height


def test_no_events_make_an_empty_table(video: Path) -> None:
    none = verify_events("drive-1", EVENTS.clear(), TRACKS, video, (160, 90), Verifier(CONTRACT, None, None))
    tables.check(none, tables.VERIFIED_EVENTS)
    assert none.is_empty()


def test_figures_are_counted_by_hand() -> None:
    counted = figures(
        [
            Judged("confirmed", True, True),
            Judged("confirmed", True, False),  # a false alarm that passes
            Judged("rejected", False, False),  # one that does not
            Judged("rejected", False, True),  # a genuine one that is lost
            Judged("failed", True, None),
            Judged("not_run", True, False),
        ]
    )
    assert counted.row() == {
        "proposals": 6,
        "passing": 4,
        "confirmed": 2,
        "rejected": 2,
        "failed": 1,
        "not_run": 1,
        "labelled": 5,
        "false_alarms_without": 3,
        "false_alarms_with": 2,
        "lost": 1,
    }


def test_the_outcomes_are_the_tables() -> None:
    assert pl.Enum(tables.VERIFICATIONS) == tables.VERIFIED_EVENTS["outcome"] == tables.GESTURE_VERDICTS["outcome"]
