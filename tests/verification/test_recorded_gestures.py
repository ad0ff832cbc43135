"""Recorded gestures: what a folder holds, what is refused by name, and what the gate changes on labelled ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autorisk_dagster import tables
from autorisk_dagster.verification.endpoint import ChatClient, Endpoint
from autorisk_dagster.verification.gesture import CONTRACT
from autorisk_dagster.verification.recorded_gestures import gate_figures, verify_gestures
from autorisk_dagster.verification.verifier import Verifier
from tests.verification.servers import APPROVAL, REJECTION, FaultyEndpoint, jpegs, serving
from tests.video_factory import steady, write_video


def record(folder: Path, name: str, **values: Any) -> None:
    frames = [f"{index}.jpg" for index in range(8)]
    for frame, data in zip(frames, jpegs(), strict=True):
        (folder / frame).write_bytes(data)
    given = {"event_id": name, "proposed_intent": "SWITCH_RIGHT", "frames": frames} | values
    text = json.dumps({key: value for key, value in given.items() if value is not None})
    (folder / f"{name}.json").write_text(text, encoding="utf-8")


def reply(told: dict[str, Any]) -> str:
    """Believes the local detector from 0.7 on."""
    return json.dumps(APPROVAL if told["local_confidence"] >= 0.7 else REJECTION)


def test_the_gate_on_labelled_recordings(tmp_path: Path) -> None:
    record(tmp_path, "a-command", local_confidence=0.9, intentional=True, features={"peak": 1.0})
    record(tmp_path, "b-scratch", local_confidence=0.5, intentional=False)
    record(tmp_path, "c-wave", local_confidence=0.8, intentional=False)
    record(tmp_path, "d-shy", local_confidence=0.6, intentional=True)
    write_video(tmp_path / "cabin.mp4", steady(40, 20.0))
    record(tmp_path, "e-video", local_confidence=0.9, frames=None, video="cabin.mp4", at_sec=1.0)
    with serving(FaultyEndpoint([reply])) as url:
        table = verify_gestures(tmp_path, Verifier(CONTRACT, ChatClient(Endpoint(url)), None))
    tables.check(table, tables.GESTURE_VERDICTS)
    assert table["event_id"].to_list() == ["a-command", "b-scratch", "c-wave", "d-shy", "e-video"]
    assert table["outcome"].to_list() == ["confirmed", "rejected", "confirmed", "rejected", "confirmed"]
    assert table["final_intent"].to_list() == ["SWITCH_RIGHT", "NONE", "SWITCH_RIGHT", "NONE", "SWITCH_RIGHT"]
    counted = gate_figures(table)
    # Without the gate both the scratch and the wave are carried out; with it the wave, and the shy command is lost.
    assert (counted.labelled, counted.false_alarms_without, counted.false_alarms_with, counted.lost) == (4, 2, 1, 1)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"proposed_intent": "WAVE"}, "is no recorded gesture"),
        ({"frames": None}, "is no recorded gesture"),
        ({"video": "v.mp4", "at_sec": 1.0}, "is no recorded gesture"),  # both frames and a video
        ({"frames": ["0.jpg"] * 7}, "at frames"),
        ({"frames": ["../0.jpg", *["0.jpg"] * 7]}, "'../0.jpg' leaves the folder"),
        ({"frames": ["/etc/passwd", *["0.jpg"] * 7]}, "leaves the folder"),
        ({"frames": ["link.jpg", *["0.jpg"] * 7]}, "'link.jpg' leaves the folder"),
        ({"frames": ["gone.jpg", *["0.jpg"] * 7]}, "gone.jpg is no file"),
        ({"frames": ["bad.json", *["0.jpg"] * 7]}, "bad.json is no JPEG"),
        ({"frames": None, "video": "gone.mp4", "at_sec": 1.0}, "gone.mp4"),
        ({"frames": None, "video": "../v.mp4", "at_sec": 1.0}, "leaves the folder"),
    ],
    ids=str,
)
def test_a_recording_that_cannot_be_shown_is_a_failure_by_name(
    tmp_path: Path, values: dict[str, Any], reason: str
) -> None:
    (tmp_path / "outside.jpg").write_bytes(jpegs()[0])
    folder = tmp_path / "gestures"
    folder.mkdir()
    (folder / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    record(folder, "bad", **values)
    (row,) = verify_gestures(folder, Verifier(CONTRACT, ChatClient(Endpoint("http://127.0.0.1:9")), None)).to_dicts()
    assert (row["file_name"], row["event_id"], row["outcome"]) == ("bad.json", "bad", "failed")
    assert reason in row["error"]


def test_without_an_endpoint_nothing_is_confirmed(tmp_path: Path) -> None:
    record(tmp_path, "a", local_confidence=0.99)
    (row,) = verify_gestures(tmp_path, Verifier(CONTRACT, None, None)).to_dicts()
    assert (row["outcome"], row["verifier"], row["final_intent"]) == ("not_run", "stub", "NONE")
    assert row["reason_category"] is None
    assert verify_gestures(tmp_path / "none", Verifier(CONTRACT, None, None)).is_empty()
