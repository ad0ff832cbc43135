"""Does a file's clock make sense: times that rise, without a step nobody could have recorded through."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

from av.packet import Packet

from autorisk_dagster.errors import VideoError
from autorisk_dagster.video.container import REMUX, SPLIT, ticks_of

MAX_GAP_SEC = 3600.0
"""A larger step between two frames is a clock that was set, not time that passed in one recording."""

_MAX_REORDER = 16  # pictures that may be decoded before one that is shown earlier (H.264 A.3.1, H.265 A.4.2: DPB size)


def check_step(path: Path, last_sec: float, next_sec: float) -> None:
    """Raise `VideoError` where two neighbouring frames' times make the file's clock meaningless."""
    if next_sec < last_sec:
        raise VideoError(path, f"its timestamps run backwards, from {last_sec:.3f} s to {next_sec:.3f} s", SPLIT)
    if next_sec - last_sec > MAX_GAP_SEC:
        raise VideoError(path, f"its timestamps jump from {last_sec:.3f} s to {next_sec:.3f} s", SPLIT)


class PacketClock:
    """Watches the packets of one video stream in file order.

    Decoding times must not fall, and a presentation time may be earlier than at most 16 before it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # In ticks, which a stream does not change: fractions cost more than all the rest of a packet.
        self._last_dts: int | None = None
        self._latest: list[int] = []  # a heap of the _MAX_REORDER + 1 latest presentation times

    def check(self, packet: Packet[Any]) -> None:
        """Raise `VideoError` where the packet's times are missing or run backwards."""
        if packet.pts is None:
            raise VideoError(self._path, "its frames carry no timestamps", REMUX)
        dts, pts = packet.dts, packet.pts
        if dts is not None:
            if self._last_dts is not None and dts < self._last_dts:
                self._check_step(packet, self._last_dts, dts)
            self._last_dts = dts
        if len(self._latest) <= _MAX_REORDER:
            heapq.heappush(self._latest, pts)
            return
        if pts < self._latest[0]:
            self._check_step(packet, max(self._latest), pts)
        heapq.heappushpop(self._latest, pts)

    def _check_step(self, packet: Packet[Any], last: int, new: int) -> None:
        tick = ticks_of(packet)
        check_step(self._path, float(last * tick), float(new * tick))
