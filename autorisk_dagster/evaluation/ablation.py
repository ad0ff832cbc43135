"""What each part adds, recomputed from what is stored; no model runs.

Finding danger (is a MEDIUM or HIGH clip put before the others?): one signal alone, or all fused as the profile weighs
them. Only mined clips are labelled: this says how those are ordered, not what mining missed.

Saying the severity: mining alone (its score cut into four where the labels' shares cut it, a cut that knows the labels'
shares and nothing else), the reasoner alone, and the reasoner with correction.

Each variant is compared with its reference on the same clips.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.evaluation import ranks, scores
from autorisk_dagster.evaluation.figures import Row, figure, table_of
from autorisk_dagster.evaluation.intervals import Array, bootstrapped, paired_difference, proportion, unknown
from autorisk_dagster.evaluation.metrics import NO_LABELS
from autorisk_dagster.evaluation.signals import DANGER, LEAST_OF_A_KIND

SIGNALS_ALONE: Final = {
    "audio": "audio_score",
    "motion": "motion_score",
    "proximity": "proximity_score",
    "all": "fused_score",
}
REFERENCE: Final = {"finding": "all", "severity": "reasoner"}
TOP_SHARES: Final = (0.1, 0.25, 0.5)


def ablation(labelled: pl.DataFrame) -> pl.DataFrame:
    """Every variant, by origin of the labels.

    Args:
        labelled: as `metrics.eval_metrics`, with the scores of tables.MINED_CLIPS

    Returns:
        tables.ABLATION; without labels one row that says so
    """
    rows: list[Row] = []
    for origin in tables.LABEL_ORIGINS:
        part = labelled.filter(pl.col("label_origin") == origin).sort("video_id", "clip_id")
        if not part.is_empty():
            rows += [row | {"label_origin": origin} for row in _finding(part) + _severity(part)]
    if not rows:
        rows = [figure("average_precision", variant, unknown(NO_LABELS)) for variant in SIGNALS_ALONE]
    return table_of(rows, tables.ABLATION)


def _finding(part: pl.DataFrame) -> list[Row]:
    danger = part["label"].cast(pl.String).is_in(DANGER).to_numpy()
    groups = part["group"].to_numpy()
    if min(danger.sum(), (~danger).sum()) < LEAST_OF_A_KIND:
        few = f"{int(danger.sum())} dangerous and {int((~danger).sum())} other clips: too few for an order"
        size = (len(danger), len(np.unique(groups)))
        return [figure("average_precision", variant, unknown(few, *size)) for variant in SIGNALS_ALONE]
    # A signal that was not measured raises nothing, as in the fusion.
    score = {variant: part[column].fill_null(0.0).to_numpy() for variant, column in SIGNALS_ALONE.items()}
    rows: list[Row] = []
    for variant, column in SIGNALS_ALONE.items():
        null = part[column].null_count()
        missing = f"{null} not measured, counted as 0" if null else ""
        for metric, (statistic, chance) in _orders(float(danger.mean())).items():
            found = bootstrapped(partial(statistic, score[variant], danger), groups)
            rows.append(figure(metric, variant, found.noted(f"a random order gives {chance:.2f}", missing)))
            if variant == REFERENCE["finding"]:
                continue
            less = bootstrapped(partial(_less, statistic, score[variant], score["all"], danger), groups)
            rows.append(figure(f"{metric}_difference", variant, less.noted("less that of all signals fused")))
    return rows


Order = Callable[[Array, NDArray[np.bool_], Array], Array]


def _orders(prevalence: float) -> dict[str, tuple[Order, float]]:
    """The figures of an order, and what a random one gives."""
    found: dict[str, tuple[Order, float]] = {"average_precision": (ranks.average_precision, prevalence)}
    for share in TOP_SHARES:
        found[f"recall_in_first_{share:.0%}"] = (partial(ranks.recall_at, share), share)
    return found


def _less(statistic: Order, score: Array, reference: Array, danger: NDArray[np.bool_], weights: Array) -> Array:
    found: Array = statistic(score, danger, weights) - statistic(reference, danger, weights)
    return found


def _severity(part: pl.DataFrame) -> list[Row]:
    label = scores.codes(part["label"].to_list())
    groups = part["group"].to_numpy()
    given = {
        "mining": _cut(part["fused_score"].to_numpy(), label),
        "reasoner": scores.codes(part["raw_severity"].to_list()),
        "corrected": scores.codes(part["severity"].to_list()),
    }
    rows: list[Row] = []
    for variant, said in given.items():
        known = "its score is cut where the labels' own shares cut it" if variant == "mining" else ""
        rows.append(figure("accuracy", variant, proportion(said == label, groups).noted(known)))
        found = bootstrapped(scores.scored(scores.macro_f1, label, said), groups)
        rows.append(figure("macro_f1", variant, found.noted(known)))
        if variant == REFERENCE["severity"]:
            continue
        before = given[REFERENCE["severity"]]
        less = paired_difference(before == label, said == label, groups)
        rows.append(figure("accuracy_difference", variant, less.noted("less that of the reasoner alone")))
    return rows


def _cut(score: Array, label: NDArray[np.intp]) -> NDArray[np.intp]:
    """The highest scores get HIGH, as many as are labelled so, and on down; equal scores get the same, the lower."""
    places = np.cumsum(np.bincount(label, minlength=scores.LEVELS))[:-1]
    ordered = np.sort(score)
    limits = np.array([ordered[place] if place < len(ordered) else np.inf for place in places])
    found: NDArray[np.intp] = np.searchsorted(limits, score, side="right")
    return found
