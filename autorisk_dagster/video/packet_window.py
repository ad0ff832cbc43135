"""Which packets of an H.264 file a time window needs, undecoded, and whether a copy of them shows exactly that window.

Decoding can begin at an IDR picture only: nothing after it, in decoding order, refers to anything before it, and
everything before it is shown before it. A container's other key frames (the first picture of an open group, a recovery
point) do not promise that. So a window's packets are those from the last IDR picture at or before its first frame to
the last packet, in decoding order, that is shown in it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from autorisk_dagster.video.container import open_video, sound_stream, ticks_of
from autorisk_dagster.video.h264 import DamagedPacketError, Framing, has_picture, is_idr, parameter_sets

MAX_PREROLL_SEC = 5.0
"""Whoever reads a clip decodes what it hides. Beyond this, encoding ten seconds once is cheaper."""

SOUND_BEFORE_SEC = 0.25  # sound read before a window, so that AAC (overlapping frames) and a resampler have settled
_INTERLEAVE_SEC = 10.0  # how far sound may lag behind the pictures in a file before the rest of a window is given up
_MAX_REORDER = 16  # pictures that may be decoded before one that is shown earlier (H.264 A.3.1: DPB size)
_PROGRESSIVE = (0, 1)  # AV_FIELD_UNKNOWN, AV_FIELD_PROGRESSIVE


class NotCopyableError(Exception):
    """Why a window cannot be copied. Not a fault of the video: it can be encoded."""


@dataclass(frozen=True)
class PacketWindow:
    """The packets of a window; times are seconds from the video's first frame.

    Attributes:
        packets: in decoding order, the first is an IDR picture
        times: exact presentation times of those that are shown, rising
        last_sec: how long the last one is shown, as far as the file says; 0 where it does not
        following: time of the first frame after the window, None where there is none
        sound, sound_packets: the sound stream that belongs to the video and its packets around the window
    """

    video: VideoStream
    packets: list[Packet[VideoStream]]
    times: list[Fraction]
    last_sec: Fraction
    following: Fraction | None
    sound: AudioStream | None
    sound_packets: list[Packet[AudioStream]]


@contextlib.contextmanager
def packet_window(
    path: Path, origin: Fraction, start_sec: float, end_sec: float, *, with_sound: bool
) -> Iterator[PacketWindow]:
    """The packets that show the frames in [start_sec, end_sec) by presentation time; the file is open meanwhile.

    Args:
        origin: container time of the video's first frame, in seconds

    Raises:
        NotCopyableError: a copy would not play in a browser or not show exactly the window.
        VideoError: `path` is not a video.
    """
    for enter_sec in (max(0.0, start_sec - MAX_PREROLL_SEC - 1), 0.0):
        container, video = open_video(path)
        with container:
            check_codec(video)
            sound = sound_stream(container, video, path) if with_sound else None
            found = _Collector(video, origin, start_sec, end_sec)
            for packet in _demuxed(container, video, sound, origin, enter_sec):
                found.take(packet)
                if found.complete(sound is not None):
                    break
            if enter_sec and found.landed_sec > start_sec - MAX_PREROLL_SEC:
                continue  # the seek went too far (a file without an index): from the beginning, then
            yield found.window(sound)
            return


def check_codec(video: VideoStream) -> None:
    """Raise `NotCopyableError` unless the stream is what browsers play, shaped as its container says."""
    context = video.codec_context
    if context.name != "h264":
        raise NotCopyableError(f"{context.name} does not play in every browser")
    if context.pix_fmt not in ("yuv420p", "yuvj420p"):
        raise NotCopyableError(f"browsers do not play H.264 in {context.pix_fmt}")
    if context.field_order not in _PROGRESSIVE:
        raise NotCopyableError("it is interlaced")
    if (video.sample_aspect_ratio or 1) != (context.sample_aspect_ratio or 1):
        raise NotCopyableError("its container and its codec disagree on the shape of a pixel")
    if context.has_b_frames and video.container.format.name == "avi":
        raise NotCopyableError("AVI cannot order its frames")


def _demuxed(
    container: InputContainer, video: VideoStream, sound: AudioStream | None, origin: Fraction, enter_sec: float
) -> Iterator[Packet[Any]]:
    try:
        if enter_sec:
            container.seek(math.floor((origin + Fraction(enter_sec)) / ticks_of(video)), stream=video)
        for packet in container.demux([video] if sound is None else [video, sound]):
            if packet.size:
                yield packet
    except (av.error.FFmpegError, OSError) as error:
        raise NotCopyableError(f"it cannot be read without a fault there ({error.strerror})") from error


class _Collector:
    """Takes packets in file order and keeps those of the window."""

    def __init__(self, video: VideoStream, origin: Fraction, start_sec: float, end_sec: float) -> None:
        self.landed_sec = math.inf
        self._video, self._origin = video, origin
        self._start_sec, self._end_sec = start_sec, end_sec
        self._framing = Framing(video.codec_context.extradata or b"")
        self._packets: list[Packet[VideoStream]] = []  # from the last IDR picture on; empty: no near one yet
        self._needed = 0  # so many of them reach to the last one that is shown in the window
        self._faults: list[str | None] = []  # of each of them
        self._shown: dict[Fraction, Packet[VideoStream]] = {}
        self._late = 0  # pictures in a row that are shown after the window
        self._next: Fraction | None = None
        self._pictures_done = self._sound_done = False
        self._sound: list[Packet[AudioStream]] = []

    def take(self, packet: Packet[Any]) -> None:
        """Look at the next packet of the file."""
        time = None if packet.pts is None else packet.pts * ticks_of(packet) - self._origin
        if packet.stream.type == "audio":
            if time is None or self._start_sec - SOUND_BEFORE_SEC <= time < self._end_sec:
                self._sound.append(packet)
            self._sound_done |= time is not None and time >= self._end_sec
        elif time is None:
            raise NotCopyableError("its packets carry no presentation times")
        elif self._pictures_done:
            self._sound_done |= time > self._end_sec + _INTERLEAVE_SEC
        else:
            self.landed_sec = min(self.landed_sec, float(time))
            self._take_picture(packet, time)

    def complete(self, with_sound: bool) -> bool:
        """Whether nothing that follows in the file is of use."""
        return self._pictures_done and (self._sound_done or not with_sound)

    def window(self, sound: AudioStream | None) -> PacketWindow:
        """What was found.

        Raises:
            NotCopyableError: it does not make the window, and only the window.
        """
        if not self._shown:
            raise NotCopyableError("no frame is shown in it")
        if not self._packets:
            raise NotCopyableError(f"no IDR picture lies in the {MAX_PREROLL_SEC:g} s before it")
        for fault in self._faults[: self._needed]:
            if fault is not None:
                raise NotCopyableError(fault)
        times = sorted(self._shown)
        last = self._shown[times[-1]]
        last_sec = (last.duration or 0) * ticks_of(last)
        packets = self._packets[: self._needed]
        return PacketWindow(self._video, packets, times, last_sec, self._next, sound, self._sound)

    def _take_picture(self, packet: Packet[VideoStream], time: Fraction) -> None:
        idr, fault = self._judged(packet)
        after = float(time) >= self._end_sec
        within = self._start_sec <= float(time) and not after
        if within and packet.is_discard:
            fault = "its own edit list hides a frame in it"
        if within and time in self._shown:
            fault = "two of its frames have one and the same time"
        packet.is_keyframe = idr  # a reader of the clip must not enter it elsewhere either
        if idr and not self._shown:  # all before it is shown before it, so that none of it is needed
            near = time >= Fraction(self._start_sec) - Fraction(MAX_PREROLL_SEC)
            self._packets, self._faults = ([packet], [fault]) if near else ([], [])
        elif self._packets:
            self._packets.append(packet)
            self._faults.append(fault)
        if within:
            self._shown[time] = packet
            self._needed = len(self._packets)
        self._late = self._late + 1 if after else 0
        if after and not packet.is_discard:
            self._next = time if self._next is None else min(time, self._next)
        self._pictures_done = self._late > _MAX_REORDER or (idr and after)

    def _judged(self, packet: Packet[VideoStream]) -> tuple[bool, str | None]:
        """Whether decoding can begin at the packet, and what is wrong with it."""
        if packet.is_corrupt:
            return False, "a packet in it is damaged"
        try:
            units = self._framing.units(bytes(packet))
        except DamagedPacketError:
            return False, "a packet in it is damaged"
        if not has_picture(units):
            return False, "a packet in it holds no picture"
        if parameter_sets(units) - self._framing.parameter_sets:
            return is_idr(units), "its parameters change within the file"
        return is_idr(units), None
