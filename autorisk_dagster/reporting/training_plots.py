"""Pictures of an adapter's training and of its comparison with the base, for the UI."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BASE, _ADAPTER, _MUTED = "#71808f", "#3b82f6", "#c2700c"


def loss_curves_png(epochs: Sequence[dict[str, Any]], best_epoch: int) -> bytes:
    """Loss of training and validation over the epochs, the kept one marked.

    Args:
        epochs: `epoch`, `train_loss`, `validation_loss` of each
        best_epoch: the one whose weights were kept
    """
    figure, axes = _figure(7, 3)
    numbers = [epoch["epoch"] for epoch in epochs]
    axes.plot(numbers, [epoch["train_loss"] for epoch in epochs], marker="o", color=_MUTED, label="training")
    axes.plot(numbers, [epoch["validation_loss"] for epoch in epochs], marker="o", color=_ADAPTER, label="validation")
    axes.axvline(best_epoch, color=_BASE, linewidth=0.8, linestyle=":", label="kept")
    axes.set(xlabel="epoch", ylabel="loss per answer token", ylim=(0, None), xticks=numbers)
    axes.legend()
    return _png(figure)


def comparison_png(promotion: pl.DataFrame) -> bytes:
    """Accuracy of the commonest answer, base and adapter by type of question, and the interval of the gain.

    Args:
        promotion: tables.ADAPTER_PROMOTION
    """
    figure, axes = _figure(7, 3)
    for offset, name, color in ((-0.25, "majority", _MUTED), (0.0, "base", _BASE), (0.25, "adapter", _ADAPTER)):
        places = [index + offset for index in range(promotion.height)]
        axes.bar(places, promotion[f"{name}_accuracy"].to_list(), width=0.22, color=color, label=name)
    labels = [
        f"{row['question']}\n{row['gain']:+.2f}"
        + ("" if row["gain_low"] is None else f" ({row['gain_low']:+.2f} to {row['gain_high']:+.2f})")
        for row in promotion.iter_rows(named=True)
    ]
    axes.set_xticks(range(promotion.height), labels)
    axes.set(ylabel="share right, held-out clips", ylim=(0, 1.05))
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)
    return _png(figure)


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
