"""Which files are videos, what each is called, and where it was found.

A video's key is a slug of its file's stem and 8 hex digits of a content fingerprint (SHA-256 over size, first and last
mebibyte): a renamed or copied file is the same video. Identity is the whole fingerprint, which the ledger keeps: two
of 100,000 videos share 8 digits with a probability of 69 % (birthday problem over 2^32). Where they share their stem
too, the second has 16 digits in its key. The ledger keeps one small JSON file a video; it is the only place that knows
where the footage lies.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable, Container, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from autorisk_dagster.errors import InputError, VideoError
from autorisk_dagster.storage import Storage, data_storage

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".ts", ".m2ts", ".mts", ".webm", ".m4v", ".mpg", ".3gp"})
_CHUNK_BYTES = 1 << 20
_DIGITS, _MORE_DIGITS = 8, 16
_KEY = re.compile(r"[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?-([0-9a-f]{8}|[0-9a-f]{16})")


@dataclass(frozen=True)
class Discovery:
    """Files that were found, and what was passed over with the reason."""

    found: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...]


@dataclass(frozen=True)
class Origin:
    """Where footage was fetched from, and by what right.

    Attributes:
        url: of the page or file
        licence: under which it may be used
        licence_from: whether the site states it, or the operator did
        fetched_at: ISO 8601
        acknowledged_by: who said that it may be processed
    """

    url: str
    licence: str
    licence_from: Literal["site", "operator"]
    fetched_at: str
    acknowledged_by: str


@dataclass(frozen=True)
class SourceRecord:
    """One registered video.

    Attributes:
        path: of its file on this machine, or its URL in a bucket
        missing_since: when the inbox saw that its file was gone; None: it was not seen to be gone
        fingerprint: of its footage, 64 hex digits; "": registered when it was not kept yet
        origin: None: the operator's own footage
    """

    video_id: str
    path: str
    profile: str
    registered_at: str
    missing_since: str | None = None
    fingerprint: str = ""
    origin: Origin | None = None

    def is_of(self, content: str) -> bool:
        """Whether `content` is the fingerprint of this video's footage, as far as the record says."""
        return content.startswith(self.fingerprint or digits_of(self.video_id))


def discover(paths: Iterable[Path]) -> Discovery:
    """Video files under `paths`, sorted within each folder.

    A file that is named is taken whatever it is called, so that a wrong one fails by name; in a folder (searched
    recursively, links to folders not followed) only video suffixes count, and hidden files do not.
    """
    found: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    for path in paths:
        if path.is_dir():
            for candidate in sorted(path.rglob("*")):
                if candidate.is_dir():
                    continue
                if any(part.startswith(".") for part in candidate.relative_to(path).parts):
                    skipped.append((candidate, "hidden"))
                elif candidate.suffix.lower() not in VIDEO_SUFFIXES:
                    skipped.append((candidate, f"not a video suffix ({candidate.suffix or 'none'})"))
                elif not candidate.is_file():
                    skipped.append((candidate, "a link that leads nowhere"))
                else:
                    found.append(candidate)
        elif path.is_file():
            found.append(path)
        else:
            skipped.append((path, "does not exist"))
    return Discovery(tuple(found), tuple(skipped))


def fingerprint(path: Path) -> str:
    """SHA-256 over size, head and tail of the file, 64 hex digits: two short reads, whatever its length."""
    try:
        with path.open("rb") as file:

            def read(start: int, stop: int) -> bytes:
                file.seek(start)
                return file.read(stop - start)

            return fingerprint_of(path.stat().st_size, read)
    except OSError as error:
        raise VideoError(path, f"cannot be read ({error.strerror})", "Check the path and its permissions.") from error


def fingerprint_of(size_bytes: int, read: Callable[[int, int], bytes]) -> str:
    """`fingerprint` of a content that lies elsewhere; `read(start, stop)` gives its bytes."""
    digest = hashlib.sha256(str(size_bytes).encode())
    digest.update(read(0, min(size_bytes, _CHUNK_BYTES)))
    tail = max(size_bytes - _CHUNK_BYTES, _CHUNK_BYTES)
    if tail < size_bytes:
        digest.update(read(tail, size_bytes))
    return digest.hexdigest()


