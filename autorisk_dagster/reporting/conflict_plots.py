"""Static pictures of the own motion and of the conflicts with it, for the metadata of their assets."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster.reporting.plots import track_color

TTC_SHOWN_SEC: Final = 10.0
DRAC_COMFORT_MPS2: Final = 3.4  # MDRAC's threshold in SUMO's SSM device; what drivers brake with at most, usually
NEAREST: Final = 6


def own_motion_png(ego_motion: pl.DataFrame, *, width_px: int = 900, height_px: int = 340) -> bytes:
    """Turning (px of a far point) and relative speed (road flow over its largest) over time; gaps: cannot say.

    Args:
        ego_motion: tables.EGO_MOTION
    """
    figure, (turning, speed) = _axes(width_px, height_px, 2)
    at_sec = ego_motion["timestamp_sec"].to_numpy()
    pan, road = (
        ego_motion[name].cast(pl.Float64).to_numpy().astype(float)
        for name in ("pan_px_per_sec", "road_flow_per_px_sec")
    )
    turning.plot(at_sec, pan, color="#3b82f6", linewidth=1.6)
    turning.axhline(0, color="#71808f", linewidth=0.6)
    turning.set(ylabel="turn, px/s\n(left up)")
    largest = np.nanmax(road) if np.isfinite(road).any() else 0.0
    if largest > 0:
        speed.plot(at_sec, road / largest, color="#16915a", linewidth=1.6)
    else:
        speed.text(0.5, 0.5, "speed not told", transform=speed.transAxes, ha="center", va="center", color="#71808f")
    speed.set(xlabel="time in the video (s)", ylabel="speed /\nits largest", ylim=(0, 1.05))
    return _png(figure)


def conflict_png(measures: pl.DataFrame, *, width_px: int = 900, height_px: int = 380) -> bytes:
    """Time to contact and DRAC of the road users that came nearest to a conflict, over time.

    Thick where on a collision course. Only samples in, or on the way into, the own path are drawn.

    Args:
        measures: tables.CONFLICT_MEASURES
    """
    figure, (ttc, drac) = _axes(width_px, height_px, 2)
    for track_id in nearest_approaches(measures).head(NEAREST)["track_id"]:
        rows = measures.filter(pl.col("track_id") == track_id).sort("timestamp_sec")
        at_sec, color = rows["timestamp_sec"].to_numpy(), track_color(track_id)
        concerns = (rows["in_own_path"] | rows["on_collision_course"]).to_numpy()
        course = rows["on_collision_course"].to_numpy()
        for axes, name, top in ((ttc, "ttc_sec", TTC_SHOWN_SEC), (drac, "drac_mps2", np.inf)):
            values = rows[name].to_numpy().astype(float)
            values = np.where(concerns & (values <= top), values, np.nan)
            axes.plot(at_sec, values, color=color, linewidth=0.9, label=f"{rows['label'][0]} #{track_id}")
            axes.plot(at_sec, np.where(course, values, np.nan), color=color, linewidth=2.8)
    ttc.set(ylabel="TTC (s)", ylim=(0, TTC_SHOWN_SEC))
    drac.axhline(DRAC_COMFORT_MPS2, color="#c8372d", linewidth=0.8, linestyle="--")
    drac.set(xlabel="time in the video (s)", ylabel="DRAC (m/s²)", ylim=(0, None))
    if ttc.get_legend_handles_labels()[1]:
        ttc.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
    return _png(figure)


def nearest_approaches(measures: pl.DataFrame) -> pl.DataFrame:
    """Each road user that was on a collision course or in the own path at its most pressing sample, worst first.

    The most pressing sample is that with the smallest upper bound of time to contact, on course before not on course.
    """
    concerned = measures.filter(pl.col("on_collision_course") | pl.col("in_own_path"))
    order = ["on_collision_course", "ttc_high_sec", "distance_m"]
    sort = {"descending": [True, False, False], "nulls_last": True}
    return (
        concerned.sort(order, **sort)  # type: ignore[arg-type]
        .unique("track_id", keep="first", maintain_order=True)
        .select(
            "timestamp_sec",
            "track_id",
            "label",
            "on_collision_course",
            "ttc_sec",
            "ttc_low_sec",
            "ttc_high_sec",
            "miss_widths",
            "contact_gap_m",
            "distance_m",
            "distance_low_m",
            "distance_high_m",
            "closing_mps",
            "drac_mps2",
            "pet_sec",
        )
    )


def _axes(width_px: int, height_px: int, rows: int) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dpi = 100
    figure = Figure(figsize=(width_px / dpi, height_px / dpi), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, sharex=True)
    for each in axes:
        each.grid(alpha=0.25, linewidth=0.6)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()
