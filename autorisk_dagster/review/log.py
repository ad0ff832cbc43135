"""The review log: append-only JSON lines on the disk, chained as `review.chain` describes.

A record is on the disk, and the head file after it, before `append` returns; both under a lock that other processes
hold as well. A process that is killed leaves at most one record behind the head. Where that record is whole it is kept;
where it is torn, its bytes are moved to a file beside the log and the log goes on. Nothing that `append` returned for
is lost.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from autorisk_dagster.errors import InputError, StorageError, is_full_disk
from autorisk_dagster.review.chain import (
    CHAIN_FIELDS,
    Head,
    LogFault,
    Record,
    chained,
    examine,
    follows,
    parse_line,
    read_head,
)
from autorisk_dagster.review.protocol import canonical_json

MAX_RECORD_BYTES: Final = 1 << 20  # a label set's freezing names each of its clips: 10,000 and more


class TamperedLogError(InputError):
    """The log is not what was appended to it."""


class ReviewLog:
    """The log at `path` (`verdicts.jsonl` in the data folder's `review/`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.head_path = path.with_suffix(".head.json")
        self.torn_path = path.with_suffix(".torn")

    def append(self, values: Mapping[str, Any]) -> Record:
        """Append a record and return it with its place in the chain; it is on the disk then.

        Raises:
            InputError: `values` are not JSON, too long, or name a field of the chain.
            TamperedLogError: the end of the log is not what the head says.
            StorageError: the disk is full; nothing was appended.
        """
        if set(values) & set(CHAIN_FIELDS):
            raise InputError(f"a review record cannot set {', '.join(CHAIN_FIELDS)}: the log does")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            head = self._recovered()
            try:
                record = chained(values, head)
            except (TypeError, ValueError) as error:
                raise InputError(f"a review record must be plain JSON values: {error}") from error
            line = canonical_json(record).encode() + b"\n"
            if len(line) > MAX_RECORD_BYTES:
                raise InputError(f"a review record may have {MAX_RECORD_BYTES} bytes, this one has {len(line)}")
            self._write(line, head)
            self._pin(Head(record["number"], record["sha256"], head.size_bytes + len(line)))
            return record

    def records(self) -> list[Record]:
        """Every whole record in order.

        Raises:
            TamperedLogError: the log does not verify; the message names the first record.
        """
        records, fault = self._examined(None)
        if fault is not None:
            raise TamperedLogError(
                f"{self.path.name}: {fault.text}. Restore the log and its head from a backup; do not edit them"
            )
        return records

    def head(self) -> Head:
        """Where the log ends, a whole record that the head file does not pin yet included; verified.

        Raises:
            TamperedLogError: as `records`.
        """
        records = self.records()
        size = sum(len(canonical_json(record)) + 1 for record in records)
        return Head(len(records), records[-1]["sha256"], size) if records else Head()

    def verify(self, pinned: Head | None = None) -> LogFault | None:
        """The first record that was changed, removed, inserted or moved; None where the log is whole.

        Args:
            pinned: a head that was kept elsewhere: the log must still hold it, and may have grown behind it
        """
        return self._examined(pinned)[1]

    def _examined(self, pinned: Head | None) -> tuple[list[Record], LogFault | None]:
        if not self.path.parent.exists():
            return examine(b"", None, pinned)
        with self._locked(shared=True):
            raw = self.path.read_bytes() if self.path.exists() else b""
            stored = self.head_path.read_bytes() if self.head_path.exists() else None
        head = read_head(stored) if stored is not None else None
        records, fault = examine(raw, head, pinned)
        if fault is None and head is None and (stored is not None or raw):
            fault = LogFault("head", 0, f"the head file {'was changed' if stored is not None else 'is missing'}")
        return records, fault

    def _recovered(self) -> Head:
        """The head after what a killed process left behind it was taken in or set aside; under the lock."""
        stored = self.head_path.read_bytes() if self.head_path.exists() else None
        size = self.path.stat().st_size if self.path.exists() else 0
        if stored is None:
            if size:
                raise TamperedLogError(f"{self.head_path.name} is missing beside a log of {size} bytes. Restore it")
            self._pin(Head())
            return Head()
        head = read_head(stored)
        if head is None:
            raise TamperedLogError(f"{self.head_path.name} was changed. Restore it from a backup")
        if size < head.size_bytes:
            raise TamperedLogError(
                f"{self.path.name} has {size} bytes, its head says {head.size_bytes}: records at its end were removed"
            )
        if head.records:
            self._hold_last(head)
        if size == head.size_bytes:
            return head
        with self.path.open("r+b") as file:
            file.seek(head.size_bytes)
            left = file.read()
            record = parse_line(left.removesuffix(b"\n"))
            if record is not None and follows(record, head):
                if not left.endswith(b"\n"):
                    file.write(b"\n")
                taken = Head(record["number"], record["sha256"], head.size_bytes + len(left.rstrip(b"\n")) + 1)
            elif b"\n" in left:
                raise TamperedLogError(f"{self.path.name} holds lines behind its head that no append wrote")
            else:
                with self.torn_path.open("ab") as torn:
                    torn.write(left + b"\n")
                    torn.flush()
                    os.fsync(torn.fileno())
                file.truncate(head.size_bytes)
                taken = head
            file.flush()
            os.fsync(file.fileno())
        self._pin(taken)
        return taken

    def _hold_last(self, head: Head) -> None:
        start = max(0, head.size_bytes - MAX_RECORD_BYTES)
        with self.path.open("rb") as file:
            file.seek(start)
            tail = file.read(head.size_bytes - start)
        last = parse_line(tail.removesuffix(b"\n").rpartition(b"\n")[2])
        if not tail.endswith(b"\n") or last is None or last["sha256"] != head.sha256:
            raise TamperedLogError(f"{self.path.name}: record {head.records} is not the one its head names")

    def _write(self, line: bytes, head: Head) -> None:
        try:
            with self.path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            with self.path.open("r+b") as file:
                file.truncate(head.size_bytes)
            if is_full_disk(error):
                raise StorageError(self.path) from error
            raise

    def _pin(self, head: Head) -> None:
        temporary = self.head_path.with_suffix(".tmp")  # one writer at a time: under the lock
        with temporary.open("wb") as file:
            file.write(head.line())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.head_path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def _locked(self, *, shared: bool = False) -> Iterator[None]:
        with self.path.with_suffix(".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            yield


def review_log(data_folder: Path) -> ReviewLog:
    """The project's review log."""
    return ReviewLog(data_folder / "review" / "verdicts.jsonl")
