"""A chain of records: each bound to the one before it by SHA-256, and the place where it ends pinned beside it.

A line is a record in canonical JSON (sorted keys, no spaces, ASCII). `number` counts from 1, `previous` is the SHA-256
of the record before, `sha256` that of the record itself without that field. A head names the number of records, the
last one's hash and their bytes, so that a log cut at its end is found too.

What this does not do: who can write both files can make a new chain with a new head. Against that a head is pinned
elsewhere, in a signed audit pack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from autorisk_dagster.review.protocol import canonical_json, canonical_sha256

GENESIS: Final = "0" * 64
CHAIN_FIELDS: Final = ("number", "previous", "sha256")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")

Record = dict[str, Any]


@dataclass(frozen=True)
class Head:
    """Where a log ends: how many records, the hash of the last one (`GENESIS` where there is none), and its bytes."""

    records: int = 0
    sha256: str = GENESIS
    size_bytes: int = 0

    def line(self) -> bytes:
        """The head file's content."""
        values = {"records": self.records, "sha256": self.sha256, "size_bytes": self.size_bytes}
        return canonical_json(values).encode() + b"\n"


@dataclass(frozen=True)
class LogFault:
    """The first thing that is wrong with a log.

    Attributes:
        kind: changed, removed, inserted or reordered; head: the head file itself is changed or missing
        number: of the record, from 1; 0 for the head file
        text: what was found, in a sentence
    """

    kind: str
    number: int
    text: str


@dataclass(frozen=True)
class _Line:
    """One line: the record in it, or None where it is not exactly one."""

    raw: bytes
    record: Record | None


def chained(values: Mapping[str, Any], head: Head) -> Record:
    """`values` as the record behind `head`.

    Raises:
        TypeError, ValueError: a value is not JSON.
    """
    record = dict(values) | {"number": head.records + 1, "previous": head.sha256}
    return record | {"sha256": canonical_sha256(record)}


def examine(raw: bytes, head: Head | None, pinned: Head | None = None) -> tuple[list[Record], LogFault | None]:
    """The whole records of a log in order, and the first thing that is wrong with it.

    Bytes behind the last line break that are no whole record are no fault as long as the head does not count them, nor
    is one whole record behind the head: both are what a killed process leaves.

    Args:
        raw: the log's bytes
        head: where it ends by the head file; None where there is none (then a log cut at its end is not found)
        pinned: a head that was kept elsewhere: the log must still hold it, and may have grown behind it
    """
    lines, torn = _lines(raw)
    fault = _first_fault(lines, torn, head)
    records = [line.record for line in lines if line.record is not None]
    if fault is None and head is not None:
        fault = _head_fault(records, head)
    if fault is None and pinned is not None and pinned.records:
        fault = _not_at(records, pinned)
    return records, fault


def read_head(stored: bytes) -> Head | None:
    """The head in a head file's bytes; None where they are not exactly one."""
    try:
        head = Head(**json.loads(stored))
        whole = type(head.records) is int and type(head.size_bytes) is int and _DIGEST.fullmatch(head.sha256)
        return head if whole and head.line() == stored else None
    except (ValueError, TypeError, RecursionError):
        return None


def parse_line(raw: bytes) -> Record | None:
    """The record of a line, if it is one, canonical to the byte and with its own hash."""
    try:
        record = json.loads(raw)
        whole = (
            isinstance(record, dict)
            and type(record.get("number")) is int
            and all(isinstance(record.get(name), str) and _DIGEST.fullmatch(record[name]) for name in CHAIN_FIELDS[1:])
        )
        if not whole or canonical_json(record).encode() != raw:
            return None
    except (ValueError, RecursionError):  # NaN is JSON to Python, and not canonical
        return None
    own = {name: value for name, value in record.items() if name != "sha256"}
    return record if canonical_sha256(own) == record["sha256"] else None


def follows(record: Record, head: Head) -> bool:
    """Whether a record is the next one behind a head."""
    return bool(record["number"] == head.records + 1 and record["previous"] == head.sha256)


