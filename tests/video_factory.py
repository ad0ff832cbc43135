"""Small real video files for tests: every shape of good and bad input, written with PyAV.

Frames carry their number as ten black or white blocks (binary, most significant first) over a dim picture that says
which way is up, so that a test can tell which frame it holds after any decoding, turning, scaling or clipping.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from numpy.typing import NDArray

SHARED_VIDEO = Path(__file__).parents[1].parent / "shared" / "data" / "video"
COUNTER_BITS = 10
TICKS = 90_000


def counter_picture(number: int, width: int = 160, height: int = 90) -> NDArray[np.uint8]:
    """BGR picture of `number`: blocks in the upper half; below, the left half blue and the right half red."""
    picture = np.zeros((height, width, 3), np.uint8)
    edges = np.linspace(0, width, COUNTER_BITS + 1).round().astype(int)
    for bit, (left, right) in enumerate(pairwise(edges)):
        picture[: height // 2, left:right] = 235 if number >> (COUNTER_BITS - 1 - bit) & 1 else 20
    picture[height // 2 :, : width // 2, 0] = 200
    picture[height // 2 :, width // 2 :, 2] = 200
    return picture


def noisy_counters(count: int, width: int = 160, height: int = 90) -> list[NDArray[np.uint8]]:
    """Counter pictures under noise: no two are alike, and a decoder that lacks one shows it in those that follow."""
    noise = np.random.default_rng(0)
    pictures = (counter_picture(number, width, height).astype(int) for number in range(count))
    return [np.clip(p + noise.integers(-12, 13, p.shape), 0, 255).astype(np.uint8) for p in pictures]


def read_counter(gray: NDArray[np.uint8]) -> int:
    """The number in a grey, upright picture made by `counter_picture`, whatever its size."""
    height, width = gray.shape
    centres = ((np.arange(COUNTER_BITS) + 0.5) * width / COUNTER_BITS).astype(int)
    row = gray[height // 8 : height // 4 + 1].mean(axis=0)
    return int("".join("1" if row[at] > 128 else "0" for at in centres), 2)


def tone(seconds: float, rate_hz: int = 48_000, hz: float = 440.0, level: float = 0.5) -> NDArray[np.float32]:
    """Mono sine, float32 (n,)."""
    return (level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def write_video(
    path: Path,
    times_sec: Sequence[float],
    *,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    size: tuple[int, int] = (160, 90),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    container: str | None = None,
    time_base: Fraction = Fraction(1, TICKS),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotate_counter_clockwise: int = 0,
    pixel_aspect: Fraction | None = None,
    full_range: bool = False,
    sound: NDArray[np.float32] | None = None,
    sound_rate_hz: int = 48_000,
    sound_codec: str = "aac",
    sound_start_sec: float = 0.0,
    data: bool = False,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write counter pictures (or `pictures`) at `times_sec`; `sound` is float32 (n,) or (channels, n)."""
    chosen = {"preset": "ultrafast", "g": "12", "crf": "10"} if codec == "libx264" else {}
    with av.open(str(path), "w", format=container, options=container_options) as output:
        output.metadata.update(metadata or {})
        video = output.add_stream(codec, rate=30, options=chosen | (options or {}))
        video.width, video.height = size
        video.pix_fmt = pixels
        context = video.codec_context
        video.time_base = context.time_base = time_base
        if codec == "libx264" and "bf" not in (options or {}):
            context.max_b_frames = 2
        if pixel_aspect is not None:
            context.sample_aspect_ratio = pixel_aspect
        if full_range:
            context.color_range = 2
        if rotate_counter_clockwise:
            video.set_display_rotation(rotate_counter_clockwise)
        audio = None
        if sound is not None:
            sound = np.atleast_2d(sound)
            layout = {1: "mono", 2: "stereo"}[len(sound)]
            audio = output.add_stream(sound_codec, rate=sound_rate_hz, layout=layout)
        extra = output.add_data_stream("klv") if data else None
        for index, time_sec in enumerate(times_sec):
            bgr = counter_picture(index, *size) if pictures is None else pictures[index]
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(bgr), format="bgr24")
            frame = frame.reformat(format=pixels, dst_color_range="JPEG" if full_range else None)
            frame.pts, frame.time_base = round(time_sec / time_base), time_base
            output.mux(video.encode(frame))
            if extra is not None:
                packet = av.Packet(b"position")
                packet.stream, packet.time_base = extra, Fraction(1, TICKS)
                packet.pts = packet.dts = round(time_sec * TICKS)
                output.mux(packet)
        output.mux(video.encode(None))
        if audio is not None and sound is not None:
            for first in range(0, sound.shape[1], 4096):
                block = AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, first : first + 4096]), "fltp", layout)
                block.sample_rate, block.time_base = sound_rate_hz, Fraction(1, sound_rate_hz)
                block.pts = first + round(sound_start_sec * sound_rate_hz)
                output.mux(audio.encode(block))
            output.mux(audio.encode(None))
    return path


