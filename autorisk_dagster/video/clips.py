"""Clip files that play in a browser: H.264 4:2:0 and AAC in mp4, index first, at the frames' true times.

A clip's time 0 is its first frame; `ClipFile.start_sec` says where in the source that is, so that clip time plus
`start_sec` is source time for every frame, whatever the frame rate does. Written with a 1/90000 s time base and without
B-frames: presentation order is coding order, so no edit list stands between a player and the timestamps.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame as DecodedFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError, VideoError
from autorisk_dagster.video.clip_sound import CLIP_AUDIO_RATE_HZ, AacTrack, ClipSound, check_aac_rate
from autorisk_dagster.video.frames import VideoFrame
from autorisk_dagster.video.reader import VideoReader
from autorisk_dagster.video.sound import AudioBlock, clipped

TICKS_A_SEC = 90_000
"""MPEG's own clock: 29.97, 30 and 25 fps are whole ticks, and any other time is off by at most 6 microseconds."""

# No macroblock tree: x264's reads memory that nobody wrote, and the same pictures come out in different bytes.
_ENCODER = {"preset": "veryfast", "crf": "24", "bf": "0", "x264-params": "mbtree=0"}
_KEY_FRAME_INTERVAL = 60  # frames: a reviewer who drags the time line lands within two seconds at 30 fps


@dataclass(frozen=True)
class ClipFile:
    """What a clip file holds: frames shown over [start_sec, end_sec) of the source's time, and whether it has sound.

    `start_sec` is the first frame's time; a frame's time in the file plus `start_sec` is its time in the source.
    `encoded_because` says why a clip that could have been a stream copy is none.
    """

    start_sec: float
    end_sec: float
    frame_count: int
    has_audio: bool
    written_by: Literal["stream_copy", "encoded"]
    encoded_because: str | None = None


