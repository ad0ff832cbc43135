"""The time to contact of the road users in one clip, as a Plotly figure.

What a curve leaves out is part of what it says: infinite values (not closing), NaN (cannot say) and times beyond the
axis are gaps, and samples that are far apart are not joined.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from autorisk_dagster.reporting.plots import (
    SEVERITY_COLORS,
    graph_objects,
    lay_out,
    plain_text,
    ruled_line,
    track_color,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

MAX_TTC_TRACKS = 8  # curves in one figure; the nearest in time are kept
TTC_AXIS_SEC = (0.1, 20.0)  # log axis; beyond 20 s an approach is no concern; bounds are cut at it
_GAP_SEC = 0.5  # two samples further apart than this are not joined


def ttc_figure(
    row: Mapping[str, Any],
    start_sec: float,
    end_sec: float,
    *,
    labels: Mapping[int, str],
    critical_sec: float | None = None,
) -> go.Figure:
    """Time to contact of the road users in one clip, with its 90 % interval.

    Infinite values (not closing), NaN (cannot say) and times beyond the axis are gaps. Axis: logarithmic, TTC_AXIS_SEC.

    Args:
        row: one row of tables.CLIP_TTC
        start_sec: start of the clip in the video
        end_sec: end of the clip in the video
        labels: label by track id ("car")
        critical_sec: a line under which a track is critical
    """
    go = graph_objects()
    figure = go.Figure()
    for track_id, samples in _nearest_tracks(row["timeline"] or []):
        color = track_color(track_id)
        name = f"{plain_text(labels.get(track_id, 'track'))} #{track_id}"
        runs = _runs(samples)
        figure.add_scatter(
            x=[x for run in runs for x in _band_x(run)],
            y=[y for run in runs for y in _band_y(run)],
            fill="toself",
            fillcolor=_translucent(color, 0.16),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
        )
        times = _joined(runs, "timestamp_sec", 2)
        figure.add_scatter(
            x=times,
            y=_joined(runs, "ttc_sec", 3),
            name=name,
            mode="lines+markers+text",
            line={"color": color, "width": 2},
            marker={"size": 4},
            text=[*[""] * (len(times) - 1), f"#{track_id}"],
            textposition="top center",
            textfont={"color": color},
            cliponaxis=False,
            hovertemplate=f"%{{x:.2f}} s · {name} · %{{y:.2f}} s to contact<extra></extra>",
        )
    lowest = row["min_ttc_sec"]
    if lowest is not None and math.isfinite(lowest):
        figure.add_scatter(
            x=[round(row["min_ttc_at_sec"], 2)],
            y=[round(_capped(lowest), 3)],
            name=f"lowest {lowest:.1f} s",
            mode="markers",
            marker={"symbol": "diamond", "size": 12, "color": SEVERITY_COLORS["HIGH"], "line": {"width": 1.5}},
            hovertemplate=f"lowest: {lowest:.2f} s at %{{x:.2f}} s<extra></extra>",
        )
    shapes = []
    if critical_sec is not None:
        shapes.append(ruled_line(x0=0, x1=1, y0=critical_sec, y1=critical_sec, xref="paper", yref="y", dash="dash"))
    lay_out(figure, "time in the video (s)", "time to contact (s)", height=280, shapes=shapes)
    figure.update_layout(showlegend=False)  # each curve carries its id
    figure.update_xaxes(range=[start_sec, end_sec])
    figure.update_yaxes(
        type="log",
        range=[math.log10(edge) for edge in TTC_AXIS_SEC],
        tickvals=[0.1, 0.2, 0.5, 1, 2, 5, 10, 20],
        ticktext=["0.1", "0.2", "0.5", "1", "2", "5", "10", "20"],
    )
    return figure


def _nearest_tracks(timeline: Iterable[Mapping[str, Any]]) -> list[tuple[int, list[Mapping[str, Any]]]]:
    """Samples on the axis by track, the tracks with the shortest times first, at most MAX_TTC_TRACKS, then by id."""
    by_track: dict[int, list[Mapping[str, Any]]] = {}
    for sample in timeline:
        ttc = sample["ttc_sec"]
        if ttc is not None and ttc <= TTC_AXIS_SEC[1]:  # false for NaN and infinity
            by_track.setdefault(sample["track_id"], []).append(sample)
    nearest = sorted(by_track.items(), key=lambda item: min(sample["ttc_sec"] for sample in item[1]))
    chosen = sorted(nearest[:MAX_TTC_TRACKS])
    return [(track_id, sorted(samples, key=lambda sample: sample["timestamp_sec"])) for track_id, samples in chosen]


def _runs(samples: list[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """`samples` cut wherever two neighbours are further apart than _GAP_SEC."""
    runs = [samples[:1]]
    for before, after in pairwise(samples):
        if after["timestamp_sec"] - before["timestamp_sec"] > _GAP_SEC:
            runs.append([])
        runs[-1].append(after)
    return runs


def _joined(runs: list[list[Mapping[str, Any]]], key: str, decimals: int) -> list[float | None]:
    """Values of all runs in one list, a None between runs so that the line breaks there."""
    values: list[float | None] = []
    for run in runs:
        values += [round(_capped(sample[key]) if key != "timestamp_sec" else sample[key], decimals) for sample in run]
        values.append(None)
    return values[:-1]


def _band_x(run: list[Mapping[str, Any]]) -> list[float | None]:
    forth = [round(sample["timestamp_sec"], 2) for sample in run]
    return [*forth, *reversed(forth), None]


def _band_y(run: list[Mapping[str, Any]]) -> list[float | None]:
    high = [round(_capped(_or_inf(sample["high_sec"])), 3) for sample in run]
    low = [round(_capped(_or_inf(sample["low_sec"], -1)), 3) for sample in run]
    return [*high, *reversed(low), None]


def _or_inf(bound: float | None, sign: int = 1) -> float:
    """A bound that cannot be said is the axis edge on its side."""
    return sign * math.inf if bound is None or math.isnan(bound) else bound


def _capped(seconds: float) -> float:
    return min(max(seconds, TTC_AXIS_SEC[0]), TTC_AXIS_SEC[1])


def _translucent(color: str, alpha: float) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"
