"""Annotated clips are read back frame by frame: times, sound and the colours that were drawn."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.errors import VideoError
from autorisk_dagster.reporting.annotate import ALERT_HEX, STRIP_PX, annotate_clip
from autorisk_dagster.reporting.plots import track_color
from autorisk_dagster.video.reader import AudioBlock, VideoFrame, VideoReader
from tests.reporting.example import HEIGHT, WIDTH, event_row, level, track_rows, ttc_sample, write_video

NOTHING = tables.empty(tables.NEAR_MISS_EVENTS)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("annotate") / "example.mp4")


def read(path: Path) -> tuple[list[float], list[NDArray[np.uint8]], NDArray[np.float32]]:
    times, pictures, sound = [], [], [np.zeros(0, np.float32)]
    with VideoReader(path) as reader:
        for item in reader:
            if isinstance(item, VideoFrame):
                times.append(item.timestamp_sec)
                pictures.append(item.bgr())
            elif isinstance(item, AudioBlock):
                sound.append(item.samples)
    return times, pictures, np.concatenate(sound)


def near(pixel: NDArray[np.uint8], hex_code: str, tolerance: int = 70) -> bool:
    """Whether a pixel has about that colour: 4:2:0 coding blurs the colour of thin lines."""
    wanted = [int(hex_code[i : i + 2], 16) for i in (5, 3, 1)]
    return bool(np.abs(pixel.astype(int) - wanted).max() < tolerance)


def test_the_copy_has_the_frames_times_and_sound_of_the_clip(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    annotate_clip(source, {"start_sec": 1.0, "end_sec": 3.0}, track_rows(range(0)), NOTHING, None, target)
    times, pictures, sound = read(target)
    assert times == pytest.approx([n / 20 for n in range(40)], abs=1e-4)  # 2 s at 20 frames a second
    assert pictures[0].shape == (HEIGHT + STRIP_PX, WIDTH, 3)
    # Frame 0 of the copy is frame 20 of the video; two generations of 8-bit conversion cost a few levels.
    shown = [pictures[number][90, 160].mean() for number in (0, 20, 39)]
    assert shown == pytest.approx([level(20), level(40), level(59)], abs=8)
    assert np.diff(shown) == pytest.approx([20, 19], abs=2)
    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.1)
    assert np.abs(sound[8_000:24_000]).max() == pytest.approx(0.3, abs=0.05)  # the tone, not silence


def test_boxes_are_drawn_where_they_are_at_that_time_and_only_while_they_exist(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    annotate_clip(source, {"start_sec": 1.0, "end_sec": 3.0}, track_rows(range(20)), NOTHING, (), target)
    _, pictures, _ = read(target)
    # 1.5 s is processed frame 15: x1 = 115, its edge at mid-height of the box (y 90) has the track's colour
    assert near(pictures[10][90, 115], track_color(3))
    assert not near(pictures[10][90, 100], track_color(3))
    # the last processed frame is at 1.9 s and held until 2.0 s: 2.05 s is frame 21 of the copy
    assert near(pictures[19][90, 119], track_color(3))
    assert np.ptp(pictures[21][: HEIGHT - 2].astype(int), axis=(0, 1)).max() < 20  # nothing but the road


def test_an_active_pair_is_joined_by_a_red_line(source: Path, tmp_path: Path) -> None:
    other = track_rows(track_id=4).with_columns(pl.col("x1_px") + 120, pl.col("x2_px") + 120)
    tracks = pl.concat([track_rows(), other])
    event = event_row(2.0) | {"start_sec": 1.5, "end_sec": 1.8}  # marked until 2.8 s
    target = tmp_path / "a.mp4"
    annotate_clip(
        source, {"start_sec": 1.0, "end_sec": 3.0}, tracks, tables.frame([event], tables.NEAR_MISS_EVENTS), (), target
    )
    _, pictures, _ = read(target)
    # at 2.0 s (frame 20 of the copy) the centres are (150, 90) and (270, 90); x 175 is on the line, inside box 3
    assert near(pictures[20][90, 175], ALERT_HEX)
    assert not near(pictures[4][90, 166], ALERT_HEX)  # 1.2 s: before it
    assert not near(pictures[38][90, 211], ALERT_HEX)  # 2.9 s: after it


def test_a_near_miss_with_the_own_vehicle_is_a_line_from_the_lower_edge(source: Path, tmp_path: Path) -> None:
    event = event_row(2.0) | {"start_sec": 1.5, "end_sec": 2.5, "object_id_2": None}
    events = tables.frame([event], tables.NEAR_MISS_EVENTS)
    annotate_clip(source, {"start_sec": 1.0, "end_sec": 3.0}, track_rows(), events, (), tmp_path / "a.mp4")
    _, pictures, _ = read(tmp_path / "a.mp4")
    # at 2.0 s from the centre (150, 90) to the middle of the lower edge (160, 179): (155, 135) is half way
    assert near(pictures[20][135, 155], ALERT_HEX)


def test_still_and_unfollowed_boxes_are_not_in_a_tracks_colour(source: Path, tmp_path: Path) -> None:
    for changes in ({"still": True, "track_id": None}, {"track_id": None}):
        target = tmp_path / "a.mp4"
        annotate_clip(source, {"start_sec": 1.0, "end_sec": 1.5}, track_rows(**changes), NOTHING, (), target)
        _, pictures, _ = read(target)
        edge = pictures[2][90, 111].astype(int)
        assert np.ptp(edge) < 40  # grey or white, no colour
        assert edge.mean() > level(22) + 30  # and drawn


def test_a_time_to_contact_changes_the_label(source: Path, tmp_path: Path) -> None:
    clip = {"start_sec": 1.0, "end_sec": 1.5}
    annotate_clip(source, clip, track_rows(), NOTHING, (), tmp_path / "without.mp4")
    annotate_clip(source, clip, track_rows(), NOTHING, [ttc_sample(1.2, 1.4, 1.0, 2.0)], tmp_path / "with.mp4")
    plain, timed = read(tmp_path / "without.mp4")[1], read(tmp_path / "with.mp4")[1]
    different = [np.abs(a.astype(int) - b.astype(int)).max() > 60 for a, b in zip(plain, timed, strict=True)]
    # measured at 1.2 s and fresh for one detection interval: frames 4 (1.20 s), 5 (1.25 s) and 6 (1.30 s)
    assert [number for number, is_different in enumerate(different) if is_different] == [4, 5, 6]


def test_large_footage_is_reduced(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "a.mp4"
    annotate_clip(source, {"start_sec": 0.0, "end_sec": 0.5}, track_rows(), NOTHING, (), target, long_edge_px=160)
    _, pictures, _ = read(target)
    assert pictures[0].shape == (90 + STRIP_PX, 160, 3)
    assert near(pictures[0][45, 50], track_color(3))  # boxes are scaled: x1 100 of 320 is 50 of 160


def test_no_frame_is_an_error_and_leaves_no_file(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    with pytest.raises(VideoError, match=r"example\.mp4: shows no frame from 7 to 9 s"):
        annotate_clip(source, {"start_sec": 7.0, "end_sec": 9.0}, track_rows(), NOTHING, (), target)
    assert not target.exists()
