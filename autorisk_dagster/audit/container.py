"""The pack's container: a zip with one possible form.

Every file is stored, not compressed, under a plain name, without timestamps, permissions, extra fields or comments of
its own, in one order, without a gap. So the container carries nothing beside names, order and content: the same files
give the same bytes, any other byte is a finding, and nothing is ever decompressed, whatever a forged directory claims.
Any zip program opens it (PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16).
"""

from __future__ import annotations

import hashlib
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from autorisk_dagster.errors import InputError

MANIFEST = "manifest.json"
SIGNATURE = "signature.dsse.json"
MAX_FILES = 20_000
MAX_BYTES = 0xFFFFFFFF  # of one pack: over this a zip needs its 64-bit form, which is refused

_NAME = re.compile(r"[a-z0-9_][a-z0-9._-]*(/[a-z0-9_][a-z0-9._-]*){0,3}")
_MAX_NAME = 200
_CHUNK = 1 << 20
_VERSION, _MADE_BY = 20, 3 << 8 | 20  # a reader of version 2.0; written as on Unix
_DOS_TIME, _DOS_DATE = 0, 1 << 5 | 1  # 1980-01-01, the first day a zip knows
_MODE = 0o100644 << 16  # a plain file
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCAL_SIGN, _CENTRAL_SIGN, _END_SIGN = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_ZIP64_LOCATOR = b"PK\x06\x07"
_MAX_COMMENT = 0xFFFF
_METHODS = {8: "deflate", 9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 99: "encrypted (AES)"}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was written: its kind, the file it concerns ("" for the whole pack), and what."""

    kind: str
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}: {self.detail}" if self.name else f"{self.kind}: {self.detail}"


@dataclass(frozen=True)
class Entry:
    """A file in a pack; `offset` is of its local header, `sha256` is "" where its bytes could not be read."""

    name: str
    size: int
    crc32: int
    offset: int
    sha256: str = ""

    @property
    def data_offset(self) -> int:
        """Where its bytes begin."""
        return self.offset + _LOCAL.size + len(self.name)


@dataclass
class Contents:
    """What was read of a container: its files in order, and everything that is not canonical."""

    size: int
    entries: list[Entry] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def add(self, kind: str, name: str, detail: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(kind, name, detail))


@dataclass(frozen=True)
class PackFile:
    """A file that goes into a pack: its bytes, or the path they are read from (`size` bytes from `offset`, or all)."""

    name: str
    content: bytes | Path
    offset: int = 0
    size: int | None = None

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, a mebibyte at a time."""
        if isinstance(self.content, bytes):
            yield self.content
            return
        with self.content.open("rb") as file:
            file.seek(self.offset)
            yield from _chunks(file, self.size)

    def measured(self) -> tuple[int, int, str]:
        """Its size, CRC-32 and SHA-256."""
        size, crc, digest = 0, 0, hashlib.sha256()
        for chunk in self.chunks():
            size += len(chunk)
            crc = zlib.crc32(chunk, crc)
            digest.update(chunk)
        return size, crc, digest.hexdigest()


def write_container(files: Iterable[PackFile], target: Path) -> list[Entry]:
    """Write `files` at `target`: the manifest first, the signature last, the rest by name.

    Raises:
        InputError: a name that no pack may carry, two of one name, more files or bytes than a pack may have, or a file
            that changed while it was read.
    """
    ordered = sorted(files, key=lambda file: order(file.name))
    _refuse_names([file.name for file in ordered])
    entries: list[Entry] = []
    with target.open("wb") as out:
        for file in ordered:
            size, crc, digest = file.measured()
            entry = Entry(file.name, size, crc, out.tell(), digest)
            if entry.data_offset + size > MAX_BYTES:
                raise InputError(f"the pack would be larger than {MAX_BYTES:,} bytes at {file.name}; pack fewer clips")
            out.write(_local_header(entry))
            written = hashlib.sha256()
            for chunk in file.chunks():
                out.write(chunk)
                written.update(chunk)
            if written.hexdigest() != digest:
                raise InputError(f"{file.name} changed while it was packed; build the pack again")
            entries.append(entry)
        out.write(_directory(entries, out.tell()))
    return entries


def order(name: str) -> tuple[int, str]:
    """Where a file stands in a pack."""
    return {MANIFEST: 0, SIGNATURE: 2}.get(name, 1), name


def read_container(path: Path) -> Contents:
    """Read the directory and hash every file, with bounded memory; deviations are findings, never exceptions.

    Raises:
        OSError: the file cannot be opened or read.
    """
    with path.open("rb") as file:
        contents = Contents(file.seek(0, 2))
        found = _end_record(file, contents)
        if found is None:
            _what_is_whole(file, contents)
            return contents
        directory_at, directory_size, shift = found
        entries = list(_central_records(file, contents, directory_at, directory_size))
        at, room = 0, contents.size
        for entry in entries:
            if entry.size > room:  # files that overlap must not make this read the same bytes many times over
                contents.add("container", entry.name, "its size is more than the pack holds; not read")
                contents.entries.append(entry)
                continue
            room -= entry.size
            if entry.offset != at:
                kind = "overlaps what is before it" if entry.offset < at else f"{entry.offset - at} unlisted bytes"
                contents.add("container", entry.name, f"{kind}: begins at byte {entry.offset}, expected {at}")
            contents.entries.append(_hashed(file, contents, entry, shift, directory_at))
            at = entry.data_offset + entry.size
        if at + shift != directory_at:
            contents.add("container", "", f"the files end at byte {at + shift}, the directory begins at {directory_at}")
        names = [entry.name for entry in contents.entries]
        if names != sorted(names, key=order):
            contents.add("container", "", "the files are not in the pack's order")
    return contents


