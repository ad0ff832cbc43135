"""A prefix of a bucket as a folder to work in: what was pulled, what was changed here, and what elsewhere.

For each file `.pulled.json` holds the ETag it was pulled or pushed as, with size and time; a file that differs from
that was changed here. A push is conditional (If-Match, If-None-Match): where another machine was faster nothing is
overwritten, and the error names the file. What begins with a dot, locks and temporary files stay here.
"""

from __future__ import annotations

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autorisk_dagster.errors import InputError
from autorisk_dagster.storage import inside
from autorisk_dagster.storage.faults import is_conflict

if TYPE_CHECKING:
    from autorisk_dagster.storage.bucket import Bucket

RECORD: Final = ".pulled.json"
_STAYS: Final = (".lock", ".tmp")
# Written after what they speak of, and sent after it: a reader never sees them without.
_LAST: Final = (".head.json", "card.json", "promoted.json")


@dataclass(frozen=True)
class Pulled:
    """A file as it was when bucket and folder agreed."""

    etag: str
    size: int
    mtime_ns: int


class WorkedOn:
    """The folder at `folder` over the prefix of `bucket`."""

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self._bucket = bucket
        self._folder = folder

    def pull(self) -> Path:
        """Bring the folder up to date; what was changed here and not pushed stays."""
        with self._locked() as known:
            stored = {name: facts for name, facts in self._bucket.listed().items() if not _hidden(name)}
            for name in sorted(stored, key=_order):
                path, before = self._folder / inside(name), known.get(name)
                as_before = before is not None and before.etag == stored[name]["ETag"]
                if as_before and path.exists():
                    continue
                known[name] = self._agreed(name, path) if _changed(path, before) else self._fetched(name, path)
            for name in [name for name in known if name not in stored]:
                if not _changed(self._folder / name, known[name]):
                    (self._folder / name).unlink(missing_ok=True)
                del known[name]
        return self._folder

    def push(self) -> None:
        """Send what was changed here. Nothing is deleted in the bucket."""
        with self._locked() as known:
            files = {path.relative_to(self._folder).as_posix(): path for path in _files(self._folder)}
            for name in sorted(files, key=_order):
                before = known.get(name)
                if not _changed(files[name], before):
                    continue
                condition = {"IfMatch": before.etag} if before else {"IfNoneMatch": "*"}
                found = files[name].stat()  # before it is read: what is written meanwhile is changed again
                try:
                    etag = self._bucket.put(name, files[name], **condition)
                except OSError as error:
                    if not is_conflict(error):
                        raise
                    known[name] = self._agreed(name, files[name])
                else:
                    known[name] = Pulled(etag, found.st_size, found.st_mtime_ns)

    def _agreed(self, name: str, path: Path) -> Pulled:
        """A file that both changed, to the same: a push of before was killed, or its answer was lost.

        Raises:
            InputError: they are different.
        """
        theirs = self._bucket.read(name)
        if theirs is None or theirs != path.read_bytes():
            raise InputError(
                f"{self._bucket.url(name)} was changed by another machine, and here too ({path}). Only one machine may "
                "write it: move the one here away, and do again what is missing"
            )
        facts, found = self._bucket.facts(name), path.stat()
        return Pulled(facts["ETag"] if facts else "", found.st_size, found.st_mtime_ns)

    def _fetched(self, name: str, path: Path) -> Pulled:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            etag = self._bucket.fetch(name, temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        found = path.stat()
        return Pulled(etag, found.st_size, found.st_mtime_ns)

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Pulled]]:
        """What bucket and folder agreed on, for one process at a time; kept also when something fails."""
        self._folder.mkdir(parents=True, exist_ok=True)
        record = self._folder / RECORD
        with (self._folder / ".pulled.lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = record.read_text(encoding="utf-8") if record.exists() else "{}"
            known = {name: Pulled(**facts) for name, facts in json.loads(text).items()}
            try:
                yield known
            finally:
                temporary = record.with_suffix(".tmp")
                temporary.write_text(json.dumps({name: asdict(facts) for name, facts in known.items()}))
                temporary.replace(record)


def _changed(path: Path, before: Pulled | None) -> bool:
    """Whether a file holds what the bucket was not given."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return before is None or (found.st_size, found.st_mtime_ns) != (before.size, before.mtime_ns)


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/")) or name.endswith(_STAYS)


def _order(name: str) -> tuple[bool, str]:
    return name.endswith(_LAST), name


def _files(folder: Path) -> list[Path]:
    found = (Path(at, name) for at, _, names in os.walk(folder) for name in names)
    return [path for path in found if not _hidden(path.relative_to(folder).as_posix())]
