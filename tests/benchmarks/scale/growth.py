"""docs/capacity.png: what each question costs as the history grows, on two logarithmic axes, where a cost in proportion
to the number of videos is a line at 45 degrees."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

PANELS: Mapping[str, Mapping[str, str]] = {
    "ticks and commands": {
        "autorisk status": "autorisk status",
        "nightly tick": "nightly tick",
        "autorisk doctor": "autorisk doctor",
        "inbox tick, nothing new": "inbox tick, nothing new",
        "inbox tick, 100 new": "inbox tick, 100 new",
        "fan-in: clips by severity": "fan-in, clips by severity",
    },
    "the UI's queries": {
        "asset graph: state of the 20 assets": "graph: state of 20 assets",
        "asset page: state of its partitions": "asset: its partitions",
        "asset page: staleness of one partition": "asset: staleness of one",
        "asset page: 50 latest events": "asset: 50 latest events",
        "asset catalogue": "catalogue",
        "runs page: 30 latest": "runs: 30 latest",
    },
}
LIMITS = {
    "ticks and commands": (60.0, "60 s: a tick's limit in Dagster (autorisk daemon: 300 s)"),
    "the UI's queries": (15.0, "15 s: the longest that dagster-webserver lets a statement take"),
}
# Okabe and Ito's colours, which people who see few colours can tell apart.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_LEAST_SEC = 0.01  # one tick of the kernel's clock: less cannot be told
_APART = 1.28  # labels closer than this factor would cover each other


def growth_png(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The figure. `rows`: "videos", "what", "cpu_sec"."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.4, 5.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    sizes = sorted({row["videos"] for row in rows})
    for axes, (title, lines) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        axes.set_title(title, loc="left", fontsize=11)
        axes.set(xscale="log", yscale="log", xlabel="videos in the history", ylabel="CPU seconds")
        for start in (1e-5, 1e-4, 1e-3, 1e-2):
            axes.plot(sizes, [start * size for size in sizes], color="#d0d5da", linewidth=0.8, zorder=0)
        ends: list[tuple[float, str, str]] = []
        for color, (what, name) in zip(COLORS, lines.items(), strict=False):
            points = sorted((row["videos"], max(row["cpu_sec"], _LEAST_SEC)) for row in rows if row["what"] == what)
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=color, linewidth=1.8, markersize=4.5)
                axes.plot((points[-1][0], sizes[-1]), (points[-1][1],) * 2, ":", color=color, linewidth=0.8)
                ends.append((points[-1][1], name, color))
        for height, name, color in _spread(ends):
            axes.text(sizes[-1] * 1.12, height, name, color=color, fontsize=9, va="center")
        seconds = [row["cpu_sec"] for row in rows if row["what"] in lines]
        axes.set_ylim(_LEAST_SEC * 0.8, max(*seconds, LIMITS[title][0]) * 2)
        axes.set_xlim(sizes[0] * 0.85, sizes[-1] * 9)
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        limit, of = LIMITS[title]
        axes.plot((sizes[0], sizes[-1]), (limit, limit), "--", color="#b03a2e", linewidth=0.9, zorder=0)
        axes.text(sizes[0], limit * 1.08, of, color="#b03a2e", fontsize=8.5, va="bottom")
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("grey lines: in proportion to the number of videos", fontsize=9, color="#6b7680")
    target = io.BytesIO()
    figure.savefig(target, format="png")
    return target.getvalue()


def _spread(ends: Sequence[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Labels moved up until none covers another."""
    placed: list[tuple[float, str, str]] = []
    for height, name, color in sorted(ends):
        placed.append((max(height, placed[-1][0] * _APART) if placed else height, name, color))
    return placed
