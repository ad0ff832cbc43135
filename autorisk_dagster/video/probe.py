"""What a video file is: true duration, frame count and intervals, codec, upright size, sound, content hash.

Every packet is demuxed, because headers lie: nominal rates, durations and frame counts are not used. Only the first
second and the last group of pictures are decoded (the one full decode belongs to perception). That makes `frame_count`
the count of frames that decode also for a file whose end was cut off; damage in the middle is not seen here, the reader
counts it.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import VideoError
from autorisk_dagster.video.clock import PacketClock, check_step
from autorisk_dagster.video.container import REENCODE, REMUX, open_video, sound_stream, ticks_of
from autorisk_dagster.video.reader import VideoFrame, VideoReader
from autorisk_dagster.video.sound import decoded_peaks, find_sidecar, peak, unreadable_sound

__all__ = ["VideoFacts", "find_sidecar", "probe"]

SILENT_PEAK = 10 ** (-60 / 20)
"""-60 dBFS: above the dither and codec noise of a muted microphone (-90 to -70 dBFS peaks), far below the quietest
cabin (engine off, peaks over -50 dBFS)."""

ROUNDING_SEC = 0.002
"""Intervals that differ by no more than this are one rate: two timestamps, each rounded to a millisecond (Matroska,
FLV)."""

_HEAD_SEC = 1.0  # decoded at the start, so that leading frames without their key frame are not counted


@dataclass(frozen=True)
class VideoFacts:
    """Facts of one video file: the columns of `tables.SOURCE_VIDEO` that the ledger does not know.

    `duration_sec` reaches from the first frame's time to the end of the last frame's display. Intervals are None where
    there is one frame only. `pixel_aspect` and `rotation_deg` (clockwise) are already applied in width and height.
    """

    file_name: str
    sha256: str
    size_bytes: int
    container: str
    video_codec: str
    width_px: int
    height_px: int
    rotation_deg: int
    pixel_aspect: float
    duration_sec: float
    start_pts_sec: float
    frame_count: int
    mean_fps: float
    min_frame_interval_sec: float | None
    max_frame_interval_sec: float | None
    variable_frame_rate: bool
    audio_source: str
    audio_codec: str | None
    audio_rate_hz: int | None
    audio_channels: int | None
    audio_silent: bool | None

    def row(self) -> dict[str, Any]:
        """The facts as a row, keyed by column name."""
        return asdict(self)


@dataclass(frozen=True)
class _Packets:
    """What the demuxer says of a video stream's shown packets, in rising order of presentation time.

    Attributes:
        pts, durations: int64 (n,), in ticks; a duration of 0 is unknown
        tick: seconds a tick
        keys: pts of the key frames, rising
        nominal_sec: a frame's duration by the header's rate, 0 where there is none; used for a single frame only
    """

    pts: NDArray[np.int64]
    durations: NDArray[np.int64]
    tick: Fraction
    keys: list[int]
    nominal_sec: float
    codec: str
    container: str


@dataclass(frozen=True)
class _Sound:
    source: str
    codec: str | None = None
    rate_hz: int | None = None
    channels: int | None = None
    silent: bool | None = None


def probe(path: Path) -> VideoFacts:
    """Measure a video file.

    Raises:
        VideoError: whatever keeps the file from a correct result: missing, not a video, cut off before its index,
            nothing decodes, no timestamps, timestamps that run backwards or jump by more than an hour.
    """
    packets = _demuxed(path)
    with VideoReader(path, audio=False, end_sec=_HEAD_SEC) as reader:
        head = _pts_of(reader, packets.tick)
        start, geometry = reader.start_pts, reader.geometry
    pts = _shown(path, packets, head, start)
    times = (pts - pts[0]) * float(packets.tick)
    steps = np.diff(pts) * float(packets.tick)
    if len(steps):
        worst = int(steps.argmax())
        check_step(path, times[worst], times[worst + 1])
    last_sec = _last_duration_sec(packets, int(pts[-1]), steps)
    if last_sec <= 0:
        raise VideoError(path, "holds one frame, and nothing says for how long it is shown", REMUX)
    sound = _sound_of(path)
    return VideoFacts(
        file_name=path.name,
        sha256=_sha256(path),
        size_bytes=path.stat().st_size,
        container=packets.container,
        video_codec=packets.codec,
        width_px=geometry.width_px,
        height_px=geometry.height_px,
        rotation_deg=geometry.rotation_deg,
        pixel_aspect=geometry.pixel_aspect,
        duration_sec=float(times[-1]) + last_sec,
        start_pts_sec=float(start),
        frame_count=len(pts),
        mean_fps=float(len(steps) / times[-1]) if len(steps) else 1.0 / last_sec,
        min_frame_interval_sec=float(steps.min()) if len(steps) else None,
        max_frame_interval_sec=float(steps.max()) if len(steps) else None,
        variable_frame_rate=is_variable(steps, float(packets.tick)),
        audio_source=sound.source,
        audio_codec=sound.codec,
        audio_rate_hz=sound.rate_hz,
        audio_channels=sound.channels,
        audio_silent=sound.silent,
    )


def is_variable(intervals_sec: NDArray[np.float64], tick_sec: float) -> bool:
    """True where frame intervals differ by more than rounding explains.

    Two timestamps rounded to a tick make an interval wrong by up to one tick, so two intervals differ by up to two;
    where a tick is coarse (AVI: one frame), a missing frame is no rounding, hence the bound of a tenth of an interval.
    """
    if len(intervals_sec) < 2:
        return False
    rounding = max(ROUNDING_SEC, min(2 * tick_sec, 0.1 * float(np.median(intervals_sec))))
    return bool(np.ptp(intervals_sec) > rounding + 1e-9)


def _demuxed(path: Path) -> _Packets:
    pts: list[int] = []
    durations: list[int] = []
    keys: list[int] = []
    clock = PacketClock(path)
    container, video = open_video(path)
    with container:
        tick = ticks_of(video)
        try:
            for packet in container.demux(video):
                if not packet.size or packet.is_discard:
                    continue
                clock.check(packet)
                pts.append(cast(int, packet.pts))
                durations.append(packet.duration or 0)
                if packet.is_keyframe:
                    keys.append(pts[-1])
        except av.error.InvalidDataError:
            pass  # the demuxer lost its way: what came before is judged by decoding the end
        except av.error.FFmpegError as error:
            raise VideoError(path, f"cannot be read to its end ({error.strerror})", REENCODE) from error
        rate = video.average_rate or video.guessed_rate
        codec, name = video.codec_context.name, container.format.name
    order = np.argsort(np.array(pts, np.int64), kind="stable")
    return _Packets(
        pts=np.array(pts, np.int64)[order],
        durations=np.array(durations, np.int64)[order],
        tick=tick,
        keys=sorted(keys),
        nominal_sec=float(1 / rate) if rate else 0.0,
        codec=codec,
        container=name,
    )


def _shown(path: Path, packets: _Packets, head: list[int], start: Fraction) -> NDArray[np.int64]:
    """Presentation times, in ticks, of the frames a viewer gets: head and last group decoded, packets between them."""
    first = round(start / packets.tick)
    last_key = max((key for key in packets.keys if key > first), default=first)
    with VideoReader(path, audio=False, start_sec=float((last_key - first) * packets.tick)) as reader:
        tail = _pts_of(reader, packets.tick)
    head_end = min(first + math.ceil(_HEAD_SEC / packets.tick), last_key)
    middle = packets.pts[(packets.pts >= head_end) & (packets.pts < last_key)]
    ends = [pts for pts in head if pts < head_end] + tail
    return np.unique(np.concatenate([np.array(ends, np.int64), middle]))


def _pts_of(reader: VideoReader, tick: Fraction) -> list[int]:
    return [
        round((Fraction(item.timestamp_sec) + reader.start_pts) / tick)
        for item in reader
        if isinstance(item, VideoFrame)
    ]


def _last_duration_sec(packets: _Packets, last_pts: int, steps: NDArray[np.float64]) -> float:
    """How long the last frame is shown: by its packet, else like the frame before, else (one frame) by the header."""
    at = int(np.searchsorted(packets.pts, last_pts))
    if at < len(packets.pts) and packets.pts[at] == last_pts and packets.durations[at] > 0:
        return float(packets.durations[at] * packets.tick)
    return float(steps[-1]) if len(steps) else packets.nominal_sec


def _sound_of(path: Path) -> _Sound:
    container, video = open_video(path)
    with container:
        stream = sound_stream(container, video, path)
        if stream is not None:
            context = stream.codec_context
            facts = context.name, context.sample_rate, context.layout.nb_channels
            return _Sound(
                "stream", *facts, silent=all(level < SILENT_PEAK for level in decoded_peaks(container, stream))
            )
    sidecar = find_sidecar(path)
    return _Sound("none") if sidecar is None else _sidecar_facts(sidecar)


def _sidecar_facts(sidecar: Path) -> _Sound:
    import soundfile

    try:
        with soundfile.SoundFile(str(sidecar)) as file:
            codec = f"{file.format} {file.subtype}".lower()
            blocks = file.blocks(blocksize=file.samplerate, dtype="float32", always_2d=True)
            silent = all(peak(block) < SILENT_PEAK for block in blocks)
            return _Sound("sidecar", codec, file.samplerate, file.channels, silent)
    except (soundfile.LibsndfileError, OSError) as error:
        raise unreadable_sound(sidecar, error) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
