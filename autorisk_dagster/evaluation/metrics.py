"""How well severities agree with labels, before and after correction, beside what "always the most frequent" scores.

Blind labels and labels from review are never pooled: who reviews has seen the answer, and agrees with it more often.
What the figures mean is in `evaluation.scores`, how their intervals are made in `evaluation.intervals`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.evaluation import scores
from autorisk_dagster.evaluation.figures import Row, figure, table_of
from autorisk_dagster.evaluation.intervals import (
    Estimate,
    Groups,
    bootstrapped,
    exact,
    f1_estimate,
    mcnemar,
    paired_difference,
    proportion,
    sign_flip,
    unknown,
)

Codes = NDArray[np.intp]
STAGES: Final = {"reasoner": "raw_severity", "corrected": "severity"}
"""What is judged, and the column it is in."""
COLUMNS: Final = ("video_id", "clip_id", "label_origin", "label", "outcome", "raw_severity", "severity", "group")
OVERALL: Final[dict[str, scores.Score]] = {
    "macro_f1": scores.macro_f1,
    "quadratic_kappa": scores.quadratic_kappa,
    "mean_absolute_error": scores.mean_absolute_error,
    "mean_signed_error": scores.mean_signed_error,
}
OF_JUDGED: Final = ("quadratic_kappa", "mean_absolute_error", "mean_signed_error")
NO_LABELS: Final = "no clip has a label that counts: make labels with `autorisk label` before the clips are judged"


@dataclass(frozen=True)
class JudgedClips:
    """Labelled clips and what was said of them, arrays of one length.

    Attributes:
        label: position in `tables.SEVERITIES`
        given: by stage: the same, `scores.LEVELS` where no severity was given
        outcome: of the reasoner, `tables.OUTCOMES`
        groups: see `severity.groups`
    """

    label: Codes
    given: dict[str, Codes]
    outcome: NDArray[np.str_]
    groups: Groups

    def __len__(self) -> int:
        return len(self.label)


def judged_clips(labelled: pl.DataFrame) -> JudgedClips:
    """The columns `COLUMNS` of labelled clips as arrays, in an order that does not depend on that of the rows.

    Raises:
        InputError: a column is missing, or a clip occurs twice.
    """
    missing = [name for name in COLUMNS if name not in labelled.columns]
    if missing:
        raise InputError(f"labelled clips need the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}")
    rows = labelled.sort("video_id", "clip_id")
    twice = rows.filter(pl.struct("video_id", "clip_id").is_duplicated())
    if not twice.is_empty():
        raise InputError(f"clip {twice.item(0, 'clip_id')} has more than one label of one origin: keep one")
    return JudgedClips(
        label=scores.codes(rows["label"].to_list()),
        given={stage: scores.codes(rows[column].to_list()) for stage, column in STAGES.items()},
        outcome=np.array(rows["outcome"].to_list(), dtype=np.str_),
        groups=rows["group"].to_numpy().astype(np.int64),
    )


def eval_metrics(labelled: pl.DataFrame) -> pl.DataFrame:
    """Every figure of the evaluation.

    Args:
        labelled: `COLUMNS`, one row a label

    Returns:
        tables.EVAL_METRICS; without labels one row that says so
    """
    rows: list[Row] = []
    for origin in tables.LABEL_ORIGINS:
        part = labelled.filter(pl.col("label_origin") == origin)
        if part.is_empty():
            continue
        clips = judged_clips(part)
        rows += [row | {"label_origin": origin} for row in _all_figures(clips)]
    if not rows:
        rows = [figure("accuracy", stage, unknown(NO_LABELS)) for stage in STAGES]
    return table_of(rows, tables.EVAL_METRICS)


def checklist_figures(checklist: pl.DataFrame) -> pl.DataFrame:
    """Share of explanations of which each item holds, among those in which it can be checked; needs no label.

    Args:
        checklist: tables.EXPLANATION_CHECKLIST with `video_id` and `group`
    """
    rows = []
    all_items = checklist.group_by("video_id", "clip_id").agg(pl.col("group").first(), pl.col("holds").min())
    for item in (*tables.CHECKLIST_ITEMS, None):
        part = checklist.filter(pl.col("item") == item) if item else all_items
        checked = part.drop_nulls("holds").sort("video_id", "clip_id")
        found = proportion(checked["holds"].to_numpy().astype(bool), checked["group"].to_numpy())
        unchecked = f"{part.height - checked.height} of {part.height} explanations cannot be checked"
        found = found.noted("" if item else "every item that can be checked holds", unchecked)
        rows.append(figure("checklist", "reasoner", found, of=item))
    return table_of(rows, tables.EVAL_METRICS)


def _all_figures(clips: JudgedClips) -> list[Row]:
    rows = _labels(clips) + _outcomes(clips)
    majority = int(np.bincount(clips.label, minlength=scores.LEVELS).argmax())
    always = np.full(len(clips), majority)
    baseline = f'"always {tables.SEVERITIES[majority]}", the most frequent of these same labels'
    rows += [row | {"note": _joined(row["note"], baseline)} for row in _of_stage(clips, "majority", always)[:5]]
    for stage, given in clips.given.items():
        rows += _of_stage(clips, stage, given)
        rows += _by_class(clips, stage, given) + _confusion(clips, stage, given)
    rows += _difference(clips, "difference", clips.given["reasoner"], clips.given["corrected"])
    for stage, given in clips.given.items():
        rows += _difference(clips, f"{stage}_less_majority", always, given)
    return rows


def _labels(clips: JudgedClips) -> list[Row]:
    groups = len(np.unique(clips.groups))
    return [
        figure("labelled", "labels", exact(float(np.sum(clips.label == code)), len(clips), groups), of=name)
        for code, name in enumerate(tables.SEVERITIES)
    ]


def _outcomes(clips: JudgedClips) -> list[Row]:
    rows = []
    for outcome in tables.OUTCOMES:
        found = proportion(clips.outcome == outcome, clips.groups)
        count = int(np.sum(clips.outcome == outcome))
        rows.append(figure("outcome", "reasoner", found.noted(f"{count} of {len(clips)} clips"), of=outcome))
    ran = clips.outcome != "not_run"
    read = proportion(clips.outcome[ran] != "parse_failure", clips.groups[ran])
    rows.append(figure("parse_success", "reasoner", read.noted("of the clips that were answered")))
    return rows


def _of_stage(clips: JudgedClips, stage: str, given: Codes) -> list[Row]:
    judged = given < scores.LEVELS
    right = given == clips.label
    unjudged = int(np.sum(~judged))
    counted = f"{unjudged} without a severity count as wrong" if unjudged else ""
    rows = [figure("accuracy", stage, proportion(right, clips.groups).noted(counted))]
    for name, score in OVERALL.items():
        among = judged if name in OF_JUDGED else np.ones(len(clips), dtype=bool)
        found = bootstrapped(scores.scored(score, clips.label[among], given[among]), clips.groups[among])
        rows.append(figure(name, stage, found.noted("" if name in OF_JUDGED else counted)))
    of_judged = proportion(right[judged], clips.groups[judged])
    rows.append(figure("accuracy_of_judged", stage, of_judged.noted(f"leaves out {unjudged} without a severity")))
    return rows


def _by_class(clips: JudgedClips, stage: str, given: Codes) -> list[Row]:
    rows = []
    for code, name in enumerate(tables.SEVERITIES):
        true, said = clips.label == code, given == code
        rows += [
            figure("precision", stage, proportion(true[said], clips.groups[said]), of=name),
            figure("recall", stage, proportion(said[true], clips.groups[true]), of=name),
            figure("f1", stage, f1_estimate(true, said, clips.groups), of=name),
        ]
    return rows


def _confusion(clips: JudgedClips, stage: str, given: Codes) -> list[Row]:
    counts = scores.confusion(clips.label, given, np.ones((1, len(clips))))[0]
    groups = len(np.unique(clips.groups))
    columns = (*tables.SEVERITIES, "NOT JUDGED")
    return [
        figure("confusion", stage, exact(counts[row, column], len(clips), groups), of=f"{label} -> {said}")
        for row, label in enumerate(tables.SEVERITIES)
        for column, said in enumerate(columns)
    ]


def _difference(clips: JudgedClips, stage: str, before: Codes, after: Codes) -> list[Row]:
    was, now = before == clips.label, after == clips.label
    found = paired_difference(was, now, clips.groups)
    gained, lost = int(np.sum(~was & now)), int(np.sum(was & ~now))
    rows = [figure("accuracy", stage, found.noted(f"{gained} clips gained, {lost} lost"))]
    for name, score in OVERALL.items():
        among = np.ones(len(clips), dtype=bool)
        if name in OF_JUDGED:
            among = (before < scores.LEVELS) & (after < scores.LEVELS)
        rows.append(figure(name, stage, _difference_of(score, clips, before, after, among)))
    groups = found.groups
    rows.append(
        figure("mcnemar_p", stage, exact(mcnemar(was, now), len(clips), groups, "exact; counts clips as independent"))
    )
    flips = exact(sign_flip(was, now, clips.groups), len(clips), groups, "the same with whole groups flipped")
    rows.append(figure("sign_flip_p", stage, flips))
    return rows


def _difference_of(
    score: scores.Score, clips: JudgedClips, before: Codes, after: Codes, among: NDArray[np.bool_]
) -> Estimate:
    label, was, now = clips.label[among], before[among], after[among]
    old, new = scores.scored(score, label, was), scores.scored(score, label, now)
    return bootstrapped(lambda weights: new(weights) - old(weights), clips.groups[among])


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
