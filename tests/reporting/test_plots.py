import json
import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.reporting.plots import (
    TRACK_COLORS,
    signal_figure,
    signal_png,
    thinned,
    track_color,
    track_figure,
)
from autorisk_dagster.reporting.ttc_plot import ttc_figure
from tests.reporting.example import clip_row, event_row, score_rows, signal_rows, track_rows, ttc_row, ttc_sample

CLIPS = tables.frame([clip_row(1, 1.0, 4.0, 2.25), clip_row(2, 4.0, 6.0, 4.75)], tables.MINED_CLIPS)
EVENTS = tables.frame([event_row()], tables.NEAR_MISS_EVENTS)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.integers(1, 50))
def test_thinning_keeps_the_highest_peak_and_the_ends(values: list[float], limit: int) -> None:
    table = pl.DataFrame(
        {
            "start_sec": [float(n) for n in range(len(values))],
            "end_sec": [n + 1.0 for n in range(len(values))],
            "s": values,
        }
    )
    thin = thinned(table, limit)
    assert thin.height <= limit
    assert thin["s"].max() == max(values)
    assert (thin["start_sec"][0], thin["end_sec"][-1]) == (0.0, len(values))


def test_signal_figure_shows_peaks_spans_cuts_and_near_misses() -> None:
    figure = signal_figure(
        score_rows(),
        signal_rows(),
        CLIPS,
        EVENTS,
        severities={"example-c01": "HIGH", "example-c02": None},
        min_score=0.15,
    )
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces["fused"].x[:2]) == [0.25, 0.75]  # middles of the windows
    assert list(traces["clip peak"].x) == [2.25, 4.75]
    assert list(traces["near miss"].x) == [2.5]
    spans = [(shape.x0, shape.x1) for shape in figure.layout.shapes if shape.type == "rect"]
    assert spans == [(1.0, 4.0), (4.0, 6.0)]
    colors = {shape.fillcolor for shape in figure.layout.shapes if shape.type == "rect"}
    assert len(colors) == 2  # "not judged" has a colour of its own
    cuts = [shape.x0 for shape in figure.layout.shapes if shape.yref == "paper" and shape.type == "line"]
    assert cuts == [3.0]  # window 6 starts at 3.0 s
    assert figure.layout.xaxis.range == (0, 6.0)


def test_a_signal_that_was_not_measured_has_no_curve() -> None:
    """A video without sound must not show a flat line that reads as silence."""
    scores = score_rows().with_columns(pl.lit(None, pl.Float64).alias("audio_score"))
    assert "audio" not in {trace.name for trace in signal_figure(scores, signal_rows(), CLIPS, EVENTS).data}


def test_figures_are_plain_json() -> None:
    """NaN and infinity are no JSON; they would end a browser's parser."""
    scores = score_rows().with_columns(
        pl.when(pl.col("start_sec") > 2).then(pl.col("fused_score")).alias("fused_score")
    )
    row = ttc_row("c", [ttc_sample(2.0, math.inf, None, math.inf), ttc_sample(2.1, 1.0, 0.5, math.inf)])
    for figure in (
        signal_figure(scores, signal_rows(), CLIPS, EVENTS),
        ttc_figure(row, 1.0, 4.0, labels={}),
        track_figure(track_rows(), 320, 180),
    ):
        json.dumps(figure.to_plotly_json(), allow_nan=False)


def test_what_does_not_close_in_is_a_gap_and_long_gaps_break_the_line() -> None:
    row = ttc_row(
        "c",
        [
            ttc_sample(2.0, 4.0, 3.0, 5.0),
            ttc_sample(2.1, math.inf, 9.0, math.inf),
            ttc_sample(2.2, None, None, None),
            ttc_sample(2.3, 2.0, 1.5, math.inf),
            ttc_sample(3.0, 1.0, 0.05, 1.5),
            ttc_sample(3.1, 25.0, 20.0, 30.0),  # beyond the axis
        ],
    )
    band, line, lowest = ttc_figure(row, 1.0, 4.0, labels={3: "car"}).data
    assert line.name == "car #3"
    assert list(line.x) == [2.0, 2.3, None, 3.0]  # 0.7 s between the last two: not joined
    assert list(line.y) == [4.0, 2.0, None, 1.0]
    # The band goes forth on the upper and back on the lower bounds; infinity ends at 20 s, 0.05 s at 0.1 s.
    assert list(band.y) == [5.0, 20.0, 1.5, 3.0, None, 1.5, 0.1, None]
    assert (lowest.x[0], lowest.y[0]) == (2.2, 1.4)


def test_a_clip_in_which_nothing_approaches_has_no_lowest_mark() -> None:
    row = ttc_row("c", [ttc_sample(2.0, math.inf, 9.0, math.inf)], min_ttc_sec=math.inf, min_ttc_at_sec=None)
    assert len(ttc_figure(row, 1.0, 4.0, labels={}).data) == 0


def test_only_the_tracks_that_come_nearest_in_time_are_drawn() -> None:
    timeline = [ttc_sample(2.0, 0.5 + number, None, None, number) for number in range(1, 12)]
    names = [trace.name for trace in ttc_figure(ttc_row("c", timeline), 1, 4, labels={}).data if trace.name]
    assert names == [f"track #{number}" for number in range(1, 9)] + ["lowest 1.4 s"]


def test_track_figure_follows_the_bottom_centre() -> None:
    tracks = pl.concat([track_rows(range(3)), track_rows(range(3), track_id=None)])
    (path,) = track_figure(tracks, 320, 180).data  # the unfollowed box has no path
    assert list(path.x) == [130, 131, 132]  # (100 + 160) / 2 and on
    assert list(path.y) == [120, 120, 120]
    assert track_figure(tracks, 320, 180).layout.yaxis.range == (180, 0)  # image rows grow downwards


def test_labels_are_text_and_not_markup() -> None:
    (path,) = track_figure(track_rows(range(3), label="<a href='https://x'>car</a>"), 320, 180).data
    assert "<a" not in path.name
    assert "&lt;a" in path.name


def test_a_track_keeps_its_colour() -> None:
    assert track_color(3) == track_color(3 + len(TRACK_COLORS))
    (path,) = track_figure(track_rows(range(3)), 320, 180).data
    _, line, _ = ttc_figure(ttc_row("c"), 1.0, 4.0, labels={}).data
    assert path.line.color == line.line.color == track_color(3)


@pytest.mark.parametrize("clips", [CLIPS, tables.empty(tables.MINED_CLIPS)])
def test_the_picture_has_the_wanted_size(clips: pl.DataFrame) -> None:
    png = signal_png(score_rows(), clips, EVENTS, width_px=640, height_px=200)
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (640, 200)


def test_a_video_without_a_window_still_has_a_picture() -> None:
    assert signal_png(score_rows().head(0), tables.empty(tables.MINED_CLIPS), tables.empty(tables.NEAR_MISS_EVENTS))
