"""Figures of one video, as pure functions of its tables.

Plotly figures for the report (signals over the video, tracks in a clip; for time to contact see `ttc_plot`) and one
static PNG for places that render no JavaScript. Times are seconds from the first video frame. Figures carry no colours
of text or grid, because the page that shows them sets those for its light or dark scheme, and their numbers are rounded
and thinned, because dozens of them are written into one file.

Plotly and Matplotlib are imported on first use: together they cost more than the rest of the package.
"""

from __future__ import annotations

import html
import io
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import plotly.graph_objects as go

# One colour a track, by track id modulo their number, in every figure and in the annotated clip. Each has a contrast
# of at least 3 : 1 against white and against the dark page; red is left out because it means danger.
TRACK_COLORS = ("#3b82f6", "#c2700c", "#16915a", "#a06cd5", "#0e8f99", "#d6559a", "#83831c", "#a8714a")
SIGNAL_COLORS = {"audio": "#a06cd5", "motion": "#16915a", "proximity": "#c2700c", "fused": "#3b82f6"}
# The severity colours of the report, on both schemes; a clip that was never judged is no severity.
SEVERITY_COLORS = {"HIGH": "#c8372d", "MEDIUM": "#c76a00", "LOW": "#2c74c9", "NONE": "#71808f", None: "#8b7fa8"}

MAX_POINTS = 1500  # a curve wider than this many points shows no more on a screen 1200 px wide


def track_color(track_id: int) -> str:
    """Colour of a track, `#rrggbb`, the same wherever the track is drawn."""
    return TRACK_COLORS[track_id % len(TRACK_COLORS)]


