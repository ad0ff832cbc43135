"""The review log: nothing acknowledged is lost, and every change is found and named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster.errors import InputError
from autorisk_dagster.review.chain import Head, chained, examine
from autorisk_dagster.review.log import ReviewLog, TamperedLogError
from autorisk_dagster.review.protocol import canonical_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def log(tmp_path: Path) -> ReviewLog:
    return ReviewLog(tmp_path / "review" / "verdicts.jsonl")


def filled(log: ReviewLog, count: int) -> ReviewLog:
    for number in range(1, count + 1):
        log.append({"kind": "test", "value": f"value {number}"})
    return log


def rewrite(log: ReviewLog, lines: list[bytes]) -> None:
    log.path.write_bytes(b"".join(line + b"\n" for line in lines))


def test_records_come_back_in_order_and_bound_to_each_other(log: ReviewLog) -> None:
    filled(log, 3)
    records = log.records()
    assert [record["value"] for record in records] == ["value 1", "value 2", "value 3"]
    assert [record["number"] for record in records] == [1, 2, 3]
    assert [record["previous"] for record in records] == ["0" * 64, records[0]["sha256"], records[1]["sha256"]]
    assert log.verify() is None
    assert log.head() == Head(3, records[2]["sha256"], log.path.stat().st_size)


def test_an_empty_log_is_whole(log: ReviewLog) -> None:
    assert log.records() == [] and log.verify() is None and log.head() == Head()


# Each edit of a log of five, and what verify must say: the kind and the number of the record.
EDITS = {
    "changed": (lambda r: [*r[:2], r[2].replace(b"value 3", b"value X"), *r[3:]], ("changed", 3)),
    "changed, its own hash made anew": (lambda r: [*r[:2], forged(r[2], "X"), *r[3:]], ("changed", 3)),
    "the last changed": (lambda r: [*r[:4], r[4].replace(b"value 5", b"value X")], ("changed", 5)),
    "the last changed, its own hash made anew": (lambda r: [*r[:4], forged(r[4], "X")], ("changed", 5)),
    "removed": (lambda r: [*r[:1], *r[2:]], ("removed", 2)),
    "the first removed": (lambda r: r[1:], ("removed", 1)),
    "the last removed": (lambda r: r[:4], ("removed", 5)),
    "the last two removed": (lambda r: r[:3], ("removed", 4)),
    "all removed": (lambda r: [], ("removed", 1)),  # noqa: ARG005
    "a forged one inserted": (lambda r: [*r[:2], forged(r[2], "X"), *r[2:]], ("inserted", 3)),
    "an empty line inserted": (lambda r: [*r[:2], b"", *r[2:]], ("inserted", 3)),
    "a copy inserted": (lambda r: [*r[:4], r[1], *r[4:]], ("inserted", 2)),
    "words inserted at the end": (lambda r: [*r, b"words"], ("inserted", 6)),
    "two well-formed ones at the end": (lambda r: [*r, *continued(r[4], 2)], ("inserted", 6)),
    "two swapped": (lambda r: [r[0], r[2], r[1], *r[3:]], ("reordered", 2)),
    "the first moved to the end": (lambda r: [*r[1:], r[0]], ("reordered", 1)),
}


def forged(line: bytes, value: str) -> bytes:
    record = json.loads(line)
    head = Head(record["number"] - 1, record["previous"])
    return canonical_json(chained({"kind": "test", "value": value}, head)).encode()


def continued(line: bytes, count: int) -> list[bytes]:
    lines = []
    record = json.loads(line)
    for _ in range(count):
        record = chained({"kind": "test"}, Head(record["number"], record["sha256"]))
        lines.append(canonical_json(record).encode())
    return lines


@pytest.mark.parametrize("edit", list(EDITS))
def test_each_kind_of_tampering_is_found_and_the_first_record_named(log: ReviewLog, edit: str) -> None:
    lines = filled(log, 5).path.read_bytes().splitlines()
    change, expected = EDITS[edit]
    rewrite(log, change(lines))
    fault = log.verify()
    assert fault is not None and (fault.kind, fault.number) == expected, fault
    with pytest.raises(TamperedLogError, match=f"record {expected[1]}"):
        log.records()


def test_a_log_made_anew_with_its_head_is_found_by_a_head_that_was_pinned_elsewhere(
    log: ReviewLog, tmp_path: Path
) -> None:
    pinned = filled(log, 5).head()
    other = filled(ReviewLog(tmp_path / "other" / "verdicts.jsonl"), 4)
    for path, new in ((log.path, other.path), (log.head_path, other.head_path)):
        path.write_bytes(new.read_bytes())
    assert log.verify() is None
    fault = log.verify(pinned)
    assert fault is not None and (fault.kind, fault.number) == ("removed", 5)
    log.append({"kind": "test", "value": "another fifth"})
    fault = log.verify(pinned)
    assert fault is not None and (fault.kind, fault.number) == ("changed", 5)


def test_a_log_that_has_grown_since_it_was_pinned_is_whole(log: ReviewLog) -> None:
    pinned = filled(log, 2).head()
    filled(log, 2)
    assert log.verify(pinned) is None


def test_a_head_file_that_is_gone_or_another_is_found(log: ReviewLog) -> None:
    filled(log, 2)
    kept = log.head_path.read_bytes()
    log.head_path.unlink()
    assert log.verify().kind == "head"
    with pytest.raises(TamperedLogError, match=r"head\.json is missing"):
        log.append({"kind": "test"})
    log.head_path.write_bytes(kept.replace(b'"size_bytes":', b'"size_bytes": '))
    assert log.verify().kind == "head"
    with pytest.raises(TamperedLogError, match=r"head\.json was changed"):
        log.append({"kind": "test"})


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.text(min_size=1, max_size=5), JSON, max_size=3), min_size=1, max_size=4), st.data())
def test_every_single_byte_that_is_changed_is_found(values: list[dict[str, object]], data: st.DataObject) -> None:
    head, raw = Head(), b""
    for each in values:
        kept = {name: value for name, value in each.items() if name not in ("number", "previous", "sha256")}
        record = chained(kept, head)
        raw += canonical_json(record).encode() + b"\n"
        head = Head(record["number"], record["sha256"], len(raw))
    assert examine(raw, head)[1] is None
    place = data.draw(st.integers(0, len(raw) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != raw[place]))
    changed = raw[:place] + bytes([byte]) + raw[place + 1 :]
    fault = examine(changed, head)[1]
    assert fault is not None
    assert fault.number == raw[:place].count(b"\n") + 1  # the record that holds the byte is the first wrong one


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_every_single_byte_of_the_head_that_is_changed_is_found(place: int, byte: int) -> None:
    from autorisk_dagster.review.chain import read_head

    record = chained({"value": 1}, Head())
    raw = canonical_json(record).encode() + b"\n"
    stored = Head(1, record["sha256"], len(raw)).line()
    place %= len(stored)
    changed = stored[:place] + bytes([byte]) + stored[place + 1 :]
    head = read_head(changed)
    assert (changed == stored) == (head is not None and examine(raw, head)[1] is None)


@pytest.mark.parametrize("kept", ["all", "but the line break", "half"])
def test_what_a_killed_process_left_behind_the_head_is_taken_in_or_set_aside(log: ReviewLog, kept: str) -> None:
    head = filled(log, 2).head()
    line = canonical_json(chained({"kind": "test", "value": "value 3"}, head)).encode() + b"\n"
    left = {"all": line, "but the line break": line[:-1], "half": line[: len(line) // 2]}[kept]
    with log.path.open("ab") as file:
        file.write(left)
    whole = kept != "half"
    assert log.verify() is None
    assert len(log.records()) == (3 if whole else 2)
    assert log.append({"kind": "test", "value": "next"})["number"] == (4 if whole else 3)
    assert [record["value"] for record in log.records()][2:] == (["value 3", "next"] if whole else ["next"])
    assert log.torn_path.exists() != whole  # what was torn is kept beside it
    assert log.verify() is None


def test_lines_that_no_append_wrote_are_not_built_upon(log: ReviewLog) -> None:
    filled(log, 2)
    with log.path.open("ab") as file:
        file.write(b"words\n")
    with pytest.raises(TamperedLogError, match="no append wrote"):
        log.append({"kind": "test"})


def test_a_shortened_log_is_not_built_upon(log: ReviewLog) -> None:
    filled(log, 3)
    rewrite(log, log.path.read_bytes().splitlines()[:2])
    with pytest.raises(TamperedLogError, match="were removed"):
        log.append({"kind": "test"})


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, "x" * (1 << 20)], ids=["NaN", "no JSON", "too long"])
def test_what_cannot_be_a_record_is_refused_and_leaves_no_trace(log: ReviewLog, value: object) -> None:
    filled(log, 1)
    with pytest.raises(InputError, match="review record"):
        log.append({"kind": "test", "value": value})
    assert len(log.records()) == 1 and log.verify() is None


def test_the_chain_cannot_be_set_from_outside(log: ReviewLog) -> None:
    with pytest.raises(InputError, match="the log does"):
        log.append({"number": 7})


WRITER = """
import sys
from pathlib import Path
from autorisk_dagster.review.log import ReviewLog
log = ReviewLog(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    log.append({"writer": sys.argv[2], "value": number})
    print(number, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)


def test_processes_that_write_at_once_lose_nothing(log: ReviewLog) -> None:
    writers = [writer(log.path, name, 30) for name in ("anna", "bert", "cem")]
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    records = log.records()
    assert len(records) == 90
    for name in ("anna", "bert", "cem"):
        assert [record["value"] for record in records if record["writer"] == name] == list(range(30))


def test_a_process_killed_in_the_middle_of_writing_loses_nothing_that_it_acknowledged(log: ReviewLog) -> None:
    for turn in range(3):
        process = writer(log.path, f"turn {turn}", 100_000)
        acknowledged = [process.stdout.readline() for _ in range(3 + 7 * turn)]
        process.kill()
        rest = process.communicate()[0].splitlines()
        last = int((rest or acknowledged)[-1])
        written = [record["value"] for record in log.records() if record["writer"] == f"turn {turn}"]
        assert written[: last + 1] == list(range(last + 1))
        assert len(written) <= last + 2  # at most the one whose acknowledgement was cut off
    assert log.verify() is None