def video_key(stem: str, content: str, taken: Container[str] = ()) -> str:
    """Partition key of a video whose file has this stem and whose footage has the fingerprint `content`.

    `slug-of-stem-1a2b3c4d`, with 16 digits where that is `taken` by other footage; letters, digits and hyphens only, at
    most 65 characters.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:48].strip("-") or "video"
    key = f"{slug}-{content[:_DIGITS]}"
    return f"{slug}-{content[:_MORE_DIGITS]}" if key in taken else key


def digits_of(video_id: str) -> str:
    """The digits of the fingerprint that a partition key ends in."""
    return video_id.rpartition("-")[2]


class SourceLedger:
    """The registered videos, one JSON file each at the root of `storage`, where every worker finds them.

    They are listed once for all that is registered through one ledger object: do not keep one for long.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._of_digits: dict[str, list[str]] | None = None

    def register(self, path: Path, profile: str | None = None) -> SourceRecord:
        """Record where a video lies; a known content keeps its key (and its profile unless one is given)."""
        path = path.resolve()
        content = fingerprint(path)
        return self.place(self.key_for(path.stem, content), str(path), content, profile)

    def key_for(self, stem: str, content: str) -> str:
        """The key of the video with the fingerprint `content`: the one it has, else a new one by its file's stem."""
        alike = self.alike([content])
        known = next((record.video_id for record in alike if record.is_of(content)), None)
        return known or video_key(stem, content, {record.video_id for record in alike})

    def alike(self, contents: Iterable[str]) -> list[SourceRecord]:
        """Records whose key has the first digits of one of the fingerprints `contents`, each with its whole fingerprint
        if the footage of an old record can still be read."""
        if self._of_digits is None:
            self._of_digits = {}
            for key in self.keys():
                self._of_digits.setdefault(digits_of(key)[:_DIGITS], []).append(key)
        some = dict.fromkeys(content[:_DIGITS] for content in contents)
        return [_whole(self.get(key)) for digits in some for key in self._of_digits.get(digits, ())]

    def place(
        self, video_id: str, location: str, content: str, profile: str | None = None, origin: Origin | None = None
    ) -> SourceRecord:
        """Record that the video `video_id`, whose footage was read and has the fingerprint `content`, lies at
        `location`: an absolute path, or a URL in a bucket. An origin that is known stays unless one is given.

        Raises:
            InputError: the video is known, and is other footage.
        """
        old = self._read(video_id)
        if old is not None:
            if not old.is_of(content):
                raise InputError(f"{location} is other footage than {video_id}. Register it: autorisk ingest PATH")
            record = replace(
                old,
                path=location,
                profile=profile or old.profile,
                missing_since=None,
                fingerprint=content,
                origin=origin or old.origin,
            )
            if record == old:
                return old
        else:
            now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
            record = SourceRecord(video_id, location, profile or "default", now, fingerprint=content, origin=origin)
            if self._of_digits is not None:
                self._of_digits.setdefault(content[:_DIGITS], []).append(video_id)
        self._write(record)
        return record

    def mark_missing(self, video_id: str, since: str) -> None:
        """Record that a video's file was gone at `since` (ISO 8601); the video stays registered."""
        old = self.get(video_id)
        if old.missing_since is None:
            self._write(replace(old, missing_since=since))

    def get(self, video_id: str) -> SourceRecord:
        """The record of one video.

        Raises:
            InputError: the key is malformed or unknown.
        """
        if not _KEY.fullmatch(video_id):
            raise InputError(f"{video_id!r} is no video key. Register the file with: autorisk ingest PATH")
        found = self._read(video_id)
        if found is None:
            raise InputError(f"video {video_id} is not registered. Register its file: autorisk ingest PATH")
        return found

    def keys(self) -> list[str]:
        """Keys of every registered video, sorted; no file is opened."""
        names = self._storage.names()
        return sorted(name.removesuffix(".json") for name in names if name.endswith(".json") and name[0] != ".")

    def all(self) -> list[SourceRecord]:
        """Every registered video, by key."""
        return self.of(self.keys())

    def of(self, video_ids: Iterable[str]) -> list[SourceRecord]:
        """Those of some videos that are registered, by key."""
        found = self._storage.read_all(f"{key}.json" for key in video_ids)
        return [_record(found[name]) for name in sorted(found)]

    def missing(self) -> list[str]:
        """Keys of the videos whose file was seen to be gone, sorted: nothing can be made of them now."""
        return [record.video_id for record in self.all() if record.missing_since is not None]

    def _read(self, video_id: str) -> SourceRecord | None:
        content = self._storage.read(f"{video_id}.json")
        return None if content is None else _record(content)

    def _write(self, record: SourceRecord) -> None:
        self._storage.write(f"{record.video_id}.json", json.dumps(asdict(record), indent=1).encode())


def source_ledger() -> SourceLedger:
    """The project's ledger, in the data folder or bucket."""
    return SourceLedger(data_storage().at("sources"))


def _record(content: bytes) -> SourceRecord:
    values = json.loads(content)
    origin = values.get("origin")
    return SourceRecord(**{**values, "origin": Origin(**origin) if origin else None})


def _whole(record: SourceRecord) -> SourceRecord:
    """`record` with its fingerprint, read from its file where an older version of the project did not keep it."""
    path = Path(record.path)
    if record.fingerprint or not path.is_file():
        return record
    content = fingerprint(path)
    return replace(record, fingerprint=content) if record.is_of(content) else record
