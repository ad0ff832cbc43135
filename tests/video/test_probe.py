"""Facts of video files, against what was written into them."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile

from autorisk_dagster import tables
from autorisk_dagster.video.probe import find_sidecar, is_variable, probe
from autorisk_dagster.video.reader import VideoFrame, VideoReader
from tests.video_factory import SHARED_VIDEO, counter_picture, cut_off, repeat_video, steady, tone, write_video

FACTS_OF_SHARED = [  # name, frames, seconds, fps, width, height, sound, silent: ../shared/data/README.md
    ("highway_day_negative", 221, 8.84, 25, 960, 540, "stream", True),
    ("highway_two_cars_negative", 38, 1.52, 25, 1280, 720, "stream", True),
    ("intersection_crash", 38, 3.8, 10, 1280, 720, "stream", False),
    ("merge_near_miss_horn", 515, 515 / 30, 30, 640, 360, "stream", False),
    ("residential_parked", 10, 2.5, 4, 1008, 560, "none", None),
]


def decoded(path: Path) -> int:
    with VideoReader(path, audio=False) as reader:
        return sum(isinstance(item, VideoFrame) for item in reader)


OF_THE_LEDGER = (
    *("video_id", "profile", "footage_url"),
    *("origin_url", "licence", "licence_from", "fetched_at", "rights_acknowledged_by"),
)


def test_row_has_the_columns_of_the_table(tmp_path: Path) -> None:
    row = probe(write_video(tmp_path / "a.mp4", steady(3, 30))).row()

    assert [*row] == [name for name in tables.SOURCE_VIDEO if name not in OF_THE_LEDGER]
    tables.check(
        tables.frame(
            [dict.fromkeys(OF_THE_LEDGER, None) | row | {"video_id": "v", "profile": "default"}], tables.SOURCE_VIDEO
        ),
        tables.SOURCE_VIDEO,
    )


@pytest.mark.parametrize(("name", "frames", "seconds", "fps", "width", "height", "sound", "silent"), FACTS_OF_SHARED)
def test_real_footage(
    name: str, frames: int, seconds: float, fps: float, width: int, height: int, sound: str, silent: bool | None
) -> None:
    path = SHARED_VIDEO / f"{name}.mp4"
    if not path.exists():
        pytest.skip("shared footage is not here")
    facts = probe(path)

    assert (facts.frame_count, facts.width_px, facts.height_px) == (frames, width, height)
    assert facts.duration_sec == pytest.approx(seconds, abs=1e-6)
    assert facts.mean_fps == pytest.approx(fps)
    assert not facts.variable_frame_rate
    assert (facts.audio_source, facts.audio_silent) == (sound, silent)


def test_constant_rate_with_sound(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4", steady(60, 30), sound=np.stack([tone(2.0, 44_100)] * 2), sound_rate_hz=44_100
    )
    facts = probe(path)

    assert facts.file_name == "a.mp4"
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts.size_bytes == len(path.read_bytes())
    assert (facts.container, facts.video_codec) == ("mov,mp4,m4a,3gp,3g2,mj2", "h264")
    assert (facts.frame_count, facts.rotation_deg, facts.pixel_aspect) == (60, 0, 1.0)
    assert facts.duration_sec == pytest.approx(2.0)
    assert facts.min_frame_interval_sec == facts.max_frame_interval_sec == pytest.approx(1 / 30)
    assert (facts.audio_source, facts.audio_codec, facts.audio_rate_hz, facts.audio_channels) == (
        "stream",
        "aac",
        44_100,
        2,
    )
    assert facts.audio_silent is False


def test_variable_rate_is_measured_not_nominal(tmp_path: Path) -> None:
    facts = probe(write_video(tmp_path / "a.mp4", [0.0, 0.03, 0.1, 0.11, 0.4, 0.41, 0.9, 1.0]))

    # 8 frames, so 7 intervals in 1.0 s; the file says that the last one is shown for 1/30 s
    assert facts.frame_count == 8
    assert facts.duration_sec == pytest.approx(1.0 + 1 / 30, abs=1e-4)
    assert facts.mean_fps == pytest.approx(7.0)
    assert facts.min_frame_interval_sec == pytest.approx(0.01)
    assert facts.max_frame_interval_sec == pytest.approx(0.49)
    assert facts.variable_frame_rate


def test_four_frames_a_second(tmp_path: Path) -> None:
    facts = probe(write_video(tmp_path / "a.mp4", steady(12, 4)))

    assert (facts.frame_count, facts.mean_fps, facts.duration_sec) == (12, pytest.approx(4), pytest.approx(3.0))
    assert not facts.variable_frame_rate


def test_forward_gap_stays_true_time(tmp_path: Path) -> None:
    facts = probe(write_video(tmp_path / "a.mp4", [*steady(30, 30), *steady(30, 30, 20.0)]))

    # last frame at 20 + 29/30, shown for 1/30: 21 s
    assert (facts.frame_count, facts.duration_sec) == (60, pytest.approx(21.0))
    assert facts.max_frame_interval_sec == pytest.approx(20 - 29 / 30)
    assert facts.variable_frame_rate


def test_zero_is_the_first_frame(tmp_path: Path) -> None:
    facts = probe(write_video(tmp_path / "a.mp4", steady(30, 30, 5.0), sound=tone(1.0), sound_start_sec=4.9))

    assert facts.start_pts_sec == pytest.approx(5.0)
    assert facts.duration_sec == pytest.approx(1.0)


@pytest.mark.parametrize(("suffix", "duration_sec"), [("mp4", 1 / 30), ("mkv", 0.033), ("ts", 1 / 30)])
def test_one_frame(suffix: str, duration_sec: float, tmp_path: Path) -> None:
    facts = probe(write_video(tmp_path / f"a.{suffix}", [0.0], time_base=Fraction(1, 30)))

    assert (facts.frame_count, facts.duration_sec) == (1, pytest.approx(duration_sec, abs=1e-3))
    assert facts.min_frame_interval_sec is facts.max_frame_interval_sec is None
    assert not facts.variable_frame_rate


@pytest.mark.parametrize(("counter_clockwise", "clockwise"), [(90, 270), (180, 180), (270, 90)])
def test_rotation_and_upright_size(counter_clockwise: int, clockwise: int, tmp_path: Path) -> None:
    facts = probe(write_video(tmp_path / "a.mp4", [0.0, 0.1], rotate_counter_clockwise=counter_clockwise))

    assert facts.rotation_deg == clockwise
    assert (facts.width_px, facts.height_px) == ((160, 90) if clockwise == 180 else (90, 160))


def test_pixel_aspect_widens(tmp_path: Path) -> None:
    facts = probe(write_video(tmp_path / "a.mp4", [0.0, 0.1], pixel_aspect=Fraction(4, 3)))

    # 160 stored pixels, each 4/3 wide: 213.3
    assert (facts.width_px, facts.height_px, facts.pixel_aspect) == (213, 90, pytest.approx(4 / 3))


def test_silence_is_not_absence(tmp_path: Path) -> None:
    silent = probe(write_video(tmp_path / "a.mp4", steady(30, 30), sound=np.zeros(48_000, np.float32)))
    loud = probe(write_video(tmp_path / "b.mp4", steady(30, 30), sound=tone(1.0, level=0.01)))
    none = probe(write_video(tmp_path / "c.mp4", steady(30, 30)))

    assert (silent.audio_source, silent.audio_silent) == ("stream", True)
    assert loud.audio_silent is False  # peak 0.01 is -40 dBFS
    assert (none.audio_source, none.audio_silent, none.audio_rate_hz) == ("none", None, None)


@pytest.mark.parametrize("suffix", ["wav", "FLAC"])
def test_sidecar_counts_only_where_the_video_has_no_sound(suffix: str, tmp_path: Path) -> None:
    sound = tmp_path / f"drive.{suffix}"
    soundfile.write(sound, np.stack([tone(1.0, 22_050)] * 2, axis=1), 22_050, format=suffix.upper())
    beside = probe(write_video(tmp_path / "drive.mp4", steady(30, 30)))
    own = probe(write_video(tmp_path / "drive.mp4", steady(30, 30), sound=tone(1.0)))

    assert find_sidecar(tmp_path / "drive.mp4") == sound
    assert (beside.audio_source, beside.audio_rate_hz, beside.audio_channels) == ("sidecar", 22_050, 2)
    assert beside.audio_silent is False
    assert own.audio_source == "stream"


def test_data_stream_is_ignored(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.TS", steady(60, 30), sound=tone(2.0), data=True, container="mpegts")
    facts = probe(path)

    assert (facts.frame_count, facts.container, facts.audio_source) == (60, "mpegts", "stream")
    assert facts.duration_sec == pytest.approx(2.0)


@pytest.mark.parametrize("share", [0.9, 0.75, 0.6, 0.5])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv"])
def test_frame_count_of_a_truncated_file_is_what_decodes(suffix: str, share: float, tmp_path: Path) -> None:
    options = {"movflags": "+faststart"} if suffix == "mp4" else None
    whole = write_video(tmp_path / f"a.{suffix}", steady(90, 30), container_options=options)
    cut = cut_off(whole, tmp_path / f"cut.{suffix}", share)
    facts = probe(cut)

    assert facts.frame_count == decoded(cut)
    assert 5 < facts.frame_count < 90
    assert facts.duration_sec < 3.0


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.mov", "libx264", "yuv420p"),
        ("a.mkv", "libx264", "yuv420p10le"),
        ("a.avi", "mjpeg", "yuvj420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.ts", "mpeg2video", "yuv420p"),
    ],
)
def test_containers_and_codecs(name: str, codec: str, pixels: str, tmp_path: Path) -> None:
    options = {"cpu-used": "8", "deadline": "realtime"} if "vp9" in codec else None
    path = write_video(
        tmp_path / name, steady(30, 30), codec=codec, pixels=pixels, time_base=Fraction(1, 30), options=options
    )
    facts = probe(path)

    assert facts.frame_count == decoded(path) == 30
    assert facts.mean_fps == pytest.approx(30, abs=0.05)  # Matroska rounds to milliseconds
    assert not facts.variable_frame_rate


def test_the_larger_of_two_pictures_is_the_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "two.mp4"
    with av.open(str(path), "w") as output:
        streams = [output.add_stream("libx264", rate=30) for _ in range(2)]
        sizes = [(64, 36), (160, 90)]
        for stream, (width, height) in zip(streams, sizes, strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(3):
            for stream, size in zip(streams, sizes, strict=True):
                frame = av.VideoFrame.from_ndarray(counter_picture(index, *size), format="bgr24")
                output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))

    assert (probe(path).width_px, probe(path).height_px) == (160, 90)
    with VideoReader(path) as reader:
        assert {item.width_px for item in reader if isinstance(item, VideoFrame)} == {160}


@pytest.mark.parametrize(
    ("intervals", "tick", "variable"),
    [
        ([0.033, 0.033, 0.034, 0.033], 1 / 1000, False),  # 30 fps rounded to milliseconds
        ([1 / 30, 1 / 30, 2 / 30, 1 / 30], 1 / 90_000, True),  # one frame dropped
        ([1 / 30, 1 / 30, 2 / 30, 1 / 30], 1 / 30, True),  # dropped, in a container that counts frames
        ([0.0333, 0.0335, 0.0331], 1 / 90_000, False),  # 0.4 ms jitter
        ([0.030, 0.036, 0.030], 1 / 90_000, True),  # 6 ms
        ([0.1], 1 / 90_000, False),
        ([], 1 / 90_000, False),
    ],
)
def test_variable_rate_is_more_than_rounding(intervals: list[float], tick: float, variable: bool) -> None:
    assert is_variable(np.array(intervals), tick) is variable


def test_repeated_video_keeps_true_times(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", steady(30, 30), sound=tone(1.0))
    facts = probe(repeat_video(source, tmp_path / "long.mp4", 5.0))

    assert (facts.frame_count, facts.duration_sec) == (150, pytest.approx(5.0))
    assert not facts.variable_frame_rate


def test_picture_turned_upright_by_the_reader_matches_the_probe(tmp_path: Path) -> None:
    upright = counter_picture(5, 90, 160)
    stored = cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE)
    path = write_video(tmp_path / "a.mp4", [0.0], pictures=[stored], rotate_counter_clockwise=270)
    facts = probe(path)
    with VideoReader(path) as reader:
        frame = next(item for item in reader if isinstance(item, VideoFrame))

    assert facts.rotation_deg == 90
    assert frame.bgr().shape == (facts.height_px, facts.width_px, 3)
