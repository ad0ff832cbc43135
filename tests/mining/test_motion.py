"""Flow: a known speed is measured as that speed at any frame rate and size, and cuts show no motion."""

from __future__ import annotations

import cv2
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from autorisk_dagster.mining.motion import MotionSignals

SPEED_PX_A_TENTH = 3.0  # of a frame 240 px high


def texture(seed: int = 0) -> NDArray[np.float32]:
    """Detail of several sizes, as a street has."""
    grain = np.random.default_rng(seed)
    field = sum(
        sigma * cv2.GaussianBlur(grain.standard_normal((320, 900)).astype(np.float32), (0, 0), sigma)
        for sigma in (2, 4, 8, 16)
    )
    return (field - field.min()) / np.ptp(field) * 255


def view(field: NDArray[np.float32], offset_px: float, height_px: int = 240) -> NDArray[np.uint8]:
    picture = cv2.getRectSubPix(field, (400, 240), (250 + offset_px, 160))
    size = (round(400 * height_px / 240), height_px)
    return np.clip(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), 0, 255).astype(np.uint8)


def drive(rate_hz: float, *, height_px: int = 240, seconds: float = 1.0) -> pl.DataFrame:
    field, signals = texture(), MotionSignals(0.5)
    for k in range(round(seconds * rate_hz) + 1):
        time_sec = k / rate_hz
        signals.add(time_sec, view(field, SPEED_PX_A_TENTH * time_sec / 0.1, height_px))
    return signals.finish(seconds)


@pytest.mark.parametrize("rate_hz", [4.0, 10.0, 30.0])
def test_the_same_speed_reads_the_same_at_any_frame_rate(rate_hz: float) -> None:
    # 3 px per 0.1 s is 7.5, 3 and 1 px per pair of frames; what comes into the picture at its border reads high.
    table = drive(rate_hz)
    assert table["flow_mean_px"].to_list() == pytest.approx([SPEED_PX_A_TENTH] * 2, rel=0.08)
    assert table["flow_variance_px2"].to_numpy().max() < 0.5


def test_a_larger_picture_of_the_same_scene_reads_the_same() -> None:
    assert drive(10.0, height_px=360)["flow_mean_px"].to_list() == pytest.approx([SPEED_PX_A_TENTH] * 2, rel=0.05)


def test_variance_is_that_of_a_half_moving_picture() -> None:
    field, still, signals = texture(), view(texture(1), 0), MotionSignals(0.5)
    for k in range(6):
        picture = still.copy()
        picture[:, :200] = view(field, 4.0 * k)[:, :200]
        signals.add(k / 10, picture)
    # Half at 4 px, half at 0: mean 2, variance 4; the border between them blurs both a little.
    table = signals.finish(0.5)
    assert table["flow_mean_px"][0] == pytest.approx(2.0, rel=0.1)
    assert table["flow_variance_px2"][0] == pytest.approx(4.0, rel=0.2)


def test_frames_repeated_to_fill_a_frame_rate_leave_the_speed_as_it_was() -> None:
    field, signals = texture(), MotionSignals(0.5)
    for k in range(16):  # 10 fps in a 30 fps file: each picture three times
        signals.add(k / 30, view(field, SPEED_PX_A_TENTH * (k // 3)))
    assert signals.finish(0.5)["flow_mean_px"][0] == pytest.approx(SPEED_PX_A_TENTH, rel=0.07)


def test_a_cut_shows_no_motion() -> None:
    one, other = view(texture(1), 0), view(texture(2), 0)

    def shown(is_cut: bool) -> float | None:
        signals = MotionSignals(0.5)
        for k in range(5):
            signals.add(k / 10, one if k < 3 else other, is_cut=is_cut and k == 3)
        mean: float | None = signals.finish(0.5)["flow_mean_px"][0]
        return mean

    assert shown(is_cut=True) == pytest.approx(0.0, abs=1e-3)
    assert (shown(is_cut=False) or 0.0) > 0.5  # what would be read without the cut


def test_gaps_resizes_and_repeated_timestamps_are_not_motion() -> None:
    field, signals = texture(), MotionSignals(0.5)
    signals.add(0.0, view(field, 0))
    signals.add(0.0, view(field, 9))  # same time: skipped
    signals.add(0.1, view(field, 0))
    signals.add(1.1, view(field, 9))  # 1 s later
    signals.add(1.2, view(field, 0, height_px=120))
    table = signals.finish(1.5)
    assert table["flow_mean_px"].to_list() == [pytest.approx(0.0, abs=1e-3), None, None]
    assert table["flow_variance_px2"].null_count() == 2
