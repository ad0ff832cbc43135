"""The service: requests that are refused, and a thousand that are answered whatever the model does."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from autorisk_dagster.cli import main
from autorisk_dagster.verification.contract import check_schema
from autorisk_dagster.verification.endpoint import ChatClient, Endpoint
from autorisk_dagster.verification.event_log import EventLog, read_log
from autorisk_dagster.verification.gesture import CONTRACT, VERDICT_SCHEMA
from autorisk_dagster.verification.service import MAX_BODY_BYTES, create_app
from autorisk_dagster.verification.verifier import Verifier
from tests.verification.servers import CONTENTS, RAW, FaultyEndpoint, gather_limited, jpegs, serving

FRAMES = [base64.b64encode(frame).decode() for frame in jpegs()]
REQUEST: dict[str, Any] = {
    "event_id": "evt-1",
    "proposed_intent": "SWITCH_RIGHT",
    "frames": FRAMES,
    "local_confidence": 0.73,
    "landmark_summary": {"handedness": "Right", "wrist_trajectory_x": [0.72, 0.35], "palm_facing_camera": True},
    "features": {"peak_velocity": 0.08},
}


@pytest.fixture
def stub() -> TestClient:
    return TestClient(create_app(Verifier(CONTRACT, None, None)), raise_server_exceptions=False)


def test_a_stub_answers_with_a_labelled_reject(stub: TestClient) -> None:
    answer = stub.post("/verify", json=REQUEST)
    assert answer.status_code == 200
    assert answer.headers["x-verdict-source"] == "stub"
    jsonschema.validate(answer.json(), VERDICT_SCHEMA)
    assert answer.json()["rationale"].startswith("stub: COSMOS_NIM_URL is not set")
    assert stub.get("/health").json() == {
        "status": "ok",
        "contract": "gesture",
        "version": "1.0",
        "verifier": "stub",
        "model": "stub",
    }


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"event_id": None}, "at event_id"),
        ({"event_id": ""}, "at event_id"),
        ({"event_id": "../../etc"}, "at event_id"),
        ({"event_id": "a\n"}, "at event_id"),
        ({"event_id": "x" * 129}, "at event_id"),
        ({"proposed_intent": "NONE"}, "at proposed_intent"),
        ({"proposed_intent": "open_menu"}, "at proposed_intent"),
        ({"frames": FRAMES[:7]}, "at frames"),
        ({"frames": FRAMES + FRAMES[:5]}, "at frames"),
        ({"frames": "abc"}, "at frames"),
        ({"frames": [*FRAMES[:7], "not base64 !"]}, "frame 7 is not base64"),
        ({"frames": [*FRAMES[:7], base64.b64encode(b"\x89PNG....").decode()]}, "frame 7 is no whole JPEG"),
        ({"frames": [*FRAMES[:7], base64.b64encode(jpegs()[0][:-40]).decode()]}, "frame 7 is no whole JPEG"),
        ({"local_confidence": 1.5}, "at local_confidence"),
        ({"local_confidence": "high"}, "at local_confidence"),
        ({"landmark_summary": "Right"}, "at landmark_summary"),
        ({"landmark_summary": {"x": "y" * 40_000}}, "landmark_summary is over"),
        ({"student": 1}, "Additional properties"),
    ],
    ids=str,
)
def test_a_request_that_breaks_the_schema_is_refused_with_the_reason(
    stub: TestClient, change: dict[str, Any], reason: str
) -> None:
    answer = stub.post("/verify", json=REQUEST | change)
    assert answer.status_code == 422
    assert reason in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"{", "application/json", 400),
        (b"\xff\xfe{}", "application/json", 400),
        (b'{"event_id": "a", "event_id": "b"}', "application/json", 400),
        (b'{"local_confidence": NaN}', "application/json", 400),
        (b'{"local_confidence": 1e999}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"landmark_summary": ' * 400 + b"1" + b"}" * 400, "application/json", 422),
        (b"{}", "application/json", 422),
        (b"{}", "text/plain", 415),
        (b" " * (MAX_BODY_BYTES + 1), "application/json", 413),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_body_that_is_no_request_is_refused(stub: TestClient, body: bytes, kind: str, status: int) -> None:
    answer = stub.post("/verify", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["error"]


@pytest.mark.parametrize("depth", [10, 300, 800, *range(900, 1000, 5), 2_000])
def test_nesting_is_answered_or_refused_never_a_server_error(tmp_path: Path, depth: int) -> None:
    client = TestClient(create_app(Verifier(CONTRACT, None, EventLog(tmp_path / "log"))), raise_server_exceptions=False)
    nested = '{"a": ' * depth + "1" + "}" * depth
    body = json.dumps(REQUEST | {"features": {}}).replace('"features": {}', f'"features": {nested}')
    answer = client.post("/verify", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 200 if depth == 10 else answer.status_code in (200, 400, 422)


def test_only_the_two_paths_and_their_methods_exist(stub: TestClient) -> None:
    assert [stub.get("/verify").status_code, stub.post("/health").status_code] == [405, 405]
    assert stub.get("/").status_code == 404


def test_a_browser_may_call_only_from_the_pages_that_were_named() -> None:
    app = create_app(Verifier(CONTRACT, None, None), allow_origins=["http://localhost:5173"])
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    client = TestClient(app)
    good = client.options("/verify", headers={"origin": "http://localhost:5173", **asked})
    assert good.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert client.options("/verify", headers={"origin": "http://evil.example", **asked}).status_code == 400


# One of each failure, many times over; four in ten answers are good.
FAULTS: list[str | int] = [*CONTENTS, *RAW, "HTML", "cut off", "redirect", "slow", "drip", 500, 429, 503]
PLAN = [step for fault in FAULTS for step in (fault, "good", "rejection")]


def test_a_thousand_requests_under_faults_all_get_a_verdict(tmp_path: Path) -> None:
    faulty = FaultyEndpoint(list(itertools.islice(itertools.cycle(PLAN), 3_000)))
    log = EventLog(tmp_path / "log.jsonl")
    with serving(faulty) as url:
        endpoint = Endpoint(url, deadline_sec=0.5, tries=2, backoff_sec=0.001)
        app = create_app(Verifier(CONTRACT, ChatClient(endpoint), log))

        async def storm() -> list[httpx.Response]:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://verifier") as client:
                requests = [
                    REQUEST
                    | {"event_id": f"evt-{number}", "proposed_intent": "SWITCH_RIGHT" if number % 8 else "OPEN_MENU"}
                    for number in range(1_000)
                ]
                return await gather_limited(64, [partial(client.post, "/verify", json=request) for request in requests])

        answers = asyncio.run(storm())
    assert Counter(answer.status_code for answer in answers) == {200: 1_000}
    sources = Counter(answer.headers["x-verdict-source"] for answer in answers)
    assert set(sources) == {"model", "reject"}
    assert min(sources.values()) > 200  # both ways were taken often
    by_event = {record["event_id"]: record for record in read_log(log.path).records}
    assert len(by_event) == 1_000
    assert read_log(log.path).broken_lines == 0
    for number, answer in enumerate(answers):
        verdict = answer.json()
        check_schema(verdict, VERDICT_SCHEMA)
        assert verdict["proposed_intent"] == ("SWITCH_RIGHT" if number % 8 else "OPEN_MENU")
        assert (answer.headers["x-verdict-source"] == "model") == (not verdict["rationale"].startswith("rejected: "))
        assert by_event[f"evt-{number}"]["verdict"] == verdict
        # The endpoint approves SWITCH_RIGHT only: an OPEN_MENU must never come through.
        assert not (verdict["intentional"] and verdict["proposed_intent"] == "OPEN_MENU")


def test_the_command_says_what_it_serves_and_refuses_a_bad_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path))
    monkeypatch.setenv("COSMOS_NIM_URL", "dgx:8000")
    result = CliRunner().invoke(main, ["verifier", "serve"])
    assert result.exit_code == 1
    assert "COSMOS_NIM_URL must be an address" in result.output
    monkeypatch.delenv("COSMOS_NIM_URL")
    served: dict[str, Any] = {}
    monkeypatch.setattr("uvicorn.run", lambda app, **settings: served.update(settings, app=app))
    result = CliRunner().invoke(main, ["verifier", "serve"])
    assert (served["host"], served["port"]) == ("127.0.0.1", 8788)
    assert "a stub, which rejects every gesture" in result.output
    assert TestClient(served["app"]).post("/verify", json=REQUEST).headers["x-verdict-source"] == "stub"
    (line,) = (tmp_path / "verification" / "gesture.jsonl").read_text().splitlines()
    assert json.loads(line)["event_id"] == "evt-1"
