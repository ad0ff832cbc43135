"""Whether thresholds found by random search shall replace the table's: judged on clips that had no say in them.

The search keeps the best of thousands of draws on a few labels, so that its own accuracy is mostly luck. What counts is
what it gives for groups of clips that were left out (`groups.clip_groups`). Searched thresholds are adopted where, on
left-out groups,

- they are right more often than the default thresholds, and than always saying the commonest label: the lower end of
  the 95 % interval of each difference, bootstrapped by group, is over 0;
- they find no fewer of the clips labelled HIGH than the default thresholds do; and
- there are at least `MIN_GROUPS` groups: with fewer, intervals by group are too narrow (Cameron, Gelbach and Miller
  2008), and one drive decides.

The commonest label is that of all the clips, left-out ones included, which is the higher bar: the commonest label of
the others (`majority`) is seldom the clip's own where labels are balanced, for leaving it out takes its label away.

Choosing is part of the procedure, so its figure is *nested*: for each left-out fold the whole choice, default or
searched, is made anew on the rest (Varma and Simon 2006). That is the figure to report. Plain leave-one-out is shown
beside it for comparison alone: a clip's neighbours from the same drive vote for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.severity import intervals
from autorisk_dagster.severity.correction import HIGH, CorrectionRules, correct_severity
from autorisk_dagster.severity.intervals import Interval
from autorisk_dagster.severity.search import (
    THRESHOLDS,
    LabelledClips,
    RuleDraws,
    correct_all,
    leave_one_out,
    search_rules,
)

MIN_GROUPS: Final = 20
MOST_FOLDS: Final = 20
"""Groups are left out one by one up to this many, then in so many folds of whole groups: nesting costs the square."""

STAGES: Final = (
    "majority",
    "always_commonest",
    "reasoner",
    "default",
    "searched_same_clips",
    "searched_clip_out",
    "searched_group_out",
    "nested",
)
NOT_HELD_OUT: Final = {
    "always_commonest": "not held out: the commonest label of these very clips",
    "searched_same_clips": "not held out: the thresholds were chosen on these very clips",
    "searched_clip_out": "leaks: clips of the same group helped to choose the thresholds",
}

Words = tuple[str | None, ...]


@dataclass(frozen=True)
class Adoption:
    """What the search is worth, and what stands after it.

    Attributes:
        rules: the thresholds that stand: searched ones where `adopted`, else the default
        adopted, reason: whether, and why in words
        severity: by stage of `STAGES`, for each clip what it gives; None: never judged
        accuracy, macro_f1: by stage, with intervals; NaN bounds for the stages of `NOT_HELD_OUT`
        differences: accuracy of one stage less that of another, by the two names
    """

    rules: CorrectionRules
    adopted: bool
    reason: str
    severity: dict[str, Words]
    accuracy: dict[str, Interval]
    macro_f1: dict[str, Interval]
    differences: dict[tuple[str, str], Interval]

    @property
    def standing(self) -> Words:
        """For each clip the severity by what stands, from thresholds in which its own group had no say."""
        return self.severity["searched_group_out" if self.adopted else "default"]


def study(clips: LabelledClips, rules: RuleDraws, groups: Sequence[int]) -> Adoption:
    """Search, leave out, nest and decide.

    Args:
        clips: at least one
        rules: the draws; draw 0 is the default that is compared with
        groups: (clips,) group of each clip
    """
    label = list(clips.label)
    folds = _folds(groups)
    severity = {"reasoner": tuple(clips.severity), "default": _words(correct_all(clips, _first(rules))[0])}
    best = search_rules(clips, rules).row(0, named=True)
    severity["searched_same_clips"] = _words(correct_all(clips, rules)[best["draw"]])
    if len(set(groups)) < 2:
        reason = f"all {len(clips)} labelled clips are one group: nothing can be left out"
        return _told(rules.default, False, reason, severity, label, groups)
    severity["majority"] = _majority(label, folds)
    severity["always_commonest"] = (_commonest(label),) * len(label)
    severity["searched_clip_out"] = leave_one_out(clips, rules).severity
    severity["searched_group_out"] = leave_one_out(clips, rules, folds).severity
    severity["nested"] = _nested(clips, rules, folds, groups)
    refusal = _refusal(severity, label, groups, MIN_GROUPS)
    if refusal:
        return _told(rules.default, False, f"the default thresholds stay: {refusal}", severity, label, groups)
    default = _right(severity["default"], label)
    won = intervals.difference(_right(severity["searched_group_out"], label), default, groups)
    nested = intervals.difference(_right(severity["nested"], label), default, groups)
    reason = (
        f"adopted: on left-out groups right on {won.value:+.0%} of {won.n} clips against the default thresholds "
        f"(95 % interval {won.low:+.0%} to {won.high:+.0%}, {won.groups} groups); with the choice made anew for each "
        f"left-out group, nested, {nested.value:+.0%} ({nested.low:+.0%} to {nested.high:+.0%})"
    )
    return _told(rules.rules(best["draw"]), True, reason, severity, label, groups)


def macro_f1(predicted: Words, label: Sequence[str], groups: Sequence[int]) -> Interval:
    """Mean over the labelled severities of 2 * hits / (given + true), bootstrapped by group.

    A severity that nobody labelled is not in the mean, as in `search`; nor one that a resample misses.
    """
    names = list(dict.fromkeys(groups))
    counts = np.zeros((len(names), 3, len(tables.SEVERITIES)))  # hits, given, true
    for said, true, group in zip(predicted, label, groups, strict=True):
        row = counts[names.index(group)]
        at = tables.SEVERITIES.index(true)
        row[2, at] += 1
        if said is not None:
            row[1, tables.SEVERITIES.index(said)] += 1
            row[0, at] += said == true

    def of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        hits, given, true = sums.reshape(-1, 3, len(tables.SEVERITIES)).transpose(1, 0, 2)
        occurs = true > 0
        f1 = np.divide(2 * hits, given + true, out=np.zeros_like(hits), where=occurs)
        found: NDArray[np.float64] = f1.sum(axis=1) / occurs.sum(axis=1)
        return found

    return intervals.bootstrap(counts.reshape(len(names), -1), of_sums, len(label))


def _nested(clips: LabelledClips, rules: RuleDraws, folds: Sequence[int], groups: Sequence[int]) -> Words:
    """For each fold the choice, default or searched, made on the other folds alone, and what it gives for the fold."""
    severity: list[str | None] = [None] * len(clips)
    for fold in sorted(set(folds)):
        inside = [row for row in range(len(clips)) if folds[row] != fold]
        rest, rest_groups = _taken(clips, inside), [groups[row] for row in inside]
        chosen = rules.default
        rest_folds = [folds[row] for row in inside]
        if len(set(rest_folds)) > 1:
            label = list(rest.label)
            trial = {
                "always_commonest": (_commonest(label),) * len(label),
                "default": _words(correct_all(rest, _first(rules))[0]),
                "searched_group_out": leave_one_out(rest, rules, rest_folds).severity,
            }
            # One fold is missing here that the real decision has: the least number of groups is asked of that.
            if len(set(groups)) >= MIN_GROUPS and not _refusal(trial, label, rest_groups, 0):
                chosen = rules.rules(search_rules(rest, rules).item(0, "draw"))
        for row in range(len(clips)):
            if folds[row] == fold:
                severity[row] = corrected(clips, row, chosen)
    return tuple(severity)


def corrected(clips: LabelledClips, row: int, rules: CorrectionRules) -> str | None:
    """One clip by one set of thresholds."""
    return correct_severity(
        clips.severity[row],
        min_ttc_sec=clips.min_ttc_sec[row],
        fused_score=clips.fused_score[row],
        critical_tracks=clips.critical_tracks[row],
        rules=rules,
    ).severity


def _refusal(severity: dict[str, Words], label: Sequence[str], groups: Sequence[int], least: int) -> str | None:
    """Why the searched thresholds are not adopted, in words; None: they are."""
    number = len(set(groups))
    if number < least:
        return f"{number} independent groups of labelled clips, at least {least} are needed"
    searched = _right(severity["searched_group_out"], label)
    for name, words in (
        ("default", "the default thresholds"),
        ("always_commonest", "always saying the commonest label"),
    ):
        gain = intervals.difference(searched, _right(severity[name], label), groups)
        if not gain.low > 0:
            return (
                f"on left-out groups the searched ones are right on {gain.value:+.0%} of {gain.n} clips against "
                f"{words}; the 95 % interval, {gain.low:+.0%} to {gain.high:+.0%} over {gain.groups} groups, is not "
                "over 0"
            )
    high = np.array([true == HIGH for true in label])
    found, before = int((searched & high).sum()), int((_right(severity["default"], label) & high).sum())
    if found < before:
        return (
            f"on left-out groups the searched ones find {found} of {int(high.sum())} HIGH clips, the default {before}"
        )
    return None


def _told(
    rules: CorrectionRules,
    adopted: bool,
    reason: str,
    severity: dict[str, Words],
    label: Sequence[str],
    groups: Sequence[int],
) -> Adoption:
    def unless_held_out(stage: str, found: Interval) -> Interval:
        if stage not in NOT_HELD_OUT:
            return found
        return Interval(found.value, np.nan, np.nan, found.n, found.groups, found.how)

    severity = {stage: severity[stage] for stage in STAGES if stage in severity}
    right = {stage: _right(given, label) for stage, given in severity.items()}
    pairs = [("searched_group_out", "default"), ("searched_group_out", "always_commonest"), ("nested", "default")]
    pairs += [("nested", "majority"), ("default", "majority"), ("default", "reasoner")]
    pairs += [("searched_clip_out", "searched_group_out")]
    return Adoption(
        rules,
        adopted,
        reason,
        severity,
        {stage: unless_held_out(stage, intervals.share(right[stage], groups)) for stage in severity},
        {stage: unless_held_out(stage, macro_f1(given, label, groups)) for stage, given in severity.items()},
        {
            (one, other): intervals.difference(right[one], right[other], groups)
            for one, other in pairs
            if one in right and other in right
        },
    )


def _majority(label: Sequence[str], folds: Sequence[int]) -> Words:
    """For each clip the commonest label outside its fold; of equals the more severe one."""
    given: dict[int, str] = {}
    for fold in set(folds):
        given[fold] = _commonest([true for true, own in zip(label, folds, strict=True) if own != fold])
    return tuple(given[fold] for fold in folds)


def _commonest(label: Sequence[str]) -> str:
    """The commonest label; of equals the more severe one."""
    counted = Counter(label)
    return max(counted, key=lambda name: (counted[name], tables.SEVERITIES.index(name)))


def _folds(groups: Sequence[int]) -> list[int]:
    """The fold of each clip: its group, or where there are many, groups dealt out by size so that folds are alike."""
    sizes = Counter(groups)
    if len(sizes) <= MOST_FOLDS:
        return list(groups)
    load = [0] * MOST_FOLDS
    fold_of: dict[int, int] = {}
    for group, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        fold_of[group] = load.index(min(load))
        load[fold_of[group]] += size
    return [fold_of[group] for group in groups]


def _right(given: Words, label: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([said == true for said, true in zip(given, label, strict=True)])


def _words(codes: NDArray[np.int8]) -> Words:
    return tuple(None if code < 0 else tables.SEVERITIES[code] for code in codes)


def _first(rules: RuleDraws) -> RuleDraws:
    """The default alone."""
    return RuleDraws(
        rules.default, rules.grids, {name: rules.picks[name][:1] for name in THRESHOLDS}, rules.distance[:1]
    )


def _taken(clips: LabelledClips, rows: Sequence[int]) -> LabelledClips:
    return LabelledClips(
        label=[clips.label[row] for row in rows],
        severity=[clips.severity[row] for row in rows],
        min_ttc_sec=[clips.min_ttc_sec[row] for row in rows],
        fused_score=[clips.fused_score[row] for row in rows],
        critical_tracks=[clips.critical_tracks[row] for row in rows],
    )
