"""How much of each track an mp4 shows: sets the length of its edit lists (ISO 14496-12, 8.6.6).

FFmpeg's muxer writes an edit list that begins at presentation time 0, so that packets before it are decoded and not
shown; it has no way to say where the shown part ends. That length is set here, in place, in the finished file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def show_until(path: Path, ticks: int, ticks_a_sec: int) -> None:
    """Let every track of an mp4 be shown over [0, ticks), counted in the movie's time scale.

    Args:
        path: a file of one edit a track, with version 0 headers (32 bit), as FFmpeg writes it for less than 2^31 ticks
        ticks_a_sec: the movie's time scale, for comparison

    Raises:
        ValueError: the file is built in another way.
    """
    with path.open("r+b") as file:
        moov, first = _movie(file, path)
        changed = bytearray(moov)
        edits = 0
        for box in (b"mvhd", b"trak/tkhd", b"trak/edts/elst"):
            for at in _find(moov, box.split(b"/")):
                if moov[at] != 0:
                    raise ValueError(f"{path.name}: {box.decode()} is of version {moov[at]}, expected 0")
                if box == b"mvhd":
                    _expect(path, struct.unpack_from(">I", moov, at + 12)[0], ticks_a_sec)
                    struct.pack_into(">I", changed, at + 16, ticks)
                elif box == b"trak/tkhd":
                    struct.pack_into(">I", changed, at + 20, ticks)
                else:
                    _expect(path, struct.unpack_from(">I", moov, at + 4)[0], 1)
                    struct.pack_into(">I", changed, at + 8, ticks)
                    edits += 1
        _expect(path, edits, sum(1 for _ in _find(moov, [b"trak"])))
        file.seek(first)
        file.write(changed)


def _movie(file: BinaryIO, path: Path) -> tuple[bytes, int]:
    """Content of the moov box, and where it begins."""
    while len(head := file.read(8)) == 8:
        size, first = int.from_bytes(head[:4], "big"), file.tell()
        if head[4:] == b"moov":
            return file.read(size - 8), first
        if size < 8:
            break
        file.seek(size - 8, 1)
    raise ValueError(f"{path.name}: no movie box")


def _find(content: bytes, kinds: list[bytes], start: int = 0, end: int | None = None) -> Iterator[int]:
    """Where the contents of boxes begin that lie at the end of the path `kinds`."""
    for kind, first, last in _boxes(content, start, len(content) if end is None else end):
        if kind == kinds[0]:
            if len(kinds) == 1:
                yield first
            else:
                yield from _find(content, kinds[1:], first, last)


def _boxes(content: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        size = int.from_bytes(content[at : at + 4], "big")
        if size < 8:
            return
        yield content[at + 4 : at + 8], at + 8, at + size
        at += size


def _expect(path: Path, found: int, wanted: int) -> None:
    if found != wanted:
        raise ValueError(f"{path.name}: not the expected kind of mp4 ({found} for {wanted})")
