"""The sound beside copied pictures: AAC packets as they are where they follow on without a gap, else encoded.

Copied is AAC-LC that covers the clip: browsers play it, and its packets are 1024 samples each, so that their times are
counted. Everything else (other codecs, gaps, sound that begins late, a sidecar) is laid onto the clip's time line and
encoded as mono AAC, as in an encoded clip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from numpy.typing import NDArray

from autorisk_dagster.video.clip_sound import CLIP_AUDIO_RATE_HZ, AacTrack, ClipSound
from autorisk_dagster.video.container import ticks_of
from autorisk_dagster.video.packet_window import PacketWindow
from autorisk_dagster.video.sound import CLOCK_TOLERANCE_SEC, AudioBlock, Resampler, clipped, sidecar_blocks

_FRAME = 1024  # samples in a packet of AAC-LC (ISO 14496-3, 4.5.1.1)


def sound_packets(
    output: OutputContainer,
    window: PacketWindow,
    sidecar: Path | None,
    origin: Fraction,
    start: Fraction,
    end_sec: float,
) -> list[Packet[AudioStream]]:
    """Adds a sound stream to `output` and returns its packets; the clip shows [start, end_sec) of the video.

    Args:
        sidecar: the sound file to take; None: the window's own sound
        origin: container time of the video's first frame, in seconds

    Raises:
        VideoError: the sidecar cannot be read.
    """
    if sidecar is None and window.sound is not None:
        copied = _covering(window.sound, window.sound_packets, origin + start, origin + Fraction(end_sec))
        if copied:
            return _retimed(copied, window.sound, output.add_stream_from_template(window.sound), origin + start)
        blocks = _decoded(window.sound_packets, origin)
    elif sidecar is not None:
        blocks = sidecar_blocks(sidecar, float(start), end_sec, CLIP_AUDIO_RATE_HZ)
    else:
        raise ValueError("there is no sound")
    return _encoded(output, blocks, float(start), end_sec)


def _covering(
    sound: AudioStream, packets: list[Packet[AudioStream]], start: Fraction, end: Fraction
) -> list[Packet[AudioStream]]:
    """The packets to copy for [start, end) of container time; none where they are to be encoded."""
    context = sound.codec_context
    if context.name != "aac" or context.profile != "LC" or context.frame_size != _FRAME:
        return []
    if any(packet.is_corrupt or packet.pts is None for packet in packets):
        return []
    if len({_adts_parameters(bytes(packet)) for packet in packets}) != 1:
        return []
    times = [packet.pts * ticks_of(packet) for packet in packets if packet.pts is not None]
    before = [index for index, time in enumerate(times) if time <= start]
    if not before:
        return []
    first = max(0, before[-1] - 1)  # a packet's first half needs the one before it
    counted = [times[first] + Fraction(_FRAME * n, context.sample_rate) for n in range(len(times) - first + 1)]
    tolerance = Fraction(CLOCK_TOLERANCE_SEC)
    steady = all(abs(time - due) <= tolerance for time, due in zip(times[first:], counted, strict=False))
    return packets[first:] if steady and counted[-1] >= end - tolerance else []


def _adts_parameters(packet: bytes) -> bytes:
    """Profile, rate and channels of a packet with an ADTS header (ISO 13818-7, 6.2.1), empty for one without."""
    if len(packet) > 3 and packet[0] == 0xFF and packet[1] & 0xF6 == 0xF0:
        return bytes((packet[2] & 0xFD, packet[3] & 0xC0))
    return b""


def _retimed(
    packets: list[Packet[AudioStream]], sound: AudioStream, stream: AudioStream, start: Fraction
) -> list[Packet[AudioStream]]:
    rate_hz = sound.codec_context.sample_rate
    at = round(((packets[0].pts or 0) * ticks_of(packets[0]) - start) * rate_hz)
    for number, packet in enumerate(packets):
        packet.time_base = Fraction(1, rate_hz)
        packet.pts = packet.dts = at + number * _FRAME
        packet.duration = _FRAME
        packet.stream = stream
    return packets


def _decoded(packets: list[Packet[AudioStream]], origin: Fraction) -> Iterator[AudioBlock]:
    """Mono blocks of the packets; one that does not decode leaves a gap."""
    resampler = Resampler(CLIP_AUDIO_RATE_HZ)
    for packet in packets:
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            yield from resampler.push(frame, None if frame.pts is None else frame.pts * ticks_of(frame) - origin)
    yield from resampler.flush()


def _encoded(
    output: OutputContainer, blocks: Iterator[AudioBlock], start_sec: float, end_sec: float
) -> list[Packet[AudioStream]]:
    track = AacTrack(output, CLIP_AUDIO_RATE_HZ)
    packets: list[Packet[AudioStream]] = []

    def write(samples: NDArray[np.float32]) -> None:
        packets.extend(track.encoded(samples))

    sound = ClipSound(write, CLIP_AUDIO_RATE_HZ)
    for block in blocks:
        part = clipped(block, start_sec, math.inf, CLIP_AUDIO_RATE_HZ)
        if part is not None:
            sound.add(part)
    sound.finish(start_sec, end_sec)
    return packets + track.rest()
