"""Whether an adapter may take the place of its base: paired comparisons on held-out clips, and a decision in words.

For each type of question, on the same clips: the exact McNemar test (McNemar 1947; two-sided binomial on the clips
that exactly one of the two gets right) and an interval of the difference in accuracy by bootstrap over groups (Field &
Welsh 2007: clips of one drive or scene are not independent, whole groups are). Promoted is what, on enough clips and
groups, loses on no type of question, gains on one at least (three are tried, so each at a third of the level) and is
there better than the commonest answer, and gives recent clips a severity as often as the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.profile import TrainingSettings
from autorisk_dagster.training.evaluate import shares

_RESAMPLES: Final = 9999
_SEED: Final = 0


@dataclass(frozen=True)
class Comparison:
    """Base against adapter on one type of question; the fields are those of tables.ADAPTER_PROMOTION."""

    question: str
    clips: int
    groups: int
    majority_accuracy: float
    base_accuracy: float
    adapter_accuracy: float
    gain: float
    gain_low: float | None
    gain_high: float | None
    gain_over_majority: float
    only_base_right: int
    only_adapter_right: int
    p_value: float
    changed_share: float
    max_probability_change: float
    finding: str


@dataclass(frozen=True)
class Decision:
    """What the gate says, and why."""

    promoted: bool
    reason: str


def compare(evaluation: pl.DataFrame, question: str, significance: float) -> Comparison:
    """Base against adapter on the held-out clips of one type of question.

    Args:
        evaluation: tables.ADAPTER_EVALUATION
        question: the type
        significance: level of the tests; the interval holds 1 - significance

    Raises:
        InputError: no held-out clip has this question.
    """
    rows = evaluation.filter(pl.col("question") == question)
    if rows.is_empty():
        raise InputError(f"no held-out clip has the question {question!r}; materialise adapter_evaluation again")
    base = (rows["base_answer"] == rows["answer"]).to_numpy()
    adapter = (rows["adapter_answer"] == rows["answer"]).to_numpy()
    majority = (rows["majority_answer"] == rows["answer"]).to_numpy()
    lost, won = int((base & ~adapter).sum()), int((adapter & ~base).sum())
    p_value = mcnemar(lost, won)
    low, high = gain_interval(adapter.astype(float) - base, rows["group"].to_numpy(), 1 - significance)
    if won > lost and p_value < significance / len(tables.QUESTIONS) and low is not None and low > 0:
        finding = "gain"
    elif lost > won and (p_value < significance or (high is not None and high < 0)):
        finding = "loss"
    else:
        finding = "no difference shown"
    return Comparison(
        question=question,
        clips=rows.height,
        groups=rows["group"].n_unique(),
        majority_accuracy=float(majority.mean()),
        base_accuracy=float(base.mean()),
        adapter_accuracy=float(adapter.mean()),
        gain=float(adapter.mean() - base.mean()),
        gain_low=low,
        gain_high=high,
        gain_over_majority=float(adapter.mean() - majority.mean()),
        only_base_right=lost,
        only_adapter_right=won,
        p_value=p_value,
        changed_share=int((rows["base_answer"] != rows["adapter_answer"]).sum()) / rows.height,
        max_probability_change=max(_change(row) for row in rows.iter_rows(named=True)),
        finding=finding,
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p-value of McNemar's test; 1 where the two differ on nothing."""
    from scipy.stats import binomtest

    differing = only_first + only_second
    return float(binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0


def gain_interval(gains: np.ndarray, groups: np.ndarray, level: float) -> tuple[float | None, float | None]:
    """Percentile interval of the mean gain, by drawing whole groups; (None, None) for a single group.

    Args:
        gains: (n,) adapter right less base right, each -1, 0 or 1
        groups: (n,) of each clip
        level: of the interval, e.g. 0.95
    """
    from scipy.stats import bootstrap

    names, member = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return None, None
    sums, sizes = np.bincount(member, weights=gains), np.bincount(member).astype(float)
    found = bootstrap(
        (sums, sizes),
        lambda gained, size, axis=-1: gained.sum(axis=axis) / size.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=_RESAMPLES,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(found.low), float(found.high)


def decide(comparisons: Sequence[Comparison], shadow: pl.DataFrame, settings: TrainingSettings) -> Decision:
    """Whether the adapter is promoted; refused with every reason there is.

    Args:
        comparisons: one a type of question
        shadow: tables.ADAPTER_SHADOW
        settings: what is asked of an adapter
    """
    against = [*_too_few(comparisons, settings), *_losses(comparisons), *_no_gain(comparisons, settings)]
    against += _worse_on_recent_clips(shadow, settings)
    if against:
        return Decision(False, "; ".join(against))
    gains = ", ".join(_said(found) for found in _gaining(comparisons, settings))
    changed = int((shadow["base_severity"].ne_missing(shadow["adapter_severity"])).sum())
    return Decision(True, f"gains on {gains}; no loss; {changed} of {shadow.height} recent clips get another severity")


def decision_table(comparisons: Sequence[Comparison], decision: Decision, revision: str) -> pl.DataFrame:
    """tables.ADAPTER_PROMOTION."""
    rows: list[dict[str, Any]] = [
        asdict(found) | {"adapter_revision": revision, "promoted": decision.promoted, "reason": decision.reason}
        for found in comparisons
    ]
    return tables.frame(rows, tables.ADAPTER_PROMOTION)


def _too_few(comparisons: Sequence[Comparison], settings: TrainingSettings) -> list[str]:
    clips, groups = min(found.clips for found in comparisons), min(found.groups for found in comparisons)
    if clips >= settings.min_test_clips and groups >= settings.min_test_groups:
        return []
    return [
        f"too little is held out to decide: {clips} clips in {groups} groups, {settings.min_test_clips} clips in "
        f"{settings.min_test_groups} groups are needed (training.min_test_clips, training.min_test_groups)"
    ]


def _losses(comparisons: Sequence[Comparison]) -> list[str]:
    return [f"significantly worse on {_said(found)}" for found in comparisons if found.finding == "loss"]


def _gaining(comparisons: Sequence[Comparison], settings: TrainingSettings) -> list[Comparison]:
    return [
        found
        for found in comparisons
        if found.finding == "gain" and found.gain >= settings.min_gain and found.gain_over_majority > 0
    ]


def _no_gain(comparisons: Sequence[Comparison], settings: TrainingSettings) -> list[str]:
    if _gaining(comparisons, settings):
        return []
    reasons = [
        f"gains on {_said(found)}, but is no better than the commonest answer ({found.majority_accuracy:.2f})"
        for found in comparisons
        if found.finding == "gain" and found.gain_over_majority <= 0
    ]
    if not any(found.changed_share for found in comparisons):
        return [*reasons, "the adapter changes no answer"]
    best = max(comparisons, key=lambda found: found.gain)
    return [*reasons, f"no proven gain of {settings.min_gain:g} or more on any type of question; best is {_said(best)}"]


def _worse_on_recent_clips(shadow: pl.DataFrame, settings: TrainingSettings) -> list[str]:
    if shadow.is_empty():
        why = " (training.shadow_clips is 0)" if settings.shadow_clips == 0 else ""
        return [f"no recent clip was judged by both{why}"]
    base = int((shadow["base_outcome"] != "severity").sum())
    adapter = int((shadow["adapter_outcome"] != "severity").sum())
    if adapter <= base:
        return []
    return [f"{adapter} of {shadow.height} recent clips get no severity with the adapter, {base} with the base"]


def _said(found: Comparison) -> str:
    interval = "" if found.gain_low is None else f", {found.gain_low:+.2f} to {found.gain_high:+.2f}"
    return (
        f"{found.question} ({found.base_accuracy:.2f} to {found.adapter_accuracy:.2f}{interval}, "
        f"p {found.p_value:.2g}, {found.clips} clips)"
    )


def _change(row: dict[str, Any]) -> float:
    before, after = shares(row["base_log_probability"]), shares(row["adapter_log_probability"])
    return max(abs(after[letter] - before[letter]) for letter in before)
