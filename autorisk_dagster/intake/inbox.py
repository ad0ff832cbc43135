"""The inbox: what its files say, and the file that remembers what was seen there.

A file's profile is the one its `<stem>.yaml` names (`profile: winter`), else the nearest folder in the inbox that is
called like a profile.

What was seen lies in SQLite: a change writes its rows and no others, and what must be done is written in the same
transaction, numbered. Whoever does it keeps the number of the last that was done: what a killed process left undone is
handed out again.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from autorisk_dagster.errors import InputError, VideoError
from autorisk_dagster.intake.discovery import Action, Listed, Outcome, Reading, Registered, Seen
from autorisk_dagster.intake.footage import is_there
from autorisk_dagster.intake.inbox_places import Inbox
from autorisk_dagster.intake.sources import SourceLedger

MAX_SIDECAR_BYTES = 65_536


def read_file(inbox: Inbox, relative: str, listed: Listed, row: Seen | None, profiles: Collection[str]) -> Reading:
    """The fingerprint and the profile of one file; content that `row` knows already is not read again."""
    try:
        profile = _profile_of(inbox, relative, listed.sidecar, profiles)
        same = row is not None and (row.listed.size_bytes, row.listed.modified_ns) == (
            listed.size_bytes,
            listed.modified_ns,
        )
        if row is not None and same and row.fingerprint is not None:
            return Reading(row.fingerprint, profile)
        return Reading(inbox.fingerprint(relative), profile)
    except VideoError as error:
        return Reading(problem=f"{error.cause}. {error.fix}")
    except InputError as error:
        return Reading(problem=str(error))


def _profile_of(inbox: Inbox, relative: str, has_sidecar: str, profiles: Collection[str]) -> str | None:
    pure = PurePosixPath(relative)
    if not has_sidecar:
        return next((part for part in reversed(pure.parent.parts) if part in profiles), None)
    sidecar = pure.with_suffix(".yaml")
    fix = "It must say no more than, for example: profile: winter"
    try:
        values: Any = yaml.safe_load(inbox.head(str(sidecar), MAX_SIDECAR_BYTES))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{sidecar.name} is not YAML. {fix}") from error
    if not isinstance(values, dict) or set(values) != {"profile"} or not isinstance(values["profile"], str):
        raise InputError(f"{sidecar.name} does not name a profile alone. {fix}")
    name: str = values["profile"]
    if name not in profiles:
        known = ", ".join(sorted(profiles))
        raise InputError(
            f"{sidecar.name} names profile {name[:60]!r}; known: {known}. Correct it, or add it and touch it"
        )
    return name


def registered_of(inbox: Inbox, readings: Mapping[str, Reading], ledger: SourceLedger) -> list[Registered]:
    """Videos of the source ledger whose keys have the same digits as those in `readings`; paths in the inbox relative
    to it."""
    contents = [reading.fingerprint for reading in readings.values() if reading.fingerprint]
    return [
        Registered(
            record.video_id, inbox.relative(record.path), record.profile, is_there(record.path), record.fingerprint
        )
        for record in (ledger.alike(contents) if contents else ())
    ]


class InboxLedger:
    """What was seen in the inbox, in the SQLite file at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def seen(self) -> dict[str, Seen]:
        """Every path that is known."""
        with self._open() as database:
            rows = database.execute("SELECT path, facts FROM seen").fetchall()
        return {path: _seen(json.loads(facts)) for path, facts in rows}

    def keep(self, before: Mapping[str, Seen], outcome: Outcome) -> None:
        """Write what changed, and what must be done for it: both or neither."""
        changed = [(path, json.dumps(asdict(row))) for path, row in outcome.seen.items() if row != before.get(path)]
        dropped = [(path,) for path in before if path not in outcome.seen]
        actions = [(json.dumps(asdict(action)),) for action in outcome.actions]
        if changed or dropped or actions:
            with self._open() as database, database:
                database.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", changed)
                database.executemany("DELETE FROM seen WHERE path = ?", dropped)
                database.executemany("INSERT INTO action (facts) VALUES (?)", actions)

    def actions_after(self, number: int, limit: int) -> list[tuple[int, Action]]:
        """The next things to do behind `number`, in order."""
        with self._open() as database:
            rows = database.execute(
                "SELECT number, facts FROM action WHERE number > ? ORDER BY number LIMIT ?", (number, limit)
            ).fetchall()
        return [(at, Action(**json.loads(facts))) for at, facts in rows]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, timeout=30)) as database:
            database.execute("CREATE TABLE IF NOT EXISTS seen (path TEXT PRIMARY KEY, facts TEXT NOT NULL)")
            database.execute(
                "CREATE TABLE IF NOT EXISTS action (number INTEGER PRIMARY KEY AUTOINCREMENT, facts TEXT NOT NULL)"
            )
            yield database


def _seen(facts: dict[str, Any]) -> Seen:
    return Seen(**{**facts, "listed": Listed(**facts["listed"])})
