"""The seed's rule search written plainly: for each draw, for each clip, the six rules; then a confusion matrix.

Seed 000, stage 3: "random search with LOOCV validation". Leave-one-out is the same search once more for every clip,
scored on the others, as the program published with the seed (AutoRisk-RM) does it. In its favour: no copies of the
clips' records and no explaining strings are made, the draws are given, and a search of the rest skips what is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autorisk_dagster.severity.search import LabelledClips
from autorisk_dagster.tables import SEVERITIES

Row = tuple[str, str, float, float, float]


@dataclass
class Score:
    accuracy: float
    macro_f1: float
    predicted: list[str]


def labelled_clips(count: int) -> LabelledClips:
    """Made-up clips: labels, answers that are right half of the time, and measurements that go with the label."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 4, count)
    said = np.where(rng.random(count) < 0.5, label, rng.integers(0, 4, count))
    ttc_sec = np.round(rng.exponential(np.array([1.8, 0.9, 0.5, 0.3])[label]), 3)
    fused = np.round(np.clip(rng.normal(0.4 + 0.1 * label, 0.12), 0, 1), 3)
    names = np.array(SEVERITIES)
    return LabelledClips(names[label].tolist(), names[said].tolist(), ttc_sec, fused, rng.poisson(label + 0.5))


def rows_of(clips: LabelledClips) -> list[Row]:
    columns = (clips.label, clips.severity, clips.min_ttc_sec, clips.fused_score, clips.critical_tracks)
    return list(zip(*(np.asarray(column).tolist() for column in columns), strict=True))


def search_plainly(clips: LabelledClips, draws: Sequence[Mapping[str, float]]) -> list[Score]:
    """The score of every draw on all clips."""
    rows = rows_of(clips)
    return [evaluated(rows, draw) for draw in draws]


def leave_one_out_plainly(clips: LabelledClips, draws: Sequence[Mapping[str, float]]) -> list[Score]:
    """For each clip the best score on the others: highest accuracy, the first of equals."""
    rows = rows_of(clips)
    folds = []
    for left_out in range(len(rows)):
        rest = rows[:left_out] + rows[left_out + 1 :]
        best = None
        for draw in draws:
            score = evaluated(rest, draw)
            if best is None or score.accuracy > best.accuracy:
                best = score
        folds.append(best)
    return folds


def accuracy_without(clips: LabelledClips, score: Score, left_out: int) -> float:
    """Accuracy of a draw's predictions on all clips but one."""
    right = [given == true for given, true in zip(score.predicted, clips.label, strict=True)]
    return (sum(right) - right[left_out]) / (len(right) - 1)


def evaluated(rows: Sequence[Row], draw: Mapping[str, float]) -> Score:
    predicted = [corrected(severity, ttc, fused, critical, draw) for _, severity, ttc, fused, critical in rows]
    matrix = [[0] * 4 for _ in SEVERITIES]
    for (label, *_), given in zip(rows, predicted, strict=True):
        matrix[SEVERITIES.index(label)][SEVERITIES.index(given)] += 1
    f1 = []
    for index in range(4):
        support = sum(matrix[index])
        if support:
            f1.append(2 * matrix[index][index] / (support + sum(row[index] for row in matrix)))
    return Score(sum(matrix[index][index] for index in range(4)) / len(rows), sum(f1) / len(f1), predicted)


def corrected(severity: str, ttc: float, fused: float, critical: float, p: Mapping[str, float]) -> str:
    """R1 to R6 as the seed's table has them."""
    if ttc >= p["r1_ttc_sec"] and fused < p["r1_fused"] and critical <= p["r1_critical"]:
        return "NONE"
    if ttc <= p["r2_ttc_sec"] and critical >= p["r2_critical"]:
        return "HIGH"
    if severity == "LOW" and fused >= p["r3_fused"] and ttc <= p["r3_ttc_sec"]:
        return "MEDIUM"
    if severity == "HIGH" and ttc >= p["r4_ttc_sec"] and critical <= p["r4_critical"]:
        return "MEDIUM"
    if severity == "MEDIUM" and fused < p["r5_fused"] and ttc >= p["r5_ttc_sec"]:
        return "LOW"
    if severity == "NONE" and ttc <= p["r6_ttc_sec"]:
        return "LOW"
    return severity