def read_entry(path: Path, entry: Entry, limit: int) -> bytes:
    """The bytes of one small file of a pack.

    Raises:
        InputError: it is larger than `limit` bytes.
    """
    if entry.size > limit:
        raise InputError(f"{entry.name} has {entry.size:,} bytes, at most {limit:,} are read")
    with path.open("rb") as file:
        file.seek(entry.data_offset)
        return file.read(entry.size)


def _refuse_names(names: list[str]) -> None:
    for name in names:
        if not allowed_name(name):
            raise InputError(f"{name!r} is no name for a file in a pack: lower-case letters, digits, '_', '-', '.'")
    if len(set(names)) != len(names):
        raise InputError(f"two files of one name: {sorted({n for n in names if names.count(n) > 1})}")
    if len(names) > MAX_FILES:
        raise InputError(f"{len(names):,} files; a pack holds at most {MAX_FILES:,}")


def allowed_name(name: str) -> bool:
    """Whether a pack may carry a file of this name: relative, no dots that climb, the same on every file system."""
    return len(name) <= _MAX_NAME and _NAME.fullmatch(name) is not None


def _chunks(file: BinaryIO, size: int | None = None) -> Iterator[bytes]:
    while (size is None or size > 0) and (chunk := file.read(_CHUNK if size is None else min(_CHUNK, size))):
        size = None if size is None else size - len(chunk)
        yield chunk


def _local_header(entry: Entry) -> bytes:
    name = entry.name.encode()
    return (
        _LOCAL.pack(
            _LOCAL_SIGN, _VERSION, 0, 0, _DOS_TIME, _DOS_DATE, entry.crc32, entry.size, entry.size, len(name), 0
        )
        + name
    )


def _central_record(entry: Entry) -> bytes:
    name = entry.name.encode()
    sizes = (entry.crc32, entry.size, entry.size, len(name), 0, 0, 0, 0, _MODE, entry.offset)
    return _CENTRAL.pack(_CENTRAL_SIGN, _MADE_BY, _VERSION, 0, 0, _DOS_TIME, _DOS_DATE, *sizes) + name


def _directory(entries: list[Entry], at: int) -> bytes:
    records = b"".join(_central_record(entry) for entry in entries)
    return records + _END.pack(_END_SIGN, 0, 0, len(entries), len(entries), len(records), at, 0)


def _end_record(file: BinaryIO, contents: Contents) -> tuple[int, int, int] | None:
    """Where the directory begins, its size, and by how much everything is shifted; None where there is no end."""
    tail_at = max(0, contents.size - _END.size - _MAX_COMMENT - _CHUNK)
    file.seek(tail_at)
    tail = file.read()
    at = len(tail) - _END.size
    if at < 0 or tail[at : at + 4] != _END_SIGN:
        at = tail.rfind(_END_SIGN)
    if at < 0 or len(tail) - at < _END.size:
        return None
    _, disk, first_disk, here, total, size, offset, comment = _END.unpack_from(tail, at)
    end_at = tail_at + at
    behind = contents.size - end_at - _END.size
    if behind or comment:
        contents.add("container", "", f"{behind} bytes after the end of the directory (a comment, or appended data)")
    if tail[max(0, at - 20) : at].startswith(_ZIP64_LOCATOR) or 0xFFFFFFFF in (size, offset) or total == 0xFFFF:
        contents.add("container", "", "64-bit zip records, which no pack has")
    if disk or first_disk or here != total:
        contents.add("container", "", "more than one disk")
    shift = end_at - size - offset
    if shift < 0:
        contents.add("container", "", f"the directory would begin {-shift} bytes before its place: bytes are missing")
        return None
    if shift:
        contents.add("container", "", f"{shift} bytes more than the directory knows of (prepended or inserted data)")
    return end_at - size, size, shift


