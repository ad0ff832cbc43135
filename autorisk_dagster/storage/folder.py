"""A folder of this machine as storage: the files themselves, without a copy in between."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autorisk_dagster.errors import StorageError, is_full_disk
from autorisk_dagster.storage import inside


class Folder:
    """Files under `folder`, which is made when something is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def root(self) -> str:
        """The folder."""
        return str(self._folder)

    def at(self, folder: str) -> Folder:
        """The storage of a folder in it."""
        return Folder(self._folder / inside(folder))

    def url(self, relative: str) -> str:
        """The file's path."""
        return str(self.path(relative))

    def exists(self, relative: str) -> bool:
        """Whether there is such a file."""
        return self.path(relative).is_file()

    def names(self, folder: str = "") -> list[str]:
        """Names of the files directly in a folder, sorted."""
        try:
            with os.scandir(self._at(folder)) as entries:
                return sorted(entry.name for entry in entries if entry.is_file())
        except FileNotFoundError:
            return []

    def versions(self, folder: str = "") -> dict[str, str]:
        """By name, time and inode of the files directly in a folder: one that is written anew is another inode."""
        found = ((name, self._at(folder).joinpath(name).stat()) for name in self.names(folder))
        return {name: f"{facts.st_mtime_ns} {facts.st_ino}" for name, facts in found}

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Bytes of all files under a folder by relative path, sorted; links are not followed."""
        found = sorted(Path(at, name) for at, _, names in os.walk(self._at(folder)) for name in names)
        return {
            path.relative_to(self._folder).as_posix(): path.stat().st_size for path in found if not path.is_symlink()
        }

    def read(self, relative: str) -> bytes | None:
        """A file's content; None where there is none."""
        try:
            return self.path(relative).read_bytes()
        except FileNotFoundError:
            return None

    def read_all(self, relative: Iterable[str]) -> dict[str, bytes]:
        """The contents of those files that are there."""
        return {name: content for name in relative if (content := self.read(name)) is not None}

    def write(self, relative: str, content: bytes, *, durable: bool = False) -> None:
        """Write a small file; `durable`: it outlives a power cut when this returns."""
        with self.writing(relative) as temporary, temporary.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())

    def path(self, relative: str) -> Path:
        """The file."""
        return self._folder / inside(relative)

    @contextmanager
    def writing(self, relative: str) -> Iterator[Path]:
        """A temporary path beside the target; renamed on success, removed on any failure."""
        target = self.path(relative)
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp{target.suffix}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.replace(target)
        except OSError as error:
            if is_full_disk(error):
                raise StorageError(target) from error
            raise
        finally:
            temporary.unlink(missing_ok=True)

    def remove(self, relative: str) -> None:
        """Delete a file; no error where there is none."""
        self.path(relative).unlink(missing_ok=True)

    def pull(self, *folders: str) -> Path:  # noqa: ARG002 - they lie in it
        """The folder itself."""
        return self._folder

    def push(self, *folders: str) -> None:
        """Nothing: what is changed in the folder is changed."""

    def _at(self, folder: str) -> Path:
        return self._folder / inside(folder) if folder else self._folder
