"""Every way known here to make a zip say one thing to one reader and another to the next."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from autorisk_dagster.audit.container import read_container
from autorisk_dagster.audit.verify import Verdict
from tests.audit.packs import files_of, signed_pack, told, verified

Trick = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signed_pack(tmp_path_factory.mktemp("pack"))


def plain(name: str) -> zipfile.ZipInfo:
    """An entry that looks like the pack's own."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, 0o100644 << 16
    return info


def appended(raw: bytes, info: zipfile.ZipInfo | str, content: bytes = b"evil", **how: int) -> bytes:
    """`raw` with an entry added by Python's own zip writer."""
    file = io.BytesIO(raw)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(plain(info) if isinstance(info, str) else info, content, **how)
    return file.getvalue()


def records(raw: bytes) -> list[tuple[int, int]]:
    """Start and end of each record of the directory."""
    at = struct.unpack_from("<I", raw, len(raw) - 6)[0]
    found = []
    while raw[at : at + 4] == b"PK\x01\x02":
        length = 46 + sum(struct.unpack_from("<3H", raw, at + 28))
        found.append((at, at + length))
        at += length
    return found


def header(raw: bytes, number: int) -> int:
    """Where the local header of a file begins, by its number in the directory."""
    return int(struct.unpack_from("<I", raw, records(raw)[number][0] + 42)[0])


def patched(raw: bytes, at: int, content: bytes) -> bytes:
    return raw[:at] + content + raw[at + len(content) :]


def in_directory(raw: bytes, number: int, offset: int, content: bytes) -> bytes:
    """`raw` with bytes of one record of the directory replaced."""
    return patched(raw, records(raw)[number][0] + offset, content)


def redirected(raw: bytes, directory: list[bytes], body: bytes | None = None) -> bytes:
    """A zip of `raw`'s files under another directory, with an end record that fits it."""
    start = records(raw)[0][0]
    body = raw[:start] if body is None else body
    joined = b"".join(directory)
    return (
        body
        + joined
        + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(directory), len(directory), len(joined), len(body), 0)
    )


def rows(raw: bytes) -> list[bytes]:
    return [raw[start:end] for start, end in records(raw)]


def with_comment(raw: bytes) -> bytes:
    return raw[:-2] + struct.pack("<H", 5) + b"hello"


def symlink(raw: bytes) -> bytes:
    info = plain("trace/link")
    info.external_attr = 0o120777 << 16
    return appended(raw, info, b"/etc/passwd")


def entry_with(raw: bytes, **values: object) -> bytes:
    info = plain("trace/b.json")
    for name, value in values.items():
        setattr(info, name, value)
    return appended(raw, info)


def bomb(raw: bytes) -> bytes:
    return appended(raw, "trace/b.json", bytes(50_000_000), compress_type=zipfile.ZIP_DEFLATED, compresslevel=9)


def quoted_bomb(raw: bytes) -> bytes:
    """Many names for one file's bytes, as in overlapping bombs (Fifield 2019)."""
    row = rows(raw)[1]
    return redirected(raw, [*rows(raw), *(row[:46] + f"clips/{n:07d}"[:11].encode() for n in range(2000))])


def zip64_locator(raw: bytes) -> bytes:
    return raw[:-22] + b"PK\x06\x07" + bytes(16) + raw[-22:]


def hidden_between(raw: bytes) -> bytes:
    """A whole local file that no directory lists: some readers scan for it."""
    hidden = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 4, 4, 5, 0) + b"x.txt" + b"evil"
    start = records(raw)[0][0]
    return redirected(raw, rows(raw), raw[:start] + hidden)


def second_end(raw: bytes) -> bytes:
    """Two archives in one file: a reader that takes the first end record sees the other one."""
    other = appended(raw, "trace/c.json")
    return raw + other


def local_name(raw: bytes) -> bytes:
    """The header says another name than the directory: a streaming reader unpacks the other."""
    return patched(raw, header(raw, 3) + 30, b"trace/z.json")


def reordered(raw: bytes) -> bytes:
    found = rows(raw)
    return redirected(raw, [found[0], *reversed(found[1:])])


