"""Clips by stream copy: exactly the window's frames, bit for bit and at their times, or encoded, and then why."""

from __future__ import annotations

import hashlib
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
from autorisk_dagster.video.clips import ClipFile
from autorisk_dagster.video.packet_window import MAX_PREROLL_SEC, NotCopyableError
from autorisk_dagster.video.probe import probe
from autorisk_dagster.video.reader import AudioBlock, VideoFrame, VideoReader
from autorisk_dagster.video.stream_copy import copy_clip, write_clip
from tests.video_factory import (
    SHARED_VIDEO,
    noisy_counters,
    read_counter,
    remuxed,
    steady,
    tone,
    with_damage,
    write_video,
)

GOP = {"preset": "medium", "bf": "3", "x264-params": "keyint=24:min-keyint=24:scenecut=0:b-adapt=0:b-pyramid=normal"}
RATE_HZ = 48_000
MATROSKA_TICK = Fraction(1, 1000)


def frames_of(path: Path, start_sec: float = 0.0, end_sec: float = 1e9) -> list[tuple[float, str]]:
    """(time, hash of the pixels) of every frame."""
    with VideoReader(path, audio=False, start_sec=start_sec, end_sec=end_sec) as reader:
        return [
            (item.timestamp_sec, hashlib.md5(item.bgr().tobytes()).hexdigest())
            for item in reader
            if isinstance(item, VideoFrame)
        ]


def sound_of(path: Path, start_sec: float = 0.0, end_sec: float = 1e9) -> tuple[float, np.ndarray]:
    """Start and samples of all sound in a window, which has no gap."""
    with VideoReader(path, start_sec=start_sec, end_sec=end_sec, audio_rate_hz=RATE_HZ) as reader:
        blocks = [item for item in reader if isinstance(item, AudioBlock)]
    return blocks[0].start_sec, np.concatenate([block.samples for block in blocks])


def assert_shows_the_window(source: Path, clip: ClipFile, file: Path, start_sec: float, end_sec: float) -> None:
    """Same pixels, and clip time + start_sec = source time, for each frame of the window and no other."""
    wanted, shown = frames_of(source, start_sec, end_sec), frames_of(file)
    assert [pixels for _, pixels in shown] == [pixels for _, pixels in wanted]
    np.testing.assert_allclose(
        [time + clip.start_sec for time, _ in shown], [time for time, _ in wanted], rtol=0, atol=1e-9
    )
    assert clip.frame_count == len(shown)
    assert probe(file).duration_sec == pytest.approx(clip.end_sec - clip.start_sec, abs=1e-4)
    assert clip.start_sec == wanted[0][0]


