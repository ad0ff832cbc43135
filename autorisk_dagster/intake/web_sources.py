"""Footage from a public address: fetched with yt-dlp when an operator says that it may be, and kept with its licence.

Nothing is fetched by itself. The operator acknowledges the rights on the command line; the licence is the one that the
site states, else the one the operator states, and without either nothing is fetched. Source, licence, time and who
acknowledged go into the ledger's record of the video and into `source_video`. Of what the site says nothing becomes a
path: the file is called by the video's key.
"""

from __future__ import annotations

import datetime as dt
import getpass
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from autorisk_dagster.errors import EndpointError, InputError, StorageError, VideoError
from autorisk_dagster.intake.sources import VIDEO_SUFFIXES, Origin, SourceLedger, SourceRecord, fingerprint
from autorisk_dagster.storage import Storage

FOLDER: Final = "footage"  # in the data folder or bucket
MAX_GB: Final = 20.0  # a day of 720p; a fault of the site must not fill the disk
TRIES: Final = 3
TIMEOUT_SEC: Final = 30
_SECRET = re.compile(r"token|sig|key|auth|secret|pass|credential", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """What an operator asks for.

    Attributes:
        url: http or https
        licence: as the operator knows it; None: the site must state one
        acknowledged_by: who says that the footage may be processed
        max_bytes: of the file
    """

    url: str
    licence: str | None
    acknowledged_by: str
    max_bytes: int = round(MAX_GB * 1e9)


def is_web_address(text: str) -> bool:
    """Whether this is fetched by `fetch`, and no path or bucket."""
    return urlsplit(text).scheme in ("http", "https")


def this_operator() -> str:
    """Account and machine of whoever runs this process."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        name = "unnamed account"
    return f"{name}@{socket.gethostname()}"


def fetch(asked: Request, data: Storage, scratch: Path, profile: str | None) -> SourceRecord:
    """Fetch one video into `data` and register it with its origin; what was fetched before keeps its key.

    Args:
        asked: what, and by what right
        data: where footage, ledger and all else lie
        scratch: a folder of this machine, for the time of the download
        profile: for its processing; None: default

    Raises:
        InputError: the address, the licence or the size is not allowed, or there is no one video behind it.
        EndpointError: the site did not answer, or broke off.
        VideoError: what came is no video.
        StorageError: this disk is full.
    """
    url = without_secrets(_checked(asked.url))
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="fetching-") as folder, _explained(asked.url, scratch):
        with _client(Path(folder), asked.max_bytes) as client:
            info = client.extract_info(asked.url, download=False)
            stated = _one_video(info, url)
            licence = stated or asked.licence
            if not licence:
                raise InputError(f"{url} states no licence. Say under which one it may be used: --licence TEXT")
            info = client.process_ie_result(info, download=True)
        path = _file(Path(folder), url, asked.max_bytes)
        _hold_video(path, url)
        origin = Origin(
            url=url,
            licence=licence,
            licence_from="site" if stated else "operator",
            fetched_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            acknowledged_by=asked.acknowledged_by,
        )
        return _kept(path, str(info.get("title") or "video"), origin, data, profile)


def _kept(path: Path, title: str, origin: Origin, data: Storage, profile: str | None) -> SourceRecord:
    ledger, content = SourceLedger(data.at("sources")), fingerprint(path)
    key = ledger.key_for(title, content)
    relative = f"{FOLDER}/{key}{path.suffix}"
    with data.writing(relative) as target:
        shutil.move(path, target)
    return ledger.place(key, data.url(relative), content, profile, origin)


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if not is_web_address(url) or not parts.hostname:
        raise InputError(f"{url[:200]!r} is no address of a web page or file; expected https://...")
    if parts.username or parts.password:
        raise InputError(f"the address at {parts.hostname} holds a name or password: it would be kept with the video")
    return url


def without_secrets(url: str) -> str:
    """An address as it may be kept: values of its query that look like keys are left out, and the fragment."""
    parts = urlsplit(url)
    query = [(name, "removed" if _SECRET.search(name) else value) for name, value in parse_qsl(parts.query)]
    return urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), ""))


@contextmanager
def _client(folder: Path, max_bytes: int) -> Iterator[Any]:
    try:
        from yt_dlp import YoutubeDL
    except ModuleNotFoundError as error:
        raise InputError(f"footage from an address needs {error.name}: pip install 'autorisk-dagster[web]'") from error

    def hold_size(progress: dict[str, Any]) -> None:  # a server need not say how much will come
        if (progress.get("downloaded_bytes") or 0) > max_bytes:
            raise InputError(_too_large(max_bytes))

    options = {
        "outtmpl": {"default": str(folder / "video.%(ext)s")},
        "format": "best",  # one file with picture and sound: there is no FFmpeg program to join two
        "fixup": "never",
        "noplaylist": True,
        "max_filesize": max_bytes,
        "progress_hooks": [hold_size],
        "retries": TRIES,
        "fragment_retries": TRIES,
        "skip_unavailable_fragments": False,  # a video with a hole in it is not the video
        "socket_timeout": TIMEOUT_SEC,
        "continuedl": False,
        "updatetime": False,
        "cachedir": False,
        "quiet": True,
        "noprogress": True,
        "no_warnings": True,
        "logger": _Silent(),
    }
    with YoutubeDL(options) as client:
        yield client


class _Silent:
    """What yt-dlp would print is in the errors that it raises."""

    def debug(self, message: str) -> None:
        """Nothing."""

    info = warning = error = debug


def _one_video(info: dict[str, Any] | None, url: str) -> str | None:
    """The licence that the site states, of exactly one video that is not live."""
    if info is None or info.get("_type", "video") not in ("video", None):
        raise InputError(f"{url} is a list of videos. Give the address of each one that is wanted")
    if info.get("is_live"):
        raise InputError(f"{url} is live: it has no end. Fetch it when it is over")
    licence = info.get("license")
    return str(licence).strip()[:500] or None if licence else None


def _file(folder: Path, url: str, max_bytes: int) -> Path:
    found = [path for path in folder.iterdir() if path.is_file() and path.suffix not in (".part", ".ytdl")]
    if len(found) != 1:  # yt-dlp ends without a word where the server announces more than max_filesize
        raise InputError(f"{url}: {_too_large(max_bytes)}")
    if found[0].suffix.lower() not in VIDEO_SUFFIXES:
        known = ", ".join(sorted(VIDEO_SUFFIXES))
        raise InputError(f"{url} is a file {found[0].suffix or 'without a suffix'}, no video; known: {known}")
    return found[0]


def _hold_video(path: Path, url: str) -> None:
    from autorisk_dagster.video.probe import probe

    try:
        probe(path)
    except VideoError as error:
        raise VideoError(url, f"what came from there is no video that can be read: {error.cause}", error.fix) from error


def _too_large(max_bytes: int) -> str:
    return f"is larger than {max_bytes / 1e9:g} GB, and was not kept. Allow more with --max-gb"


@contextmanager
def _explained(url: str, scratch: Path) -> Iterator[None]:
    """What yt-dlp raises, as this project's errors."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("yt_dlp"):
            raise
        said = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).removeprefix("ERROR: ")
        said, url = said.replace(url, without_secrets(url)), without_secrets(url)
        if "No space left" in said or "Errno 28" in said:
            raise StorageError(scratch) from error
        if "Unsupported URL" in said:
            raise InputError(
                f"{url} is a page without a video that yt-dlp knows. Give the video's own address"
            ) from error
        if re.search(r"HTTP Error 4\d\d", said):
            raise InputError(f"{url}: the site refuses it ({said[:300]}). Check the address in a browser") from error
        raise EndpointError(f"{url} could not be fetched ({said[:300]}). Nothing was kept; try again later") from error
