"""Frames and sound of one pass: which, when, and what they show."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from autorisk_dagster.errors import InputError, VideoError
from autorisk_dagster.video.decoder import MAX_CORRUPT_SHARE, Decoder
from autorisk_dagster.video.reader import AUDIO_RATE_HZ, AudioBlock, VideoFrame, VideoReader
from tests.video_factory import counter_picture, cut_off, joined, read_counter, steady, tone, with_damage, write_video


def frames_of(path: Path, **window: float) -> list[tuple[int, float, int]]:
    """(index, time, burnt-in number) of every frame."""
    with VideoReader(path, audio=False, **window) as reader:
        return [
            (item.index, item.timestamp_sec, read_counter(item.gray(90)))
            for item in reader
            if isinstance(item, VideoFrame)
        ]


def sound_of(path: Path, **window: float) -> tuple[float, np.ndarray]:
    """Start time and samples of all sound; fails on a gap or an overlap."""
    with VideoReader(path, **window) as reader:
        blocks = [item for item in reader if isinstance(item, AudioBlock)]
    end = blocks[0].start_sec
    for block in blocks:
        assert block.start_sec == pytest.approx(end, abs=1e-9)
        assert block.samples.dtype == np.float32 and block.samples.ndim == 1
        end = block.start_sec + len(block.samples) / AUDIO_RATE_HZ
    return blocks[0].start_sec, np.concatenate([block.samples for block in blocks])


def click(seconds: float, at_sec: float, rate_hz: int = 48_000) -> np.ndarray:
    """Silence with a 5 ms burst of 1 kHz that begins at `at_sec`."""
    sound = np.zeros(round(seconds * rate_hz), np.float32)
    first = round(at_sec * rate_hz)
    sound[first : first + rate_hz // 200] = tone(1.0, rate_hz, 1000.0)[: rate_hz // 200]
    return sound


def onset_sec(start_sec: float, samples: np.ndarray) -> float:
    return start_sec + int(np.flatnonzero(np.abs(samples) > 0.1)[0]) / AUDIO_RATE_HZ


def test_every_frame_once_in_order_at_its_true_time(tmp_path: Path) -> None:
    times = [0.0, 0.033, 0.1, 0.11, 0.4, 0.41, 0.9, 1.0, 1.5]
    frames = frames_of(write_video(tmp_path / "a.mp4", times))

    assert [number for _, _, number in frames] == list(range(9))
    assert [index for index, _, _ in frames] == list(range(9))
    np.testing.assert_allclose([time for _, time, _ in frames], times, atol=1e-5)  # a tick is 1/90000


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
@pytest.mark.parametrize("window", [(0.0, 0.5), (0.5, 1.0), (1.99, 2.5), (3.0, math.inf), (0.34, 0.35)])
def test_window_is_that_part_of_the_whole(suffix: str, window: tuple[float, float], tmp_path: Path) -> None:
    path = write_video(tmp_path / f"a.{suffix}", steady(120, 30), sound=tone(4.0))
    whole = frames_of(path)
    part = frames_of(path, start_sec=window[0], end_sec=window[1])

    expected = [(time, number) for _, time, number in whole if window[0] <= time < window[1]]
    assert [(time, number) for _, time, number in part] == expected
    assert [index for index, _, _ in part] == list(range(len(part)))


def test_window_past_the_end_is_empty(tmp_path: Path) -> None:
    assert frames_of(write_video(tmp_path / "a.mp4", steady(30, 30)), start_sec=5.0, end_sec=6.0) == []


def test_reader_says_whether_the_video_goes_on_after_the_window(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(30, 10))
    with VideoReader(path, end_sec=1.05) as reader:
        assert len(list(reader)) == 11
        assert reader.next_timestamp_sec == pytest.approx(1.1)
    with VideoReader(path, start_sec=1.0) as reader:
        list(reader)
        assert reader.next_timestamp_sec is None


@pytest.mark.parametrize("window", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (math.nan, 1.0)])
def test_empty_window_is_refused(window: tuple[float, float], tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(3, 30))
    with pytest.raises(InputError, match="window"):
        VideoReader(path, start_sec=window[0], end_sec=window[1])


def test_reading_twice_is_refused(tmp_path: Path) -> None:
    with VideoReader(write_video(tmp_path / "a.mp4", steady(3, 30))) as reader:
        list(reader)
        with pytest.raises(RuntimeError, match="one pass"):
            iter(reader)


@pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_sound_is_on_the_pictures_clock(suffix: str, rate_hz: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / f"a.{suffix}", steady(60, 30), sound=click(2.0, 1.25, rate_hz), sound_rate_hz=rate_hz)
    start, samples = sound_of(path)

    # AAC smears an onset over its short window (128 samples: 8 ms at 16 kHz)
    assert onset_sec(start, samples) == pytest.approx(1.25, abs=0.012)
    assert start + len(samples) / AUDIO_RATE_HZ == pytest.approx(2.0, abs=0.07)


def test_sound_before_the_first_frame_is_cut_off(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(30, 30, 5.0), sound=click(1.5, 0.75), sound_start_sec=4.75)
    start, samples = sound_of(path)

    # sound from 4.75 s, click 0.75 s into it: 5.5 s in the container, 0.5 s after the first frame
    assert start == pytest.approx(0.0, abs=1e-4)
    assert onset_sec(start, samples) == pytest.approx(0.5, abs=0.01)


def test_sound_in_a_window(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(120, 30), sound=click(4.0, 2.6))
    start, samples = sound_of(path, start_sec=2.5, end_sec=3.0)

    assert start == pytest.approx(2.5, abs=1 / AUDIO_RATE_HZ)
    assert len(samples) == pytest.approx(0.5 * AUDIO_RATE_HZ, abs=1)
    assert onset_sec(start, samples) == pytest.approx(2.6, abs=0.01)


def test_level_and_mixing_down_are_kept(tmp_path: Path) -> None:
    left_only = np.stack([tone(1.0, level=0.5), np.zeros(48_000, np.float32)])
    path = write_video(tmp_path / "a.mkv", steady(30, 30), sound=left_only, sound_codec="pcm_s16le")
    _, samples = sound_of(path)

    # mean of 0.5 and 0 is 0.25; the tone is far from the filter's edge
    assert np.abs(samples[2000:-2000]).max() == pytest.approx(0.25, rel=0.02)


def test_gap_in_the_sound_stays_a_gap(tmp_path: Path) -> None:
    first = write_video(tmp_path / "a.ts", steady(60, 30), sound=tone(1.0), options={"bf": "0"})
    later = write_video(
        tmp_path / "b.ts", steady(30, 30, 2.0), sound=tone(0.5), sound_start_sec=2.5, options={"bf": "0"}
    )
    with VideoReader(joined([first, later], tmp_path / "c.ts")) as reader:
        blocks = [item for item in reader if isinstance(item, AudioBlock)]
    ends = [block.start_sec + len(block.samples) / AUDIO_RATE_HZ for block in blocks]
    gaps = [
        (end, after.start_sec) for end, after in zip(ends, blocks[1:], strict=False) if after.start_sec - end > 0.01
    ]

    assert len(gaps) == 1
    assert gaps[0] == pytest.approx((1.0, 2.5), abs=0.06)  # AAC adds up to two frames of 21 ms


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
def test_sidecar_is_read_in_step(rate_hz: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(120, 30))
    soundfile.write(tmp_path / "a.WAV", click(4.0, 2.6, rate_hz), rate_hz)
    with VideoReader(path) as reader:
        assert (reader.has_audio, reader.audio_source) == (True, "sidecar")
        last_frame = 0.0
        for item in reader:
            if isinstance(item, VideoFrame):
                last_frame = item.timestamp_sec
            else:
                assert item.start_sec <= last_frame + 0.05
    start, samples = sound_of(path)
    part_start, part = sound_of(path, start_sec=2.5, end_sec=3.0)

    assert (start, len(samples)) == (0.0, pytest.approx(4.0 * AUDIO_RATE_HZ, abs=2))
    assert onset_sec(start, samples) == pytest.approx(2.6, abs=0.002)
    assert (part_start, len(part)) == (pytest.approx(2.5), pytest.approx(0.5 * AUDIO_RATE_HZ, abs=1))
    assert onset_sec(part_start, part) == pytest.approx(2.6, abs=0.002)


def test_sound_can_be_left_alone(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(30, 30), sound=tone(1.0))
    with VideoReader(path, audio=False) as reader:
        assert not reader.has_audio
        assert all(isinstance(item, VideoFrame) for item in reader)


@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
def test_pictures_are_upright(clockwise: int, tmp_path: Path) -> None:
    upright = counter_picture(777, 160, 90)
    stored = {0: upright}.get(clockwise)
    if stored is None:  # turned the other way for storage, so that turning clockwise puts it right
        turn = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}[clockwise]
        stored = cv2.rotate(upright, turn)
    height, width = stored.shape[:2]
    path = write_video(
        tmp_path / "a.mp4",
        [0.0],
        pictures=[stored],
        size=(width, height),
        rotate_counter_clockwise=(360 - clockwise) % 360,
    )
    with VideoReader(path) as reader:
        frame = next(item for item in reader if isinstance(item, VideoFrame))
    gray, small, bgr = frame.gray(90), frame.gray(45), frame.bgr()

    assert (frame.width_px, frame.height_px) == (160, 90)
    assert (gray.shape, small.shape, bgr.shape) == ((90, 160), (45, 80), (90, 160, 3))
    assert read_counter(gray) == read_counter(small) == 777
    assert bgr[70, 20, 0] > 150 > bgr[70, 20, 2]  # blue on the left
    assert bgr[70, 140, 2] > 150 > bgr[70, 140, 0]  # red on the right
    assert bgr.flags.writeable and gray.flags.writeable and gray.flags.c_contiguous


def test_pixel_aspect_gives_square_pixels_and_nothing_is_enlarged(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [0.0], pixel_aspect=Fraction(2, 1))
    with VideoReader(path) as reader:
        frame = next(item for item in reader if isinstance(item, VideoFrame))

    assert (frame.width_px, frame.height_px) == (320, 90)
    assert frame.gray(45).shape == (45, 160)
    assert frame.gray(1000).shape == (90, 320)
    assert frame.bgr(160).shape == (45, 160, 3)
    assert frame.bgr(1000).shape == (90, 320, 3)


@pytest.mark.parametrize("codec_pixels", [("libx264", "yuv444p"), ("libx264", "yuv420p10le"), ("ffv1", "bgr0")])
def test_odd_size_and_formats_look_the_same(codec_pixels: tuple[str, str], tmp_path: Path) -> None:
    codec, pixels = codec_pixels
    size = (161, 91) if pixels != "yuv420p10le" else (162, 92)
    path = write_video(tmp_path / "a.mkv", steady(3, 30), size=size, codec=codec, pixels=pixels)
    with VideoReader(path) as reader:
        frames = [item for item in reader if isinstance(item, VideoFrame)]

    assert (frames[0].width_px, frames[0].height_px) == size
    assert [read_counter(frame.gray(90)) for frame in frames] == [0, 1, 2]
    assert frames[1].bgr().shape == (size[1], size[0], 3)
    # white blocks were written as 235, black ones as 20: grey says so in every format
    gray = frames[1].gray(91)
    assert gray[10, -5] == pytest.approx(235, abs=4)
    assert gray[10, 5] == pytest.approx(20, abs=4)


@pytest.mark.parametrize("full_range", [False, True])
def test_grey_is_the_same_in_every_range(full_range: bool, tmp_path: Path) -> None:
    pixels = "yuvj420p" if full_range else "yuv420p"
    path = write_video(tmp_path / "a.mp4", [0.0], pixels=pixels, full_range=full_range)
    with VideoReader(path) as reader:
        gray = next(item for item in reader if isinstance(item, VideoFrame)).gray(90)

    assert gray[10, 10] == pytest.approx(20, abs=4)


def test_resolution_change_keeps_the_first_size(tmp_path: Path) -> None:
    small = write_video(tmp_path / "a.ts", steady(30, 30), options={"bf": "0"})
    large = write_video(tmp_path / "b.ts", steady(30, 30, 1.0), size=(320, 180), options={"bf": "0"})
    with VideoReader(joined([small, large], tmp_path / "c.ts")) as reader:
        frames = [item for item in reader if isinstance(item, VideoFrame)]
        shapes = {(frame.gray(90).shape, frame.bgr().shape, frame.width_px) for frame in frames}
        numbers = [read_counter(frame.gray(45)) for frame in frames]

    assert numbers == [*range(30), *range(30)]
    assert shapes == {((90, 160), (90, 160, 3), 160)}
    assert frames[-1].timestamp_sec == pytest.approx(59 / 30)


def test_damage_is_counted_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mp4", steady(300, 30), options={"g": "10"})
    path = with_damage(whole, tmp_path / "b.mp4", start_share=0.4, length=600)
    with VideoReader(path) as reader:
        frames = [item for item in reader if isinstance(item, VideoFrame)]
        times = [frame.timestamp_sec for frame in frames]

    assert 0 < reader.corrupt_frames <= 30
    assert 270 <= reader.frames_decoded == len(frames) <= 300
    assert times == sorted(set(times))
    assert times[-1] == pytest.approx(299 / 30)


def test_undecodable_packets_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One packet in eight fails with PyAV's own error: more than the tenth that is let pass."""
    import av

    path = write_video(tmp_path / "a.mp4", steady(80, 30), codec="mjpeg", pixels="yuvj420p", time_base=Fraction(1, 30))

    class Failing:
        def __init__(self, packet: object, fails: bool) -> None:
            self.packet, self.fails = packet, fails

        def __getattr__(self, name: str) -> object:
            return getattr(self.packet, name)

        def decode(self) -> list[object]:
            if self.fails:
                raise av.error.InvalidDataError(1, "broken on purpose")
            return self.packet.decode()  # type: ignore[attr-defined]

    demuxed = Decoder._demuxed

    def failing(self: Decoder, every: int) -> object:
        for index, packet in enumerate(demuxed(self)):
            yield Failing(packet, index % every == every - 1)

    monkeypatch.setattr(Decoder, "_demuxed", lambda self: failing(self, 16))
    with VideoReader(path, threads=1) as reader:
        frames = list(reader)
    assert (len(frames), reader.corrupt_frames) == (75, 5)  # 80 packets, every 16th lost
    assert MAX_CORRUPT_SHARE == 0.1

    monkeypatch.setattr(Decoder, "_demuxed", lambda self: failing(self, 8))
    with pytest.raises(VideoError, match="10 of 80 video packets are damaged"), VideoReader(path, threads=1) as reader:
        list(reader)


