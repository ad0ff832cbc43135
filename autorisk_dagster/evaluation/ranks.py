"""How well a measured quantity orders clips by danger, for all resamples of the clips at once.

Statistics take weights (resamples, clips), how often each clip was drawn; tied values stay tied. They agree with
scikit-learn and SciPy on one resample (a test). Infinity is a value like another (nothing approaches: the longest
time); clips without a value must be left out by the caller, who counts them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.evaluation.intervals import Array


def roc_auc(score: Array, danger: NDArray[np.bool_], weights: Array) -> Array:
    """Chance that a dangerous clip scores higher than one that is not, ties counted half (Hanley and McNeil 1982)."""
    true, false, _ = _stepped(score, danger, weights)
    positive, negative = true[:, -1], false[:, -1]
    rise = np.diff(false, axis=1, prepend=0.0)
    height = true - np.diff(true, axis=1, prepend=0.0) / 2
    return _ratio((rise * height).sum(axis=1), positive * negative)


def average_precision(score: Array, danger: NDArray[np.bool_], weights: Array) -> Array:
    """Mean precision over the dangerous clips, in falling order of score; a random order gives their share."""
    true, false, _ = _stepped(score, danger, weights)
    precision = _ratio(true, true + false)
    gain = np.diff(true, axis=1, prepend=0.0)
    return _ratio(np.nansum(np.where(gain > 0, precision * gain, 0.0), axis=1), true[:, -1])


def recall_at(share: float, score: Array, danger: NDArray[np.bool_], weights: Array) -> Array:
    """Share of the dangerous clips among the highest `share` of all; a tie that is cut gives its part."""
    true, false, _ = _stepped(score, danger, weights)
    total = true + false
    wanted = share * total[:, -1]
    found = np.array([np.interp(w, np.r_[0.0, n], np.r_[0.0, t]) for w, n, t in zip(wanted, total, true, strict=True)])
    return _ratio(found, true[:, -1])


def spearman(one: Array, other: Array, weights: Array) -> Array:
    """Spearman's rank correlation with mid-ranks of the drawn clips."""
    first, second = mid_ranks(one, weights), mid_ranks(other, weights)
    total = weights.sum(axis=1, keepdims=True)
    first = first - (weights * first).sum(axis=1, keepdims=True) / total
    second = second - (weights * second).sum(axis=1, keepdims=True) / total
    spread = np.sqrt((weights * first**2).sum(axis=1) * (weights * second**2).sum(axis=1))
    return _ratio((weights * first * second).sum(axis=1), np.where(spread < 1e-9, 0.0, spread))


def _stepped(score: Array, danger: NDArray[np.bool_], weights: Array) -> tuple[Array, Array, Array]:
    """Dangerous and other clips at or over each distinct score, highest first, (resamples, scores) each."""
    distinct, place = np.unique(-score, return_inverse=True)
    steps = np.zeros((len(score), len(distinct)))
    steps[np.arange(len(score)), place] = 1.0
    true = np.cumsum((weights * danger) @ steps, axis=1)
    false = np.cumsum((weights * ~danger) @ steps, axis=1)
    return true, false, -distinct


def mid_ranks(values: Array, weights: Array) -> Array:
    """(resamples, clips) rank of each clip among those drawn, from 1; equal values share the middle of their ranks."""
    distinct, place = np.unique(values, return_inverse=True)
    steps = np.zeros((len(values), len(distinct)))
    steps[np.arange(len(values)), place] = 1.0
    count = weights @ steps
    rank = np.cumsum(count, axis=1) - count + (count + 1) / 2
    found: Array = rank[:, place]
    return found


def _ratio(part: Array, whole: Array) -> Array:
    found: Array = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)
    return found
