"""The engine against a real endpoint that fails: every failure is a named reject, logged with what was received."""

from __future__ import annotations

import json
import multiprocessing
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest

from autorisk_dagster.errors import BackendError
from autorisk_dagster.verification.contract import Proposal
from autorisk_dagster.verification.endpoint import ChatClient, Endpoint, NoAnswerError
from autorisk_dagster.verification.event_log import (
    EventLog,
    disagreement_counts,
    disagreements,
    end_to_end_sec,
    read_log,
    training_rows,
    write_training_rows,
)
from autorisk_dagster.verification.gesture import CONTRACT, VERDICT_SCHEMA
from autorisk_dagster.verification.verifier import Verified, Verifier
from tests.verification.servers import APPROVAL, GOOD, REJECTION, FaultyEndpoint, jpegs, serving

KEY = "nvapi-secret"


def proposal(event_id: str = "e1") -> Proposal:
    return Proposal(event_id, {"proposed_intent": "SWITCH_RIGHT", "local_confidence": 0.7}, {"peak": 0.1})


def ask(plan: list[str | int], log: EventLog | None = None, **settings: float) -> tuple[Verified, FaultyEndpoint]:
    faulty = FaultyEndpoint(plan)
    with serving(faulty) as url:
        limits = {"deadline_sec": 20.0, "backoff_sec": 0.001} | settings
        client = ChatClient(Endpoint(url, "cosmos", KEY, **limits))  # type: ignore[arg-type]
        verified = Verifier(CONTRACT, client, log).verify(proposal(), jpegs())
        client.close()
    jsonschema.validate(verified.verdict, VERDICT_SCHEMA)
    return verified, faulty


def test_a_good_answer_is_the_verdict_and_the_request_is_the_documents() -> None:
    verified, faulty = ask(["good"])
    assert (verified.verdict, verified.source, verified.error, verified.tries) == (APPROVAL, "model", None, 1)
    (request,), (headers,) = faulty.requests, faulty.headers
    assert request["path"] == "/v1/chat/completions"
    assert (request["model"], request["max_tokens"], request["temperature"]) == ("cosmos", 256, 0.1)
    assert len(request["messages"][1]["content"]) == 9
    assert headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("plan", [[429, "good"], [503, 429, "think"], ["cut off", "fence"], [502, "cut off", "good"]])
def test_what_passes_is_tried_again(plan: list[str | int]) -> None:
    verified, faulty = ask(plan)
    assert (verified.source, verified.tries) == ("model", len(plan))
    assert len(faulty.requests) == len(plan)


@pytest.mark.parametrize(
    ("plan", "failure", "tries"),
    [
        ([503], "the server answered 503 (tries: 3)", 3),
        ([429], "the server answered 429 (tries: 3)", 3),
        (["cut off"], "the connection failed (RemoteProtocolError) (tries: 3)", 3),
        ([500], "the server answered 500", 1),
        ([401], "the server answered 401", 1),
        (["redirect"], "the server answered 307", 1),
        (["HTML"], "the answer is text/html, not application/json", 1),
        (["no JSON"], "the answer is not JSON", 1),
        (["deep envelope"], "the answer is not JSON", 1),
        (["not UTF-8"], "the answer is not JSON", 1),
        (["no completion"], "the answer is no chat completion", 1),
        (["no choices"], "the answer is no chat completion", 1),
        (["null content"], "the content of the answer is null, not text", 1),
        (["list content"], "the content of the answer is list, not text", 1),
        (["huge"], "the answer is over 1048576 bytes", 1),
        (["prose"], "not JSON: Expecting value at character 0", 1),
        (["cut"], "not JSON", 1),
        (["deep"], "nested too deep", 1),
        (["NaN"], "NaN is not JSON", 1),
        (["twice"], "'intentional' stands twice", 1),
        (["other intent"], "contradicts", 1),
    ],
    ids=lambda value: str(value)[:30],
)
def test_every_failure_is_a_reject_that_names_it(
    plan: list[str | int], failure: str, tries: int, tmp_path: Path
) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    verified, faulty = ask(plan, log)
    assert (verified.source, verified.tries, len(faulty.requests)) == ("reject", tries, tries)
    assert verified.error is not None
    assert failure in verified.error
    assert (verified.verdict["intentional"], verified.verdict["confidence"]) == (False, 0.0)
    assert failure in verified.verdict["rationale"]
    (record,) = read_log(log.path).records
    assert (record["event_id"], record["error"], record["confirmed"]) == ("e1", verified.error, False)
    assert record["raw_text"] is not None
    assert len(record["raw_text"]) <= 1024 * 1024


