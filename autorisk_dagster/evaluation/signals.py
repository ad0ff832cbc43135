"""What the measured quantities have to do with labelled severity: rank correlation, and how well each finds danger.

Danger is MEDIUM or HIGH: where evasive action is warranted. Each quantity is turned so that more means more danger.
Times to contact: infinity (tracked, nothing approaches) is the longest time; null (cannot say) is left out and counted.

The p value of a correlation is by permutation: labels are dealt out anew, which is fair only between clips that could
have had each other's label. Clips of one scene could not, so that whole groups are dealt: among groups of one size the
labels of the groups change places, as they are inside. Where sizes differ too much for `LEAST_DEALS` such deals there
is no p value, and the note says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.evaluation import ranks
from autorisk_dagster.evaluation.figures import Row, figure, table_of
from autorisk_dagster.evaluation.intervals import (
    SEED,
    Array,
    Estimate,
    Groups,
    bootstrapped,
    exact,
    proportion,
    unknown,
)
from autorisk_dagster.evaluation.metrics import NO_LABELS

DANGER: Final = ("MEDIUM", "HIGH")
QUANTITIES: Final[dict[str, float]] = {  # column, and its sign: +1 where more is more danger
    "min_ttc_sec": -1.0,
    "critical_tracks": 1.0,
    "audio_score": 1.0,
    "motion_score": 1.0,
    "proximity_score": 1.0,
    "fused_score": 1.0,
    "fused_score_seed": 1.0,
}
THRESHOLDS: Final[dict[str, tuple[float, str]]] = {
    "min_ttc_sec": (2.4, "at most 2.4 s, where forward collision warning must have sounded"),
    "audio_score": (0.5, "at least 0.5, half of a full signal"),
    "motion_score": (0.5, "at least 0.5, half of a full signal"),
    "proximity_score": (0.5, "at least 0.5, half of a full signal"),
    "fused_score": (0.5, "at least 0.5, half of a full signal"),
}
PERMUTATIONS: Final = 4999
LEAST_DEALS: Final = 1000
LEAST_OF_A_KIND: Final = 3  # dangerous clips, and others: an order of fewer says nothing


def signal_metrics(labelled: pl.DataFrame) -> pl.DataFrame:
    """Every figure of every quantity, by origin of the labels.

    Args:
        labelled: `video_id`, `clip_id`, `label_origin`, `label`, `group` and the columns of `QUANTITIES`

    Returns:
        tables.SIGNAL_METRICS; without labels one row that says so
    """
    rows: list[Row] = []
    for origin in tables.LABEL_ORIGINS:
        part = labelled.filter(pl.col("label_origin") == origin).sort("video_id", "clip_id")
        if part.is_empty():
            continue
        for name in QUANTITIES:
            rows += [row | {"label_origin": origin} for row in _of_quantity(part, name)]
    if not rows:
        rows = [figure("spearman", name, unknown(NO_LABELS)) for name in QUANTITIES]
    return table_of(rows, tables.SIGNAL_METRICS)


def measured(labelled: pl.DataFrame, name: str) -> pl.DataFrame:
    """The rows in which a quantity has a value (infinity is one)."""
    return labelled.filter(pl.col(name).is_not_null() & pl.col(name).cast(pl.Float64).is_not_nan())


def _of_quantity(part: pl.DataFrame, name: str) -> list[Row]:
    known = measured(part, name)
    value = known[name].cast(pl.Float64).to_numpy()
    severity = known["label"].cast(pl.Enum(tables.SEVERITIES)).to_physical().to_numpy().astype(np.float64)
    groups = known["group"].to_numpy()
    left_out = part.height - known.height
    infinite = int(np.isinf(value).sum())
    counts = [f"{left_out} clips without a value left out"] if left_out else []
    counts += [f"{infinite} infinite, as the longest"] if infinite else []
    rows = [_correlation(name, value, severity, groups, counts)]
    danger = severity >= tables.SEVERITIES.index(DANGER[0])
    score = QUANTITIES[name] * value
    for metric, statistic in ORDERS.items():
        if min(danger.sum(), (~danger).sum()) < LEAST_OF_A_KIND:
            few = f"{int(danger.sum())} dangerous and {int((~danger).sum())} other clips: too few for an order"
            rows.append(figure(metric, name, unknown(few, len(danger), len(np.unique(groups))).noted(*counts)))
            continue
        found = bootstrapped(partial(statistic, score, danger), groups)
        note = (
            f"a random order gives {danger.mean():.2f}"
            if metric == "average_precision"
            else "a random order gives 0.50"
        )
        rows.append(figure(metric, name, found.noted(note, *counts)))
    if name in THRESHOLDS:
        rows += _at_threshold(name, score, danger, groups, counts)
    return rows + _quantiles(name, known)


ORDERS: Final[dict[str, Callable[[Array, NDArray[np.bool_], Array], Array]]] = {
    "average_precision": ranks.average_precision,
    "roc_auc": ranks.roc_auc,
}


def _correlation(name: str, value: Array, severity: Array, groups: Groups, counts: list[str]) -> Row:
    found = bootstrapped(partial(ranks.spearman, value, severity), groups)
    if found.value is None:
        return figure("spearman", name, found.noted("value or label never varies" if len(value) else "", *counts))
    p_value, why = permutation_p(value, severity, groups)
    return figure("spearman", name, found.noted(why, *counts), p_value=p_value)


def permutation_p(value: Array, severity: Array, groups: Groups) -> tuple[float | None, str]:
    """Two-sided p of Spearman's correlation by deals of whole groups; None with the reason where there are too few."""
    generator = np.random.default_rng(SEED)
    _, number = np.unique(groups, return_inverse=True)
    sizes = np.bincount(number)
    deals = sum(math.lgamma(np.sum(sizes == size) + 1) for size in np.unique(sizes))
    if deals < math.log(LEAST_DEALS):
        return None, f"no p value: the {len(sizes)} groups, by size, can be dealt in {math.exp(deals):.0f} ways only"
    ones = np.ones((1, len(value)))
    ranked, held = ranks.mid_ranks(value, ones)[0], ranks.mid_ranks(severity, ones)[0]
    # Groups of one size, each its clips in order: a deal gives each group the labels of another of its size.
    members = [np.flatnonzero(number == group) for group in range(len(sizes))]
    dealt = np.tile(held, (PERMUTATIONS, 1))
    for size in np.unique(sizes):
        places = np.array([rows for rows in members if len(rows) == size])
        order = generator.permuted(np.tile(np.arange(len(places)), (PERMUTATIONS, 1)), axis=1)
        dealt[:, places.reshape(-1)] = held[places][order].reshape(PERMUTATIONS, -1)
    centred = ranked - ranked.mean()
    observed, others = abs(float(centred @ held)), np.abs(dealt @ centred)
    p_value = (1 + int(np.sum(others >= observed - 1e-9))) / (PERMUTATIONS + 1)
    return p_value, f"p by {PERMUTATIONS} deals of whole groups"


