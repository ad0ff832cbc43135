"""Scores of severities against labels, for all resamples of the clips at once.

Every function takes confusion counts (..., 4, 5): label by given, in the order of `tables.SEVERITIES`, and last the
clips that were given no severity (abstained, answer not readable, not run). Definitions:

- accuracy and F1 count a clip without a severity as wrong; macro-F1 is the mean over the severities that occur among
  the labels
- kappa and the error in steps are those of the clips that were given a severity: "not judged" has no distance to HIGH

They agree with scikit-learn's (a test), which takes one resample at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.evaluation.intervals import Array, Statistic

LEVELS: Final = len(tables.SEVERITIES)
STEPS: Final = np.arange(LEVELS)[None, :] - np.arange(LEVELS)[:, None]  # given less label


def codes(severities: Sequence[str | None]) -> NDArray[np.intp]:
    """Position in `tables.SEVERITIES`; `LEVELS` for None."""
    position = {name: code for code, name in enumerate(tables.SEVERITIES)}
    return np.array([LEVELS if name is None else position[name] for name in severities], dtype=np.intp)


def confusion(label: NDArray[np.intp], given: NDArray[np.intp], weights: Array) -> Array:
    """(resamples, 4, 5) confusion counts of clips that are counted `weights` (resamples, clips) times."""
    cells = np.zeros((len(label), LEVELS, LEVELS + 1))
    cells[np.arange(len(label)), label, given] = 1.0
    return (weights @ cells.reshape(len(label), -1)).reshape(len(weights), LEVELS, LEVELS + 1)


Score = Callable[[Array], Array]


def scored(score: Score, label: NDArray[np.intp], given: NDArray[np.intp]) -> Statistic:
    """A score of these clips as a function of weights."""
    return lambda weights: score(confusion(label, given, weights))


def accuracy(counts: Array) -> Array:
    """Share of clips given their label."""
    return _ratio(np.trace(counts[..., :LEVELS], axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))


def f1(counts: Array) -> Array:
    """(..., 4) F1 of each severity: 2 hits / (given + labelled); NaN where it is neither given nor labelled."""
    hits = np.diagonal(counts[..., :LEVELS], axis1=-2, axis2=-1)
    return _ratio(2 * hits, counts[..., :LEVELS].sum(axis=-2) + counts.sum(axis=-1))


def macro_f1(counts: Array) -> Array:
    """Mean F1 over the severities that occur among the labels."""
    occurs = counts.sum(axis=-1) > 0
    return _ratio(np.sum(np.where(occurs, np.nan_to_num(f1(counts)), 0.0), axis=-1), occurs.sum(axis=-1))


def quadratic_kappa(counts: Array) -> Array:
    """Cohen's kappa with squared steps as weights (Cohen 1968); NaN where labels and answers never vary."""
    judged = counts[..., :LEVELS]
    total = judged.sum(axis=(-2, -1))
    expected = judged.sum(axis=-1)[..., :, None] * judged.sum(axis=-2)[..., None, :]
    by_chance = _ratio(np.sum(STEPS**2 * expected, axis=(-2, -1)), total)
    found: Array = 1 - _ratio(np.sum(STEPS**2 * judged, axis=(-2, -1)), by_chance)
    return found


def mean_absolute_error(counts: Array) -> Array:
    """Mean distance from the label in steps of severity."""
    judged = counts[..., :LEVELS]
    return _ratio(np.sum(np.abs(STEPS) * judged, axis=(-2, -1)), judged.sum(axis=(-2, -1)))


def mean_signed_error(counts: Array) -> Array:
    """Mean of given less label in steps of severity: negative where danger is understated."""
    judged = counts[..., :LEVELS]
    return _ratio(np.sum(STEPS * judged, axis=(-2, -1)), judged.sum(axis=(-2, -1)))


def _ratio(part: Array, whole: Array) -> Array:
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64))
    found: Array = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return found