def thinned(scores: pl.DataFrame, limit: int = MAX_POINTS) -> pl.DataFrame:
    """At most `limit` rows: neighbouring windows become one that keeps each column's largest value, so no peak is lost.

    The time columns keep the start of the first and the end of the last window.
    """
    if scores.height <= limit:
        return scores
    size = math.ceil(scores.height / limit)
    values = [name for name in scores.columns if name not in ("start_sec", "end_sec")]
    return (
        scores.with_row_index("bucket")
        .group_by(pl.col("bucket") // size, maintain_order=True)
        .agg(pl.col("start_sec").first(), pl.col("end_sec").last(), *(pl.col(name).max() for name in values))
        .drop("bucket")
        .select(scores.columns)
    )


def signal_figure(
    scores: pl.DataFrame,
    signals: pl.DataFrame,
    mined_clips: pl.DataFrame,
    events: pl.DataFrame,
    *,
    severities: Mapping[str, str | None] | None = None,
    min_score: float | None = None,
) -> go.Figure:
    """Why each clip was mined: the signals and their fusion over the whole video.

    Args:
        scores: one row a window with `start_sec`, `end_sec`, `audio_score`, `motion_score`, `proximity_score` and
            `fused_score`, each 0 to 1; null where the signal was not measured
        signals: tables.FRAME_SIGNALS, for the scene cuts
        mined_clips: tables.MINED_CLIPS; each clip is a shaded span, its peak a mark on the fused curve
        events: tables.NEAR_MISS_EVENTS; each is a mark above the curves, at its risk score
        severities: severity by clip id, for the colour of the spans; None before anything was judged
        min_score: the score a peak must reach, drawn as a line
    """
    go = graph_objects()
    curves = thinned(scores)
    figure = go.Figure()
    middle = _rounded(((curves["start_sec"] + curves["end_sec"]) / 2).to_list(), 2)
    for name in ("audio", "motion", "proximity", "fused"):
        column = curves[f"{name}_score"]
        if column.null_count() == curves.height:
            continue  # not measured at all (a video without sound): no flat line that looks like silence
        width = 2.4 if name == "fused" else 1.1
        figure.add_scatter(
            x=middle,
            y=_rounded(column.to_list(), 3),
            name=name,
            mode="lines",
            line={"color": SIGNAL_COLORS[name], "width": width, "shape": "hvh" if curves.height < 60 else "linear"},
            hovertemplate=f"%{{x:.1f}} s · {name} %{{y:.2f}}<extra></extra>",
        )
    if not mined_clips.is_empty():
        figure.add_scatter(
            x=_rounded(mined_clips["peak_sec"].to_list(), 2),
            y=_rounded(mined_clips["fused_score"].to_list(), 3),
            name="clip peak",
            mode="markers",
            marker={"symbol": "circle-open", "size": 11, "color": SIGNAL_COLORS["fused"], "line": {"width": 2}},
            customdata=[[clip["raised_by"], clip["mining_rank"]] for clip in mined_clips.to_dicts()],
            hovertemplate="peak at %{x:.1f} s · mined no. %{customdata[1]}, by %{customdata[0]}<extra></extra>",
        )
    if not events.is_empty():
        figure.add_scatter(
            x=_rounded(events["timestamp_sec"].to_list(), 2),
            y=[1.06] * events.height,
            name="near miss",
            mode="markers",
            marker={"symbol": "triangle-down", "size": 11, "color": SEVERITY_COLORS["HIGH"]},
            customdata=[[round(event["risk_score"], 2), event["risk_level"]] for event in events.to_dicts()],
            hovertemplate="near miss at %{x:.2f} s · risk %{customdata[0]} (%{customdata[1]})<extra></extra>",
        )
    shapes = [
        _span(clip["start_sec"], clip["end_sec"], _clip_color(clip["clip_id"], severities))
        for clip in mined_clips.to_dicts()
    ]
    cuts = [round(cut, 2) for cut in signals.filter(pl.col("scene_cuts") > 0)["start_sec"]]
    shapes += [ruled_line(x0=cut, x1=cut, y0=0, y1=1, xref="x", yref="paper", dash="dot") for cut in cuts]
    if min_score is not None:
        shapes.append(ruled_line(x0=0, x1=1, y0=min_score, y1=min_score, xref="paper", yref="y", dash="dash"))
    end_sec = curves["end_sec"].max() if curves.height else 1.0
    lay_out(figure, "time in the video (s)", "score", height=300, shapes=shapes)
    figure.update_xaxes(range=[0, end_sec])
    figure.update_yaxes(range=[0, 1.12], tickvals=[0, 0.25, 0.5, 0.75, 1])
    return figure


def track_figure(tracks: pl.DataFrame, width_px: int, height_px: int) -> go.Figure:
    """Paths of the road users of one clip over the image: bottom centre of each box, the end of the path marked.

    Args:
        tracks: tables.TRACKS, only the rows of the clip; rows without a track id are left out
        width_px: width of the video's frame, as the boxes are measured
        height_px: height of that frame
    """
    go = graph_objects()
    figure = go.Figure()
    followed = tracks.filter(pl.col("track_id").is_not_null()).sort("track_id", "timestamp_sec")
    for (track_id,), path in followed.group_by("track_id", maintain_order=True):
        number = int(str(track_id))
        name = f"{plain_text(most_frequent_label(path))} #{number}"
        points = path.height
        figure.add_scatter(
            x=_rounded(((path["x1_px"] + path["x2_px"]) / 2).to_list(), 0),
            y=_rounded(path["y2_px"].to_list(), 0),
            name=name,
            mode="lines+markers+text",
            line={"color": track_color(number), "width": 1.6},
            text=[*[""] * (points - 1), f"#{number}"],
            textposition="top center",
            textfont={"color": track_color(number)},
            cliponaxis=False,
            marker={"size": [3] * (points - 1) + [10], "symbol": ["circle"] * (points - 1) + ["square"]},
            customdata=_rounded(path["timestamp_sec"].to_list(), 2),
            hovertemplate=f"{name} at %{{customdata}} s<extra></extra>",
        )
    lay_out(figure, "across the image (px)", "down the image (px)", height=280, shapes=[])
    figure.update_layout(showlegend=False)
    figure.update_xaxes(range=[0, width_px], constrain="domain")
    figure.update_yaxes(range=[height_px, 0], scaleanchor="x", constrain="domain")
    return figure


def most_frequent_label(path: pl.DataFrame) -> str:
    """The label a track was given most often (of a tie, the first by name)."""
    counted = path.group_by("label").len().sort(["len", "label"], descending=[True, False])
    return str(counted["label"][0]) if counted.height else "track"


def signal_png(
    scores: pl.DataFrame,
    mined_clips: pl.DataFrame,
    events: pl.DataFrame,
    *,
    severities: Mapping[str, str | None] | None = None,
    width_px: int = 1000,
    height_px: int = 280,
) -> bytes:
    """The signal figure as a PNG on white, for metadata and mail. Arguments as in `signal_figure`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dpi = 100
    figure = Figure(figsize=(width_px / dpi, height_px / dpi), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    curves = thinned(scores)
    middle = ((curves["start_sec"] + curves["end_sec"]) / 2).to_list()
    for name in ("audio", "motion", "proximity", "fused"):
        column = curves[f"{name}_score"]
        if column.null_count() < curves.height:
            values = [math.nan if value is None else value for value in column.to_list()]
            axes.plot(middle, values, color=SIGNAL_COLORS[name], linewidth=2 if name == "fused" else 0.9, label=name)
    for clip in mined_clips.to_dicts():
        color = _clip_color(clip["clip_id"], severities)
        axes.axvspan(clip["start_sec"], clip["end_sec"], color=color, alpha=0.14, linewidth=0)
        axes.plot(clip["peak_sec"], clip["fused_score"], "o", mfc="none", mew=1.6, color=SIGNAL_COLORS["fused"])
    if not events.is_empty():
        axes.plot(
            events["timestamp_sec"].to_list(),
            [1.04] * events.height,
            linestyle="none",
            marker="v",
            color=SEVERITY_COLORS["HIGH"],
            label="near miss",
        )
    axes.set(xlabel="time in the video (s)", ylabel="score", ylim=(0, 1.1))
    axes.set_xlim(0, curves["end_sec"].to_list()[-1] if curves.height else 1.0)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def _clip_color(clip_id: str, severities: Mapping[str, str | None] | None) -> str:
    """Before anything was judged clips are grey, afterwards a clip without severity is "not judged"."""
    return SEVERITY_COLORS["NONE" if severities is None else severities.get(clip_id)]


def graph_objects() -> Any:
    """Plotly's figure classes, imported on first use."""
    import plotly.graph_objects as go

    return go


def lay_out(figure: go.Figure, x_title: str, y_title: str, *, height: int, shapes: list[dict[str, Any]]) -> None:
    """What all figures share: size in px, margins, axis titles, shapes."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 52, "r": 12, "t": 8, "b": 44},
        hovermode="closest",
        shapes=shapes,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        xaxis={"title": {"text": x_title}, "zeroline": False},
        yaxis={"title": {"text": y_title}, "zeroline": False},
    )


def _span(start_sec: float, end_sec: float, color: str) -> dict[str, Any]:
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": round(start_sec, 2),
        "x1": round(end_sec, 2),
        "y0": 0,
        "y1": 1,
        "fillcolor": color,
        "opacity": 0.16,
        "line": {"width": 0},
        "layer": "below",
    }


def ruled_line(*, x0: float, x1: float, y0: float, y1: float, xref: str, yref: str, dash: str) -> dict[str, Any]:
    """A thin grey line between two points, as a layout shape; `dash` is Plotly's name of the pattern."""
    line = {"color": "#71808f", "width": 1, "dash": dash}
    return {"type": "line", "xref": xref, "yref": yref, "x0": x0, "x1": x1, "y0": y0, "y1": y1, "line": line}


def _rounded(values: Iterable[float | None], decimals: int) -> list[float | None]:
    """Rounded; null, NaN and infinity become None, which Plotly leaves out and JSON can hold."""
    return [round(v, decimals) if v is not None and math.isfinite(v) else None for v in values]


def plain_text(text: str) -> str:
    """Text that Plotly shows as it stands, though it reads a few HTML tags in text."""
    return html.escape(text, quote=False)