def same_name(raw: bytes, name: str) -> bytes:
    return appended(raw, name)


def nul_name(raw: bytes) -> bytes:
    return appended(raw, "trace/b.jsonX").replace(b"trace/b.jsonX", b"trace/b.json\0")


def unnamed(raw: bytes) -> bytes:
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 0, 0)
    start = records(raw)[0][0]
    row = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 3 << 8 | 20, 20, 0, 0, 0, 33, 0, 0, 0, 0, 0, 0, 0, 0, 0o100644 << 16, start
    )
    return redirected(raw, [*rows(raw), row], raw[:start] + local)


def grown(raw: bytes) -> bytes:
    return in_directory(raw, 1, 20, struct.pack("<2I", 0x7FFFFFFF, 0x7FFFFFFF))


def shrunk(raw: bytes) -> bytes:
    return in_directory(raw, 1, 20, struct.pack("<2I", 1, 1))


TRICKS: dict[str, tuple[Trick, str]] = {
    "a path that climbs": (lambda r: appended(r, "../evil.json"), "climbs out of its folder"),
    "a path that climbs later": (lambda r: appended(r, "trace/../../evil"), "climbs out of its folder"),
    "a path that climbs by backslash": (lambda r: appended(r, "..\\evil"), "climbs out of its folder"),
    "an absolute path": (lambda r: appended(r, "/etc/cron.d/evil"), "an absolute path"),
    "a drive": (lambda r: appended(r, "C:/evil"), "an absolute path"),
    "a share": (lambda r: appended(r, "\\\\host\\share\\evil"), "an absolute path"),
    "a name with a NUL": (nul_name, "a name that no pack carries"),
    "a folder": (lambda r: appended(r, "trace/"), "a name that no pack carries"),
    "a long name": (lambda r: appended(r, "a" * 300), "too long"),
    "an empty name": (unnamed, "a name that no pack carries"),
    "a second file of one name": (lambda r: same_name(r, "trace/a.json"), "a second file of the name 'trace/a.json'"),
    "the name in capitals": (lambda r: same_name(r, "TRACE/A.JSON"), "a second file of the name 'trace/a.json'"),
    "the name in wide letters": (lambda r: same_name(r, "trace/ａ.json"), "a second file of the name 'trace/a.json'"),
    "a second manifest": (lambda r: same_name(r, "manifest.json"), "a second file of the name 'manifest.json'"),
    "a second signature": (lambda r: same_name(r, "signature.dsse.json"), "a second file of the name"),
    "a symbolic link": (symlink, "a symbolic link"),
    "an encrypted file": (lambda r: in_directory(r, 1, 8, b"\1\0"), "encrypted"),
    "an encrypted header": (lambda r: patched(r, header(r, 1) + 6, b"\1\0"), "its header differs"),
    "a deflate bomb": (bomb, "compressed by deflate"),
    "an unknown method": (lambda r: in_directory(r, 1, 10, b"\x63\0"), "encrypted (AES)"),
    "a method in the header alone": (lambda r: patched(r, header(r, 1) + 8, b"\x08\0"), "or is none"),
    "a size beyond the pack": (grown, "its size is more than the pack holds"),
    "a size that hides bytes": (shrunk, "its header differs"),
    "one file under many names": (quoted_bomb, "overlaps"),
    "overlapping files": (lambda r: in_directory(r, 2, 42, struct.pack("<I", 0)), "overlaps"),
    "an offset beyond the pack": (lambda r: in_directory(r, 2, 42, struct.pack("<I", 0xFFFFFFF0)), "unlisted bytes"),
    "bytes before the pack": (lambda r: b"#!/bin/sh\n" + r, "10 bytes more than the directory knows of"),
    "bytes after the pack": (lambda r: r + b"\n", "1 bytes after the end"),
    "a comment": (with_comment, "5 bytes after the end"),
    "a comment that claims more": (lambda r: r[:-2] + b"\xff\xff", "does not fit"),
    "a comment on a file": (lambda r: entry_with(r, comment=b"note"), "comment of 4 bytes"),
    "an extra field": (lambda r: entry_with(r, extra=b"\x99\x99\x02\x00ab"), "extra field of 6 bytes"),
    "64-bit sizes": (lambda r: entry_with(r, extra=struct.pack("<HHQQ", 1, 16, 4, 4)), "extra field of 20 bytes"),
    "a 64-bit locator": (zip64_locator, "64-bit zip records"),
    "a 64-bit directory offset": (lambda r: patched(r, len(r) - 6, b"\xff\xff\xff\xff"), "64-bit zip records"),
    "several disks": (lambda r: patched(r, len(r) - 18, b"\1\0"), "more than one disk"),
    "fewer files than listed": (lambda r: patched(r, len(r) - 14, struct.pack("<2H", 9, 9)), "does not fit"),
    "a huge directory": (lambda r: patched(r, len(r) - 10, struct.pack("<I", 0xFFFFFFF0)), "bytes are missing"),
    "a hidden file": (hidden_between, "the directory begins at"),
    "two archives in one": (second_end, "more than the directory knows of"),
    "another name in the header": (local_name, "its header differs"),
    "another checksum": (lambda r: in_directory(r, 1, 16, b"\0\0\0\0"), "checksum"),
    "another order": (reordered, "not in the pack's order"),
    "a time": (lambda r: in_directory(r, 1, 12, b"\x21\x43"), "a time of its own"),
    "permissions": (lambda r: in_directory(r, 1, 38, struct.pack("<I", 0o104755 << 16)), "permissions 104755"),
    "another system": (lambda r: in_directory(r, 1, 5, b"\0"), "written by another program"),
    "a data descriptor": (lambda r: in_directory(r, 1, 8, b"\x08\0"), "flags 0x0008"),
    "UTF-8 names": (lambda r: in_directory(r, 1, 8, b"\0\x08"), "flags 0x0800"),
    "no directory": (lambda r: r[: records(r)[0][0]], "breaks off after signature.dsse.json; 5 files are whole"),
    "a directory that breaks off": (lambda r: redirected(r, [*rows(r)[:-1], rows(r)[-1][:-3]]), "breaks off after"),
    "no zip": (lambda r: b"\x7fELF" + bytes(len(r)), "this is no pack"),
    "a script": (lambda _: b"rm -rf /", "this is no pack"),
}


