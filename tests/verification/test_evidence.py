"""The evidence window on real files: which frames, evenly in time, whatever the frame rate."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from autorisk_dagster.errors import InputError
from autorisk_dagster.verification.evidence import MAX_FRAME_BYTES, EvidenceWindow, evidence_window, jpeg
from tests.video_factory import SHARED_VIDEO, read_counter, steady, write_video


def numbers(window: EvidenceWindow) -> list[int]:
    """Which frames of the video these are, read from their pictures."""
    pictures = [cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_GRAYSCALE) for frame in window.frames]
    return [read_counter(picture) for picture in pictures]


def test_ten_frames_of_the_second_around_the_event(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(120, 30.0))
    window = evidence_window(path, 2.0)
    # 1.5 to 2.5 s in steps of 1/9 s: frames 45, 48.33, 51.67, 55, ..., 75
    assert numbers(window) == [45, 48, 52, 55, 58, 62, 65, 68, 72, 75]
    assert window.timestamps_sec[0] == pytest.approx(1.5)
    assert window.timestamps_sec[-1] == pytest.approx(2.5)


@pytest.mark.parametrize(("at_sec", "first", "last"), [(0.0, 0, 30), (0.2, 0, 30), (3.9, 89, 119), (3.966, 89, 119)])
def test_a_window_over_an_end_is_moved_inside(tmp_path: Path, at_sec: float, first: int, last: int) -> None:
    path = write_video(tmp_path / "a.mp4", steady(120, 30.0))
    window = evidence_window(path, at_sec, count=12)
    assert len(window.frames) == 12
    assert (numbers(window)[0], numbers(window)[-1]) == (first, last)


def test_frames_are_even_in_time_where_the_rate_varies(tmp_path: Path) -> None:
    # 100 frames a second up to 1 s, then 10: by frame number, nine in ten would be of the first half.
    times = [*steady(100, 100.0), *steady(20, 10.0, start_sec=1.0)]
    window = evidence_window(write_video(tmp_path / "a.mp4", times), 1.0, count=8, window_sec=2.0)
    gaps = np.diff(window.timestamps_sec)
    assert gaps == pytest.approx(np.full(7, 2 / 7), abs=0.1)


def test_a_low_rate_widens_the_window_until_there_are_eight(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(60, 3.0))
    window = evidence_window(path, 10.0)  # 3 frames in 1 s, 6 or 7 in 2 s, at least 12 in 4 s
    assert 8 <= len(window.frames) <= 10
    assert len(set(numbers(window))) == len(window.frames)
    assert 3.0 < window.timestamps_sec[-1] - window.timestamps_sec[0] <= 4.0


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", steady(5, 10.0))
    with pytest.raises(InputError, match=r"5 frames within 8 s of 0\.20 s, needed are 8"):
        evidence_window(path, 0.2)
    with pytest.raises(InputError, match=r"shows nothing at 9\.00 s"):
        evidence_window(path, 9.0)
    for count in (7, 13):
        with pytest.raises(InputError, match="count must be 8 to 12"):
            evidence_window(path, 0.2, count=count)
    for at_sec in (float("nan"), -1.0):
        with pytest.raises(InputError, match="no window"):
            evidence_window(path, at_sec)


def test_frames_are_bounded_in_size() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
    assert cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].size > MAX_FRAME_BYTES
    assert len(jpeg(noise)) <= MAX_FRAME_BYTES
    with pytest.raises(InputError, match="scale it down"):
        jpeg(np.tile(noise, (3, 3, 1)))


@pytest.mark.skipif(not SHARED_VIDEO.exists(), reason="needs ../shared/data/video")
def test_the_window_of_a_real_near_miss_shows_the_merging_car() -> None:
    window = evidence_window(SHARED_VIDEO / "merge_near_miss_horn.mp4", 7.0)
    assert len(window.frames) == 10
    assert window.timestamps_sec[0] == pytest.approx(6.5, abs=0.04)
    assert window.timestamps_sec[-1] == pytest.approx(7.5, abs=0.04)
    assert max(len(frame) for frame in window.frames) < 150_000
