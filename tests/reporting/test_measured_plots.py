"""Pictures of what was measured: they show what is in the tables, and say where nothing was measured."""

from __future__ import annotations

import io
import math

import numpy as np
import polars as pl
from PIL import Image

from autorisk_dagster import tables
from autorisk_dagster.reporting.measured_plots import signals_png, ttc_png
from autorisk_dagster.reporting.plots import SIGNAL_COLORS, track_color
from tests.reporting.example import ttc_row


def pixels_of(png: bytes, color: str) -> int:
    wanted = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return int((np.abs(picture - wanted).sum(axis=2) < 90).sum())


def signals(**change: float | None) -> pl.DataFrame:
    rows = [
        dict.fromkeys(tables.FRAME_SIGNALS)
        | {"window_index": n, "start_sec": n / 2, "end_sec": n / 2 + 0.5, "scene_cuts": 0}
        | {"loudness_over_floor_db": 3.0 * n, "flow_mean_px": 9.0 - n, "proximity": 0.1 * n}
        | change
        for n in range(8)
    ]
    return tables.frame(rows, tables.FRAME_SIGNALS)


def test_a_signal_that_was_not_measured_has_no_line() -> None:
    whole, deaf = signals_png(signals()), signals_png(signals(loudness_over_floor_db=None))
    assert pixels_of(whole, SIGNAL_COLORS["audio"]) > 200
    assert pixels_of(deaf, SIGNAL_COLORS["audio"]) == 0
    assert pixels_of(deaf, SIGNAL_COLORS["motion"]) > 200
    assert Image.open(io.BytesIO(signals_png(signals().clear()))).size == (900, 420)


def samples(track: int, start_sec: float) -> list[dict[str, float | None]]:
    values = [6.0, 4.0, math.inf, None, 2.0]
    return [
        {
            "timestamp_sec": start_sec + n / 10,
            "track_id": track,
            "ttc_sec": value,
            "low_sec": None if value is None else value * 0.8,
            "high_sec": math.inf if value == 6.0 else None if value is None else value * 1.3,
        }
        for n, value in enumerate(values)
    ]


def test_the_nearest_of_each_clip_is_drawn_and_others_are_not() -> None:
    timeline = [*samples(3, 1.0), *samples(4, 1.0)]
    near = ttc_row("drive-c01", min_ttc_sec=2.0, min_ttc_track_id=3, min_ttc_at_sec=1.4, timeline=timeline)
    nothing = ttc_row("drive-c02", min_ttc_sec=math.inf, min_ttc_track_id=None, min_ttc_at_sec=None, timeline=[])
    png = ttc_png(tables.frame([near, nothing], tables.CLIP_TTC))
    assert png is not None
    assert pixels_of(png, track_color(3)) > 50
    assert pixels_of(png, track_color(4)) == 0


def test_where_nothing_approaches_there_is_no_picture() -> None:
    nothing = ttc_row("drive-c02", min_ttc_sec=math.inf, min_ttc_track_id=None, min_ttc_at_sec=None, timeline=[])
    assert ttc_png(tables.frame([nothing], tables.CLIP_TTC)) is None
    assert ttc_png(tables.empty(tables.CLIP_TTC)) is None
