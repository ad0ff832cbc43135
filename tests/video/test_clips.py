"""Clip files: which frames, at which times, with which sound."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster.errors import InputError, VideoError
from autorisk_dagster.paths import ROOT
from autorisk_dagster.video.clips import Mp4Writer, cut_clip
from autorisk_dagster.video.probe import probe
from autorisk_dagster.video.reader import AUDIO_RATE_HZ, AudioBlock, VideoFrame, VideoReader
from tests.video_factory import SHARED_VIDEO, counter_picture, read_counter, steady, tone, write_video

TICK_SEC = 1 / 90_000


def frames_of(path: Path) -> list[tuple[float, int]]:
    """(time, burnt-in number) of every frame."""
    with VideoReader(path, audio=False) as reader:
        return [(item.timestamp_sec, read_counter(item.gray(90))) for item in reader if isinstance(item, VideoFrame)]


def sound_of(path: Path) -> np.ndarray:
    """All sound on the time line of the pictures, from time 0."""
    with VideoReader(path) as reader:
        blocks = [item for item in reader if isinstance(item, AudioBlock)]
    line = np.zeros(round((blocks[-1].start_sec + 1) * AUDIO_RATE_HZ) + len(blocks[-1].samples), np.float32)
    for block in blocks:
        first = round(block.start_sec * AUDIO_RATE_HZ)
        line[first : first + len(block.samples)] = block.samples
    return line


@settings(max_examples=12, deadline=None)
@given(
    steps=st.lists(st.floats(0.008, 0.3), min_size=12, max_size=40),
    start=st.floats(0, 1.0),
    length=st.floats(0.3, 2.0),
)
def test_clip_time_plus_start_is_source_time(
    steps: list[float], start: float, length: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The burnt-in number names the source frame, at any mix of frame intervals."""
    folder = tmp_path_factory.mktemp("clip")
    source = write_video(folder / "a.mp4", [0.0, *np.cumsum(steps)])
    true_time = {number: time for time, number in frames_of(source)}
    wanted = [number for number, time in true_time.items() if start <= time < start + length]
    if not wanted:
        with pytest.raises(VideoError, match="shows no new frame"):
            cut_clip(source, start, start + length, folder / "clip.tmp")
        return
    clip = cut_clip(source, start, start + length, folder / "clip.tmp")
    frames = frames_of(folder / "clip.tmp")

    assert [number for _, number in frames] == wanted
    assert clip.frame_count == len(wanted)
    for time, number in frames:
        assert time + clip.start_sec == pytest.approx(true_time[number], abs=TICK_SEC)
    facts = probe(folder / "clip.tmp")
    assert facts.start_pts_sec == 0
    assert facts.duration_sec == pytest.approx(clip.end_sec - clip.start_sec, abs=2 * TICK_SEC)


