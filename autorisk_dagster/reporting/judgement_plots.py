"""What models said, as static pictures for places that render no JavaScript: PNG, or None where nothing was said."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.reporting.plots import SEVERITY_COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OUTCOME_COLORS: Final = {"confirmed": "#c8372d", "rejected": "#2e8b57", "failed": "#d1a200", "not_run": "#9aa5b1"}
MAX_CLIPS: Final = 40


def letters_plot(judged: pl.DataFrame) -> bytes | None:
    """How probable each severity's letter is, clip by clip, with the severity that the words give marked.

    What the letters leave to the rest of the vocabulary stays white: a short bar is a model that hardly means any.

    Args:
        judged: tables.REASON_OUTPUTS of one video
    """
    import math

    rows = judged.drop_nulls("letter_log_probability").head(MAX_CLIPS).to_dicts()
    if not rows:
        return None
    figure, axes = _canvas(7.6, 0.9 + 0.3 * len(rows))
    for place, row in enumerate(rows):
        left = 0.0
        for severity in tables.SEVERITIES:
            width = math.exp(row["letter_log_probability"][severity])
            said = row["severity"] == severity
            axes.barh(
                -place,
                width,
                left=left,
                color=SEVERITY_COLORS[severity],
                edgecolor="black" if said else "white",
                linewidth=1.6 if said else 0.4,
                zorder=3 if said else 2,
                label="" if place else severity,
            )
            left += width
        told = row["severity"] or row["outcome"].replace("_", " ")
        axes.annotate(f"said: {told}", (1.01, -place), va="center", fontsize=7, annotation_clip=False)
    axes.set_yticks([-place for place in range(len(rows))], [row["clip_id"][-12:] for row in rows], fontsize=7)
    axes.set(xlim=(0, 1), xlabel="probability of the letter as first token; framed: what the words say")
    return _png(figure, axes)


def events_plot(verified: pl.DataFrame, duration_sec: float) -> bytes | None:
    """Each near miss at its time in the video, by what became of it.

    Args:
        verified: tables.VERIFIED_EVENTS of one video
        duration_sec: of the video
    """
    if verified.is_empty():
        return None
    figure, axes = _canvas(7.6, 1.9)
    for outcome, color in OUTCOME_COLORS.items():
        times = verified.filter(pl.col("outcome") == outcome)["timestamp_sec"]
        if len(times):
            axes.eventplot(
                times.to_numpy(), lineoffsets=-list(OUTCOME_COLORS).index(outcome), linelengths=0.7, colors=color
            )
    names = [name.replace("_", " ") for name in OUTCOME_COLORS]
    counts = [verified.filter(pl.col("outcome") == outcome).height for outcome in OUTCOME_COLORS]
    axes.set_yticks(
        [-place for place in range(len(names))],
        [f"{name} ({count})" for name, count in zip(names, counts, strict=True)],
        fontsize=8,
    )
    axes.set(xlim=(0, max(duration_sec, 1e-3)), xlabel="time in the video (s)", ylim=(-len(names) + 0.5, 0.5))
    return _png(figure, axes)


def outcomes_plot(rows: pl.DataFrame, by: str, values: tuple[str, ...]) -> bytes | None:
    """How many of each outcome, for each of `values` of the column `by`, stacked.

    Args:
        rows: with `outcome` (tables.VERIFICATIONS) and `by`
    """
    from matplotlib.ticker import MaxNLocator

    if rows.is_empty():
        return None
    figure, axes = _canvas(7.6, 1.2 + 0.35 * len(values))
    for place, value in enumerate(values):
        left = 0
        for outcome, color in OUTCOME_COLORS.items():
            count = rows.filter((pl.col(by).cast(pl.String) == value) & (pl.col("outcome") == outcome)).height
            axes.barh(-place, count, left=left, color=color, label="" if place else outcome.replace("_", " "))
            if count:
                axes.text(left + count / 2, -place, str(count), ha="center", va="center", fontsize=8, color="white")
            left += count
    axes.set_yticks([-place for place in range(len(values))], values, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("proposals")
    return _png(figure, axes)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _png(figure: Figure, axes: Axes) -> bytes:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