@pytest.mark.parametrize("trick", sorted(TRICKS))
def test_the_trick_is_found_and_named(pack: Path, tmp_path: Path, trick: str) -> None:
    play, words = TRICKS[trick]
    raw = pack.read_bytes()
    forged = play(raw)
    assert forged != raw
    (tmp_path / "pack.zip").write_bytes(forged)
    found = verified(tmp_path / "pack.zip")
    assert found.verdict == Verdict.ALTERED
    assert words in told(found)


def test_a_pack_that_another_program_packed_again_is_no_longer_the_pack(pack: Path, tmp_path: Path) -> None:
    """The same files, by Python's own writer at its defaults: nothing is missing, but the bytes are others."""
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as archive:
        for name, content in files_of(pack).items():
            archive.writestr(name, content)
    found = verified(tmp_path / "again.zip")
    assert found.verdict == Verdict.ALTERED
    assert {finding.kind for finding in found.findings} == {"container"}


def test_no_trick_makes_it_read_more_than_the_file_holds(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 names for the same bytes, and a bomb: what is read stays within the file's size and its headers."""
    import autorisk_dagster.audit.container as container

    original = container._chunks
    hashed: list[int] = []

    def counted(file: BinaryIO, size: int | None = None) -> Iterator[bytes]:
        for chunk in original(file, size):
            hashed.append(len(chunk))
            yield chunk

    monkeypatch.setattr(container, "_chunks", counted)
    for trick in (quoted_bomb, bomb, grown):
        forged = trick(pack.read_bytes())
        (tmp_path / "pack.zip").write_bytes(forged)
        hashed.clear()
        read_container(tmp_path / "pack.zip")
        assert 0 < sum(hashed) <= len(forged)
        assert max(hashed) <= container._CHUNK
