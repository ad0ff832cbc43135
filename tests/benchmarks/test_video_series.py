"""What the pictures of the shared videos show: whose curves, which moments; never into the repository."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import polars as pl
import pytest

from autorisk_dagster import tables
from tests.benchmarks import video_series
from tests.benchmarks.video_series import CURVES, FRAMES, ROOT, Series, shown_times, shown_tracks


def series(high_sec: dict[int, float], event: tuple[int, int | None] | None = None) -> Series:
    """Everybody seen from 0 to 4.9 s; the surest approach of road user n, that many seconds, is at 0.1 n s."""
    samples = pl.DataFrame(
        [
            {"timestamp_sec": step / 10, "track_id": track, "ttc_high_sec": high if step == track else math.inf}
            for track, high in high_sec.items()
            for step in range(50)
        ]
    )
    rows = []
    if event is not None:
        row = {
            "version": "v2",
            "timestamp_sec": 4.2,
            "risk_score": 0.8,
            "object_id_1": event[0],
            "object_id_2": event[1],
        }
        rows.append(dict.fromkeys(tables.NEAR_MISS_EVENTS) | row)
    return Series("made", samples, tables.frame(rows, tables.NEAR_MISS_EVENTS))


def test_those_in_events_are_shown_first_then_the_surest_approaches():
    ten = {n: 20.0 - n for n in range(1, 11)}
    assert shown_tracks(series(ten)) == [4, 5, 6, 7, 8, 9, 10]
    assert shown_tracks(series(ten, (1, None))) == [1, 5, 6, 7, 8, 9, 10]
    assert len(shown_tracks(series(ten, (1, 2)))) == CURVES
    assert shown_tracks(series({1: math.inf, 2: 9.0})) == [2]


def test_the_event_and_each_shown_approach_have_their_frame():
    one = series({1: 5.0, 2: 6.0}, (2, None))
    times = shown_times(one, shown_tracks(one))
    assert {0.1, 0.2, 4.2} <= set(times)
    assert times == sorted(set(times))
    assert len(times) <= FRAMES
    assert times[-1] == pytest.approx(4.9)


def test_no_frame_of_the_footage_goes_into_the_repository(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["video_series", str(Path(ROOT) / "docs")])
    with pytest.raises(SystemExit):
        video_series.main()
    assert "is in the repository" in capsys.readouterr().err
