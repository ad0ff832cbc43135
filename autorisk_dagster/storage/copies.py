"""Copies of a bucket's files on this disk: each with the version (ETag) it is a copy of, within a limit of bytes.

Several processes of one machine share a folder of copies. Beside the copies lies `.versions/` with one small file each,
which is also the lock under which a copy is replaced; its time is when the copy was last asked for. Where the limit is
passed the longest unused go first. What was asked for within the last minutes stays, and so does what a process holds:
footage that is read for hours. So the limit can be passed by what is in use.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

VERSIONS: Final = ".versions"
IN_USE_SEC: Final = 600.0  # a path that was handed out is opened within that
_ROOM: Final = 0.8  # of the limit, that is left filled when something had to go


class Copies:
    """The copies in `folder`, of `limit_bytes` in all."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._size_bytes: int | None = None  # as far as this process knows; None: not counted yet

    def path(self, name: str) -> Path:
        """Where the copy of `name` lies, if there is one."""
        return self._folder / name

    def temporary(self, name: str) -> Path:
        """A path beside the copy, with the same suffix; its folder is there."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{uuid.uuid4().hex}.tmp{path.suffix}")

    def current(self, name: str, version: str) -> bool:
        """Whether the copy is there and of `version`, and nobody changed it; it counts as used then."""
        record = self._record(name)
        try:
            facts = json.loads(record.read_bytes())
            found = self.path(name).stat()
            if facts != _facts(version, found):
                return False
            os.utime(record)
        except (OSError, ValueError):
            return False
        return True

    def take(self, name: str, make: Callable[[Path], str]) -> Path:
        """Make the copy anew.

        Args:
            make: writes the file at the path it is given and returns its version
        """
        temporary = self.temporary(name)
        try:
            return self.adopt(name, temporary, make(temporary))
        finally:
            temporary.unlink(missing_ok=True)

    def adopt(self, name: str, temporary: Path, version: str) -> Path:
        """Make a finished file at `temporary` the copy of `version`."""
        size = temporary.stat().st_size
        path = self.path(name)
        with self._locked(name) as record:
            temporary.replace(path)
            record.write_text(json.dumps(_facts(version, path.stat())), encoding="utf-8")
        if self._size_bytes is not None:
            self._size_bytes += size
        self._keep_to_the_limit()
        return path

    def drop(self, name: str) -> None:
        """Delete a copy; no error where there is none."""
        if self._record(name).exists():
            with self._locked(name) as record:
                self.path(name).unlink(missing_ok=True)
                record.unlink(missing_ok=True)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Keep a copy from being deleted to make room, by any process, until the block ends."""
        hold = self._hold(name)
        hold.parent.mkdir(parents=True, exist_ok=True)
        with hold.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    def _record(self, name: str) -> Path:
        return self._folder / VERSIONS / f"{name}.json"

    def _hold(self, name: str) -> Path:
        return self._folder / VERSIONS / f"{name}.hold"

    @contextmanager
    def _locked(self, name: str) -> Iterator[Path]:
        record = self._record(name)
        record.parent.mkdir(parents=True, exist_ok=True)
        with record.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield record

    def _keep_to_the_limit(self) -> None:
        if self._size_bytes is not None and self._size_bytes <= self._limit_bytes:
            return
        by_age = sorted(self._used(), reverse=True)
        size = sum(bytes_ for _, bytes_, _ in by_age)
        if size > self._limit_bytes:
            now = time.time()
            while by_age and size > self._limit_bytes * _ROOM:
                used_at, bytes_, name = by_age.pop()
                if now - used_at < IN_USE_SEC:
                    break
                size -= bytes_ if self._gone(name, used_at) else 0
        self._size_bytes = size

    def _used(self) -> Iterator[tuple[float, int, str]]:
        """When each copy was last asked for, its size and name."""
        versions = self._folder / VERSIONS
        for at, _, names in os.walk(versions):
            for record in (Path(at, name) for name in names if name.endswith(".json")):
                name = record.relative_to(versions).as_posix().removesuffix(".json")
                try:
                    yield record.stat().st_mtime, self.path(name).stat().st_size, name
                except FileNotFoundError:
                    continue

    def _gone(self, name: str, used_at: float) -> bool:
        """Delete a copy unless a process holds it or has just asked for it."""
        with ExitStack() as stack:
            try:
                for path in (self._hold(name), self._record(name)):
                    if path.exists():
                        file = stack.enter_context(path.open("ab"))
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._record(name).stat().st_mtime != used_at:
                    return False
            except OSError:
                return False
            self.path(name).unlink(missing_ok=True)
            self._hold(name).unlink(missing_ok=True)
            self._record(name).unlink(missing_ok=True)
        return True


def _facts(version: str, found: os.stat_result) -> dict[str, str | int]:
    return {"version": version, "size": found.st_size, "mtime_ns": found.st_mtime_ns}
