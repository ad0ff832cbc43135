"""Windows: timestamps fall where their value says, and the assembled table keeps its schema."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.mining.audio import AudioSignals
from autorisk_dagster.mining.motion import MotionSignals
from autorisk_dagster.mining.proximity import proximity_windows
from autorisk_dagster.mining.windows import FrameCounts, assemble, window_count, window_of


@pytest.mark.parametrize(
    ("timestamp_sec", "window_sec", "window"),
    [(0.0, 0.5, 0), (0.4999, 0.5, 0), (0.5, 0.5, 1), (0.3, 0.1, 3), (0.7, 0.1, 7), (-0.01, 0.5, -1)],
)
def test_a_border_belongs_to_the_later_window(timestamp_sec: float, window_sec: float, window: int) -> None:
    assert window_of(timestamp_sec, window_sec) == window


@pytest.mark.parametrize(
    ("duration_sec", "windows"), [(0.0, 1), (0.2, 1), (0.5, 1), (0.5000000001, 1), (0.51, 2), (17.166666, 35)]
)
def test_windows_cover_the_video(duration_sec: float, windows: int) -> None:
    assert window_count(duration_sec, 0.5) == windows


@given(k=st.integers(0, 10_000_000), fps=st.sampled_from([24_000 / 1001, 25, 30_000 / 1001, 30, 60]))
def test_every_frame_falls_in_a_window_of_the_video(k: int, fps: float) -> None:
    duration_sec = (k + 1) / fps
    assert 0 <= window_of(k / fps, 0.5) < window_count(duration_sec, 0.5)


def parts(duration_sec: float, frame_times: list[float]) -> dict[str, pl.DataFrame]:
    counts = FrameCounts(0.5)
    for time_sec in frame_times:
        counts.add(time_sec, is_cut=time_sec == 0.6)
    return {
        "counts": counts.finish(duration_sec),
        "audio": AudioSignals(0.5).finish(duration_sec),
        "motion": MotionSignals(0.5).finish(duration_sec),
        "proximity": proximity_windows(tables.empty(tables.TRACKS), (640, 360), window_count(duration_sec, 0.5), 0.5),
    }


def test_variable_frame_rate_is_counted_by_timestamp_and_an_empty_window_is_not_nobody() -> None:
    found = assemble(1.7, 0.5, **parts(1.7, [0.0, 0.1, 0.6, 1.5, 1.6]))
    rows: list[dict[str, Any]] = tables.check(found, tables.FRAME_SIGNALS).to_dicts()
    assert [row["frames"] for row in rows] == [2, 1, 0, 2]
    assert [row["scene_cuts"] for row in rows] == [0, 1, 0, 0]
    assert [row["end_sec"] for row in rows] == [0.5, 1.0, 1.5, 1.7]
    assert [row["detections"] for row in rows] == [0, 0, None, 0]
    assert [row["proximity"] for row in rows] == [0.0, 0.0, None, 0.0]


def test_measurements_of_different_lengths_are_refused_by_name() -> None:
    given_parts = parts(2.0, [0.0])
    given_parts["audio"] = AudioSignals(0.5).finish(1.0)
    with pytest.raises(InputError, match=r"are 4 windows.*'audio': 2.*same duration"):
        assemble(2.0, 0.5, **given_parts)


def test_memory_is_windows_not_samples() -> None:
    import tracemalloc

    signals = AudioSignals(0.5)
    second = np.full(16_000, 0.1, np.float32)
    signals.add(0.0, second)
    tracemalloc.start()
    try:
        for k in range(1, 61):
            signals.add(float(k), second)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A minute of samples is 3.8 MB; 8 blocks a second of 7 numbers are 27 kB, the rest is caches.
    assert kept < 400_000
