"""The near-miss contract: what confirms, what the model is told, and what it is not told."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from autorisk_dagster.verification.near_miss import (
    CONTRACT,
    SYSTEM_PROMPT,
    VERDICT_SCHEMA,
    near_miss_proposal,
    read_verdict,
)

CONFIRMED = {
    "version": "1.0",
    "event_id": "v-1",
    "confirmed": True,
    "confidence": 0.8,
    "reason_category": "genuine_conflict",
    "rationale": "The SUV cuts in and the own vehicle brakes.",
}
EVENT: dict[str, Any] = {
    "event_id": "v-1",
    "version": "v2",
    "timestamp_sec": 7.0,
    "object_id_1": 3,
    "label_1": "car",
    "object_id_2": None,
    "label_2": None,
    "ttc_sec": 1.2345,
    "gap_m": None,
    "closing_mps": 5.0,
    "distance_px": 88.0,
    "risk_score": 0.91,
    "risk_level": "High",
}


def test_a_consistent_verdict_is_accepted() -> None:
    rejected = CONFIRMED | {"confirmed": False, "reason_category": "parallel_lanes"}
    for verdict in (CONFIRMED, rejected):
        assert read_verdict(json.dumps(verdict), event_id="v-1") == verdict


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"event_id": "v-2"}, "event_id is not that of the proposal"),
        ({"confirmed": False}, "confirmed is false for reason genuine_conflict"),
        ({"reason_category": "parked_vehicle"}, "confirmed is true for reason parked_vehicle"),
        ({"confidence": 2}, "at confidence"),
        ({"severity": "HIGH"}, "Additional properties"),
    ],
)
def test_what_contradicts_is_a_reject(change: dict[str, Any], named: str) -> None:
    verdict = read_verdict(json.dumps(CONFIRMED | change), event_id="v-1")
    assert (verdict["confirmed"], verdict["confidence"], verdict["reason_category"]) == (False, 0.0, "unknown")
    assert named in verdict["rationale"]
    jsonschema.validate(verdict, VERDICT_SCHEMA)


def test_the_prompt_names_every_reason_and_key_of_the_schema() -> None:
    for word in (*VERDICT_SCHEMA["properties"]["reason_category"]["enum"], *VERDICT_SCHEMA["required"]):
        assert word in SYSTEM_PROMPT
    assert CONTRACT.version == "1.0"


def test_the_model_is_told_what_was_measured_but_not_how_risky_it_was_found() -> None:
    proposal = near_miss_proposal("drive-1", EVENT, {3: (128.0, -4.0, 640.0, 720.0)}, (1280, 720), [6.5, 7.5])
    assert proposal.event_id == "drive-1:v-1"
    assert proposal.context == {
        "event_id": "v-1",
        # 128 of 1280 is 100 of 1000; -4 is cut to the frame
        "road_users": [{"name": "car 3", "box": [100, 0, 500, 1000]}, {"name": "own vehicle"}],
        "measured": {"ttc_sec": 1.23, "closing_mps": 5.0, "distance_px": 88.0},
        "frame_times_sec": [-0.5, 0.5],
    }
    assert proposal.features["risk_score"] == 0.91
    assert "risk" not in json.dumps(proposal.context)


def test_a_road_user_without_a_box_at_the_event_is_named_only() -> None:
    context = near_miss_proposal("drive-1", EVENT, {}, (1280, 720), []).context
    assert context["road_users"][0] == {"name": "car 3"}