SOURCES = {
    "mp4": {"options": GOP},
    "mov": {"options": GOP, "time_base": Fraction(1, 600)},
    "fragmented.mp4": {"options": GOP, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "ts": {"options": GOP},
    "mkv": {"options": GOP, "time_base": MATROSKA_TICK},
    "flv": {"options": GOP, "time_base": MATROSKA_TICK},
    "avi": {"options": {"bf": "0"}, "time_base": Fraction(1, 30)},
    "no_b_frames.mp4": {"options": {"bf": "0"}},
    "late_start.ts": {"options": GOP, "times": steady(90, 30, 7.0)},
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_copy_shows_exactly_the_window(name: str, tmp_path: Path) -> None:
    kinds = dict(SOURCES[name])
    times = kinds.pop("times", steady(90, 30))
    source = write_video(tmp_path / f"a.{name}", times, pictures=noisy_counters(90), **kinds)
    # frame 30 = 1.0 s; key frames at 0, 0.8, 1.6, 2.4 s
    for start_sec, end_sec in ((0.0, 0.5), (0.5, 1.02), (0.8, 1.6), (0.81, 0.9), (1.0, 9.0), (2.95, 3.0)):
        clip = copy_clip(source, start_sec, end_sec, tmp_path / "clip.mp4")
        assert_shows_the_window(source, clip, tmp_path / "clip.mp4", start_sec, end_sec)
        assert clip.end_sec == pytest.approx(min(end_sec, 3.0), abs=0.002)  # Matroska and FLV round to 1 ms
        assert clip.written_by == "stream_copy"


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(st.floats(0.008, 0.3), min_size=12, max_size=40),
    start=st.floats(0, 1.0),
    length=st.floats(0.3, 2.0),
    b_frames=st.booleans(),
)
def test_a_copy_keeps_variable_times(
    steps: list[float], start: float, length: float, b_frames: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("copy")
    source = write_video(folder / "a.mp4", [0.0, *np.cumsum(steps)], options={"bf": "3" if b_frames else "0"})
    if not frames_of(source, start, start + length):
        with pytest.raises(VideoError, match="shows no new frame"):
            write_clip(source, start, start + length, folder / "clip.tmp")
        return
    clip = copy_clip(source, start, start + length, folder / "clip.tmp")
    assert_shows_the_window(source, clip, folder / "clip.tmp", start, start + length)


def test_the_file_ends_where_the_clip_does(tmp_path: Path) -> None:
    """An edit that ends in the middle of a frame, and pictures behind it that only earlier ones need."""
    source = write_video(tmp_path / "a.mp4", steady(90, 30), options=GOP, sound=tone(3.0))
    clip = copy_clip(source, 1.0, 1.45, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as file:
        video = file.streams.video[0]
        packets = [packet for packet in file.demux(video) if packet.size]
        assert float(file.duration / av.time_base) == pytest.approx(0.45, abs=1e-4)
        assert float(video.duration * video.time_base) == pytest.approx(0.45, abs=1e-4)
    hidden = [float(packet.pts * packet.time_base) for packet in packets if packet.is_discard]

    assert (clip.start_sec, clip.end_sec, clip.frame_count) == (1.0, 1.45, 14)
    assert min(hidden) == pytest.approx(-0.2)  # the IDR picture at 0.8 s
    assert max(hidden) >= 0.45


def test_any_frame_of_a_copy_can_be_entered(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", steady(90, 30), pictures=noisy_counters(90), options=GOP)
    copy_clip(source, 1.1, 2.7, tmp_path / "b.mp4")
    whole = frames_of(tmp_path / "b.mp4")
    for number in (1, 5, 15, 16, 47):
        assert frames_of(tmp_path / "b.mp4", whole[number][0]) == whole[number:]


def test_opencv_shows_the_same_frames(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", steady(90, 30), options=GOP)
    copy_clip(source, 1.1, 1.45, tmp_path / "b.mp4")
    capture = cv2.VideoCapture(str(tmp_path / "b.mp4"))
    numbers = []
    while (read := capture.read())[0]:
        numbers.append(read_counter(cv2.cvtColor(read[1], cv2.COLOR_BGR2GRAY)))
    assert numbers == list(range(33, 44))


def test_a_clip_of_a_clip(tmp_path: Path) -> None:
    """A source that itself has an edit list and hidden pictures."""
    source = write_video(tmp_path / "a.mp4", steady(90, 30), pictures=noisy_counters(90), options=GOP)
    copy_clip(source, 0.5, 2.9, tmp_path / "b.mp4")
    clip = copy_clip(tmp_path / "b.mp4", 0.1, 1.0, tmp_path / "c.mp4")
    assert_shows_the_window(tmp_path / "b.mp4", clip, tmp_path / "c.mp4", 0.1, 1.0)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_and_pixel_shape_are_carried_over(turn: int, tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "a.mp4", steady(30, 30), rotate_counter_clockwise=turn, pixel_aspect=Fraction(2, 1), full_range=True
    )
    clip = copy_clip(source, 0.5, 0.9, tmp_path / "b.mp4")
    assert_shows_the_window(source, clip, tmp_path / "b.mp4", 0.5, 0.9)
    facts, own = probe(tmp_path / "b.mp4"), probe(source)
    assert (facts.rotation_deg, facts.pixel_aspect) == (own.rotation_deg, 2.0) == ((360 - turn) % 360, 2.0)


def test_an_open_group_is_entered_at_the_idr_picture_before_it(tmp_path: Path) -> None:
    """The container calls the first picture of an open group a key frame; pictures after it may need those before."""
    options = {**GOP, "x264-params": GOP["x264-params"] + ":open-gop=1"}
    source = write_video(tmp_path / "a.mp4", steady(90, 30), pictures=noisy_counters(90), options=options)
    clip = copy_clip(source, 1.0, 1.9, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as file:
        first = next(packet for packet in file.demux(video=0) if packet.size)
    assert float(first.pts * first.time_base) == pytest.approx(-1.0)  # the only IDR picture is the file's first
    assert_shows_the_window(source, clip, tmp_path / "b.mp4", 1.0, 1.9)


def test_a_far_key_frame_is_not_worth_its_preroll(tmp_path: Path) -> None:
    long = {"bf": "0", "x264-params": "keyint=infinite:scenecut=0"}
    source = write_video(tmp_path / "a.mp4", steady(90, 10), options=long)
    near = write_clip(source, MAX_PREROLL_SEC, 6.0, tmp_path / "b.mp4")
    far = write_clip(source, MAX_PREROLL_SEC + 0.1, 6.0, tmp_path / "c.mp4")

    assert near.written_by == "stream_copy"
    assert (far.written_by, far.encoded_because) == ("encoded", "no IDR picture lies in the 5 s before it")
    assert (far.start_sec, far.end_sec, far.frame_count) == (pytest.approx(5.1), 6.0, 9)


@pytest.mark.parametrize(
    ("because", "kinds"),
    [
        ("hevc does not play in every browser", {"codec": "libx265", "options": {"x265-params": "log-level=none"}}),
        ("browsers do not play H.264 in yuv444p", {"pixels": "yuv444p"}),
        ("browsers do not play H.264 in yuv420p10le", {"pixels": "yuv420p10le"}),
        ("it is interlaced", {"size": (160, 96), "options": {"x264-params": "tff=1"}}),
    ],
)
def test_what_a_browser_does_not_play_is_encoded(because: str, kinds: dict, tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", steady(30, 30), **kinds)
    clip = write_clip(source, 0.5, 0.9, tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert (file.streams.video[0].codec_context.name, file.streams.video[0].pix_fmt) == ("h264", "yuv420p")

    assert (clip.written_by, clip.encoded_because) == ("encoded", because)
    assert (clip.frame_count, clip.start_sec, clip.end_sec) == (12, 0.5, 0.9)


def test_a_change_of_parameters_is_encoded(tmp_path: Path) -> None:
    """A recorder that goes on in the same file with other settings; before the change it can be copied."""
    first = write_video(tmp_path / "a.ts", steady(30, 30), options={"bf": "0"})
    later = write_video(tmp_path / "b.ts", steady(30, 30, 1.0), options={"bf": "0", "crf": "30", "refs": "3"})
    source = remuxed(first, tmp_path / "c.ts", then=later)
    before = write_clip(source, 0.1, 0.9, tmp_path / "d.mp4")
    across = write_clip(source, 0.5, 1.5, tmp_path / "e.mp4")

    assert before.written_by == "stream_copy"
    assert across.encoded_because == "its parameters change within the file"
    assert across.frame_count == 30


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_damage_in_the_window_is_not_copied(suffix: str, tmp_path: Path) -> None:
    whole = write_video(tmp_path / f"a.{suffix}", steady(90, 30), pictures=noisy_counters(90))
    source = with_damage(whole, tmp_path / f"b.{suffix}", start_share=0.5, length=3000)
    hit = write_clip(source, 1.0, 2.0, tmp_path / "c.mp4")
    spared = write_clip(source, 2.5, 2.9, tmp_path / "d.mp4")

    assert hit.encoded_because == "a packet in it is damaged"
    assert spared.written_by == "stream_copy"


def test_a_file_without_an_index_is_entered_early_enough(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.ts", steady(600, 30), options=GOP)
    clip = copy_clip(source, 15.3, 16.4, tmp_path / "b.mp4")
    assert_shows_the_window(source, clip, tmp_path / "b.mp4", 15.3, 16.4)


# Sound


@pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
def test_aac_is_copied_with_its_channels_and_in_step(suffix: str, tmp_path: Path) -> None:
    chirp = np.stack([np.sin(3000 * t * t) for t in (np.arange(4 * 48_000) / 48_000,) * 2]).astype(np.float32) / 2
    source = write_video(tmp_path / f"a.{suffix}", steady(120, 30), sound=chirp)
    clip = copy_clip(source, 2.01, 3.5, tmp_path / "b.mp4")
    start, samples = sound_of(tmp_path / "b.mp4")
    _, own = sound_of(source, clip.start_sec, clip.end_sec)
    facts = probe(tmp_path / "b.mp4")

    assert clip.has_audio
    assert (facts.audio_codec, facts.audio_channels, facts.audio_rate_hz) == ("aac", 2, 48_000)
    assert start == pytest.approx(0.0, abs=1e-3)
    # A chirp is nowhere like itself. The decoder begins in the clip's first packet: one packet (21 ms) to settle.
    settled = slice(round(0.05 * RATE_HZ), len(own) - round(0.05 * RATE_HZ))
    shift = min(range(-60, 61), key=lambda n: float(np.abs(np.roll(samples, n)[: len(own)] - own)[settled].max()))
    assert abs(shift) <= (48 if suffix == "mkv" else 1)  # Matroska's clock is rounded to 1 ms
    assert np.abs(np.roll(samples, shift)[: len(own)] - own)[settled].max() < 0.02


@pytest.mark.parametrize("kind", ["codec", "late", "sidecar"])
def test_other_sound_is_encoded_beside_copied_pictures(kind: str, tmp_path: Path) -> None:
    click = np.zeros(4 * 48_000, np.float32)
    click[round(2.6 * 48_000) :][:480] = tone(0.01, hz=1000.0)
    if kind == "sidecar":
        source = write_video(tmp_path / "a.mp4", steady(120, 30))
        soundfile.write(tmp_path / "a.flac", click, 48_000)
    elif kind == "late":
        source = write_video(
            tmp_path / "a.mp4", steady(120, 30), sound=click[round(2.3 * 48_000) :], sound_start_sec=2.3
        )
    else:
        source = write_video(tmp_path / "a.mkv", steady(120, 30), sound=click, sound_codec="pcm_s16le")
    clip = copy_clip(source, 2.01, 3.5, tmp_path / "b.mp4")
    start, samples = sound_of(tmp_path / "b.mp4")
    heard = int(np.flatnonzero(np.abs(samples) > 0.1)[0]) / RATE_HZ
    facts = probe(tmp_path / "b.mp4")

    assert_shows_the_window(source, clip, tmp_path / "b.mp4", 2.01, 3.5)
    assert start + heard + clip.start_sec == pytest.approx(2.6, abs=0.012)
    assert (facts.audio_codec, facts.audio_channels) == ("aac", 1)


def test_a_gap_in_aac_is_silence(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mp4", steady(90, 30), sound=tone(3.0))
    source = remuxed(whole, tmp_path / "c.mp4", without_sound=(1.0, 2.0))
    copy_clip(source, 0.5, 2.9, tmp_path / "d.mp4")
    _, samples = sound_of(tmp_path / "d.mp4")

    assert np.abs(samples[round(0.55 * RATE_HZ) : round(1.45 * RATE_HZ)]).max() < 0.01
    assert np.abs(samples[round(1.55 * RATE_HZ) : round(2.3 * RATE_HZ)]).max() > 0.4


def test_silent_film_stays_silent(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", steady(30, 30))
    assert not copy_clip(source, 0.5, 0.9, tmp_path / "b.mp4").has_audio
    assert probe(tmp_path / "b.mp4").audio_source == "none"


# The file


def test_the_same_window_gives_the_same_bytes(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "a.mp4", steady(60, 30), options=GOP, sound=tone(2.0), metadata={"creation_time": "2026-01-02"}
    )
    for window in ((0.3, 1.5), (0.8, 1.2)):
        files = [tmp_path / name for name in ("b.mp4", "c.mp4")]
        for file in files:
            write_clip(source, *window, file)
        assert files[0].read_bytes() == files[1].read_bytes()


def test_the_index_comes_first_and_names_no_program(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", steady(60, 30), sound=tone(2.0))
    copy_clip(source, 0.3, 1.5, tmp_path / "b.mp4")
    content = (tmp_path / "b.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert b"Lavf" not in content


def test_a_failed_copy_leaves_no_file(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", steady(30, 30))
    with pytest.raises(NotCopyableError, match="no frame"):
        copy_clip(source, 5.0, 6.0, tmp_path / "b.mp4")
    with pytest.raises(VideoError, match=r"a\.mp4: shows no new frame from 5 s to 6 s"):
        write_clip(source, 5.0, 6.0, tmp_path / "b.mp4")
    with pytest.raises(InputError, match="window"):
        write_clip(source, 1.0, 1.0, tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()


# Real footage


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("highway_day_negative", (2.22, 7.77)),
        ("highway_two_cars_negative", (0.3, 1.4)),
        ("residential_parked", (0.3, 2.1)),
        ("merge_near_miss_horn", (5.01, 12.03)),
        ("intersection_crash", (1.23, 3.0)),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
def test_real_footage(name: str, window: tuple[float, float], suffix: str, tmp_path: Path) -> None:
    original = SHARED_VIDEO / f"{name}.mp4"
    if not original.exists():
        pytest.skip("shared footage is not here")
    source = original if suffix == "mp4" else remuxed(original, tmp_path / f"a.{suffix}")
    clip = copy_clip(source, *window, tmp_path / "b.mp4")
    assert_shows_the_window(source, clip, tmp_path / "b.mp4", *window)
    assert clip.has_audio == (name != "residential_parked")
