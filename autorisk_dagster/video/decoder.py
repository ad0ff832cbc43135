"""Packets to frames: one demux over pictures and sound, entry at any time, and what damaged data costs.

Frame threads are fast, but where a packet is damaged they drop healthy pictures that were in work beside it, at the end
of a file without an error, and how many depends on the number of threads. So at the first sign of damage (a packet that
does not decode or is marked, fewer pictures than packets at the end) the file is entered again at the key frame before
the last picture given out, and read on with one thread: the result is the same on every machine.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.frame import VideoFrame as DecodedFrame

from autorisk_dagster.errors import VideoError
from autorisk_dagster.video.clock import PacketClock
from autorisk_dagster.video.container import REENCODE, REMUX, open_video, sound_stream, ticks_of

MAX_CORRUPT_SHARE = 0.1
"""Above this share of packets that do not decode, tracks and flow would describe the damage, not the road."""

MAX_CORRUPT_ALWAYS = 3
"""So many undecodable packets are let pass in any video: a cut costs the packet it went through and its neighbours."""

_PACKETS_TO_JUDGE = 1000  # half a minute: before it, only the end of the file decides, as damage may be in one place
_PREROLL_SEC = 0.1  # decoded before a window so that AAC (overlapping frames) and the resampling filter have settled
_MAX_READ_FAULTS = 10  # demuxer errors in a row before the rest of the file is taken as gone

Item = DecodedFrame | AudioFrame


class _FirstDamageError(Exception):
    """Inside this module: a sign of damage while frame threads were at work."""


class Decoder:
    """Decoded frames and sound of a file, in file order; pictures in the order the decoder shows them.

    Attributes:
        video, sound: the streams; sound is None where there is none or it was not asked for
        first: the first picture that decodes
        start_pts: its container time, exactly, in seconds
        corrupt_video, corrupt_audio: packets that did not decode
        sound_only_until: where set (container time), pictures are left undecoded and reading ends once they pass it

    Raises:
        VideoError: no video (see `open_video`), nothing decodes, or, while reading, too much damage.
    """

    def __init__(self, path: Path, *, audio: bool, threads: int) -> None:
        self.path = path
        self.corrupt_video = self.corrupt_audio = 0
        self.sound_only_until: Fraction | None = None
        self._packets = self._sound_packets = 0
        self._counted: dict[int, int] = {}  # last decoding time counted, by stream
        self._want_audio, self._threads = audio, threads
        self._open()
        try:
            self._items = self._robust(None)
            self._head: list[Item] = []
            for item in self._items:
                self._head.append(item)
                if isinstance(item, DecodedFrame):
                    self.first = item
                    self.start_pts = self.time_of(item)
                    return
            raise VideoError(path, "holds no frame that can be decoded", REENCODE)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Release the file and the decoders."""
        self.container.close()

    def frames(self, start_sec: float) -> Iterator[Item]:
        """Everything from a key frame on from which all pictures at or after `start_sec` decode. Call once."""
        if start_sec <= 0:
            head, self._head = self._head, []
            return chain(head, self._items)
        self._items.close()
        self._head = []
        self._items = self._robust(self.start_pts + Fraction(start_sec))
        return self._items

    def time_of(self, frame: DecodedFrame) -> Fraction:
        """Container time of a picture, in seconds."""
        if frame.pts is None:
            raise VideoError(self.path, "its frames carry no timestamps", REMUX)
        return frame.pts * ticks_of(frame)

    def check_damage(self, *, at_end: bool, more_corrupt: int = 0) -> None:
        """Raise where more is damaged than may pass; `more_corrupt` pictures are counted by the caller."""
        for what, bad, packets in (
            ("video", self.corrupt_video + more_corrupt, self._packets),
            ("sound", self.corrupt_audio, self._sound_packets),
        ):
            enough = at_end or packets >= _PACKETS_TO_JUDGE
            if enough and bad > max(MAX_CORRUPT_ALWAYS, MAX_CORRUPT_SHARE * packets):
                raise VideoError(self.path, f"{bad} of {packets} {what} packets are damaged", REENCODE)

    def _open(self) -> None:
        self.container, self.video = open_video(self.path)
        self.sound: AudioStream | None = None
        try:
            if self._want_audio:
                self.sound = sound_stream(self.container, self.video, self.path)
        except VideoError:
            self.container.close()
            raise
        self.video.thread_type = "AUTO"
        self.video.thread_count = self._threads

    def _robust(self, start: Fraction | None) -> Generator[Item, None, None]:
        """From `start` (None: from where the file stands); begun again with one thread at the first damage."""
        given: Fraction | None = None
        try:
            for item in self._entered(start, forget_damage=True):
                if isinstance(item, DecodedFrame):
                    given = self.time_of(item)
                yield item
            return
        except _FirstDamageError:
            self._threads = 1
            self.container.close()
            self._open()
        for item in self._entered(start if given is None else given, forget_damage=given is None):
            if isinstance(item, DecodedFrame) and given is not None:
                time = self.time_of(item)
                if time >= given:
                    given, repeated = None, time == given
                    if not repeated:
                        yield item
                continue
            yield item

    def _entered(self, start: Fraction | None, *, forget_damage: bool) -> Iterator[Item]:
        """From a key frame on from which every picture at or after `start` decodes.

        A seek may land after the wanted time (MPEG-TS has no index; a key frame is shown later than it is decoded), so
        the first picture that comes out is looked at, and the seek is repeated further back until it is early enough.
        """
        if start is None:
            yield from self._decoded()
            return
        back = Fraction(_PREROLL_SEC) if self.sound is not None else Fraction(0)
        while start - back > self.start_pts:
            try:
                self.container.seek(math.floor((start - back) / ticks_of(self.video)), stream=self.video)
            except (av.error.FFmpegError, OSError):
                break
            before = self.corrupt_video, self.corrupt_audio
            rest = self._decoded()
            head: list[Item] = []
            for item in rest:
                head.append(item)
                if isinstance(item, DecodedFrame):
                    break
            if head and isinstance(head[-1], DecodedFrame) and self.time_of(head[-1]) <= start:
                if forget_damage:  # what lies before the landing's first picture was never asked for
                    self.corrupt_video = self.corrupt_audio = 0
                yield from chain(head, rest)
                return
            self.corrupt_video, self.corrupt_audio = before
            back = max(Fraction(1), 2 * back)
        self.container.close()
        self._open()
        yield from self._decoded()

    def _decoded(self) -> Iterator[Item]:
        due = 0  # pictures sent to the decoder and not yet out
        clock = PacketClock(self.path)
        packets = self._demuxed()
        for packet in packets:
            is_video = packet.stream.type == "video"
            if is_video and self.sound_only_until is not None:
                if packet.pts is not None and packet.pts * ticks_of(packet) > self.sound_only_until:
                    return
                continue
            threaded = is_video and self._threads != 1
            self._count(packet)
            if _is_shown(packet):
                clock.check(packet)
            if threaded and packet.is_corrupt:
                self._begin_again(packets, clock)
            try:
                out = packet.decode()
            except av.error.InvalidDataError:
                if threaded:
                    self._begin_again(packets, clock)
                self.corrupt_video += is_video
                self.corrupt_audio += not is_video
                self.check_damage(at_end=False)
            except av.error.FFmpegError as error:
                raise VideoError(self.path, f"cannot be decoded ({error.strerror})", REENCODE) from error
            else:
                yield from out
                due += is_video * (_is_shown(packet) - len(out))
                if threaded and not packet.size and due > 0:
                    self._begin_again(packets, clock)

    def _begin_again(self, packets: Iterator[Packet[Any]], clock: PacketClock) -> NoReturn:
        """Give up frame threads, once it is known that the file can be entered by time: that its clock runs forward."""
        for packet in packets:
            if _is_shown(packet):
                clock.check(packet)
        raise _FirstDamageError

    def _count(self, packet: Packet[Any]) -> None:
        """Count a packet unless it was read before: entering the file again repeats some."""
        if not packet.size or packet.dts is None:
            return
        index, dts = packet.stream.index, packet.dts
        if dts > self._counted.get(index, dts - 1):
            self._counted[index] = dts
            self._packets += packet.stream.type == "video"
            self._sound_packets += packet.stream.type == "audio"

    def _demuxed(self) -> Iterator[Packet[Any]]:
        streams = [self.video] if self.sound is None else [self.video, self.sound]
        faults = 0
        while faults < _MAX_READ_FAULTS:
            try:
                for packet in self.container.demux(*streams):
                    faults = 0
                    yield packet
                return
            except av.error.InvalidDataError:
                faults += 1
            except (av.error.FFmpegError, OSError) as error:
                raise VideoError(self.path, f"cannot be read to its end ({error.strerror})", REENCODE) from error
        for stream in streams:  # the rest is gone: take what the decoders still hold
            last: Packet[Any] = Packet()
            last.stream = stream
            yield last


def _is_shown(packet: Packet[Any]) -> bool:
    return packet.stream.type == "video" and packet.size > 0 and not packet.is_discard
