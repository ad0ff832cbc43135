"""Retention: media of a video is deleted when its time is over; what is left says what was there, by SHA-256.

Only files that this project made are touched, in the media store; footage stays where its owner keeps it, and
tables, labels and verdicts stay, for they hold no pictures. What was deleted is written down first and deleted then, so
that a sweep that is killed in between leaves no file unaccounted for: the next sweep finds the rest.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from autorisk_dagster.errors import InputError
from autorisk_dagster.storage import Storage

RECORD: Final = "swept.json"  # in the video's media folder


@dataclass(frozen=True)
class SweptFile:
    """A file that was deleted; `path` is relative to the media store."""

    path: str
    sha256: str
    size_bytes: int
    swept_at: str
    because: str


@dataclass(frozen=True)
class Hold:
    """Why a video's media must stay, whatever its age: an accident, a lawsuit."""

    video_id: str
    reason: str
    since: str


def over(registered_at: str, keep_days: int, now: dt.datetime) -> bool:
    """Whether media of a video registered then is older than `keep_days` days; times in ISO 8601 with an offset."""
    return now - dt.datetime.fromisoformat(registered_at) > dt.timedelta(days=keep_days)


def media_files(media: Storage, video_id: str) -> dict[str, int]:
    """What a sweep would delete of a video, sorted, with its size in bytes; links are not followed."""
    return {path: size for path, size in media.sizes(video_id).items() if path.rpartition("/")[2] != RECORD}


def sweep(media: Storage, video_id: str, now: dt.datetime, because: str) -> list[SweptFile]:
    """Delete the media of a video and keep its hashes.

    Args:
        media: the media store
        video_id: whose media
        now: written into the record
        because: written into the record

    Returns:
        What was deleted now.
    """
    files = media_files(media, video_id)
    swept = [
        SweptFile(path, _sha256(media.path(path)), size, now.isoformat(timespec="seconds"), because)
        for path, size in files.items()
    ]
    if swept:
        record = [asdict(entry) for entry in [*swept_files(media, video_id), *swept]]
        media.write(f"{video_id}/{RECORD}", json.dumps(record, indent=1).encode(), durable=True)
    for path in files:
        media.remove(path)
    return swept


def swept_files(media: Storage, video_id: str) -> list[SweptFile]:
    """What was deleted of a video so far, in order.

    Raises:
        InputError: the record was damaged.
    """
    path = f"{video_id}/{RECORD}"
    content = media.read(path)
    if content is None:
        return []
    try:
        return [SweptFile(**entry) for entry in json.loads(content)]
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{media.url(path)}: not a record of swept media ({error}); restore it from a backup"
        ) from error


class Holds:
    """Videos whose media must stay, one small file each at the root of `storage`."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def hold(self, video_id: str, reason: str, now: dt.datetime) -> Hold:
        """Keep the media of a registered video until it is released.

        Raises:
            InputError: no reason was given.
        """
        if not reason.strip():
            raise InputError(f"{video_id}: a hold needs a reason, so that somebody can release it later")
        hold = Hold(video_id, reason.strip(), now.isoformat(timespec="seconds"))
        self._storage.write(f"{video_id}.json", json.dumps(asdict(hold), indent=1).encode(), durable=True)
        return hold

    def release(self, video_id: str) -> None:
        """Let the sweep have it again; no error where it was not held."""
        self._storage.remove(f"{video_id}.json")

    def get(self, video_id: str) -> Hold | None:
        """The hold on a video. A file that cannot be read holds: nothing is deleted on a doubt."""
        content = self._storage.read(f"{video_id}.json")
        if content is None:
            return None
        try:
            return Hold(**json.loads(content))
        except (ValueError, TypeError):
            return Hold(video_id, f"{video_id}.json cannot be read", "")


def why_kept(
    registered_at: str,
    keep_days: int | None,
    now: dt.datetime,
    *,
    hold: Hold | None,
    busy: bool,
    open_reviews: Iterable[str],
) -> str | None:
    """Why the media of a video is not swept now, in words; None: its time is over and nothing speaks for it.

    Args:
        registered_at: ISO 8601
        keep_days: of its profile; None: for ever
        now: with its offset
        hold: on the video
        busy: a run is at work on it
        open_reviews: clips that the policy wants reviewed and nobody has
    """
    if keep_days is None:
        return "its profile keeps media for ever"
    if not over(registered_at, keep_days, now):
        return f"not yet {keep_days} days old"
    if hold is not None:
        return f"held: {hold.reason}"
    if busy:
        return "a run is at work on it"
    waiting = list(open_reviews)
    return f"clips wait for review: {', '.join(waiting[:3])} ({len(waiting)} in all)" if waiting else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
