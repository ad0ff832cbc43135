"""Static pictures of the evaluation for places that render no JavaScript: PNG bytes from tables of figures.

Each says how many clips it rests on; where nothing can be said there is no picture (None).
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.evaluation.intervals import FEW
from autorisk_dagster.reporting.plots import SEVERITY_COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGE_WORDS: Final = {"majority": "always the most frequent", "reasoner": "reasoner", "corrected": "with correction"}
STAGE_COLORS: Final = {"majority": "#71808f", "reasoner": "#c2700c", "corrected": "#3b82f6"}
SCORES: Final = {"accuracy": "accuracy", "macro_f1": "macro-F1", "quadratic_kappa": "quadratic kappa"}


def confusion_plot(figures: pl.DataFrame) -> bytes | None:
    """Label by given severity, in clips, before and after correction.

    Args:
        figures: tables.EVAL_METRICS of one origin of labels
    """
    cells = figures.filter(pl.col("metric") == "confusion")
    if cells.is_empty():
        return None
    given = (*tables.SEVERITIES, "NOT JUDGED")
    counts = {
        stage: np.array([[_value(cells, stage, f"{label} -> {said}") for said in given] for label in tables.SEVERITIES])
        for stage in ("reasoner", "corrected")
    }
    figure, axes = _canvas(1, 2, 10.4, 4.4)
    top = max(float(table.max()) for table in counts.values()) or 1.0
    for axis, (stage, table) in zip(axes, counts.items(), strict=True):
        axis.imshow(table, cmap="Blues", vmin=0, vmax=top * 1.15, aspect="auto")
        for (row, column), count in np.ndenumerate(table):
            axis.text(
                column,
                row,
                f"{count:.0f}",
                ha="center",
                va="center",
                color="white" if count > 0.6 * top else ("#333333" if count else "#b0b0b0"),
                fontweight="bold" if row == column else "normal",
            )
            if row == column:
                axis.add_patch(_square(column, row))
        right, total = int(np.trace(table)), int(table.sum())
        axis.set_title(f"{STAGE_WORDS[stage]}: {right} of {total} clips right", fontsize=10)
        axis.set_xticks(range(len(given)), [name.replace(" ", "\n") for name in given], fontsize=8)
        axis.set_yticks(range(len(tables.SEVERITIES)), tables.SEVERITIES, fontsize=8)
        axis.set_xlabel("given", fontsize=9)
    axes[0].set_ylabel("label", fontsize=9)
    return _png(figure)


def intervals_plot(figures: pl.DataFrame) -> bytes | None:
    """Accuracy, macro-F1 and kappa of the stages with their intervals, beside always saying the most frequent label."""
    rows = figures.filter(pl.col("metric").is_in(list(SCORES)) & pl.col("stage").is_in(list(STAGE_WORDS)))
    if rows["value"].null_count() == rows.height:
        return None
    figure, (axis,) = _canvas(1, 1, 7.6, 3.4)
    for place, metric in enumerate(SCORES):
        for shift, stage in enumerate(STAGE_WORDS):
            row = rows.filter((pl.col("metric") == metric) & (pl.col("stage") == stage)).to_dicts()[0]
            _interval(
                axis, row, -place + 0.22 - 0.22 * shift, STAGE_COLORS[stage], STAGE_WORDS[stage] if not place else ""
            )
    axis.set_yticks([-place for place in range(len(SCORES))], list(SCORES.values()), fontsize=9)
    axis.axvline(0, color="#999999", lw=0.6)
    axis.set_xlim(min([-0.05, *(low - 0.05 for low in rows["low"].drop_nulls())]), 1.19)
    n, groups = rows.item(0, "n"), rows.item(0, "groups")
    few = rows["note"].str.contains(FEW, literal=True).any()
    lines = "without a line: too few groups for an interval" if few else "lines: 95 % intervals"
    axis.set_title(f"{n} labelled clips in {groups} independent groups; {lines}", fontsize=9)
    axis.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, -0.32), ncols=3, frameon=False)
    return _png(figure)


def reliability_plot(figures: pl.DataFrame) -> bytes | None:
    """Share of right answers by measured confidence, in bins of equal mass, with intervals.

    Args:
        figures: tables.CALIBRATION of one origin of labels
    """
    bins = figures.filter(pl.col("metric") == "reliability").drop_nulls("value")
    if bins.is_empty():
        return None
    figure, (axis,) = _canvas(1, 1, 5.4, 5.0)
    axis.plot([0, 1], [0, 1], color="#999999", lw=1, ls="--", label="confidence that is right")
    for stage, color, shift in (("measured", "#c2700c", -0.004), ("tempered", "#3b82f6", 0.004)):
        part = bins.filter(pl.col("stage") == stage).sort("bin")
        if part.is_empty():
            continue
        x = part["mean_confidence"].to_numpy() + shift
        y = part["value"].to_numpy()
        low, high = part["low"].fill_null(np.nan).to_numpy(), part["high"].fill_null(np.nan).to_numpy()
        axis.vlines(x, low, high, color=color, lw=1.4, alpha=0.7)
        axis.plot(x, y, "o-", color=color, ms=5, lw=0.8, label=f"{stage}, {part['n'].sum()} clips")
    axis.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), xlabel="mean confidence of the bin", ylabel="share right")
    ece = figures.filter((pl.col("metric") == "ece") & (pl.col("stage") == "measured"))
    axis.set_title(f"{ece.item(0, 'note')}", fontsize=8, wrap=True)
    axis.legend(fontsize=8, loc="upper left", frameon=False)
    return _png(figure)


def ttc_plot(labelled: pl.DataFrame) -> bytes | None:
    """Shortest time to contact by labelled severity: each clip a point, boxes of the finite ones, the others counted.

    Args:
        labelled: `label` and `min_ttc_sec` (inf: nothing approaches; null: cannot say)
    """
    if labelled.is_empty():
        return None
    figure, (axis,) = _canvas(1, 1, 6.4, 4.0)
    top = _longest(labelled)
    for place, severity in enumerate(tables.SEVERITIES):
        part = labelled.filter(pl.col("label") == severity)["min_ttc_sec"]
        known = part.drop_nulls().to_numpy()
        finite, infinite = known[np.isfinite(known)], int(np.isinf(known).sum())
        color = SEVERITY_COLORS[severity]
        if len(finite) >= 4:
            axis.boxplot(finite, positions=[place], widths=0.5, showfliers=False, medianprops={"color": color, "lw": 2})
        spread = (np.arange(len(finite)) % 5 - 2) * 0.05
        axis.plot(place + spread, finite, "o", color=color, ms=5, alpha=0.8)
        counted = f"{len(part)} clips\n{infinite} nothing approaches\n{len(part) - len(known)} cannot say"
        axis.text(place, top * 1.04, counted, ha="center", va="bottom", fontsize=7.5)
    axis.set_xticks(range(len(tables.SEVERITIES)), tables.SEVERITIES)
    axis.set(xlim=(-0.6, 3.6), ylim=(0, top * 1.28), xlabel="label", ylabel="shortest time to contact, s")
    return _png(figure)


def _longest(labelled: pl.DataFrame) -> float:
    known = labelled["min_ttc_sec"].drop_nulls().to_numpy()
    finite = known[np.isfinite(known)]
    return float(finite.max()) * 1.05 if len(finite) else 1.0


def bars_plot(figures: pl.DataFrame, metric: str, title: str, chance: float | None = None) -> bytes | None:
    """One metric of every stage with its interval.

    Args:
        figures: a table of figures, of one origin of labels
        chance: what a random order gives, as a line
    """
    rows = figures.filter(pl.col("metric") == metric).drop_nulls("value").to_dicts()
    if not rows:
        return None
    figure, (axis,) = _canvas(1, 1, 6.8, 0.42 * len(rows) + 1.3)
    for place, row in enumerate(rows):
        _interval(axis, row, -place, "#3b82f6", "")
    if chance is not None:
        axis.axvline(chance, color="#c2700c", lw=1, ls="--")
    names = [f"{row['stage']}, {row['n']} clips" for row in rows]
    axis.set_yticks([-place for place in range(len(rows))], names, fontsize=8)
    ends = [row[end] for row in rows for end in ("low", "value") if row[end] is not None]
    axis.set_xlim(min(-0.05, min(ends) - 0.05), 1.19)
    lines = "with 95 % intervals" if any(row["low"] is not None for row in rows) else "too few groups for intervals"
    axis.set_title(f"{title}, {lines}", fontsize=9)
    return _png(figure)


def _interval(axis: Axes, row: dict[str, Any], height: float, color: str, label: str) -> None:
    if row["value"] is None:
        axis.text(0, height, "cannot say", fontsize=7, va="center", color=color)
        return
    if row["low"] is not None:
        axis.hlines(height, row["low"], row["high"], color=color, lw=2, alpha=0.6)
    axis.plot(row["value"], height, "o", color=color, ms=6, label=label or None)
    axis.text(1.17, height, f"{row['value']:.2f}", fontsize=8, va="center", ha="right", color=color)


def _value(cells: pl.DataFrame, stage: str, of: str) -> float:
    return float(cells.filter((pl.col("stage") == stage) & (pl.col("class") == of)).item(0, "value"))


def _square(column: int, row: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.47), 0.96, 0.94, fill=False, edgecolor="#16915a", lw=1.6)


def _canvas(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.atleast_1d(figure.subplots(rows, columns)).ravel())


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
