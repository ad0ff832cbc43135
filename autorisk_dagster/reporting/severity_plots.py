"""The accuracies of one judge's correction in one picture, so that no figure can be taken for another.

Figures of clips that had no say are filled, with their interval. Those that were not held out are hollow, on grey, say
so in their name, and have no interval. The line is what always saying the commonest label scores.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

NAMES: Final = {
    "majority": "commonest label of the other groups",
    "reasoner": "reasoner alone",
    "default": "default thresholds",
    "nested": "choosing, nested",
    "searched_group_out": "searched, group left out",
    "searched_clip_out": "searched, clip left out: LEAKS",
    "searched_same_clips": "searched, on the same clips: NOT HELD OUT",
}
"""From bottom to top; the stages of `severity.adoption`."""
_PAPER: Final = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
_NOT_HELD_OUT: Final = ("searched_clip_out", "searched_same_clips")


def accuracy_picture(parameters: Mapping[str, Any]) -> bytes:
    """PNG of the accuracies in a row of tables.CORRECTION_PARAMETERS."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    found = {each["stage"]: each for each in parameters["figures"] if each["metric"] == "accuracy"}
    shown = [stage for stage in NAMES if stage in found]
    figure, axes = plt.subplots(figsize=(9, 0.55 * len(shown) + 1.6), layout="constrained")
    for at, stage in enumerate(shown):
        each, held_out = found[stage], stage not in _NOT_HELD_OUT
        share = 100 * each["value"]
        if not held_out:
            axes.axhspan(at - 0.5, at + 0.5, color="#8b7fa8", alpha=0.15, linewidth=0)
        if each["low"] is not None:
            axes.plot([100 * each["low"], 100 * each["high"]], [at, at], color="#2c74c9", linewidth=2)
        axes.plot(share, at, "o", color="#2c74c9" if held_out else "#c8372d", fillstyle="full" if held_out else "none")
        axes.annotate(
            f"{share:.0f} %",
            (share, at),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            bbox=_PAPER,
        )
    bar = found.get("always_commonest")
    if bar is not None:
        share = 100 * bar["value"]
        axes.axvline(share, color="black", linestyle="--", linewidth=1)
        axes.annotate(
            f"always the commonest label: {share:.0f} %",
            (share, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -10),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_yticks(range(len(shown)), [NAMES[stage] for stage in shown])
    axes.set_ylim(-0.6, len(shown) - 0.1)
    axes.set_xlim(0, 100)
    axes.set_xlabel(
        f"right (%), {parameters['clips']} clips of {parameters['groups']} independent groups; 95 % intervals by group"
    )
    axes.set_title("adopted" if parameters["adopted"] else "default thresholds stay", loc="left", fontsize=10)
    axes.grid(axis="x", alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    plt.close(figure)
    return buffer.getvalue()
