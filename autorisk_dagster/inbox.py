"""The inbox: a local folder that footage is copied into, and the file that remembers what was seen there.

A file's profile is the one its `<stem>.yaml` names (`profile: winter`), else the nearest folder in the inbox that is
called like a profile. Hidden files (an rsync under way is one) and files of other suffixes are passed over; links are
told and never followed: whoever may write into the inbox may not choose what else on this machine is read.

What was seen lies in SQLite: a change writes its rows and no others, and what must be done is written in the same
transaction, numbered. Whoever does it keeps the number of the last that was done: what a killed process left undone is
handed out again.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from autorisk_dagster.discovery import Action, Listed, Outcome, Reading, Registered, Seen
from autorisk_dagster.errors import InputError, VideoError
from autorisk_dagster.sources import VIDEO_SUFFIXES, SourceLedger, fingerprint

MAX_SIDECAR_BYTES = 65_536


@dataclass(frozen=True)
class Listing:
    """What lies in an inbox, by relative path.

    Attributes:
        unlisted: folders that could not be listed, "." for the inbox's own
        links: video files that are links
    """

    files: dict[str, Listed]
    unlisted: tuple[str, ...]
    links: tuple[str, ...]


def list_inbox(folder: Path) -> Listing:
    """Every video file under `folder`, with its size and times; none is opened.

    Raises:
        InputError: `folder` is none, or cannot be listed.
    """
    try:
        next(os.scandir(folder), None)
    except OSError as error:
        raise InputError(
            f"inbox {folder} cannot be listed ({error.strerror}); mount it, or correct AUTORISK_INBOX"
        ) from error
    found: dict[str, os.stat_result] = {}
    unlisted: list[str] = []
    links: list[str] = []
    waiting = [""]  # folders by relative path; plain strings, because a `Path` a file is most of a look at 100,000
    while waiting:
        at = waiting.pop()
        try:
            with os.scandir(folder / at) as entries:
                for entry in entries:
                    relative = f"{at}/{entry.name}" if at else entry.name
                    suffix = _suffix(entry.name)
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(relative)
                    elif suffix in VIDEO_SUFFIXES and entry.is_symlink():
                        links.append(relative)
                    elif suffix in VIDEO_SUFFIXES or suffix == ".yaml":
                        with suppress(FileNotFoundError):  # moved away while the folder was read
                            facts = entry.stat(follow_symlinks=False)
                            if stat.S_ISREG(facts.st_mode):
                                found[relative] = facts
        except OSError:
            unlisted.append(at or ".")
    files = {}
    for relative, facts in found.items():
        suffix = _suffix(relative)
        if suffix in VIDEO_SUFFIXES:
            beside = found.get(f"{relative[: -len(suffix)]}.yaml")
            mark = f"{beside.st_size}:{beside.st_mtime_ns}:{beside.st_ctime_ns}" if beside else ""
            files[relative] = Listed(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, mark)
    return Listing(files, tuple(unlisted), tuple(sorted(links)))


def read_file(folder: Path, relative: str, listed: Listed, row: Seen | None, profiles: Collection[str]) -> Reading:
    """The fingerprint and the profile of one file; content that `row` knows already is not read again."""
    path = folder / relative
    try:
        profile = _profile_of(path.with_suffix(".yaml") if listed.sidecar else None, relative, profiles)
        same = row is not None and (row.listed.size_bytes, row.listed.modified_ns) == (
            listed.size_bytes,
            listed.modified_ns,
        )
        if row is not None and same and row.fingerprint is not None:
            return Reading(row.fingerprint, profile)
        return Reading(fingerprint(path), profile)
    except VideoError as error:
        return Reading(problem=f"{error.cause}. {error.fix}")
    except InputError as error:
        return Reading(problem=str(error))


def _profile_of(sidecar: Path | None, relative: str, profiles: Collection[str]) -> str | None:
    if sidecar is None:
        return next((part for part in reversed(PurePosixPath(relative).parent.parts) if part in profiles), None)
    fix = "It must say no more than, for example: profile: winter"
    try:
        with sidecar.open("rb") as file:
            values: Any = yaml.safe_load(file.read(MAX_SIDECAR_BYTES))
    except OSError as error:
        raise InputError(f"{sidecar.name} cannot be read ({error.strerror})") from error
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


def registered_of(folder: Path, readings: Mapping[str, Reading], ledger: SourceLedger) -> list[Registered]:
    """Videos of the source ledger whose keys have the same digits as those in `readings`; paths in the inbox relative
    to it."""
    contents = [reading.fingerprint for reading in readings.values() if reading.fingerprint]
    return [
        Registered(
            record.video_id,
            _relative(Path(record.path), folder.resolve()),
            record.profile,
            Path(record.path).is_file(),
            record.fingerprint,
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


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f"{dot}{suffix.lower()}" if stem else ""


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