def _central_records(file: BinaryIO, contents: Contents, at: int, size: int) -> Iterator[Entry]:
    if size > MAX_FILES * (_CENTRAL.size + _MAX_NAME):
        contents.add("container", "", f"a directory of {size:,} bytes, more than a pack may have; not read")
        return
    file.seek(at)
    directory = file.read(size)
    end = file.read(_END.size)
    entries: list[Entry] = []
    seen: dict[str, str] = {}
    position = 0
    while position + _CENTRAL.size <= size and directory[position : position + 4] == _CENTRAL_SIGN:
        values = _CENTRAL.unpack_from(directory, position)
        name_length, extra, comment = values[10:13]
        length = _CENTRAL.size + name_length + extra + comment
        record = directory[position : position + length]
        raw = record[_CENTRAL.size : _CENTRAL.size + name_length]
        name = raw.decode("utf-8", "backslashreplace")
        entry = Entry(name, values[9], values[7], values[16])
        if not allowed_name(name):
            contents.add("container", name, f"a name that no pack carries ({_why_not(name)}); not read")
        elif record != _central_record(entry):
            contents.add("container", name, f"its record in the directory is not the pack's: {_unlike(values)}")
        plain = unicodedata.normalize("NFKC", name).casefold()
        if plain in seen:
            contents.add("container", name, f"a second file of the name {seen[plain]!r}")
        seen[plain] = name
        entries.append(entry)
        position += length
    if position != size:
        contents.add("container", "", f"the directory breaks off after {len(entries)} records")
    elif end != _END.pack(_END_SIGN, 0, 0, len(entries), len(entries), size, at, 0):
        contents.add("container", "", f"the end record does not fit the directory of {len(entries)} files")
    yield from entries


def _hashed(file: BinaryIO, contents: Contents, entry: Entry, shift: int, limit: int) -> Entry:
    """`entry` with the hash of its bytes, if they are stored plainly between the headers and the directory."""
    header = _local_header(entry) if entry.name.isascii() else b""
    at = entry.offset + shift
    file.seek(at)
    found = file.read(len(header))
    stored = len(found) >= _LOCAL.size and found[:4] == _LOCAL_SIGN and found[8:10] == b"\0\0"
    if found != header:
        detail = "its header differs from its record in the directory"
        contents.add("container", entry.name, detail if stored else f"{detail}, or is none; its bytes are not read")
    if not stored or not allowed_name(entry.name) or at + len(header) + entry.size > limit:
        return entry
    digest, crc = hashlib.sha256(), 0
    file.seek(at + len(header))
    for chunk in _chunks(file, entry.size):
        digest.update(chunk)
        crc = zlib.crc32(chunk, crc)
    if crc != entry.crc32:
        contents.add("container", entry.name, "its checksum (CRC-32) is another one than its record says")
    return Entry(entry.name, entry.size, entry.crc32, entry.offset + shift, digest.hexdigest())


def _what_is_whole(file: BinaryIO, contents: Contents) -> None:
    """Say where a pack without its directory breaks off."""
    at = whole = 0
    last = "before its first file"
    while at + _LOCAL.size <= contents.size and whole < MAX_FILES:
        file.seek(at)
        values = _LOCAL.unpack(file.read(_LOCAL.size))
        if values[0] != _LOCAL_SIGN:
            last = "in its directory" if values[0] == _CENTRAL_SIGN else f"at byte {at}, where no file begins"
            break
        name = file.read(min(values[9], _MAX_NAME)).decode("utf-8", "backslashreplace")
        end = at + _LOCAL.size + values[9] + values[10] + values[8]
        if end > contents.size:
            last = f"in {name}: {end - contents.size} of its bytes are missing"
            break
        whole, at, last = whole + 1, end, f"after {name}"
    file.seek(0)
    if _LOCAL_SIGN.startswith(file.read(len(_LOCAL_SIGN))):  # also of the first bytes alone, and of none
        contents.add("truncated", "", f"the pack breaks off {last}; {whole} files are whole before that")
    else:
        contents.add("container", "", "this is no pack: it neither begins nor ends like a zip")


def _why_not(name: str) -> str:
    if name.startswith(("/", "\\")) or name[1:3] in (":\\", ":/"):
        return "an absolute path"
    if ".." in re.split(r"[/\\]", name):
        return "it climbs out of its folder"
    return "letters other than a-z, 0-9, '_', '-', '.'" if len(name) <= _MAX_NAME else "too long"


def _unlike(values: tuple[int, ...]) -> str:
    """What is unusual in a record of the directory, in words."""
    _, made_by, version, flags, method, time, date, _, packed, size, _, extra, comment, disk, inner, outer, _ = values
    found = []
    if flags & 1:
        found.append("encrypted")
    if flags & ~1:
        found.append(f"flags {flags:#06x}")
    if method:
        found.append(f"compressed by {_METHODS.get(method, f'method {method}')}")
    if packed != size:
        ratio = f", {size / packed:.0f} times as much" if packed and size > packed else ""
        found.append(f"{packed:,} bytes stored, {size:,} bytes claimed{ratio}")
    if outer >> 16 & 0o170000 == 0o120000:
        found.append("a symbolic link")
    elif outer != _MODE:
        found.append(f"permissions {outer >> 16:o}")
    if (time, date) != (_DOS_TIME, _DOS_DATE):
        found.append("a time of its own")
    found += [f"{words} of {value} bytes" for words, value in (("extra field", extra), ("comment", comment)) if value]
    if (made_by, version, disk, inner) != (_MADE_BY, _VERSION, 0, 0):
        found.append("written by another program")
    return ", ".join(found) or "other bytes"