def _lines(raw: bytes) -> tuple[list[_Line], bytes]:
    """The lines of a log, and the torn bytes behind the last line break that are no whole record."""
    *whole, rest = raw.split(b"\n")
    lines = [_Line(each, parse_line(each)) for each in whole]
    if rest:
        last = parse_line(rest)
        if last is None:
            return lines, rest
        lines.append(_Line(rest, last))
    return lines, b""


def _first_fault(lines: list[_Line], torn: bytes, head: Head | None) -> LogFault | None:
    """Walk back from the head to know the true records; then read the lines in order and name the first that is not
    the one expected there."""
    true = _true_records(lines, head)
    places = {number for line in lines if (number := _true_number(line, true)) is not None}
    expected = 1
    for line in lines:
        number = _true_number(line, true)
        if number == expected:
            expected += 1
            continue
        extra = expected in places or (head is not None and expected > head.records)
        if number is None:
            if extra:
                return LogFault("inserted", expected, f"before record {expected} stands a line that no append wrote")
            what = "changed" if line.record is None else "replaced by another"
            return LogFault("changed", expected, f"record {expected} was {what}")
        if number < expected:
            return LogFault("inserted", number, f"record {number} stands there a second time")
        if expected in places:
            return LogFault("reordered", expected, f"record {expected} was moved behind record {number}")
        return LogFault("removed", expected, f"record {expected} was removed")
    if head is not None and expected <= head.records:
        if torn:
            return LogFault("changed", expected, f"record {expected} was changed or cut")
        return LogFault("removed", expected, f"record {expected} and all behind it were removed")
    return None


def _true_records(lines: list[_Line], head: Head | None) -> dict[str, int]:
    """Number of each record that belongs to the chain, by hash."""
    records = [line.record for line in lines if line.record is not None]
    by_hash = {record["sha256"]: record for record in records}
    true: dict[str, int] = {}
    at = head.sha256 if head is not None else (records[-1]["sha256"] if records else GENESIS)
    while at in by_hash and at not in true:
        true[at] = by_hash[at]["number"]
        at = by_hash[at]["previous"]
    following = {record["previous"]: record for record in reversed(records)}
    if at != GENESIS:  # the walk back broke at a record that is not there: what comes before it is true as well
        missing = min(true.values(), default=(head.records if head is not None else len(records)) + 1) - 1
        tip: Head | None = Head()
        while tip is not None and tip.records + 1 < missing:
            tip = _next(following, tip, true)
    if head is not None and lines and lines[-1].record is following.get(head.sha256):
        _next(following, head, true)  # one record behind the head: a process was killed between the two writes
    return true


def _next(following: Mapping[str, Record], tip: Head, true: dict[str, int]) -> Head | None:
    record = following.get(tip.sha256)
    if record is None or not follows(record, tip) or record["sha256"] in true:
        return None
    true[record["sha256"]] = record["number"]
    return Head(record["number"], record["sha256"])


def _true_number(line: _Line, true: Mapping[str, int]) -> int | None:
    return true.get(line.record["sha256"]) if line.record is not None else None


def _head_fault(records: list[Record], head: Head) -> LogFault | None:
    """What is wrong with the head of a chain that is whole."""
    pinned = records[: head.records]
    size = sum(len(canonical_json(record)) + 1 for record in pinned)
    if (pinned[-1]["sha256"] if pinned else GENESIS) == head.sha256 and size == head.size_bytes:
        return None
    return LogFault("head", 0, "the head file was changed")


def _not_at(records: list[Record], pinned: Head) -> LogFault | None:
    """What is wrong where a whole log is held against a head that was kept elsewhere."""
    if len(records) < pinned.records:
        return LogFault("removed", len(records) + 1, f"record {len(records) + 1} and all behind it were removed")
    if records[pinned.records - 1]["sha256"] != pinned.sha256:
        return LogFault("changed", pinned.records, f"record {pinned.records} is not the one that was pinned")
    return None
