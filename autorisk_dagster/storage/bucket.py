"""A bucket of object storage as storage, by s3fs; files that a library must open are copied to this disk.

Credentials, region and endpoint come from where botocore looks for them: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
`AWS_PROFILE`, a role; `AWS_DEFAULT_REGION`; `AWS_ENDPOINT_URL` for storage that is not Amazon's. No listing is kept:
what another worker has written is seen at once. One PUT sends a file, of at most 5 GB; it is there when it has arrived
whole, so that a worker that is killed leaves nothing behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from autorisk_dagster.errors import BucketUnavailableError, InputError, StorageError, is_full_disk
from autorisk_dagster.storage import S3, inside
from autorisk_dagster.storage.copies import Copies
from autorisk_dagster.storage.faults import explained
from autorisk_dagster.storage.worked_on import WorkedOn

MAX_PUT_BYTES: Final = 5 * 1000**3
LIMIT_VARIABLE: Final = "AUTORISK_LOCAL_GB"  # of copies on this machine
LIMIT_GB: Final = 50.0
CONNECT_TIMEOUT_SEC: Final = 10
READ_TIMEOUT_SEC: Final = 60  # without a byte
_TRIES: Final = 5
_CHUNK_BYTES: Final = 1 << 20


class Bucket:
    """Files under `url` (`s3://bucket/prefix`); copies lie under `local`."""

    def __init__(self, url: str, local: Path) -> None:
        self._url = url.rstrip("/")
        self._key = self._url.removeprefix(S3)  # bucket and prefix, as s3fs names paths
        self._bucket = self._key.partition("/")[0]
        self._local = local
        if not self._bucket:
            raise InputError(f"{url} names no bucket; expected {S3}BUCKET or {S3}BUCKET/PREFIX")

    @property
    def root(self) -> str:
        """The URL."""
        return self._url

    def at(self, folder: str) -> Bucket:
        """The storage of a prefix in it."""
        return Bucket(self.url(folder), self._local)

    def url(self, relative: str) -> str:
        """The object's URL."""
        return f"{self._url}/{inside(relative)}"

    def exists(self, relative: str) -> bool:
        """Whether there is such an object."""
        return self.facts(relative) is not None

    def facts(self, relative: str) -> dict[str, Any] | None:
        """Size, ETag and LastModified of an object, as s3fs names them; None where there is none."""
        try:
            with explained(self.url(relative)):
                found: dict[str, Any] = self._files().info(self._name(relative))
        except FileNotFoundError:
            return None
        return found if found["type"] == "file" else None

    def names(self, folder: str = "") -> list[str]:
        """Names of the objects directly under a prefix, sorted."""
        return sorted(self.versions(folder))

    def versions(self, folder: str = "") -> dict[str, str]:
        """The ETag of each object directly under a prefix, by name."""
        prefix = self._name(folder) if folder else self._key
        try:
            with explained(f"{S3}{prefix}"):
                found = self._files().ls(prefix, detail=True)
        except FileNotFoundError:
            return {}
        return {
            each["name"].removeprefix(f"{prefix}/"): each["ETag"]
            for each in found
            if each["type"] == "file" and each["name"].startswith(f"{prefix}/") and each["name"] != f"{prefix}/"
        }

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Bytes of all objects under a prefix by relative path, sorted."""
        return {name: facts["size"] for name, facts in sorted(self.listed(folder).items())}

    def listed(self, folder: str = "") -> dict[str, dict[str, Any]]:
        """`facts` of all objects under a prefix, by relative path: a thousand a request."""
        prefix = self._name(folder) if folder else self._key
        try:
            with explained(f"{S3}{prefix}"):
                found = self._files().find(prefix, detail=True)
        except FileNotFoundError:
            return {}
        return {
            name.removeprefix(f"{self._key}/"): facts
            for name, facts in found.items()
            if name.startswith(f"{prefix}/") and not name.endswith("/")
        }

    def starting_with(self, stem: str) -> list[str]:
        """Names of the objects directly under the prefix that begin with `stem`; others are not listed."""
        with explained(self._url):
            found = self._files().find(self._key, prefix=stem, maxdepth=None)
        names = (name.removeprefix(f"{self._key}/") for name in found)
        return sorted(name for name in names if name.startswith(stem) and "/" not in name)

    def read(self, relative: str) -> bytes | None:
        """An object's content; None where there is none."""
        try:
            with explained(self.url(relative)):
                content: bytes = self._files().cat_file(self._name(relative))
                return content
        except FileNotFoundError:
            return None

    def read_range(self, relative: str, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of an object; fewer where it ends before."""
        with explained(self.url(relative)):
            content: bytes = self._files().cat_file(self._name(relative), start=start, end=stop)
            return content

    def read_all(self, relative: Iterable[str]) -> dict[str, bytes]:
        """The contents of those objects that are there, asked for side by side."""
        names = {self._name(each): each for each in relative}
        if not names:
            return {}
        with explained(self._url):
            found = self._files().cat(list(names), on_error="return")
        contents = {}
        for name, content in (found if isinstance(found, dict) else {next(iter(names)): found}).items():
            if isinstance(content, BaseException):
                try:
                    with explained(f"{S3}{name}"):
                        raise content
                except FileNotFoundError:
                    continue
            contents[names[name]] = content
        return contents

    def write(self, relative: str, content: bytes, *, durable: bool = False) -> None:  # noqa: ARG002 - S3 always is
        """Write a small object."""
        self.put(relative, content)

    def path(self, relative: str) -> Path:
        """A copy of the object as it is now."""
        facts, copies, name = self.facts(relative), self._copies(), self._name(relative)
        if facts is None:
            copies.drop(name)
        elif not copies.current(name, facts["ETag"]):
            try:
                return copies.take(name, lambda target: self.fetch(relative, target))
            except OSError as error:
                if is_full_disk(error):
                    raise StorageError(copies.path(name)) from error
                raise
        return copies.path(name)

    @contextmanager
    def held(self, relative: str) -> Iterator[Path]:
        """`path`, and the copy stays until the block ends."""
        with self._copies().held(self._name(relative)):
            yield self.path(relative)

    @contextmanager
    def writing(self, relative: str) -> Iterator[Path]:
        """A temporary path on this disk, sent on success and removed on any failure; it is the copy then."""
        copies, name = self._copies(), self._name(relative)
        temporary = copies.path(name)
        try:
            temporary = copies.temporary(name)
            yield temporary
            copies.adopt(name, temporary, self.put(relative, temporary))
        except OSError as error:
            if is_full_disk(error):
                raise StorageError(copies.path(name)) from error
            raise
        finally:
            if temporary != copies.path(name):
                temporary.unlink(missing_ok=True)

    def remove(self, relative: str) -> None:
        """Delete an object; no error where there is none."""
        with explained(self.url(relative)):
            bucket, _, key = self._name(relative).partition("/")
            self._files().call_s3("delete_object", Bucket=bucket, Key=key)
        self._copies().drop(self._name(relative))

    def pull(self, *folders: str) -> Path:
        """The prefix as a folder on this disk, in which `folders` are as they are stored now."""
        for each in self._worked_on(folders):
            each.pull()
        return self._local / "worked_on" / self._key

    def push(self, *folders: str) -> None:
        """Send what was changed in `folders` where `pull` put them."""
        for each in self._worked_on(folders):
            each.push()

    def put(self, relative: str, content: Path | bytes, **condition: str) -> str:
        """Send a file or bytes with one request and return the object's ETag.

        Args:
            condition: IfMatch or IfNoneMatch, as S3 has them

        Raises:
            OSError: the condition does not hold (`faults.is_conflict`).
        """
        url, (bucket, _, key) = self.url(relative), self._name(relative).partition("/")
        files = self._files()
        if isinstance(content, bytes):
            with explained(url):
                return str(files.call_s3("put_object", Bucket=bucket, Key=key, Body=content, **condition)["ETag"])
        size = content.stat().st_size
        if size > MAX_PUT_BYTES:
            raise InputError(f"{url}: {size / 1e9:.1f} GB; an object may have {MAX_PUT_BYTES / 1e9:.0f} GB")
        with content.open("rb") as file, explained(url):
            return str(files.call_s3("put_object", Bucket=bucket, Key=key, Body=file, **condition)["ETag"])

    def fetch(self, relative: str, target: Path) -> str:
        """Copy an object to `target` and return the ETag of what was copied.

        Raises:
            BucketUnavailableError: it was written anew again and again meanwhile.
        """
        url = self.url(relative)
        facts = self.facts(relative)
        for _ in range(_TRIES):
            if facts is None:
                raise FileNotFoundError(url)
            with explained(url, target):
                self._files().get_file(self._name(relative), str(target))
            before, facts = facts, self.facts(relative)
            if facts is not None and facts["ETag"] == before["ETag"] and target.stat().st_size == facts["size"]:
                return str(facts["ETag"])
        raise BucketUnavailableError(url, "it changes while it is read", "run again when it is written no more")

    def chunks(self, relative: str, start: int, stop: int) -> Iterator[bytes]:
        """Bytes [start, stop) of an object, a mebibyte at a time."""
        for at in range(start, stop, _CHUNK_BYTES):
            yield self.read_range(relative, at, min(at + _CHUNK_BYTES, stop))

    def _worked_on(self, folders: Iterable[str]) -> list[WorkedOn]:
        root = self._local / "worked_on" / self._key
        return [WorkedOn(self.at(folder), root / folder) for folder in folders] or [WorkedOn(self, root)]

    def _name(self, relative: str) -> str:
        return f"{self._key}/{inside(relative)}"

    def _copies(self) -> Copies:
        return _copies(self._local / "copies", os.environ.get(LIMIT_VARIABLE, ""))

    def _files(self) -> Any:
        """The file system, once the bucket was seen to be there: S3 says of a file in no bucket only that there is
        none."""
        files = _files()
        if self._bucket not in _seen:
            with explained(f"{S3}{self._bucket}"):
                # by listing, because a HEAD's answer has no body to say why it is refused
                files.call_s3("list_objects_v2", Bucket=self._bucket, MaxKeys=1)
            _seen.add(self._bucket)
        return files


_seen: set[str] = set()
_lock = threading.Lock()


def _files() -> Any:
    """s3fs with our timeouts; one for all threads, anew in a forked process and where the endpoint is another one."""
    with _lock:
        return _files_of(os.environ.get("AWS_ENDPOINT_URL", ""), os.getpid())


@cache
def _files_of(endpoint: str, process: int) -> Any:  # noqa: ARG001 - s3fs reads the endpoint from the environment
    try:
        import s3fs
    except ModuleNotFoundError as error:
        raise InputError(f"{S3} needs {error.name}: pip install 'autorisk-dagster[fleet]'") from error
    _seen.clear()
    files = s3fs.S3FileSystem(
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={"connect_timeout": CONNECT_TIMEOUT_SEC, "read_timeout": READ_TIMEOUT_SEC},
    )
    files.retries = 2  # beside botocore's own tries, for bodies that are cut while they are read
    return files


@cache
def _copies(folder: Path, limit: str) -> Copies:
    try:
        limit_gb = float(limit or LIMIT_GB)
    except ValueError as error:
        raise InputError(f"{LIMIT_VARIABLE} is {limit!r}; expected a number of gigabytes, for example 50") from error
    return Copies(folder, round(limit_gb * 1e9))