@pytest.mark.parametrize("step", ["slow", "drip"])
def test_a_slow_server_is_given_up_at_the_deadline(step: str) -> None:
    verified, _ = ask([step], deadline_sec=0.2)
    assert verified.source == "reject"
    assert "within 0.2 s" in verified.verdict["rationale"]


def test_a_server_that_is_not_there_is_named() -> None:
    client = ChatClient(Endpoint("http://127.0.0.1:9", backoff_sec=0.001))
    with pytest.raises(NoAnswerError, match=r"the connection failed \(ConnectError\) \(tries: 3\)"):
        client.complete([], max_tokens=1, temperature=0.0)


def test_a_pause_that_the_server_asks_for_beyond_the_deadline_ends_the_call() -> None:
    class Busy(FaultyEndpoint):
        async def _answer(self, step, receive, send):  # type: ignore[no-untyped-def]  # noqa: ARG002
            await send({"type": "http.response.start", "status": 429, "headers": [(b"retry-after", b"3600")]})
            await send({"type": "http.response.body", "body": b""})

    busy = Busy(["good"])
    with serving(busy) as url, pytest.raises(NoAnswerError, match=r"429 \(tries: 1\)"):
        ChatClient(Endpoint(url)).complete([], max_tokens=1, temperature=0.0)


