"""Where media lies: clips, pictures and reports in the data folder or bucket, and the ledger of source videos."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dagster as dg
from pydantic import PrivateAttr

from autorisk_dagster.errors import VideoError
from autorisk_dagster.intake.footage import footage
from autorisk_dagster.intake.sources import SourceLedger, fingerprint
from autorisk_dagster.storage import Storage, open_storage


class MediaStore(dg.ConfigurableResource["MediaStore"]):
    """Files under `root` (a folder, or the URL of a bucket's prefix), addressed by relative path; a file is there whole
    or not at all."""

    root: str

    _held: ExitStack = PrivateAttr(default_factory=ExitStack)
    _footage: dict[str, Path] = PrivateAttr(default_factory=dict)  # by location

    @property
    def data(self) -> Storage:
        """All data of the project."""
        return open_storage(self.root)

    @property
    def ledger(self) -> SourceLedger:
        """The registered videos."""
        return SourceLedger(self.data.at("sources"))

    def source(self, video_id: str) -> Path:
        """The footage of a registered video; of footage in a bucket a copy, which stays while the resource is used.

        Raises:
            VideoError: it is no longer where it was, or another file lies there now: nothing may be made of footage
                under the name and hash of other footage.
        """
        record = self.ledger.get(video_id)
        path = self._footage.get(record.path)
        if path is None:
            path = self._footage[record.path] = self._held.enter_context(footage(record.path))
        if not record.is_of(fingerprint(path)):
            raise VideoError(
                path, f"is no longer the file registered as {video_id}", "Register it: autorisk ingest PATH."
            )
        return path

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002 - Dagster's signature
        """Let copies of footage go when room is needed."""
        self._held.close()
        self._footage.clear()

    def path(self, relative: str) -> Path:
        """The file behind a table row's relative path, as it is stored now; of a bucket a copy.

        Raises:
            InputError: the path is absolute or leaves the store.
        """
        return self._media.path(relative)

    def url(self, relative: str) -> str:
        """Path or URL of a file, for people."""
        return self._media.url(relative)

    def exists(self, relative: str) -> bool:
        """Whether there is such a file."""
        return self._media.exists(relative)

    def files(self, folder: str) -> frozenset[str]:
        """Relative paths of all files under a folder: of a bucket with a request a thousand, not one a file."""
        return frozenset(self._media.sizes(folder))

    @contextmanager
    def writing(self, relative: str) -> Iterator[Path]:
        """A temporary path on this disk; stored on success, removed on any failure."""
        with self._media.writing(relative) as temporary:
            yield temporary

    def keep_only(self, folder: str, relative_paths: set[str]) -> int:
        """Delete every file in `folder` that is not in `relative_paths`, left-overs of killed runs included."""
        gone = {f"{folder}/{name}" for name in self._media.names(folder)} - relative_paths
        for relative in gone:
            self._media.remove(relative)
        return len(gone)

    @property
    def _media(self) -> Storage:
        return self.data.at("media")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