def test_two_frames_at_one_time_are_one(tmp_path: Path) -> None:
    first = write_video(tmp_path / "a.ts", steady(30, 30), options={"bf": "0"})
    second = write_video(tmp_path / "b.ts", steady(30, 30, 29 / 30), options={"bf": "0"})
    frames = frames_of(joined([first, second], tmp_path / "c.ts"))

    # frame 29 of the first part and frame 0 of the second are both at 29/30 s; a viewer sees one picture there
    assert len(frames) == 59
    assert [number for _, _, number in frames][28:31] == [28, 29, 1]


@pytest.mark.parametrize("threads", [0, 2, 4])
def test_damage_costs_the_same_whatever_the_threads(threads: int, tmp_path: Path) -> None:
    """Frame threads drop healthy pictures beside a damaged packet, at the end of a file even without an error."""
    whole = write_video(tmp_path / "a.flv", steady(90, 30))
    cut = cut_off(whole, tmp_path / "cut.flv", 0.6)
    hurt = with_damage(whole, tmp_path / "hurt.flv", start_share=0.5, length=200)
    for path in (cut, hurt):
        with VideoReader(path, threads=1) as reader:
            alone = [item.timestamp_sec for item in reader if isinstance(item, VideoFrame)]
        with VideoReader(path, threads=threads) as threaded:
            together = [item.timestamp_sec for item in threaded if isinstance(item, VideoFrame)]
        assert together == alone
        assert threaded.corrupt_frames == reader.corrupt_frames
