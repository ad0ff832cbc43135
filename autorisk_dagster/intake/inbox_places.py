"""Where an inbox is: a folder of this machine, or a bucket; how its files are listed and read.

Hidden files (an rsync under way is one) and files of other suffixes are passed over. Links are told and never followed:
whoever may write into the inbox may not choose what else on this machine is read. Of an object in a bucket its first
and last mebibyte are read and no more; the whole is copied when a run needs it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from autorisk_dagster.errors import InputError
from autorisk_dagster.intake.discovery import Listed
from autorisk_dagster.intake.footage import fingerprint_at
from autorisk_dagster.intake.sources import VIDEO_SUFFIXES, fingerprint
from autorisk_dagster.paths import local_folder
from autorisk_dagster.storage import S3
from autorisk_dagster.storage.bucket import Bucket


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


class Inbox(Protocol):
    """A place that footage is copied into, by other programs and at any time."""

    def look(self) -> Listing:
        """Every video file in it, with its size and times; none is opened.

        Raises:
            InputError: it is none, or cannot be listed.
            BucketError: the bucket cannot be listed.
        """

    def fingerprint(self, relative: str) -> str:
        """`sources.fingerprint` of one file.

        Raises:
            VideoError: it cannot be read.
        """

    def head(self, relative: str, size_bytes: int) -> bytes:
        """The first bytes of a file, for a sidecar.

        Raises:
            InputError: it cannot be read.
        """

    def location(self, relative: str) -> str:
        """Absolute path or URL of a file, as the source ledger keeps it."""

    def relative(self, location: str) -> str:
        """The relative path of a location in it; of another location itself."""


def open_inbox(named: str) -> Inbox:
    """The inbox at a folder or `s3://bucket/prefix`."""
    if named.startswith(S3):
        return BucketInbox(Bucket(named, local_folder()))
    return FolderInbox(Path(named).resolve())


class FolderInbox:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def look(self) -> Listing:
        """Every video file under the folder."""
        try:
            next(os.scandir(self._folder), None)
        except OSError as error:
            raise InputError(
                f"inbox {self._folder} cannot be listed ({error.strerror}); mount it, or correct AUTORISK_INBOX"
            ) from error
        found: dict[str, os.stat_result] = {}
        unlisted: list[str] = []
        links: list[str] = []
        waiting = [""]  # folders by relative path; plain strings, because a `Path` a file is most of a look at 100,000
        while waiting:
            at = waiting.pop()
            try:
                with os.scandir(self._folder / at) as entries:
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

    def fingerprint(self, relative: str) -> str:
        """Of one file."""
        return fingerprint(self._folder / relative)

    def head(self, relative: str, size_bytes: int) -> bytes:
        """The first bytes of a file."""
        try:
            with (self._folder / relative).open("rb") as file:
                return file.read(size_bytes)
        except OSError as error:
            raise InputError(f"{PurePosixPath(relative).name} cannot be read ({error.strerror})") from error

    def location(self, relative: str) -> str:
        """Absolute path of a file."""
        return str(self._folder / relative)

    def relative(self, location: str) -> str:
        """The relative path of a location in it."""
        path = Path(location)
        return path.relative_to(self._folder).as_posix() if path.is_relative_to(self._folder) else location


class BucketInbox:
    """A prefix of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def look(self) -> Listing:
        """Every video object under the prefix: a thousand a request."""
        found = {
            name: facts
            for name, facts in self._bucket.listed().items()
            if not any(part.startswith(".") for part in name.split("/"))
        }
        files = {}
        for name, facts in found.items():
            suffix = _suffix(name)
            if suffix in VIDEO_SUFFIXES:
                beside = found.get(f"{name[: -len(suffix)]}.yaml")
                # S3 keeps whole seconds: the ETag in the fraction tells two contents of one second apart.
                fraction = int(hashlib.sha256(facts["ETag"].encode()).hexdigest(), 16) % 10**9
                at = int(facts["LastModified"].timestamp()) * 10**9 + fraction
                files[name] = Listed(facts["size"], at, at, f"{beside['size']}:{beside['ETag']}" if beside else "")
        return Listing(files, (), ())

    def fingerprint(self, relative: str) -> str:
        """Of one object, by ranges."""
        return fingerprint_at(self._bucket.url(relative))

    def head(self, relative: str, size_bytes: int) -> bytes:
        """The first bytes of an object."""
        try:
            return self._bucket.read_range(relative, 0, size_bytes)
        except FileNotFoundError as error:
            raise InputError(f"{PurePosixPath(relative).name} cannot be read (it is gone)") from error

    def location(self, relative: str) -> str:
        """URL of an object."""
        return self._bucket.url(relative)

    def relative(self, location: str) -> str:
        """The relative path of a URL in it."""
        return location.removeprefix(f"{self._bucket.root}/")


def _suffix(name: str) -> str:
    """`PurePath(name).suffix` in small letters, for the hundred thousand names of a look."""
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and stem and not stem.endswith("/") else ""