class Mp4Writer:
    """An H.264 mp4 from BGR frames with explicit times, and mono sound if a rate is given.

    Frames' times must rise; the file's time 0 is the first frame. Sound is one run of samples that starts with the
    first frame; either may be written ahead of the other (what waits is held in memory, coded). An odd edge loses one
    pixel. The last frame is shown as long as the one before it, or as `close` is told. `tags` are those that mp4 knows:
    title, comment, description and the like. A writer that is left by an exception deletes its file.

    Raises:
        InputError: a time that does not rise, a frame of another size, a rate that AAC does not have, no frame.
    """

    def __init__(
        self,
        target: Path,
        width: int,
        height: int,
        audio_rate_hz: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        if width < 2 or height < 2:
            raise InputError(f"{target.name}: a video must be at least 2 x 2 px, got {width} x {height}")
        if audio_rate_hz is not None:
            check_aac_rate(target, audio_rate_hz)
        self.target = target
        self.frame_count = 0
        self._closed = False
        self._size = (width, height)
        self._first_sec = self._last_sec = math.nan
        self._waiting: Packet[VideoStream] | None = (
            None  # the last coded frame: its duration is known when the next one comes
        )
        self._output = av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"})
        self._output.metadata.update(tags or {})
        self._video = self._output.add_stream("libx264", rate=30, options=dict(_ENCODER))
        context = self._video.codec_context
        self._video.width, self._video.height, self._video.pix_fmt = width // 2 * 2, height // 2 * 2, "yuv420p"
        self._video.time_base = context.time_base = Fraction(1, TICKS_A_SEC)
        context.gop_size = _KEY_FRAME_INTERVAL
        self._audio = None if audio_rate_hz is None else AacTrack(self._output, audio_rate_hz)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abandon()
        elif not self._closed:
            self.close()

    def write(self, bgr: NDArray[np.uint8], timestamp_sec: float) -> None:
        """Add a frame, uint8 (height, width, 3), shown from `timestamp_sec` on."""
        width, height = self._size
        if bgr.shape != (height, width, 3) or bgr.dtype != np.uint8:
            raise InputError(
                f"{self.target.name}: frame must be ({height}, {width}, 3) uint8, got {bgr.shape} {bgr.dtype}"
            )
        picture = DecodedFrame.from_ndarray(np.ascontiguousarray(bgr), format="bgr24")
        self.write_picture(
            picture.reformat(width // 2 * 2, height // 2 * 2, "yuv420p", interpolation="AREA"), timestamp_sec
        )

    def write_picture(self, picture: DecodedFrame, timestamp_sec: float) -> None:
        """Add a 4:2:0 picture of the file's (even) size."""
        if self.frame_count and not timestamp_sec > self._last_sec:
            raise InputError(f"{self.target.name}: frame times must rise, got {timestamp_sec} after {self._last_sec}")
        if not self.frame_count:
            self._first_sec = timestamp_sec
            self._keep_colours(picture)
        self._last_sec = timestamp_sec
        own = picture.pts, picture.time_base, picture.duration, picture.pict_type
        picture.pts = round((timestamp_sec - self._first_sec) * TICKS_A_SEC)
        picture.time_base = Fraction(1, TICKS_A_SEC)
        picture.duration = 0
        picture.pict_type = 0  # the source's frame type is not an order to the encoder
        try:
            self._mux(self._video.encode(picture))
        finally:  # the picture may be the caller's decoded frame: hand it back as it came
            picture.pts, time_base, picture.duration, picture.pict_type = own
            if time_base is not None:  # a picture made from an array has none, and PyAV takes no None back
                picture.time_base = time_base
        self.frame_count += 1

    def write_audio(self, samples: NDArray[np.float32]) -> None:
        """Add mono samples, float (n,), full scale 1.0, that follow on from the last ones."""
        if self._audio is None:
            raise InputError(f"{self.target.name}: opened without sound")
        self._output.mux(self._audio.encoded(samples))

    def close(self, last_frame_sec: float | None = None) -> None:
        """Write the rest and the index. `last_frame_sec`: how long the last frame is shown."""
        if not self.frame_count:
            self.abandon()
            raise InputError(f"{self.target.name}: no frame was written")
        try:
            self._mux(self._video.encode(None))
            if self._waiting is not None:
                if last_frame_sec is not None:
                    self._waiting.duration = max(1, round(last_frame_sec * TICKS_A_SEC))
                self._output.mux(self._waiting)
            if self._audio is not None:
                self._output.mux(self._audio.rest())
            self._output.close()
            self._closed = True
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Give up: release the encoder and delete the file."""
        # Closing an mp4 without a frame fails in FFmpeg; the file goes either way.
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            self._output.close()
        self.target.unlink(missing_ok=True)

    def _keep_colours(self, picture: DecodedFrame) -> None:
        """Tag the file with the picture's colour matrix, so that a player turns it into the same RGB."""
        context = self._video.codec_context
        if context.is_open:
            return
        context.color_range = picture.color_range
        context.colorspace = picture.colorspace
        context.color_primaries = picture.color_primaries
        context.color_trc = picture.color_trc

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            if self._waiting is not None:
                self._output.mux(self._waiting)
            self._waiting = packet


Repaint = Callable[[NDArray[np.uint8], float], NDArray[np.uint8]]
"""From a BGR picture and its time in the source the picture to write instead."""


def cut_clip(source: Path, start_sec: float, end_sec: float, target: Path, repaint: Repaint | None = None) -> ClipFile:
    """Write the frames of `source` in [start_sec, end_sec), by presentation time, and their sound to `target`.

    Full resolution, upright, square pixels, true frame times; sound (stream or sidecar) as mono AAC. `target` is
    written directly: give a temporary name and rename. It is deleted if anything fails. `repaint` changes each picture
    on its way.

    Returns:
        What was written: `start_sec` is the first frame's time, `end_sec` is where the last frame's display ends.

    Raises:
        VideoError: `source` is not readable, or has no frame in the window.
        InputError: an empty window.
    """
    with VideoReader(source, start_sec=start_sec, end_sec=end_sec, audio_rate_hz=CLIP_AUDIO_RATE_HZ) as reader:
        early: list[AudioBlock] = []
        items = iter(reader)
        for item in items:
            if isinstance(item, VideoFrame):
                return _write_clip(reader, item, items, early, end_sec, target, repaint)
            early.append(item)
    raise VideoError(
        source, f"shows no new frame from {start_sec:g} s to {end_sec:g} s", "Choose a window inside the video"
    )


def _write_clip(
    reader: VideoReader,
    first: VideoFrame,
    items: Iterator[VideoFrame | AudioBlock],
    early: list[AudioBlock],
    end_sec: float,
    target: Path,
    repaint: Repaint | None,
) -> ClipFile:
    def shown(frame: VideoFrame) -> DecodedFrame:
        if repaint is None:
            return frame.even_yuv420p()
        return frame.even_yuv420p(repaint(frame.bgr(), frame.timestamp_sec))

    picture = shown(first)
    rate_hz = CLIP_AUDIO_RATE_HZ if reader.has_audio else None
    start = first.timestamp_sec
    with Mp4Writer(target, picture.width, picture.height, rate_hz) as writer:
        sound = ClipSound(writer.write_audio, CLIP_AUDIO_RATE_HZ)
        for block in early:
            part = clipped(block, start, math.inf, CLIP_AUDIO_RATE_HZ)
            if part is not None:
                sound.add(part)
        writer.write_picture(picture, start)
        last, shown_sec = first, first.duration_sec or reader.nominal_frame_sec
        for item in items:
            if isinstance(item, AudioBlock):
                part = clipped(item, start, math.inf, CLIP_AUDIO_RATE_HZ)
                if part is not None:
                    sound.add(part)
            else:
                writer.write_picture(shown(item), item.timestamp_sec)
                shown_sec = item.duration_sec or item.timestamp_sec - last.timestamp_sec
                last = item
            sound.write_until(start, last.timestamp_sec)
        # Where the video goes on after the window, the last frame is shown until the window closes.
        end = end_sec if reader.next_timestamp_sec is not None else min(end_sec, last.timestamp_sec + shown_sec)
        if reader.has_audio:
            sound.finish(start, end)
        writer.close(last_frame_sec=end - last.timestamp_sec)
        return ClipFile(start, float(end), writer.frame_count, reader.has_audio, "encoded")
