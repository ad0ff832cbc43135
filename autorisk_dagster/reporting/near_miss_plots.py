"""Static pictures of near miss 1.0's report: what each filter removes, and how events depend on `proximity_px`."""

from __future__ import annotations

import io
from typing import Any, Final

import polars as pl

_ON, _OFF = "#3b82f6", "#71808f"
_STEPS: Final = {
    "filters off": "filters off",
    "stationary": "1 stationary",
    "direction": "2 direction",
    "confidence": "3 confidence",
    "confirmation": "4 confirmation\n(filters on)",
}


def filter_png(comparison: pl.DataFrame, *, width_px: int = 760, height_px: int = 300) -> bytes:
    """Events after each filter, in the document's order; what a filter removed stands beside its bar.

    Args:
        comparison: of `near_miss_report.filter_comparison`
    """
    figure, axes = _axes(width_px, height_px)
    names = [_STEPS[name] for name in comparison["step"]]
    events = comparison["events"].to_list()
    colors = [_OFF, *[_ON] * (len(names) - 1)]
    axes.barh(names, events, color=colors, height=0.6)
    for place, row in enumerate(comparison.iter_rows(named=True)):
        text = f" {row['events']}"
        if place:
            text += f"   removed: {row['events_removed']} events, {row['frames_removed']} pair-frames"
        axes.annotate(text, (row["events"], place), va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set(xlabel="events", xlim=(0, max(1, *events) * 1.75))
    axes.xaxis.get_major_locator().set_params(integer=True)
    return _png(figure)


def sweep_png(sweep: pl.DataFrame, proximity_px: float, *, width_px: int = 760, height_px: int = 300) -> bytes:
    """Events against the proximity threshold, with and without filters; the profile's own threshold is a line.

    Args:
        sweep: of `near_miss_report.threshold_sweep`
        proximity_px: the threshold that the profile uses
    """
    figure, axes = _axes(width_px, height_px)
    for name, color, label in (("events_off", _OFF, "filters off"), ("events_on", _ON, "filters on")):
        axes.plot(sweep["proximity_px"].to_list(), sweep[name].to_list(), color=color, marker="o", ms=4, label=label)
    axes.axvline(proximity_px, color="#71808f", linestyle=":", linewidth=1.2, label="profile")
    axes.set(xlabel="proximity_px", ylabel="events", ylim=(0, max(1, *sweep["events_off"]) * 1.1))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
    return _png(figure)


def _axes(width_px: int, height_px: int) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_px / 100, height_px / 100), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()
