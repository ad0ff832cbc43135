"""Static pictures of what was measured over a video, for the metadata of the assets that measure it.

As everywhere, a gap in a line is "cannot say".
"""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster.reporting.plots import SIGNAL_COLORS, track_color

TTC_SHOWN_SEC: Final = 10.0
CLIPS_SHOWN: Final = 4


def signals_png(frame_signals: pl.DataFrame, *, width_px: int = 900, height_px: int = 420) -> bytes:
    """Loudness over its floor, motion and nearness, a point a window; scene cuts as dotted lines.

    Args:
        frame_signals: tables.FRAME_SIGNALS
    """
    figure, axes = _axes(width_px, height_px, 3)
    middle = ((frame_signals["start_sec"] + frame_signals["end_sec"]) / 2).to_numpy()
    drawn = (
        ("loudness_over_floor_db", "loudness over\nits floor (dB)", "audio"),
        ("flow_mean_px", "motion (px of 240,\nin 0.1 s)", "motion"),
        ("proximity", "nearness", "proximity"),
    )
    for axis, (column, name, signal) in zip(axes, drawn, strict=True):
        values = frame_signals[column].cast(pl.Float64).to_numpy().astype(float)
        if np.isfinite(values).any():
            axis.plot(middle, values, color=SIGNAL_COLORS[signal], linewidth=1.4)
        else:
            axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", va="center", color="#71808f")
        axis.set_ylabel(name, fontsize=8)
        for at_sec in frame_signals.filter(pl.col("scene_cuts") > 0)["start_sec"]:
            axis.axvline(at_sec, color="#71808f", linewidth=0.8, linestyle=":")
    axes[-1].set_xlabel("time in the video (s)")
    return _png(figure)


def ttc_png(clip_ttc: pl.DataFrame, *, width_px: int = 900, height_px: int = 300) -> bytes | None:
    """Time to contact, with its 90 % interval, of the road user that came nearest to contact in each clip; at most
    CLIPS_SHOWN clips, those with the shortest times.

    Args:
        clip_ttc: tables.CLIP_TTC

    Returns:
        None where nothing approaches in any clip.
    """
    nearest = clip_ttc.drop_nulls("min_ttc_track_id").sort("min_ttc_sec", "clip_id").head(CLIPS_SHOWN)
    if nearest.is_empty():
        return None
    figure, (axis,) = _axes(width_px, height_px, 1)
    for row in nearest.iter_rows(named=True):
        samples = [one for one in row["timeline"] or [] if one["track_id"] == row["min_ttc_track_id"]]
        at, value, low, high = (
            np.array([np.nan if one[name] is None else one[name] for one in samples], float)
            for name in ("timestamp_sec", "ttc_sec", "low_sec", "high_sec")
        )
        shown = value <= TTC_SHOWN_SEC
        color = track_color(row["min_ttc_track_id"])
        label = f"{row['clip_id'].rpartition('-')[2]}: {row['min_ttc_label']} #{row['min_ttc_track_id']}"
        axis.plot(at, np.where(shown, value, np.nan), color=color, linewidth=1.6, label=label)
        top = np.minimum(np.nan_to_num(high, nan=TTC_SHOWN_SEC), TTC_SHOWN_SEC)
        axis.fill_between(at, low, top, where=shown, color=color, alpha=0.15, linewidth=0)
        axis.plot(row["min_ttc_at_sec"], row["min_ttc_sec"], "o", color=color, markersize=6)
    axis.set(xlabel="time in the video (s)", ylabel="time to contact (s)", ylim=(0, TTC_SHOWN_SEC))
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    return _png(figure)


def _axes(width_px: int, height_px: int, rows: int) -> tuple[Any, list[Any]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_px / 100, height_px / 100), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(np.atleast_1d(figure.subplots(rows, 1, sharex=True)))
    for axis in axes:
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()
