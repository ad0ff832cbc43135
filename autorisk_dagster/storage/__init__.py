"""Where data lies: a folder of this machine, or a bucket of object storage that every worker reaches.

`AUTORISK_DATA` names it: a path, or `s3://bucket/prefix`. Everything that is shared (tables, media, kept answers,
adapters, the records of source videos, labels and verdicts) is read and written through a `Storage`, by paths relative
to its root. Libraries that need a file on this disk get one: of a folder the file itself, of a bucket a local copy,
which is fetched where it is missing or another worker has written a newer one.

A file is there whole or not at all: in a folder it is written to a temporary name and renamed, to a bucket it is sent
with one PUT, which S3 makes visible when all of it has arrived.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Protocol

from autorisk_dagster.errors import InputError
from autorisk_dagster.paths import data_root, local_folder

S3 = "s3://"


class Storage(Protocol):
    """Files under one root, addressed by relative POSIX path.

    Every method raises `InputError` for a path that is absolute or leaves the root, `StorageError` where the disk is
    full, and `BucketError` where the object storage refuses or does not answer.
    """

    @property
    def root(self) -> str:
        """The folder or URL, as a person would write it; it holds no secret."""

    def at(self, folder: str) -> Storage:
        """The storage of a folder in it."""

    def url(self, relative: str) -> str:
        """Path or URL of a file, for messages, metadata and other programs."""

    def exists(self, relative: str) -> bool:
        """Whether there is such a file."""

    def names(self, folder: str = "") -> list[str]:
        """Names of the files directly in a folder, sorted; hidden ones too."""

    def versions(self, folder: str = "") -> dict[str, str]:
        """By name, what is another text when a file directly in a folder is written anew."""

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Bytes of all files under a folder by relative path, sorted; links are not followed."""

    def read(self, relative: str) -> bytes | None:
        """A small file's content; None where there is none."""

    def read_all(self, relative: Iterable[str]) -> dict[str, bytes]:
        """The contents of those of the small files that are there; of a bucket many at a time."""

    def write(self, relative: str, content: bytes, *, durable: bool = False) -> None:
        """Write a small file; `durable`: it outlives a power cut when this returns."""

    def path(self, relative: str) -> Path:
        """A file on this disk with the content that is stored now; it does not exist where nothing is stored."""

    def writing(self, relative: str) -> AbstractContextManager[Path]:
        """A temporary path on this disk, stored as `relative` on success and removed on any failure."""

    def remove(self, relative: str) -> None:
        """Delete a file; no error where there is none."""

    def pull(self, *folders: str) -> Path:
        """The root as a folder on this disk, in which `folders` (none: all) are as they are stored now: for what works
        on whole folders (labels, review log, adapters, recordings). Changes must be given back with `push`; those that
        were not yet are kept.

        Raises:
            InputError: a file was changed here and by another machine since the last pull.
        """

    def push(self, *folders: str) -> None:
        """Store what was changed in `folders` (none: all) where `pull` put them.

        Raises:
            InputError: another machine has changed one of the files since the last pull; nothing of it is overwritten.
        """


def open_storage(root: str) -> Storage:
    """The storage at a folder or URL; nothing is opened or asked yet.

    Raises:
        InputError: the URL is of another kind, or holds a name and password.
    """
    if "://" not in root:
        from autorisk_dagster.storage.folder import Folder

        return Folder(Path(root))
    if not root.startswith(S3):
        raise InputError(f"{root.partition('://')[0]}:// is no storage this project knows; give a folder or {S3}...")
    if "@" in root.removeprefix(S3).partition("/")[0]:
        raise InputError(f"a {S3} address holds no name or password; credentials come from the environment")
    from autorisk_dagster.storage.bucket import Bucket

    return Bucket(root, local_folder())


def data_storage() -> Storage:
    """The storage that `AUTORISK_DATA` names."""
    return open_storage(data_root())


def inside(relative: str) -> PurePosixPath:
    """A relative path that stays under its root.

    Raises:
        InputError: it is empty, absolute or leaves it.
    """
    pure = PurePosixPath(relative)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or "\0" in relative:
        raise InputError(f"path {relative!r} leaves the storage")
    return pure