def test_clip_bounds_say_what_is_shown(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", steady(40, 10))
    middle = cut_clip(source, 1.05, 2.0, tmp_path / "b.mp4")
    last = cut_clip(source, 3.5, 9.0, tmp_path / "c.mp4")

    # frames 1.1 .. 1.9; the frame at 2.0 follows, so 1.9 is shown until the window closes
    assert (middle.start_sec, middle.end_sec, middle.frame_count) == (pytest.approx(1.1), 2.0, 9)
    # frames 3.5 .. 3.9; the video ends, 3.9 is shown for 0.1 s
    assert (last.start_sec, last.end_sec, last.frame_count) == (pytest.approx(3.5), pytest.approx(4.0), 5)
    assert not middle.has_audio


def test_clip_keeps_sound_in_step(tmp_path: Path) -> None:
    """A click at 2.6 s and the picture of 2.6 s meet in the clip."""
    sound = np.zeros(4 * 48_000, np.float32)
    sound[round(2.6 * 48_000) :][:480] = tone(0.01, hz=1000.0)
    source = write_video(tmp_path / "a.mp4", steady(120, 30), sound=sound)
    clip = cut_clip(source, 2.01, 3.5, tmp_path / "b.mp4")
    heard = int(np.flatnonzero(np.abs(sound_of(tmp_path / "b.mp4")) > 0.1)[0]) / AUDIO_RATE_HZ
    facts = probe(tmp_path / "b.mp4")

    assert clip.has_audio
    assert heard + clip.start_sec == pytest.approx(2.6, abs=0.012)
    assert (facts.audio_codec, facts.audio_channels, facts.audio_silent) == ("aac", 1, False)


def test_clip_takes_its_sound_from_a_sidecar(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", steady(120, 30))
    sound = np.zeros(4 * 16_000, np.float32)
    sound[round(2.6 * 16_000) :][:160] = tone(0.01, 16_000, hz=1000.0)
    soundfile.write(tmp_path / "a.flac", sound, 16_000)
    clip = cut_clip(source, 2.0, 3.0, tmp_path / "b.mp4")
    heard = int(np.flatnonzero(np.abs(sound_of(tmp_path / "b.mp4")) > 0.1)[0]) / AUDIO_RATE_HZ

    assert clip.has_audio
    assert heard + clip.start_sec == pytest.approx(2.6, abs=0.012)


def test_sound_that_starts_late_stays_late(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", steady(60, 30), sound=tone(1.0), sound_start_sec=1.0)
    cut_clip(source, 0.5, 1.8, tmp_path / "b.mp4")
    line = sound_of(tmp_path / "b.mp4")

    # silence until 1.0 s of the source, which is 0.5 s of the clip
    assert np.abs(line[: round(0.47 * AUDIO_RATE_HZ)]).max() < 0.01
    assert np.abs(line[round(0.55 * AUDIO_RATE_HZ) : round(1.2 * AUDIO_RATE_HZ)]).max() > 0.4


def test_clip_is_upright_square_and_even(tmp_path: Path) -> None:
    upright = counter_picture(300, 91, 161)
    stored = cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE)
    source = write_video(
        tmp_path / "a.mp4",
        [0.0, 0.1],
        pictures=[stored, stored],
        size=(161, 91),
        pixels="yuv444p",
        rotate_counter_clockwise=270,
    )
    cut_clip(source, 0.0, 1.0, tmp_path / "b.mp4")
    facts = probe(tmp_path / "b.mp4")

    assert (facts.width_px, facts.height_px, facts.rotation_deg, facts.pixel_aspect) == (90, 160, 0, 1.0)
    assert [number for _, number in frames_of(tmp_path / "b.mp4")] == [300, 300]


def test_clip_of_wide_pixels(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", [0.0, 0.1], pixel_aspect=Fraction(2, 1))
    cut_clip(source, 0.0, 1.0, tmp_path / "b.mp4")
    facts = probe(tmp_path / "b.mp4")

    assert (facts.width_px, facts.height_px, facts.pixel_aspect) == (320, 90, 1.0)


def test_clip_plays_in_a_browser_from_its_first_bytes(tmp_path: Path) -> None:
    """H.264 in 4:2:0 with the index before the data, and no edit list before the first picture."""
    source = write_video(tmp_path / "a.mp4", steady(60, 30), pixels="yuv420p10le", sound=tone(2.0))
    cut_clip(source, 0.5, 1.5, tmp_path / "b.mp4")
    content = (tmp_path / "b.mp4").read_bytes()
    with av.open(str(tmp_path / "b.mp4")) as clip:
        video = clip.streams.video[0]
        shown = [(packet.pts, packet.dts) for packet in clip.demux(video) if packet.pts is not None]
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")

    assert content.index(b"moov") < content.index(b"mdat")
    assert shown[0] == (0, 0)
    assert all(pts == dts for pts, dts in shown)


def test_failed_clip_leaves_no_file(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", steady(30, 30))
    with pytest.raises(VideoError, match=r"a\.mp4: shows no new frame from 5 s to 6 s"):
        cut_clip(source, 5.0, 6.0, tmp_path / "b.mp4")
    with pytest.raises(InputError, match="window"):
        cut_clip(source, 1.0, 1.0, tmp_path / "b.mp4")

    assert not (tmp_path / "b.mp4").exists()


def test_real_footage_in_4_fps(tmp_path: Path) -> None:
    source = SHARED_VIDEO / "residential_parked.mp4"
    if not source.exists():
        pytest.skip("shared footage is not here")
    clip = cut_clip(source, 0.3, 2.1, tmp_path / "b.mp4")

    # frames every 0.25 s: 0.5, 0.75, .. 2.0
    assert (clip.start_sec, clip.end_sec, clip.frame_count, clip.has_audio) == (0.5, 2.1, 7, False)
    assert probe(tmp_path / "b.mp4").duration_sec == pytest.approx(1.6)


def test_writer_keeps_times_pictures_and_sound(tmp_path: Path) -> None:
    times = [5.0, 5.1, 5.15, 5.9]
    with Mp4Writer(tmp_path / "a.mp4", 160, 90, audio_rate_hz=16_000) as writer:
        for number, time in enumerate(times):
            writer.write(counter_picture(number), time)
        writer.write_audio(tone(1.0, 16_000))
    facts = probe(tmp_path / "a.mp4")

    np.testing.assert_allclose([time for time, _ in frames_of(tmp_path / "a.mp4")], [0, 0.1, 0.15, 0.9], atol=TICK_SEC)
    assert [number for _, number in frames_of(tmp_path / "a.mp4")] == [0, 1, 2, 3]
    assert (facts.audio_rate_hz, facts.audio_silent) == (16_000, False)


def test_writer_takes_odd_sizes(tmp_path: Path) -> None:
    with Mp4Writer(tmp_path / "a.mp4", 161, 91) as writer:
        writer.write(counter_picture(9, 161, 91), 0.0)

    assert frames_of(tmp_path / "a.mp4") == [(0.0, 9)]


def test_writer_keeps_colours(tmp_path: Path) -> None:
    picture = counter_picture(0, 320, 180)
    with Mp4Writer(tmp_path / "a.mp4", 320, 180) as writer:
        writer.write(picture, 0.0)
    with VideoReader(tmp_path / "a.mp4") as reader:
        back = next(item.bgr() for item in reader if isinstance(item, VideoFrame))

    np.testing.assert_allclose(back[130, 40].astype(int), picture[130, 40], atol=12)
    np.testing.assert_allclose(back[130, 280].astype(int), picture[130, 280], atol=12)


def test_writer_refuses_what_would_make_a_wrong_file(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    with pytest.raises(InputError, match="must rise"), Mp4Writer(target, 160, 90) as writer:
        writer.write(counter_picture(0), 1.0)
        writer.write(counter_picture(1), 1.0)
    with pytest.raises(InputError, match=r"must be \(90, 160, 3\) uint8"), Mp4Writer(target, 160, 90) as writer:
        writer.write(counter_picture(0, 90, 160), 1.0)
    with pytest.raises(InputError, match="no frame was written"), Mp4Writer(target, 160, 90):
        pass
    with pytest.raises(InputError, match="AAC has no rate 12345"):
        Mp4Writer(target, 160, 90, audio_rate_hz=12_345)
    with pytest.raises(InputError, match="without sound"), Mp4Writer(target, 160, 90) as writer:
        writer.write_audio(tone(0.1))

    assert not target.exists()


WRITE = """
import sys
from pathlib import Path
import numpy as np
from autorisk_dagster.video.clips import Mp4Writer
cells = np.random.default_rng(0).integers(0, 255, (30, 52, 3), np.uint8)
picture = np.kron(cells, np.ones((16, 16, 1), np.uint8))
with Mp4Writer(Path(sys.argv[1]), 832, 480) as writer:
    for number in range(5):
        writer.write(np.roll(picture, 3 * number, axis=1), number / 10)
"""


def test_the_same_pictures_are_the_same_bytes_whatever_memory_held_before(tmp_path: Path) -> None:
    """x264's macroblock tree read memory that nobody had written: on a busy machine, a few videos in a hundred."""
    written = []
    for filling in ("0", "1"):  # what glibc fills new memory with; elsewhere it is ignored
        target = tmp_path / f"{filling}.mp4"
        subprocess.run(
            [sys.executable, "-c", WRITE, target], env=os.environ | {"MALLOC_PERTURB_": filling}, cwd=ROOT, check=True
        )
        written.append(target.read_bytes())
    assert written[0] == written[1]
