"""Footage as a file on this disk, wherever it lies: at a path, or in a bucket, from where it is copied for the time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Final

from autorisk_dagster.errors import VideoError
from autorisk_dagster.paths import local_folder
from autorisk_dagster.storage import S3

BESIDE: Final = (".wav", ".flac", ".gpx")  # sound and places that belong to a video of the same stem


@contextmanager
def footage(location: str) -> Iterator[Path]:
    """The file at a path or URL. A copy of an object stays, with what lies beside it, until the block ends; it is made
    once and used again while there is room for it.

    Raises:
        VideoError: there is no such object.
        BucketError: the bucket cannot be read.
        StorageError: this disk is full.
    """
    if not location.startswith(S3):
        yield Path(location)
        return
    from autorisk_dagster.storage.bucket import Bucket

    folder, _, name = location.rpartition("/")
    bucket, stem = Bucket(folder, local_folder()), PurePosixPath(name).stem
    with ExitStack() as held:
        path = held.enter_context(bucket.held(name))
        if not path.exists():
            raise VideoError(location, f"is no longer at {location}", "Put it back, or register it from where it is.")
        for other in bucket.starting_with(stem):
            pure = PurePosixPath(other)
            if pure.stem == stem and pure.suffix.lower() in BESIDE:
                held.enter_context(bucket.held(other))
        yield path
