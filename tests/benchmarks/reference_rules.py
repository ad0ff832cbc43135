"""The seed's rule search written plainly: for each draw, for each clip, the six rules; then a confusion matrix.

Seed 000, stage 3: "random search with LOOCV validation". Leave-one-out is the same search once more for every clip,
scored on the others, as the program published with the seed (AutoRisk-RM) does it. Three times:

- `published`: as that program does it, over deep copies of the clips' records. In its favour: the TTC and the fused
score   are looked up beforehand, the records hold only what the rules read, and leaving a clip out spares correcting
it. - `records`: the same with shallow copies: each with the corrected severity, the one before and the rule in it,
scored by   its name.
- `tight`: the least work a plain loop can do: tuples in, severities out, no rule named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from autorisk_dagster.severity.search import LabelledClips
from autorisk_dagster.tables import SEVERITIES

Row = tuple[str, str, float, float, float]
Record = dict[str, Any]
Draw = Mapping[str, float]
POSITION = {severity: index for index, severity in enumerate(SEVERITIES)}


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


def records_of(clips: LabelledClips) -> list[Record]:
    """The clips as the seed's program holds them: what it keeps of each besides what the rules read is left out."""
    names = ("label", "severity", "min_ttc", "fused_score", "n_critical")
    return [{"clip": f"c{i:03d}", **dict(zip(names, row, strict=True))} for i, row in enumerate(rows_of(clips))]


def search_plainly(
    rows: Sequence[Any], draws: Sequence[Draw], scored: Callable[[Sequence[Any], Draw], Score]
) -> list[Score]:
    """The score of every draw on all clips; `rows` of `rows_of` for `scored=tight`, of `records_of` for `records`."""
    return [scored(rows, draw) for draw in draws]


def leave_one_out_plainly(
    rows: Sequence[Any], draws: Sequence[Draw], scored: Callable[[Sequence[Any], Draw], Score]
) -> list[Score]:
    """For each clip the best score on the others: highest accuracy, the first of equals."""
    folds = []
    for left_out in range(len(rows)):
        rest = [*rows[:left_out], *rows[left_out + 1 :]]
        best = scored(rest, draws[0])
        for draw in draws[1:]:
            score = scored(rest, draw)
            if score.accuracy > best.accuracy:
                best = score
        folds.append(best)
    return folds


def accuracy_without(clips: LabelledClips, score: Score, left_out: int) -> float:
    """Accuracy of a draw's predictions on all clips but one."""
    right = [given == true for given, true in zip(score.predicted, clips.label, strict=True)]
    return (sum(right) - right[left_out]) / (len(right) - 1)


def tight(rows: Sequence[Row], draw: Draw) -> Score:
    """Correct and score tuples."""
    predicted = [corrected(severity, ttc, fused, critical, draw)[0] for _, severity, ttc, fused, critical in rows]
    return scored_by_matrix([row[0] for row in rows], predicted)


def published(rows: Sequence[Record], draw: Draw) -> Score:
    """`records` on deep copies, which keep a draw from changing what the next one reads."""
    return records(deepcopy(rows), draw)


def records(rows: Sequence[Record], draw: Draw) -> Score:
    """Correct copies of the clips' records, then look up each one's label by its name."""
    results = []
    for record in rows:
        severity, rule = corrected(
            record["severity"], record["min_ttc"], record["fused_score"], record["n_critical"], draw
        )
        results.append(
            {**record, "severity": severity, "original_severity": record["severity"], "correction_reason": rule}
        )
    labels = {record["clip"]: record["label"] for record in rows}
    return scored_by_matrix([labels[result["clip"]] for result in results], [result["severity"] for result in results])


def scored_by_matrix(labels: Sequence[str], predicted: list[str]) -> Score:
    matrix = [[0] * 4 for _ in SEVERITIES]
    for label, given in zip(labels, predicted, strict=True):
        matrix[POSITION[label]][POSITION[given]] += 1
    f1 = []
    for index in range(4):
        support = sum(matrix[index])
        if support:
            f1.append(2 * matrix[index][index] / (support + sum(row[index] for row in matrix)))
    return Score(sum(matrix[index][index] for index in range(4)) / len(labels), sum(f1) / len(f1), predicted)


def corrected(severity: str, ttc: float, fused: float, critical: float, p: Draw) -> tuple[str, str | None]:
    """R1 to R6 as the seed's table has them: severity and the rule that fired."""
    if ttc >= p["r1_ttc_sec"] and fused < p["r1_fused"] and critical <= p["r1_critical"]:
        return "NONE", "R1"
    if ttc <= p["r2_ttc_sec"] and critical >= p["r2_critical"]:
        return "HIGH", "R2"
    if severity == "LOW" and fused >= p["r3_fused"] and ttc <= p["r3_ttc_sec"]:
        return "MEDIUM", "R3"
    if severity == "HIGH" and ttc >= p["r4_ttc_sec"] and critical <= p["r4_critical"]:
        return "MEDIUM", "R4"
    if severity == "MEDIUM" and fused < p["r5_fused"] and ttc >= p["r5_ttc_sec"]:
        return "LOW", "R5"
    if severity == "NONE" and ttc <= p["r6_ttc_sec"]:
        return "LOW", "R6"
    return severity, None
