"""The picture of a correction's accuracies says which of them are not held out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from autorisk_dagster.reporting.severity_plots import NAMES, accuracy_picture
from autorisk_dagster.severity.adoption import NOT_HELD_OUT, STAGES


def figure(stage: str, value: float) -> dict:
    held_out = stage not in NOT_HELD_OUT
    low, high = (value - 0.1, value + 0.1) if held_out else (None, None)
    return {"metric": "accuracy", "stage": stage, "value": value, "low": low, "high": high}


def picture(stages: list[str]) -> np.ndarray:
    figures = [figure(stage, 0.4 + 0.05 * at) for at, stage in enumerate(stages)]
    png = accuracy_picture({"figures": figures, "clips": 20, "groups": 7, "adopted": False})
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_every_stage_has_a_row_or_is_the_bar_and_what_is_not_held_out_says_so_in_its_name():
    assert {*NAMES, "always_commonest"} == set(STAGES)
    for stage in NOT_HELD_OUT:
        if stage in NAMES:
            assert NAMES[stage].isupper() or any(word.isupper() and len(word) > 2 for word in NAMES[stage].split())


@pytest.mark.parametrize(
    ("stage", "hollow"), [("searched_same_clips", True), ("searched_clip_out", True), ("nested", False)]
)
def test_what_is_not_held_out_is_hollow_on_grey_without_an_interval(stage, hollow):
    pixels = picture([stage])
    blue = (pixels == (0x2C, 0x74, 0xC9)).all(axis=-1).sum()
    red = (pixels == (0xC8, 0x37, 0x2D)).all(axis=-1).sum()
    assert (blue == 0, red > 0) == (hollow, hollow)


def test_one_group_has_a_picture_too():
    assert picture(["reasoner", "default", "searched_same_clips"]).shape[2] == 3
