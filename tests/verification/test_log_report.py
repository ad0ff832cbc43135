"""What the verifier's log says of each event, and all together."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from autorisk_dagster.cli import main
from autorisk_dagster.errors import InputError
from autorisk_dagster.verification.log_report import event_rows, summary
from tests.verification.servers import APPROVAL, REJECTION

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat()


def verdict(event_id: str, said: dict[str, Any], source: str, received: float, latency: float) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "contract": "gesture",
        "contract_hash": "ab",
        "model": "cosmos",
        "source": source,
        "tries": 1,
        "received_at": at(received),
        "answered_at": at(received + latency),
        "latency_sec": latency,
        "context": {"proposed_intent": "SWITCH_RIGHT"},
        "features": {"peak": 0.1},
        "verdict": said,
        "confirmed": source == "model" and said["intentional"],
        "error": None if source == "model" else "the server answered 503",
    }


RECORDS = [
    {"event_id": "a", "received_at": at(-1.0)},  # the page saw it first
    verdict("a", APPROVAL, "model", 0.0, 2.0),
    {"event_id": "a", "answered_at": at(2.5)},  # and the executor last
    verdict("b", REJECTION, "model", 10.0, 4.0),
    verdict("c", REJECTION | {"reason_category": "unknown"}, "reject", 20.0, 1.0),
    verdict("d", REJECTION | {"reason_category": "unknown"}, "stub", 30.0, 0.0),
    {"event_id": "never judged", "received_at": at(40)},
]


def test_each_event_has_its_latency_and_disagreement() -> None:
    rows = event_rows(RECORDS)
    assert rows["event_id"].to_list() == ["a", "b", "c", "d"]
    assert rows["disagrees"].to_list() == [False, True, None, None]  # a failure says nothing of the gesture
    assert rows["end_to_end_sec"].to_list() == pytest.approx([3.5, 4.0, 1.0, 0.0])
    assert rows["latency_sec"].to_list() == [2.0, 4.0, 1.0, 0.0]
    assert rows["proposed"].unique().to_list() == ["SWITCH_RIGHT"]


def test_the_summary_counts_by_hand() -> None:
    found = summary(RECORDS)
    assert (found.events, found.heard, found.disagreed, found.reasons) == (4, 2, 1, {"self_grooming": 1})
    # of a, b and c: 1, 2 and 4 s; the 95th percentile lies at 0.9 of the way from 2 to 4
    assert found.latency_sec == pytest.approx((2.0, 3.8, 4.0))
    assert found.end_to_end_sec == pytest.approx((3.5, 3.95, 4.0))
    nothing = summary([])
    assert (nothing.events, nothing.latency_sec) == (0, None)


@pytest.mark.parametrize("time", ["yesterday", "2026-01-01T00:00:00", 5])
def test_a_time_without_an_offset_is_refused(time: object) -> None:
    with pytest.raises(InputError, match=r"event x: received_at is .*ISO 8601 with an offset"):
        event_rows([{"event_id": "x", "received_at": time}])


def test_the_command_reads_the_logs_of_all_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path))
    empty = CliRunner().invoke(main, ["verifier", "report"])
    assert empty.exit_code == 1 and "no verdict was logged yet" in empty.output
    own, page = tmp_path / "gesture.jsonl", tmp_path / "page.jsonl"
    own.write_text("".join(f"{json.dumps(record)}\n" for record in RECORDS if "contract" in record) + "half a li")
    page.write_text("".join(f"{json.dumps(record)}\n" for record in RECORDS if "contract" not in record))
    written = ["--csv", str(tmp_path / "events.csv"), "--training", str(tmp_path / "rows.jsonl")]
    result = CliRunner().invoke(main, ["verifier", "report", str(own), str(page), *written])
    assert result.exit_code == 0, result.output
    assert "4 events, the model heard on 2, 1 not confirmed" in result.output
    assert "1  self_grooming" in result.output
    assert "end to end: median 3.50 s, 95 % within 3.95 s, longest 4.00 s" in result.output
    assert "1 lines are no record" in result.output
    assert pl.read_csv(tmp_path / "events.csv")["end_to_end_sec"].to_list() == pytest.approx([3.5, 4.0, 1.0, 0.0])
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [(row["event_id"], row["label"], row["feature.peak"]) for row in rows] == [
        ("a", True, 0.1),
        ("b", False, 0.1),
    ]
