"""A saliency map over its frames: colour where it is strong, grey where it is not, and one scale for the clip."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from autorisk_dagster.reporting.saliency_view import animation, curve_png, overlay

GRAY = np.full((3, 90, 160, 3), 120, np.uint8)


def colourfulness(picture: np.ndarray) -> np.ndarray:
    return picture.max(axis=2).astype(int) - picture.min(axis=2)


def test_what_matters_is_coloured_and_the_rest_is_left_grey() -> None:
    maps = np.zeros((3, 9, 16), np.float32)
    maps[1, 2, 12] = (
        1.0  # second frame, right of the middle, above it: 20 to 30 px from the top, 120 to 130 from the left
    )
    shown = overlay(GRAY, maps)
    assert colourfulness(shown[0]).max() == colourfulness(shown[2]).max() == 0
    y, x = np.unravel_index(int(np.argmax(colourfulness(shown[1]))), (90, 160))
    assert 15 <= y <= 35 and 115 <= x <= 135
    assert colourfulness(shown[1])[60:, :80].max() == 0


def test_one_scale_for_the_whole_clip() -> None:
    maps = np.ones((3, 9, 16), np.float32)
    maps[0] *= 0.1
    shown = overlay(GRAY, maps)
    assert colourfulness(shown[0]).mean() < colourfulness(shown[1]).mean() / 3


def test_a_map_of_nothing_leaves_the_frames_grey() -> None:
    assert all(colourfulness(one).max() == 0 for one in overlay(GRAY, np.zeros((3, 9, 16), np.float32)))


def test_the_animation_plays_every_frame_for_its_time() -> None:
    buffer = io.BytesIO()
    animation([np.full((90, 1280, 3), 60 * k, np.uint8) for k in range(4)], 0.25, buffer)
    with Image.open(buffer) as picture:
        assert picture.n_frames == 4
        assert picture.size == (640, 45)
        picture.seek(1)
        picture.load()
        assert picture.info["duration"] == 250


def test_the_curve_is_a_picture() -> None:
    png = curve_png(np.arange(4) / 4, np.array([0.1, 0.2, 0.3, 0.4]), "x < y & z")
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
