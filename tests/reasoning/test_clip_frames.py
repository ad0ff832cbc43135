"""What a model is shown of a clip: frames by their times, within the pixel budget, in red, green, blue order."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from autorisk_dagster.errors import InputError
from autorisk_dagster.reasoning.clip_frames import sample_frames
from tests.video_factory import counter_picture, read_counter, steady, write_video

PLENTY = 10_000_000


def numbers(rgb: np.ndarray) -> list[int]:
    return [read_counter(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)) for picture in rgb]


def test_four_frames_a_second_are_the_ones_shown_at_those_times(tmp_path: Path) -> None:
    # at 29.97 fps frame k is shown from k / 29.97: at 0.25 s frame 7 (0.2336 to 0.2669), at 0.5 s frame 14, ...
    clip = write_video(tmp_path / "clip.mp4", steady(60, 30000 / 1001))
    found = sample_frames(clip, 60 * 1001 / 30000, frames_per_sec=4, max_pixels=PLENTY)
    assert numbers(found.rgb) == [0, 7, 14, 22, 29, 37, 44, 52, 59]
    assert found.timestamps_sec == pytest.approx([k * 1001 / 30000 for k in numbers(found.rgb)], abs=1e-4)


def test_a_frame_that_is_shown_for_long_is_given_once(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 1.3, 1.4]  # frame 2 is on screen from 0.2 to 1.3 s
    clip = write_video(tmp_path / "clip.mp4", times)
    found = sample_frames(clip, 1.5, frames_per_sec=4, max_pixels=PLENTY)
    assert numbers(found.rgb) == [0, 2]  # at 0 s, and at 0.25, 0.5 .. 1.25 s; the next, 1.5 s, is the clip's end
    assert found.timestamps_sec == pytest.approx([0.0, 0.2], abs=1e-4)


def test_the_budget_bounds_all_frames_together(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", steady(20, 10), size=(320, 180))
    found = sample_frames(clip, 2.0, frames_per_sec=4, max_pixels=100_000)
    assert len(found.rgb) == 8
    assert 80_000 < found.pixels <= 100_000
    assert sample_frames(clip, 2.0, frames_per_sec=4, max_pixels=PLENTY).rgb.shape == (8, 180, 320, 3)


def test_colours_are_red_green_blue(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", steady(4, 4), pictures=[counter_picture(k) for k in range(4)])
    picture = sample_frames(clip, 1.0, frames_per_sec=4, max_pixels=PLENTY).rgb[0]
    height, width = picture.shape[:2]
    left, right = picture[height * 3 // 4, width // 4], picture[height * 3 // 4, width * 3 // 4]
    assert left[2] > 150 > left[0]  # the counter picture is blue on the left, red on the right
    assert right[0] > 150 > right[2]


@pytest.mark.parametrize("changes", [{"frames_per_sec": 0.0}, {"max_pixels": 0}])
def test_impossible_settings_are_refused(tmp_path: Path, changes: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be positive"):
        sample_frames(tmp_path / "clip.mp4", 1.0, **({"frames_per_sec": 4.0, "max_pixels": 100} | changes))  # type: ignore[arg-type]
