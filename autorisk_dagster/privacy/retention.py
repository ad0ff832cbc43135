"""Retention: media of a video is deleted when its time is over; what is left says what was there, by SHA-256.

Only files that this project made are touched, under the media folder; footage stays where its owner keeps it, and
tables, labels and verdicts stay, for they hold no pictures. What was deleted is written down first and deleted then, so
that a sweep that is killed in between leaves no file unaccounted for: the next sweep finds the rest.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from autorisk_dagster.errors import InputError

RECORD: Final = "swept.json"  # in the video's media folder


@dataclass(frozen=True)
class SweptFile:
    """A file that was deleted; `path` is relative to the media folder."""

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


def media_files(media: Path, video_id: str) -> list[Path]:
    """What a sweep would delete of a video, sorted; links are not followed."""
    folder = media / video_id
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.is_symlink() and path.name != RECORD
    )


def sweep(media: Path, video_id: str, now: dt.datetime, because: str) -> list[SweptFile]:
    """Delete the media of a video and keep its hashes.

    Args:
        media: the media folder
        video_id: whose media
        now: written into the record
        because: written into the record

    Returns:
        What was deleted now.
    """
    files = media_files(media, video_id)
    swept = [
        SweptFile(
            path.relative_to(media).as_posix(),
            _sha256(path),
            path.stat().st_size,
            now.isoformat(timespec="seconds"),
            because,
        )
        for path in files
    ]
    if swept:
        _write(media / video_id / RECORD, [asdict(entry) for entry in [*swept_files(media, video_id), *swept]])
    for path in files:
        path.unlink()
    return swept


def swept_files(media: Path, video_id: str) -> list[SweptFile]:
    """What was deleted of a video so far, in order.

    Raises:
        InputError: the record was damaged.
    """
    path = media / video_id / RECORD
    try:
        return [SweptFile(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (json.JSONDecodeError, TypeError) as error:
        raise InputError(f"{path}: not a record of swept media ({error}); restore it from a backup") from error


class Holds:
    """Videos whose media must stay, one small file each under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def hold(self, video_id: str, reason: str, now: dt.datetime) -> Hold:
        """Keep the media of a registered video until it is released.

        Raises:
            InputError: no reason was given.
        """
        if not reason.strip():
            raise InputError(f"{video_id}: a hold needs a reason, so that somebody can release it later")
        hold = Hold(video_id, reason.strip(), now.isoformat(timespec="seconds"))
        self._folder.mkdir(parents=True, exist_ok=True)
        _write(self._folder / f"{video_id}.json", asdict(hold))
        return hold

    def release(self, video_id: str) -> None:
        """Let the sweep have it again; no error where it was not held."""
        (self._folder / f"{video_id}.json").unlink(missing_ok=True)

    def get(self, video_id: str) -> Hold | None:
        """The hold on a video. A file that cannot be read holds: nothing is deleted on a doubt."""
        path = self._folder / f"{video_id}.json"
        if not path.exists():
            return None
        try:
            return Hold(**json.loads(path.read_text(encoding="utf-8")))
        except (json.JSONDecodeError, TypeError):
            return Hold(video_id, f"{path.name} cannot be read", "")


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


def _write(path: Path, value: object) -> None:
    """Whole or not at all, and on the disk before anything is deleted on the strength of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
