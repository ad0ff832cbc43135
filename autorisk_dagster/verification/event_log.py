"""The log of verdicts: one JSON object a line, under the event's id; and what can be learned from it.

Source: seed 001, "Correlation": latency from end to end, what the local detector and the model disagree on, and
training rows for a student. Lines are appended whole, under a lock that other processes hold too. A line that a killed
process left half is closed off before the next one, and counted when the log is read.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from autorisk_dagster.errors import InputError

Record = dict[str, Any]


class EventLog:
    """Appends records to the file at `path`; safe from several threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one line.

        Raises:
            OSError: it cannot be written.
            ValueError: a number is NaN or infinite.
        """
        # ASCII: a lone surrogate in a model's text can be written, and no line break can hide in it.
        line = json.dumps(record, ensure_ascii=True, allow_nan=False).encode() + b"\n"
        with self._lock, self.path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            file.write(line)


@dataclass(frozen=True)
class LogReading:
    """The records of a log in order, and how many lines are not one."""

    records: tuple[Record, ...]
    broken_lines: int


def read_log(path: Path) -> LogReading:
    """Read a log."""
    records: list[Record] = []
    broken = 0
    with path.open("rb") as file:
        for line in file:
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if isinstance(record, dict) and isinstance(record.get("event_id"), str):
                records.append(record)
            elif line.strip():
                broken += 1
    return LogReading(tuple(records), broken)


def end_to_end_sec(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds from the first to the last time in each event's records, which may come from several programs' logs.

    Times are read from `received_at` and `answered_at`, ISO 8601 with an offset.

    Raises:
        InputError: one of them is something else.
    """
    times: dict[str, list[float]] = {}
    for record in records:
        for name in ("received_at", "answered_at"):
            if name in record:
                times.setdefault(record["event_id"], []).append(_instant(record, name))
    return {event_id: max(at) - min(at) for event_id, at in times.items()}


def _instant(record: Mapping[str, Any], name: str) -> float:
    try:
        found = datetime.fromisoformat(record[name])
        if found.tzinfo is None:
            raise ValueError("no offset")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"event {record['event_id']}: {name} is {record[name]!r}, not a time in ISO 8601 with an offset"
        ) from error
    return found.timestamp()


def heard(records: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The last record of each event in which the model itself was heard; failures and stubs say nothing of it."""
    return {record["event_id"]: record for record in records if record["source"] == "model"}


def disagreements(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Events that the detector proposed and the model did not confirm, with the model's reason."""
    return {
        event_id: record["verdict"]["reason_category"]
        for event_id, record in heard(records).items()
        if not record["confirmed"]
    }


def disagreement_counts(records: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How often each reason was given against a proposal, most frequent first."""
    return dict(Counter(disagreements(records).values()).most_common())


def training_rows(records: Iterable[Mapping[str, Any]]) -> list[Record]:
    """Features of each event with the model's verdict as label; events that the model was not heard on have none."""
    return [
        {
            "event_id": event_id,
            **{f"context.{name}": value for name, value in record["context"].items()},
            **{f"feature.{name}": value for name, value in record["features"].items()},
            "label": record["confirmed"],
            "reason_category": record["verdict"]["reason_category"],
            "confidence": record["verdict"]["confidence"],
            "model": record["model"],
            "contract_hash": record["contract_hash"],
        }
        for event_id, record in heard(records).items()
    ]


def write_training_rows(records: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write `training_rows` as JSON lines, whole or not at all; return how many."""
    rows = training_rows(records)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text("".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows), encoding="utf-8")
    temporary.replace(path)
    return len(rows)
