"""Label sets: a label file is open until it is frozen; from then on it judges, and must not change.

Freezing appends the file's hash, the time and the hash of every labelled clip's file to the review log, so that a
freezing cannot be dated back, and writes the same beside `<name>.csv` as `<name>.json`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from autorisk_dagster.errors import InputError
from autorisk_dagster.review.label_file import parse_labels, write_whole
from autorisk_dagster.review.log import ReviewLog

KIND: Final = "freezing"
SET_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")


@dataclass(frozen=True)
class Freezing:
    """A label set's freezing.

    Attributes:
        file_sha256: of the label file
        frozen_at: ISO 8601, UTC
        clips: SHA-256 of each labelled clip's file at that time, by `clip_id`
    """

    label_set: str
    file_sha256: str
    frozen_at: str
    clips: dict[str, str]

    @property
    def time(self) -> datetime:
        """When it was frozen."""
        return datetime.fromisoformat(self.frozen_at)


@dataclass(frozen=True)
class LabelSet:
    """A label file; `freezing` is None while it is open. `table` has the columns of LABELS."""

    name: str
    sha256: str
    table: pl.DataFrame
    freezing: Freezing | None


def set_name(path: Path) -> str:
    """The name of the label set in a file: its stem.

    Raises:
        InputError: it is not small letters, digits, dots, hyphens and underscores.
    """
    if not SET_NAME.fullmatch(path.stem):
        raise InputError(f"{path.name}: a label set is called by small letters, digits, '.', '-' and '_'. Rename it")
    return path.stem


def sidecar(path: Path) -> Path:
    """Where the freezing of a label file is written."""
    return path.with_suffix(".json")


def read_set(path: Path) -> LabelSet:
    """A label file and its freezing.

    Raises:
        InputError: the file is no label file; or it was changed after it was frozen; or the sidecar is none.
    """
    name = set_name(path)
    content = _content(path)
    sha256 = hashlib.sha256(content).hexdigest()
    freezing = _read_sidecar(path) if sidecar(path).exists() else None
    if freezing is not None and freezing.file_sha256 != sha256:
        raise InputError(
            f"{path.name}: was changed after it was frozen on {freezing.time:%Y-%m-%d %H:%M} UTC. Restore it, "
            "or keep what is new in a label set of another name"
        )
    return LabelSet(name, sha256, parse_labels(content, path.name), freezing)


def freezings(records: Iterable[Mapping[str, Any]]) -> dict[str, Freezing]:
    """The freezing of each label set by a review log's records, by name; a set is frozen once."""
    names = Freezing.__dataclass_fields__
    found: dict[str, Freezing] = {}
    for record in records:
        if record.get("kind") == KIND:
            found.setdefault(record["label_set"], Freezing(**{name: record[name] for name in names}))
    return found


def freeze(path: Path, clips: Mapping[str, str], log: ReviewLog, now: datetime) -> Freezing:
    """Freeze the label file at `path` as it is; the file is made read-only.

    A freezing that was killed between the log and the sidecar is finished by calling this again, at its first time.

    Args:
        clips: SHA-256 of the file of every clip there is, by `clip_id`
        now: aware

    Raises:
        InputError: the set is frozen already, holds no label, or labels a clip that does not exist or is another file.
    """
    name = set_name(path)
    content = _content(path)
    sha256 = hashlib.sha256(content).hexdigest()
    known = freezings(log.records()).get(name)
    if known is not None and (sidecar(path).exists() or known.file_sha256 != sha256):
        raise InputError(
            f"label set {name} is frozen since {known.time:%Y-%m-%d %H:%M} UTC. Keep what is new in a label set of "
            "another name"
        )
    if known is None:
        table = parse_labels(content, path.name)
        _hold_clips(table, clips, path.name)
        time = now.astimezone(UTC).isoformat(timespec="microseconds")
        known = Freezing(name, sha256, time, {clip_id: clips[clip_id] for clip_id in table["clip_id"]})
        log.append({"kind": KIND, **asdict(known)})
    path.chmod(0o444)
    write_whole(sidecar(path), json.dumps(asdict(known), indent=1).encode() + b"\n")
    return known


def _hold_clips(table: pl.DataFrame, clips: Mapping[str, str], file: str) -> None:
    if table.is_empty():
        raise InputError(f"{file}: holds no label. Label clips first")
    for row in table.iter_rows(named=True):
        known = clips.get(row["clip_id"])
        if known is None:
            raise InputError(
                f"{file}, line {row['line']}: no clip is called {row['clip_id']}. Mine its video first, or correct "
                "the name"
            )
        if row["clip_sha256"] not in (None, known):
            raise InputError(
                f"{file}, line {row['line']}: the clip {row['clip_id']} was cut anew since it was watched. Label it "
                "again"
            )


def _read_sidecar(path: Path) -> Freezing:
    try:
        found = Freezing(**json.loads(sidecar(path).read_bytes()))
        if found.label_set != path.stem or found.time.tzinfo is None:
            raise ValueError("another set, or a time without its offset")
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{sidecar(path).name}: is no freezing of {path.name} ({error}). Restore it") from error
    return found


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}). Check the path") from error
