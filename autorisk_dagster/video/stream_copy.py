"""Evidence clips: the recorder's own packets, copied where the copy shows exactly the window, else encoded anew.

A copy begins at an IDR picture up to 5 s before the window and ends with the last packet that the window needs. An edit
list hides what lies outside the window: those pictures are in the file, a player decodes them and does not show them
(tried: Chromium, FFmpeg by PyAV, OpenCV). The display matrix and the pixel aspect are carried over.

Copied is progressive H.264 of 8 bit 4:2:0 with one set of parameters. Not copied: H.265, for which Chromium has no
decoder of its own; VP9 and AV1, which play in Chromium but not in every browser, and may change size between key
frames; and what a browser does not play anyway. For sound see `copied_sound`.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.packet import Packet
from av.video.stream import VideoStream

from autorisk_dagster.video import edit_list
from autorisk_dagster.video.clips import ClipFile, cut_clip
from autorisk_dagster.video.container import ticks_of
from autorisk_dagster.video.copied_sound import sound_packets
from autorisk_dagster.video.packet_window import NotCopyableError, PacketWindow, packet_window
from autorisk_dagster.video.reader import VideoReader
from autorisk_dagster.video.sound import find_sidecar

_MIN_CLOCK_HZ = 10_000
_MAX_TICKS = 1 << 31  # beyond it FFmpeg writes 64 bit headers


def write_clip(source: Path, start_sec: float, end_sec: float, target: Path) -> ClipFile:
    """Write the frames of `source` in [start_sec, end_sec), by presentation time, and their sound to `target`.

    By stream copy where that is exact, else as `cut_clip` does; `ClipFile.encoded_because` says why. The same source
    and window give the same bytes.

    Raises:
        VideoError: `source` is not readable, or has no frame in the window.
        InputError: an empty window.
    """
    try:
        return copy_clip(source, start_sec, end_sec, target)
    except NotCopyableError as why:
        return replace(cut_clip(source, start_sec, end_sec, target), encoded_because=str(why))


def copy_clip(source: Path, start_sec: float, end_sec: float, target: Path) -> ClipFile:
    """As `write_clip`, by stream copy or not at all: pixels and times of the frames are the source's own.

    Raises:
        NotCopyableError: the copy would not show exactly the window, or would not play in a browser.
        VideoError, InputError: as `write_clip`.
    """
    with VideoReader(source, start_sec=start_sec, end_sec=end_sec) as reader:
        origin, has_audio = reader.start_pts, reader.has_audio
        nominal_sec = reader.nominal_frame_sec
    sidecar = find_sidecar(source) if reader.audio_source == "sidecar" else None
    with packet_window(source, origin, start_sec, end_sec, with_sound=has_audio and sidecar is None) as window:
        start = window.times[0]
        end = (
            end_sec
            if window.following is not None
            else min(end_sec, float(window.times[-1] + _last_sec(window, nominal_sec)))
        )
        clock_hz = _clock_hz(window)
        # Frames lie on ticks. The last one must be let in and the following one not, whatever rounding made of `end`.
        ticks = max(round((Fraction(end) - start) * clock_hz), int((window.times[-1] - start) * clock_hz) + 1)
        if window.following is not None:
            ticks = min(ticks, int((window.following - start) * clock_hz))
        if ticks >= _MAX_TICKS:
            raise NotCopyableError(f"its clock of {clock_hz} Hz does not fit an mp4 of that length")
        options = {
            "movflags": "+faststart",
            "fflags": "+bitexact",  # no version of FFmpeg in the file
            "video_track_timescale": str(clock_hz),
            "movie_timescale": str(clock_hz),
        }
        output = av.open(str(target), "w", format="mp4", options=options)
        try:
            with output:
                video = output.add_stream_from_template(window.video, opaque=True)
                sound = sound_packets(output, window, sidecar, origin, start, end) if has_audio else []
                pictures = _retimed(window, video, origin, clock_hz, ticks)
                parts: list[list[Packet[Any]]] = [pictures, sound]
                for packet in heapq.merge(*parts, key=_decoding_time):
                    output.mux(packet)
            edit_list.show_until(target, ticks, clock_hz)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        return ClipFile(float(start), end, len(window.times), has_audio, "stream_copy")


def _clock_hz(window: PacketWindow) -> int:
    """A time scale in which every frame's time is a whole number, fine enough for the sound's edges."""
    clock_hz = ticks_of(window.packets[0]).denominator
    while clock_hz < _MIN_CLOCK_HZ:
        clock_hz *= 2
    return clock_hz


def _last_sec(window: PacketWindow, nominal_sec: float) -> Fraction:
    """How long the last frame is shown: as the file says, else like the one before, else by the header's rate."""
    if window.last_sec or len(window.times) < 2:
        return window.last_sec or Fraction(nominal_sec)
    return window.times[-1] - window.times[-2]


def _retimed(
    window: PacketWindow, stream: VideoStream, origin: Fraction, clock_hz: int, ticks: int
) -> list[Packet[VideoStream]]:
    """The window's packets as `stream` takes them: presentation time 0 is the first shown frame, `ticks` the end.

    Containers write decoding times badly or not at all, so they are made anew: the n-th picture to be decoded gets the
    n-th presentation time, less the smallest delay with which nothing is shown before it is decoded. An mp4 says how
    long a frame is shown by the step to the next decoding time; for the last frame that step is set right.
    """
    offset = origin + window.times[0]
    shown = [round(((packet.pts or 0) * ticks_of(packet) - offset) * clock_hz) for packet in window.packets]
    rising = sorted(shown)
    # Hidden pictures behind the end follow on tick by tick: Chromium lets a clip last until the latest of them.
    behind = {pts: ticks + number for number, pts in enumerate(pts for pts in rising if pts >= ticks)}
    shown, rising = [behind.get(pts, pts) for pts in shown], [behind.get(pts, pts) for pts in rising]
    delay = max(dts - pts for dts, pts in zip(rising, shown, strict=True))
    decoded = [dts - delay for dts in rising]
    last = max(range(len(shown)), key=lambda index: (shown[index] < ticks, shown[index]))
    last_ticks = ticks - shown[last]
    if last + 1 < len(decoded):
        longer = last_ticks - (decoded[last + 1] - decoded[last])
        for index in range(len(decoded)):  # decoding times may be made earlier, never later
            decoded[index] -= max(longer, 0) if index <= last else max(-longer, 0)
    for packet, pts, dts in zip(window.packets, shown, decoded, strict=True):
        packet.time_base = Fraction(1, clock_hz)
        packet.pts, packet.dts, packet.duration = pts, dts, last_ticks
        packet.stream = stream
    return window.packets


def _decoding_time(packet: Packet[Any]) -> Fraction:
    return (packet.dts or 0) * ticks_of(packet)
