"""One pass over a video: frames and sound from one demux, in file order, streaming, with true times.

Time 0 is the presentation timestamp of the first frame that decodes; sound before it is cut off. Frames come in
presentation order with strictly rising times; of frames with one and the same time the first is given out (a viewer can
only be shown one). A forward gap of up to an hour stays in the times; times that run backwards are an error.
Memory does not grow with the video's length. What damaged data cost is counted, never hidden, and bounded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame as DecodedFrame

from autorisk_dagster.errors import InputError
from autorisk_dagster.threads import thread_budget
from autorisk_dagster.video.clock import check_step
from autorisk_dagster.video.container import geometry_of, ticks_of
from autorisk_dagster.video.decoder import Decoder
from autorisk_dagster.video.frames import Scalers, VideoFrame
from autorisk_dagster.video.sound import (
    AUDIO_RATE_HZ,
    AudioBlock,
    Resampler,
    find_sidecar,
    in_window,
    sidecar_blocks,
)

__all__ = ["AUDIO_RATE_HZ", "AudioBlock", "VideoFrame", "VideoReader"]

_INTERLEAVE_SEC = 10.0  # how far sound may lag behind the pictures in a file before the rest of a window is given up


class VideoReader:
    """Frames and sound of a video file in one pass.

    >>> with VideoReader(path) as reader:            # doctest: +SKIP
    ...     for item in reader:
    ...         if isinstance(item, VideoFrame): ...

    Frames lie in [start_sec, end_sec) by presentation time, and so do the sound's samples. With `start_sec` the file is
    entered at the key frame before it. Frames and sound come as they lie in the file: either may be ahead by about a
    second. Sound may go on after the last frame, as it does in the file. Where the video has no sound stream, a .wav or
    .flac of the same stem beside it is read in step with the frames. One pass: iterate once.

    Args:
        path: video file
        audio: False leaves the sound alone
        threads: decoder threads, 0 for the process's budget (`autorisk_dagster.threads`)
        start_sec, end_sec: window, seconds from the first frame
        audio_rate_hz: rate of the sound

    Attributes:
        start_pts: container time of the first frame, exactly, in seconds
        geometry: how the first frame is shown; later frames are scaled to it
        nominal_frame_sec: a frame's duration by the header's rate, 0 where there is none; for a lone frame only
        frames_decoded: frames given out so far
        next_timestamp_sec: time of the first frame at or after `end_sec`; None until it was met

    Raises:
        VideoError: on construction for files that are no video, while iterating for backward times, a step over
            an hour or too much damage.
        InputError: an empty window.
    """

    def __init__(
        self,
        path: Path,
        *,
        audio: bool = True,
        threads: int = 0,
        start_sec: float = 0.0,
        end_sec: float = math.inf,
        audio_rate_hz: int = AUDIO_RATE_HZ,
    ) -> None:
        if not 0 <= start_sec < end_sec:
            raise InputError(f"window must be 0 <= start_sec < end_sec, got [{start_sec}, {end_sec})")
        self.path = path
        self.frames_decoded = 0
        self.next_timestamp_sec: float | None = None
        self._window = (start_sec, end_sec)
        self._rate_hz = audio_rate_hz
        budget = thread_budget()
        self._scalers = Scalers(budget.pictures)
        self._started = False
        self._damaged_frames = 0
        self._decoder = Decoder(path, audio=audio, threads=threads or budget.decoder)
        video = self._decoder.video
        self._sidecar = find_sidecar(path) if audio and self._decoder.sound is None else None
        self.start_pts = self._decoder.start_pts
        self.geometry = geometry_of(self._decoder.first, video)
        rate = video.average_rate or video.guessed_rate
        self.nominal_frame_sec = float(1 / rate) if rate else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file and the decoders."""
        self._decoder.close()

    @property
    def has_audio(self) -> bool:
        """There is sound, from the stream or a sidecar, and it was asked for."""
        return self._decoder.sound is not None or self._sidecar is not None

    @property
    def audio_source(self) -> str:
        """ "stream", "sidecar" or "none"."""
        return "stream" if self._decoder.sound is not None else "sidecar" if self._sidecar is not None else "none"

    @property
    def corrupt_frames(self) -> int:
        """Video packets that did not decode, and frames that the decoder marked as damaged or gave late, so far."""
        return self._decoder.corrupt_video + self._damaged_frames

    @property
    def corrupt_audio(self) -> int:
        """Sound packets that did not decode, so far: each leaves a gap in the sound."""
        return self._decoder.corrupt_audio

    def __iter__(self) -> Iterator[VideoFrame | AudioBlock]:
        if self._started:
            raise RuntimeError("VideoReader is one pass: open the file again to read it again")
        self._started = True
        return self._items()

    def _items(self) -> Iterator[VideoFrame | AudioBlock]:
        start, end = self._window
        sidecar = sidecar_blocks(self._sidecar, start, end, self._rate_hz) if self._sidecar else iter(())
        beside = next(sidecar, None)
        resampler = Resampler(self._rate_hz)
        last: Fraction | None = None
        origin_sec = float(self.start_pts)
        for item in self._decoder.frames(start):
            if isinstance(item, AudioFrame):
                # A float's error after a day, 1e-11 s, is a millionth of a sample.
                at = None if item.pts is None else float(item.pts * ticks_of(item)) - origin_sec
                yield from in_window(resampler.push(item, at), start, end, self._rate_hz)
                if at is not None and at >= end and self.next_timestamp_sec is not None:
                    break
                continue
            time = self._decoder.time_of(item) - self.start_pts
            if not self._follows(time, last):
                continue
            last = time
            timestamp_sec = float(time)
            if timestamp_sec < start or self.next_timestamp_sec is not None:
                continue
            if timestamp_sec >= end:
                self.next_timestamp_sec = timestamp_sec
                if self._decoder.sound is None:
                    break
                self._decoder.sound_only_until = self.start_pts + Fraction(end + _INTERLEAVE_SEC)
                continue
            yield self._frame(item, timestamp_sec)
            while beside is not None and beside.start_sec <= timestamp_sec:
                yield beside
                beside = next(sidecar, None)
        self._decoder.check_damage(at_end=True, more_corrupt=self._damaged_frames)
        yield from in_window(resampler.flush(), start, end, self._rate_hz)
        while beside is not None and self.frames_decoded:
            # The last frame is on screen for a while: its share of the sidecar is at most one more second.
            if self.next_timestamp_sec is None and last is not None and beside.start_sec > last + 1:
                break
            yield beside
            beside = next(sidecar, None)

    def _follows(self, time: Fraction, last: Fraction | None) -> bool:
        """True where a frame is to be shown after the last one; False for a second one at the same time."""
        if last is None:
            return True
        if time < last and self.corrupt_frames:
            self._damaged_frames += 1  # a decoder that lost pictures also puts out late ones
            return False
        check_step(self.path, float(last), float(time))
        return time > last

    def _frame(self, picture: DecodedFrame, timestamp_sec: float) -> VideoFrame:
        self._damaged_frames += picture.is_corrupt
        self.frames_decoded += 1
        return VideoFrame(self.frames_decoded - 1, timestamp_sec, picture, self.geometry, self._scalers)
