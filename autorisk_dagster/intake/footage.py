"""Footage wherever it lies: at a path, or in a bucket, from where it is copied for the time that it is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from autorisk_dagster.errors import VideoError
from autorisk_dagster.intake.sources import VIDEO_SUFFIXES, fingerprint, fingerprint_of
from autorisk_dagster.paths import local_folder
from autorisk_dagster.storage import S3

if TYPE_CHECKING:
    from autorisk_dagster.storage.bucket import Bucket

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
    bucket, name = _object(location)
    stem = PurePosixPath(name).stem
    with ExitStack() as held:
        path = held.enter_context(bucket.held(name))
        if not path.exists():
            raise _gone(location)
        for other in bucket.starting_with(stem):
            pure = PurePosixPath(other)
            if pure.stem == stem and pure.suffix.lower() in BESIDE:
                held.enter_context(bucket.held(other))
        yield path


def is_there(location: str) -> bool:
    """Whether there is a file at a path or URL."""
    if not location.startswith(S3):
        return Path(location).is_file()
    bucket, name = _object(location)
    return bucket.exists(name)


def fingerprint_at(location: str) -> str:
    """`sources.fingerprint` of the file at a path or URL; of an object two ranges are read.

    Raises:
        VideoError: it cannot be read.
    """
    if not location.startswith(S3):
        return fingerprint(Path(location))
    bucket, name = _object(location)
    facts = bucket.facts(name)
    if facts is None:
        raise _gone(location)
    try:
        return fingerprint_of(facts["size"], lambda start, stop: bucket.read_range(name, start, stop))
    except FileNotFoundError as error:
        raise _gone(location) from error


def videos_at(url: str) -> list[str]:
    """URLs of the videos at the URL of an object or prefix, sorted; hidden ones are passed over.

    Raises:
        BucketError: the bucket cannot be read.
    """
    bucket, name = _object(url)
    if name and bucket.exists(name):
        return [url]
    found = bucket.at(name) if name else bucket
    return [
        found.url(each)
        for each in found.sizes()
        if PurePosixPath(each).suffix.lower() in VIDEO_SUFFIXES
        and not any(part.startswith(".") for part in each.split("/"))
    ]


def _object(location: str) -> tuple[Bucket, str]:
    from autorisk_dagster.storage.bucket import Bucket

    bucket, _, key = location.removeprefix(S3).rstrip("/").partition("/")
    folder, _, name = key.rpartition("/")
    return Bucket(f"{S3}{bucket}/{folder}".rstrip("/"), local_folder()), name


def _gone(location: str) -> VideoError:
    return VideoError(location, f"is no longer at {location}", "Put it back, or register it from where it is.")