def test_the_key_is_in_no_message_log_or_representation(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    for plan in (["good"], [401], ["cut off"]):
        ask(plan, log)
    assert KEY not in log.path.read_text(encoding="utf-8")
    assert KEY not in repr(Endpoint("http://localhost:8000", api_key=KEY))


def test_the_environment_names_the_endpoint() -> None:
    assert Endpoint.from_environment({}) is None
    assert Endpoint.from_environment({"COSMOS_NIM_URL": " "}) is None
    given = {"COSMOS_NIM_URL": "http://dgx:8000/v1/", "COSMOS_NIM_MODEL": "m", "COSMOS_NIM_API_KEY": KEY}
    found = Endpoint.from_environment(given)
    assert found is not None
    assert (found.model, found.api_key) == ("m", KEY)
    assert found.completions_url == "http://dgx:8000/v1/chat/completions"
    for bad in ("localhost:8000", "file:///etc/passwd", "http://"):
        with pytest.raises(BackendError, match="COSMOS_NIM_URL must be an address"):
            Endpoint.from_environment({"COSMOS_NIM_URL": bad})


def test_without_an_endpoint_it_is_a_stub_that_says_so_and_lets_nothing_pass(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    verified = Verifier(CONTRACT, None, log).verify(proposal(), jpegs())
    assert (verified.source, verified.verdict["intentional"], verified.verdict["confidence"]) == ("stub", False, 0.0)
    assert verified.verdict["rationale"] == "stub: COSMOS_NIM_URL is not set, no model looked at this"
    jsonschema.validate(verified.verdict, VERDICT_SCHEMA)
    (record,) = read_log(log.path).records
    assert (record["source"], record["model"]) == ("stub", "stub")


def test_a_verdict_that_cannot_be_recorded_is_a_reject(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    log.path.mkdir()
    verified, _ = ask(["good"], log)
    assert verified.source == "reject"
    assert "could not be recorded: IsADirectoryError" in verified.verdict["rationale"]


def test_a_fault_of_our_own_is_a_reject_too() -> None:
    class Broken(ChatClient):
        def complete(self, *_: object, **__: object) -> object:  # type: ignore[override]
            raise ZeroDivisionError

    verified = Verifier(CONTRACT, Broken(Endpoint("http://localhost:8000")), None).verify(proposal(), jpegs())
    assert (verified.source, verified.error) == ("reject", "the verifier failed: ZeroDivisionError")


def fill(path: Path, name: str) -> None:
    log = EventLog(path)
    for number in range(50):
        log.append({"event_id": f"{name}-{number}", "text": "x" * 20_000})


def test_lines_of_threads_and_processes_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    threads = [threading.Thread(target=fill, args=(path, f"thread{index}")) for index in range(4)]
    processes = [multiprocessing.get_context("spawn").Process(target=fill, args=(path, f"p{i}")) for i in range(2)]
    for worker in (*threads, *processes):
        worker.start()
    for worker in (*threads, *processes):
        worker.join()
    reading = read_log(path)
    assert reading.broken_lines == 0
    assert len({record["event_id"] for record in reading.records}) == 6 * 50


def test_a_line_that_a_killed_process_left_half_costs_itself_only(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    log.append({"event_id": "a"})
    with log.path.open("ab") as file:
        file.write(b'{"event_id": "b", "te')
    log.append({"event_id": "c", "text": "one\ntwo \u2028 \ud800"})
    reading = read_log(log.path)
    assert [record["event_id"] for record in reading.records] == ["a", "c"]
    assert reading.broken_lines == 1


def record(event_id: str, verdict: dict[str, object], source: str = "model") -> dict[str, object]:
    return {
        "event_id": event_id,
        "source": source,
        "confirmed": source == "model" and verdict["intentional"],
        "verdict": verdict,
        "context": {"local_confidence": 0.7},
        "features": {"peak": 0.1},
        "model": "cosmos",
        "contract_hash": "abc",
    }


def test_what_a_log_teaches(tmp_path: Path) -> None:
    failed = REJECTION | {"reason_category": "unknown", "confidence": 0.0}
    records = [
        record("a", APPROVAL),
        record("b", REJECTION),
        record("c", failed, "reject"),  # nothing is known of it
        record("d", failed, "stub"),
        record("e", APPROVAL),
        record("e", REJECTION),  # judged again: the last counts
    ]
    assert disagreements(records) == {"b": "self_grooming", "e": "self_grooming"}
    assert disagreement_counts(records) == {"self_grooming": 2}
    rows = training_rows(records)
    assert [(row["event_id"], row["label"]) for row in rows] == [("a", True), ("b", False), ("e", False)]
    assert rows[0] | {"context.local_confidence": 0.7, "feature.peak": 0.1, "model": "cosmos"} == rows[0]
    assert write_training_rows(records, tmp_path / "rows.jsonl") == 3
    assert [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()] == rows


def test_latency_is_from_the_first_to_the_last_program_that_saw_the_event(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.jsonl")
    before = datetime.now(UTC)
    Verifier(CONTRACT, None, log).verify(proposal(), jpegs())
    records = list(read_log(log.path).records)
    web = {"event_id": "e1", "received_at": (before - timedelta(seconds=2)).isoformat()}
    executor = {"event_id": "e1", "answered_at": (before + timedelta(seconds=5)).isoformat()}
    assert end_to_end_sec([web, *records, executor]) == {"e1": pytest.approx(7.0)}
    assert 0 <= records[0]["latency_sec"] == pytest.approx(end_to_end_sec(records)["e1"], abs=0.5)


def test_the_server_says_what_the_tests_think_it_says() -> None:
    assert json.loads(GOOD) == APPROVAL
