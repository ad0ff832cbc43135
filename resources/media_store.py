"""Where media lies: a folder for clips, pictures and reports, and the ledger of source videos."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import dagster as dg

from autorisk_dagster.errors import InputError, StorageError, VideoError, is_full_disk
from autorisk_dagster.sources import SourceLedger, fingerprint


class MediaStore(dg.ConfigurableResource["MediaStore"]):
    """Files under `root`, addressed by relative path; a file is there whole or not at all."""

    root: str

    @property
    def ledger(self) -> SourceLedger:
        """The registered videos."""
        return SourceLedger(Path(self.root) / "sources")

    def source(self, video_id: str) -> Path:
        """The footage of a registered video.

        Raises:
            VideoError: it is no longer where it was, or another file lies there now: nothing may be made of footage
                under the name and hash of other footage.
        """
        record = self.ledger.get(video_id)
        path = Path(record.path)
        if not record.is_of(fingerprint(path)):
            raise VideoError(
                path, f"is no longer the file registered as {video_id}", "Register it: autorisk ingest PATH."
            )
        return path

    def path(self, relative: str) -> Path:
        """The file behind a table row's relative path.

        Raises:
            InputError: the path is absolute or leaves the store.
        """
        pure = PurePosixPath(relative)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise InputError(f"media path {relative!r} leaves the media store")
        return Path(self.root).joinpath("media", *pure.parts)

    @contextmanager
    def writing(self, relative: str) -> Iterator[Path]:
        """A temporary path beside the target; renamed on success, removed on any failure."""
        target = self.path(relative)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{uuid.uuid4().hex}.tmp{target.suffix}")
        try:
            yield temporary
            temporary.replace(target)
        except OSError as error:
            if is_full_disk(error):
                raise StorageError(target) from error
            raise
        finally:
            temporary.unlink(missing_ok=True)

    def keep_only(self, folder: str, relative_paths: set[str]) -> int:
        """Delete every file in `folder` that is not in `relative_paths`, left-overs of killed runs included."""
        keep = {self.path(relative) for relative in relative_paths}
        removed = 0
        for path in self.path(folder).glob("*"):
            if path.is_file() and path not in keep:
                path.unlink()
                removed += 1
        return removed


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