def _at_threshold(name: str, score: Array, danger: NDArray[np.bool_], groups: Groups, counts: list[str]) -> list[Row]:
    limit, meaning = THRESHOLDS[name]
    alarm = score >= QUANTITIES[name] * limit
    return [
        figure("precision", name, proportion(danger[alarm], groups[alarm]).noted(meaning, *counts)),
        figure("recall", name, proportion(alarm[danger], groups[danger]).noted(meaning, *counts)),
    ]


def _quantiles(name: str, known: pl.DataFrame) -> list[Row]:
    """Median and quartiles by severity; infinity stays infinity, and is no figure: null with a note."""
    rows = []
    for severity in tables.SEVERITIES:
        part = known.filter(pl.col("label") == severity)
        values = part[name].cast(pl.Float64).to_numpy()
        groups = part["group"].n_unique()
        for metric, share in (("quartile_1", 0.25), ("median", 0.5), ("quartile_3", 0.75)):
            rows.append(figure(metric, name, _quantile(values, share, groups), of=severity))
    return rows


def _quantile(values: Array, share: float, groups: int) -> Estimate:
    if not len(values):
        return unknown("no clip")
    # The lower of two neighbours, so that one infinite neighbour does not make the middle of the two.
    found = float(np.quantile(values, share, method="lower"))
    infinite = int(np.isinf(values).sum())
    note = f"{infinite} of {len(values)} infinite" if infinite else ""
    if math.isinf(found):
        return unknown(f"infinite: nothing approaches; {note}", len(values), groups)
    return exact(found, len(values), groups, note)
