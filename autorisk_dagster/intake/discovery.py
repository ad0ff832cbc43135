"""What a look into the inbox means: from what lies there and what was seen before, to what must be read, and what is
new, moved, doubled or gone. Pure functions; `inbox.py` looks and reads, the sensor acts.

A file is read once, when it has settled; after that its size and time of change stand for its content. A video has at
most one source, the file that the source ledger names; every other file of the same content is a duplicate. So all of
new, moved and missing follow from one rule (`_reconcile`): a video without a source gets one of its files as source,
and is missing where it has none.

Not covered: a copy that stalls for longer than `SETTLED_SEC` is taken for whole; when it goes on it is other content,
and the half one is marked as missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal

from autorisk_dagster.intake.sources import digits_of, video_key

SETTLED_SEC = 60.0  # twice the sensor's interval; chosen here
MAX_READS = 100  # files a look; two mebibytes each, read well within the 60 s that Dagster gives a tick


@dataclass(frozen=True)
class Listed:
    """A file as the folder shows it, without opening it.

    Attributes:
        changed_ns: inode change time: a file that was made readable changes by this alone
        sidecar: size and times of its `<stem>.yaml`; "": there is none
    """

    size_bytes: int
    modified_ns: int
    changed_ns: int
    sidecar: str = ""


@dataclass(frozen=True)
class Seen:
    """What is known of one path.

    Attributes:
        listed: as it was last listed
        since_sec: when it was first listed so; seconds since 1970
        video_id: of its content; None: not read yet, or not readable
        fingerprint: of its content; None: as above, or read when it was not kept yet
        profile: what its folder or sidecar asks for; None: neither does
        is_source: the source ledger names this file
        problem: why it could not be read, or its sidecar; told once, tried again when it changes
        missing_since_sec: it was gone then
    """

    listed: Listed
    since_sec: float
    video_id: str | None = None
    profile: str | None = None
    is_source: bool = False
    problem: str | None = None
    missing_since_sec: float | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Reading:
    """What opening a file gave: the fingerprint of its content and the profile it asks for, or `problem`."""

    fingerprint: str | None = None
    profile: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Registered:
    """A video that the source ledger knows, and whether its file is there; `fingerprint`: "" where it was not kept."""

    video_id: str
    path: str
    profile: str
    is_there: bool
    fingerprint: str


@dataclass(frozen=True)
class Action:
    """What must be done for one video; doing it twice does nothing more than once.

    Attributes:
        kind: new: register, add the partition, run; moved: the source lies at `path` now, or under another profile;
            missing: no file of it is left
        run: whether its assets must be made
        fingerprint: of the file at `path`; "": there is none
    """

    kind: Literal["new", "moved", "missing"]
    video_id: str
    path: str
    profile: str | None
    run: bool
    fingerprint: str = ""


@dataclass(frozen=True)
class Outcome:
    """All paths as they are known now, what to do, and what to tell an operator (each once)."""

    seen: dict[str, Seen]
    actions: tuple[Action, ...]
    notes: tuple[str, ...]


def files_to_read(
    listed: Mapping[str, Listed], seen: Mapping[str, Seen], now_sec: float, limit: int = MAX_READS
) -> tuple[list[str], list[str]]:
    """Paths to read now, at most `limit`, and those still to be read later (not settled, or beyond the limit)."""
    unread = [path for path in sorted(listed) if not _is_read(listed[path], seen.get(path))]
    settled = [path for path in unread if _is_settled(listed[path], seen.get(path), now_sec)]
    now = settled[:limit]
    return now, sorted(set(unread) - set(now))


def decide(
    listed: Mapping[str, Listed],
    seen: Mapping[str, Seen],
    readings: Mapping[str, Reading],
    registered: Iterable[Registered],
    now_sec: float,
    unlisted_folders: Iterable[str] = (),
) -> Outcome:
    """What one look means.

    Args:
        listed: files in the inbox by relative path
        seen: what was known before
        readings: of the files that `files_to_read` asked for
        registered: of the videos in `readings`, and of others whose keys have the same digits, those that the source
            ledger knows
        unlisted_folders: relative paths of folders that could not be listed: their files are not known to be gone
    """
    ledger = {record.video_id: record for record in registered}
    after, notes = _with_readings(listed, seen, readings, ledger, now_sec)
    gone = _vanished(listed, after, tuple(unlisted_folders))
    for path in gone:
        row = after.pop(path)
        if row.video_id is not None:
            after[path] = replace(row, missing_since_sec=now_sec, is_source=False)
    changed = {row.video_id for path, row in after.items() if row != seen.get(path)}
    changed |= {seen[path].video_id for path in seen if path in after and after[path] != seen[path]}
    touched = {video_id for video_id in changed if video_id is not None}
    holders: dict[str, list[str]] = {}
    for path in sorted(after):
        holder = after[path].video_id or ""
        if holder in touched and after[path].missing_since_sec is None:
            holders.setdefault(holder, []).append(path)
    before = {row.video_id: path for path, row in seen.items() if row.is_source and row.video_id in touched}
    known: dict[str | None, str | None] = {}  # asked of each new video: a look through all that was seen would be long
    for row in seen.values():
        known.setdefault(row.video_id, row.profile)
    actions = []
    for video_id in sorted(touched):
        record = ledger.get(video_id)
        action, told = _reconcile(video_id, holders.get(video_id, []), before.get(video_id), seen, after, record, known)
        notes += told
        actions += [action] if action else []
    return Outcome(after, tuple(actions), tuple(notes))


def _is_read(listed: Listed, row: Seen | None) -> bool:
    if row is None or not _same_content(listed, row.listed) or listed.sidecar != row.listed.sidecar:
        return False
    if row.problem is not None:
        return listed.changed_ns == row.listed.changed_ns
    return row.fingerprint is not None


def _is_settled(listed: Listed, row: Seen | None, now_sec: float) -> bool:
    """Watched without a change, or last changed, `SETTLED_SEC` ago; a clock in the future proves nothing."""
    if listed.size_bytes == 0:
        return False
    watched = row is not None and _same_content(listed, row.listed) and now_sec - row.since_sec >= SETTLED_SEC
    return watched or now_sec - listed.modified_ns / 1e9 >= SETTLED_SEC


def _same_content(one: Listed, other: Listed) -> bool:
    return (one.size_bytes, one.modified_ns) == (other.size_bytes, other.modified_ns)


def _with_readings(
    listed: Mapping[str, Listed],
    seen: Mapping[str, Seen],
    readings: Mapping[str, Reading],
    ledger: Mapping[str, Registered],
    now_sec: float,
) -> tuple[dict[str, Seen], list[str]]:
    """All rows after this look, and what could not be read."""
    names = {row.fingerprint: row.video_id for row in seen.values() if row.fingerprint and row.video_id}
    names |= {record.fingerprint: record.video_id for record in ledger.values() if record.fingerprint}
    # Of an old record whose footage is gone, the digits are all there is to know it by.
    digits = {digits_of(record.video_id): record.video_id for record in ledger.values() if not record.fingerprint}
    taken = {row.video_id for row in seen.values() if row.video_id} | set(ledger)
    after, notes = dict(seen), []
    for path in sorted(listed):
        row, now = seen.get(path), listed[path]
        reading = readings.get(path)
        if row is None or not _same_content(now, row.listed):
            after[path] = row = Seen(now, now_sec)
        if reading is None:
            # The sidecar is taken over when it is read, the time of the inode when a problem is tried again.
            if row.missing_since_sec is not None:
                after[path] = replace(row, missing_since_sec=None)
            continue
        content, problem = reading.fingerprint, reading.problem
        if content is None:
            # A video that was read keeps its name while its sidecar is being mended.
            video_id, content = row.video_id, row.fingerprint
            notes.append(f"{path}: {problem}")
        else:
            video_id = names.get(content) or digits.get(content[:8])
            video_id = video_id or video_key(PurePosixPath(path).stem, content, taken)
            names[content] = video_id
            taken.add(video_id)
        after[path] = replace(
            row,
            listed=now,
            video_id=video_id,
            profile=row.profile if problem else reading.profile,
            problem=problem,
            missing_since_sec=None,
            fingerprint=content,
        )
    return after, notes


def _vanished(listed: Mapping[str, Listed], after: Mapping[str, Seen], unlisted: tuple[str, ...]) -> list[str]:
    """Paths that are gone. One whose size an unread file has is left as it is: it may have been renamed to that."""
    unread = {
        now.size_bytes for path, now in listed.items() if after[path].video_id is None and after[path].problem is None
    }
    return [
        path
        for path, row in after.items()
        if path not in listed
        and row.missing_since_sec is None
        and row.listed.size_bytes not in unread
        and not any(folder == "." or path.startswith(f"{folder}/") for folder in unlisted)
    ]


def _reconcile(
    video_id: str,
    holders: list[str],
    before: str | None,
    seen: Mapping[str, Seen],
    after: dict[str, Seen],
    record: Registered | None,
    known: Mapping[str | None, str | None],
) -> tuple[Action | None, list[str]]:
    """Give a video its source; marks it in `after`."""
    if before is not None and before in holders:
        source, action = before, None
        old, new = seen[before].profile, after[before].profile
        if new is not None and new != (old or "default"):
            action = Action("moved", video_id, source, new, run=True, fingerprint=after[source].fingerprint or "")
    elif not holders:
        return (Action("missing", video_id, before, None, run=False) if before else None), []
    elif record is not None and record.is_there and record.path not in holders:
        source, action = record.path, None  # it was registered from elsewhere, and is still there
    else:
        source = holders[0]
        wanted = after[source].profile
        new_one = video_id not in known and record is None
        old = record.profile if record else known.get(video_id)
        run = new_one or (wanted is not None and wanted != (old or "default"))
        kind: Literal["new", "moved"] = "new" if new_one else "moved"
        action = Action(kind, video_id, source, wanted, run, after[source].fingerprint or "")
    notes = []
    for path in holders:
        after[path] = replace(after[path], is_source=path == source)
        if path != source and (path not in seen or seen[path].video_id != video_id):
            notes.append(f"{path}: the same content as {source}, nothing to do")
    return action, notes