def steady(count: int, rate_hz: float, start_sec: float = 0.0) -> list[float]:
    """Times of `count` frames at a constant rate."""
    return [start_sec + index / rate_hz for index in range(count)]


def cut_off(path: Path, target: Path, share: float) -> Path:
    """The first `share` of a file's bytes."""
    content = path.read_bytes()
    target.write_bytes(content[: int(len(content) * share)])
    return target


def joined(parts: Sequence[Path], target: Path) -> Path:
    """MPEG-TS files one after the other, as a recorder that goes on in the same file writes them."""
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target


def remuxed(
    source: Path, target: Path, *, then: Path | None = None, without_sound: tuple[float, float] = (0.0, 0.0)
) -> Path:
    """The same packets in another file: followed by those of `then`, and less the sound in a span of seconds."""
    with av.open(str(source)) as file, av.open(str(target), "w") as output:
        streams = [stream for stream in file.streams if stream.type in ("video", "audio")]
        outputs = {stream.index: output.add_stream_from_template(stream, opaque=True) for stream in streams}
        for part in (source,) if then is None else (source, then):
            with av.open(str(part)) as again:
                for packet in again.demux([again.streams[index] for index in outputs]):
                    if packet.dts is None or packet.pts is None:
                        continue
                    lost = without_sound[0] <= packet.pts * packet.time_base < without_sound[1]
                    if not (lost and packet.stream.type == "audio"):
                        packet.stream = outputs[packet.stream.index]
                        output.mux(packet)
    return target


def with_damage(path: Path, target: Path, *, start_share: float, length: int, seed: int = 0) -> Path:
    """A copy with `length` bytes of noise at `start_share` of the file."""
    content = bytearray(path.read_bytes())
    first = int(len(content) * start_share)
    content[first : first + length] = np.random.default_rng(seed).bytes(len(content[first : first + length]))
    target.write_bytes(content)
    return target


def repeat_video(source: Path, target: Path, seconds: float) -> Path:
    """Packets of `source` over and over, without re-encoding, at true rising times, until `seconds` are filled."""
    with av.open(str(target), "w", format="mp4") as output, av.open(str(source)) as first:
        kept = [stream for stream in first.streams if stream.type in ("video", "audio")]
        outputs = {stream.index: output.add_stream_from_template(stream, opaque=True) for stream in kept}
        video = next(stream for stream in kept if stream.type == "video")
        shown = [packet for packet in first.demux(video) if packet.pts is not None]
        length = Fraction(max(packet.pts + (packet.duration or 0) for packet in shown)) * shown[0].time_base
        last_dts: dict[int, int] = {}
        offset = Fraction(0)
        while offset < Fraction(seconds):
            with av.open(str(source)) as again:
                for packet in again.demux([again.streams[stream.index] for stream in kept]):
                    if packet.dts is None or packet.pts is None:
                        continue
                    index, shift = packet.stream.index, round(offset / packet.time_base)
                    dts = packet.dts + shift
                    if dts <= last_dts.get(index, -(1 << 60)):
                        continue  # the sound's last packet overlaps the next round's first
                    if packet.stream.type == "audio" and packet.dts * packet.time_base >= length:
                        continue
                    last_dts[index] = packet.dts = dts
                    packet.pts += shift
                    packet.stream = outputs[index]
                    output.mux(packet)
            offset += length
    return target
