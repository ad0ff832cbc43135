"""The dashboard's charts over many clips, as Plotly figures of plain numbers.

As in `reporting.plots`, figures carry no colours of text or grid: the page sets those for its light or dark scheme.
Every chart has its numbers in a table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.reporting import words
from autorisk_dagster.reporting.dashboard.summaries import JUDGED, Estimate, Group, VideoSummary
from autorisk_dagster.reporting.plots import (
    SEVERITY_COLORS,
    SIGNAL_COLORS,
    graph_objects,
    lay_out,
    plain_text,
    ruled_line,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

MAX_TIMELINE_VIDEOS: Final = 25
SIGNALS: Final = ("audio", "motion", "proximity", "fused")
STAGE_COLORS: Final = ("#71808f", "#3b82f6", "#c2700c", "#16915a", "#a06cd5", "#0e8f99", "#d6559a", "#83831c")


def severity_figure(counts: dict[str, int]) -> go.Figure:
    """Clips by severity; those not judged beside them."""
    figure = graph_objects().Figure()
    names = list(counts)
    figure.add_bar(
        x=names,
        y=list(counts.values()),
        text=[str(value) for value in counts.values()],
        textposition="outside",
        cliponaxis=False,
        marker={"color": [_severity_color(name) for name in names]},
        hovertemplate="%{x}: %{y} clips<extra></extra>",
    )
    lay_out(figure, "", "clips", height=260, shapes=[])
    figure.update_layout(showlegend=False, bargap=0.35)
    figure.update_xaxes(tickangle=0, tickvals=names, ticktext=[name.replace(" ", "<br>") for name in names])
    figure.update_yaxes(rangemode="tozero", showticklabels=False)
    return figure


def timeline_figure(videos: Sequence[VideoSummary]) -> go.Figure:
    """Where in each video clips were found; the first MAX_TIMELINE_VIDEOS of `videos`, the first at the top."""
    figure = graph_objects().Figure()
    shown = videos[:MAX_TIMELINE_VIDEOS]
    longest_sec = max((video.duration_sec for video in shown), default=0.0)
    unit, divisor = ("min", 60.0) if longest_sec > 180 else ("s", 1.0)
    names = [f"{number + 1}. {plain_text(_short(video.file_name))}" for number, video in enumerate(shown)]
    figure.add_bar(
        y=names,
        x=[round(video.duration_sec / divisor, 3) for video in shown],
        orientation="h",
        marker={"color": "rgba(113,128,143,0.18)"},
        width=0.5,
        hovertemplate=f"%{{x:.1f}} {unit} long<extra></extra>",
        showlegend=False,
    )
    for severity in (*JUDGED, None):
        found = [
            (name, row)
            for name, video in zip(names, shown, strict=True)
            for row in video.rows
            if row["severity"] == severity
        ]
        if found:
            figure.add_scatter(
                x=[round((row["start"] + row["end"]) / 2 / divisor, 3) for _, row in found],
                y=[name for name, _ in found],
                name=severity or words.NOT_JUDGED,
                mode="markers",
                marker={"color": SEVERITY_COLORS[severity], "size": 11, "symbol": _SYMBOLS[severity]},
                customdata=[row["id"] for _, row in found],
                hovertemplate=f"%{{x:.2f}} {unit} · {severity or words.NOT_JUDGED} · %{{customdata}}<extra></extra>",
            )
    lay_out(figure, f"time ({unit})", "", height=max(200, 90 + 26 * len(shown)), shapes=[])
    figure.update_layout(margin={"l": 20, "r": 12, "t": 30, "b": 44})
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_xaxes(rangemode="tozero")
    return figure


def heat_figure(cells: Sequence[Sequence[tuple[float | None, int]]], severities: Sequence[str]) -> go.Figure:
    """Mean score of each signal (a row) by severity (a column); see `heat_cells`."""
    figure = graph_objects().Figure()
    values = [[None if value is None else round(value, 3) for value, _ in row] for row in cells]
    figure.add_heatmap(
        z=values,
        x=list(severities),
        y=list(SIGNALS),
        text=[["" if value is None else f"{value:.2f}<br>n {n}" for value, n in row] for row in cells],
        texttemplate="%{text}",
        colorscale=[[0, "#e8f0fa"], [0.5, "#7fb0e8"], [1, "#1a5fb4"]],
        zmin=0,
        zmax=1,
        showscale=False,
        hovertemplate="%{y} · %{x}: %{z:.2f}<extra></extra>",
    )
    lay_out(figure, "severity, as corrected", "", height=260, shapes=[])
    figure.update_layout(margin={"l": 80, "r": 12, "t": 8, "b": 44})
    figure.update_yaxes(autorange="reversed")
    return figure


def heat_cells(rows: Sequence[dict[str, Any]]) -> list[list[tuple[float | None, int]]]:
    """Mean and number of measured clips, by SIGNALS and then by severity, mildest first."""
    return [
        [
            (mean(values) if values else None, len(values))
            for severity in tables.SEVERITIES
            if (values := [r[name] for r in rows if r["severity"] == severity and r[name] is not None]) is not None
        ]
        for name in SIGNALS
    ]


def ttc_by_severity_figure(rows: Sequence[dict[str, Any]]) -> go.Figure:
    """Shortest time to contact of each clip, by severity: a box from five clips on, and the clips as points."""
    figure = graph_objects().Figure()
    for severity in tables.SEVERITIES:
        values = finite_ttc(rows, severity)
        if values:
            figure.add_box(
                y=[round(value, 2) for value in values],
                name=severity,
                boxpoints="all" if len(values) <= 300 else "outliers",
                jitter=0.4,
                pointpos=0,
                marker={"color": SEVERITY_COLORS[severity], "size": 7 if len(values) <= 50 else 5},
                line={"width": 1.5 if len(values) >= 5 else 0},
                fillcolor="rgba(0,0,0,0)",
                hovertemplate="%{y:.2f} s<extra></extra>",
            )
    lay_out(figure, "severity, as corrected", "lowest time to contact (s)", height=320, shapes=[])
    figure.update_layout(showlegend=False)
    drawn = [value for severity in tables.SEVERITIES for value in finite_ttc(rows, severity)]
    ends = (min(0.5, *drawn) / 1.2, max(5.0, *drawn) * 1.2)  # never so narrow that no more than one tick is in it
    figure.update_yaxes(
        type="log",
        range=[round(math.log10(end), 3) for end in ends],
        tickvals=[0.1, 0.2, 0.5, 1, 2, 5, 10, 20],
        ticktext=_LOG_TICKS,
    )
    return figure


def finite_ttc(rows: Sequence[dict[str, Any]], severity: str | None) -> list[float]:
    """Lowest times to contact of the clips of one severity in which something approaches."""
    return [
        row["ttc"]
        for row in rows
        if row["severity"] == severity and row["ttc"] is not None and 0 < row["ttc"] < math.inf
    ]


def groups_figure(groups: Sequence[Group]) -> go.Figure:
    """Groups of videos side by side: near misses an hour with their intervals."""
    return dots_figure([(group.name, group.near_misses_an_hour) for group in groups], "near misses an hour")


def dots_figure(rows: Sequence[tuple[str, Estimate]], title: str, reference: float | None = None) -> go.Figure:
    """A dot and its interval a row, the first at the top; a row without a value is left out."""
    figure = graph_objects().Figure()
    known = [(name, found) for name, found in rows if found.value is not None]
    names = [plain_text(_short(name)) for name, _ in known]
    figure.add_scatter(
        x=[_r(found.value) for _, found in known],
        y=names,
        mode="markers",
        marker={"size": 10, "color": SIGNAL_COLORS["fused"]},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [_r(_span(found.high, found.value)) for _, found in known],
            "arrayminus": [_r(_span(found.value, found.low)) for _, found in known],
            "color": SIGNAL_COLORS["fused"],
        },
        customdata=[found.n for _, found in known],
        hovertemplate="%{y}: %{x:.3g} · n %{customdata}<extra></extra>",
    )
    shapes = []
    if reference is not None:
        shapes.append(ruled_line(x0=reference, x1=reference, y0=0, y1=1, xref="x", yref="paper", dash="dash"))
    lay_out(figure, title, "", height=max(150, 80 + 28 * len(known)), shapes=shapes)
    figure.update_layout(margin={"l": 20, "r": 12, "t": 8, "b": 44}, showlegend=False)
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    return figure


def confusion_figure(counts: dict[tuple[str, str], int], given: Sequence[str]) -> go.Figure:
    """Labels (rows) against what was given (columns); the diagonal is right."""
    figure = graph_objects().Figure()
    labels = list(JUDGED)
    z = [[counts.get((label, name), 0) for name in given] for label in labels]
    figure.add_heatmap(
        z=z,
        x=list(given),
        y=labels,
        text=[[str(value) for value in row] for row in z],
        texttemplate="%{text}",
        colorscale=[[0, "#f2f5f9"], [1, "#1a5fb4"]],
        showscale=False,
        hovertemplate="labelled %{y}, given %{x}: %{z}<extra></extra>",
    )
    lay_out(figure, "given", "labelled", height=300, shapes=[])
    figure.update_layout(margin={"l": 80, "r": 12, "t": 8, "b": 44})
    figure.update_yaxes(autorange="reversed")
    return figure


def stages_figure(table: pl.DataFrame, metrics: Sequence[str]) -> go.Figure:
    """Overall figures by stage: the same clips before and after the correction."""
    figure = graph_objects().Figure()
    stages = table["stage"].unique(maintain_order=True).to_list()
    for number, stage in enumerate(stages):
        rows = {row["metric"]: row for row in table.filter(pl.col("stage") == stage).iter_rows(named=True)}
        found = [(metric, rows[metric]) for metric in metrics if metric in rows and rows[metric]["value"] is not None]
        figure.add_bar(
            x=[words_of(metric) for metric, _ in found],
            y=[_r(row["value"]) for _, row in found],
            name=str(stage),
            marker={"color": STAGE_COLORS[number % len(STAGE_COLORS)]},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [_r(_span(row["high"], row["value"])) for _, row in found],
                "arrayminus": [_r(_span(row["value"], row["low"])) for _, row in found],
            },
            hovertemplate="%{x} · " + str(stage) + ": %{y:.2f}<extra></extra>",
        )
    lay_out(figure, "", "value", height=300, shapes=[])
    figure.update_layout(barmode="group")
    return figure


def reliability_figure(table: pl.DataFrame) -> go.Figure:
    """Confidence said against share right, a point a bin; on the dashed line both are the same."""
    figure = graph_objects().Figure()
    for number, (stage, bins) in enumerate(table.group_by("stage", maintain_order=True)):
        figure.add_scatter(
            x=[_r(value) for value in bins["mean_confidence"]],
            y=[_r(value) for value in bins["value"]],
            name=str(stage[0]),
            mode="lines+markers",
            line={"color": STAGE_COLORS[1 + number]},
            customdata=bins["n"].to_list(),
            hovertemplate="said %{x:.2f}, right %{y:.2f} · n %{customdata}<extra></extra>",
        )
    shapes = [ruled_line(x0=0, x1=1, y0=0, y1=1, xref="x", yref="y", dash="dash")]
    lay_out(figure, "mean confidence", "share right", height=320, shapes=shapes)
    figure.update_xaxes(range=[0, 1])
    figure.update_yaxes(range=[0, 1.02])
    return figure


def words_of(name: str) -> str:
    """A column's or a metric's name for people."""
    return name.replace("_", " ")


_SYMBOLS: Final = {
    "HIGH": "triangle-up",
    "MEDIUM": "diamond",
    "LOW": "circle",
    "NONE": "circle-open",
    None: "square-open",
}
_LOG_TICKS: Final = ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20"]


def _severity_color(name: str) -> str:
    return SEVERITY_COLORS[None if name == words.NOT_JUDGED else name]


def _short(text: str, limit: int = 22) -> str:
    return text if len(text) <= limit else f"{text[: limit // 2 - 1]}…{text[-limit // 2 :]}"


def _span(high: float | None, low: float | None) -> float:
    return max(high - low, 0.0) if high is not None and low is not None else 0.0


def _r(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)
