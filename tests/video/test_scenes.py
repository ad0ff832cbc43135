"""Cuts are found; what only looks like one is not."""

from __future__ import annotations

from functools import cache
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError
from autorisk_dagster.video.reader import VideoFrame, VideoReader
from autorisk_dagster.video.scenes import SceneCutDetector, structural_distance
from tests.video_factory import SHARED_VIDEO

THRESHOLD = 0.43
FOOTAGE = (
    "highway_day_negative",
    "highway_two_cars_negative",
    "intersection_crash",
    "merge_near_miss_horn",
    "residential_parked",
)

Gray = NDArray[np.uint8]


def world(seed: int, width: int = 600) -> Gray:
    """A wide panorama of random blocks and edges, to look at through a moving window."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 235, (12, width // 20))
    return np.kron(coarse, np.ones((20, 20))).astype(np.uint8)


def drive(seed: int, frames: int, step_px: int = 4) -> list[Gray]:
    """Frames, 240 x 426, of a camera that pans over a world."""
    scene = world(seed, 426 + frames * step_px + 20)
    return [scene[:, index * step_px : index * step_px + 426] for index in range(frames)]


def cuts(frames: list[Gray], threshold: float = THRESHOLD) -> list[int]:
    detector = SceneCutDetector(threshold)
    return [index for index, frame in enumerate(frames) if detector.is_cut(frame)]


def at_10_hz(name: str) -> list[Gray]:
    path = SHARED_VIDEO / f"{name}.mp4"
    if not path.exists():
        pytest.skip("shared footage is not here")
    return decoded_at_10_hz(path)


@cache
def decoded_at_10_hz(path: Path) -> list[Gray]:
    kept, due = [], 0.0
    with VideoReader(path, audio=False) as reader:
        for item in reader:
            if isinstance(item, VideoFrame) and item.timestamp_sec >= due - 1e-6:
                kept.append(item.gray(240))
                due = item.timestamp_sec + 0.1
    return kept


def test_each_cut_is_found_once_at_its_first_frame() -> None:
    assert cuts([*drive(1, 10), *drive(2, 10), *drive(3, 10)]) == [10, 20]


def test_a_scene_of_one_frame_between_two_others() -> None:
    assert cuts([*drive(1, 10), *drive(2, 1), *drive(3, 10)]) == [10, 11]


def test_steady_motion_and_a_still_camera_are_no_cuts() -> None:
    assert cuts(drive(1, 30, step_px=12)) == []
    assert cuts([drive(1, 1)[0]] * 10) == []


def test_exposure_step_is_no_cut() -> None:
    frames = drive(1, 20)
    darker = [(frame * 0.35).astype(np.uint8) for frame in frames[10:]]
    brighter = [np.clip(frame * 1.5 + 20.0, 0, 255).astype(np.uint8) for frame in frames[10:]]

    assert cuts([*frames[:10], *darker]) == []
    assert cuts([*frames[:10], *brighter]) == []


def test_shaking_camera_is_no_cut() -> None:
    rng = np.random.default_rng(0)
    scene = np.pad(drive(1, 1)[0], 12, mode="edge")
    shaken = [scene[y : y + 240, x : x + 426] for y, x in rng.integers(2, 23, (30, 2))]  # 10 px: 4 % of the height

    assert cuts(shaken) == []


def test_truck_that_passes_is_no_cut() -> None:
    frames = []
    for index, frame in enumerate(drive(1, 24, step_px=2)):
        seen = frame.copy()
        left = 426 - index * 50  # enters on the right, a quarter of the picture in two frames, 250 px long
        seen[40:, max(0, left) : max(0, left + 250)] = 90
        frames.append(seen)

    assert cuts(frames) == []


def test_return_from_a_flash_is_no_second_cut() -> None:
    frames = drive(1, 20, step_px=2)
    frames[10] = np.full_like(frames[10], 250)

    assert cuts(frames) in ([], [10])


def test_sensor_noise_in_the_dark_is_no_cut() -> None:
    rng = np.random.default_rng(0)
    night = [np.clip(12 + rng.normal(0, 4, (240, 426)), 0, 255).astype(np.uint8) for _ in range(30)]

    assert cuts(night) == []


def test_other_brightness_does_not_hide_a_cut() -> None:
    assert cuts([*drive(1, 10), *[(frame * 0.3).astype(np.uint8) for frame in drive(2, 10)]]) == [10]


@pytest.mark.parametrize("name", FOOTAGE)
def test_footage_without_cuts_has_none(name: str) -> None:
    assert cuts(at_10_hz(name)) == []


@pytest.mark.parametrize(("first", "second"), list(permutations(FOOTAGE, 2)))
def test_footage_joined_has_one_cut(first: str, second: str) -> None:
    before, after = at_10_hz(first)[-15:], at_10_hz(second)[:15]

    assert cuts([*before, *after]) == [len(before)]


def test_distance_is_0_for_the_same_and_1_for_the_opposite() -> None:
    picture = np.random.default_rng(0).normal(128, 60, (36, 64)).astype(np.float32)

    assert structural_distance(picture, picture) == pytest.approx(0, abs=1e-6)
    assert structural_distance(picture, picture * 0.5 + 40) == pytest.approx(0, abs=0.02)
    assert structural_distance(picture, np.random.default_rng(1).normal(128, 60, (36, 64)).astype(np.float32)) > 0.8


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold"):
        SceneCutDetector(threshold)
