"""Severity sets that hold the truth as often as they say, calibrated on labelled clips.

A set grows from the final severity, one neighbour at a time, until the score of the next severity is over a limit. The
limit is the conformal quantile of the scores that the true severities of labelled clips had.

Clips of one group are not exchangeable with clips of another, so that the quantile is hierarchical (Lee, Barber and
Willett 2023, "Distribution-free inference with hierarchical data", HCP): with K groups of N_k clips each, the smallest
s with

    sum_k sum_i [score_ki <= s] / ((K + 1) N_k)  >=  coverage,

the missing 1 / (K + 1) standing for the group to come. The guarantee: over the draw of the labelled groups and of a
clip of a group that is in none of them, the set holds the truth with at least the stated probability, provided groups
are exchangeable and, within a group, clips are. It is a promise on average over such clips, not for each kind of scene.
It does not hold for clips that were chosen to be labelled because of what was said of them: only blind labels count.

Calibration is by final severity (Mondrian; Vovk, Gammerman and Shafer 2005, 4.5): the promise holds among the clips
that are called HIGH as among those called LOW. With fewer groups than coverage / (1 - coverage), 9 at 90 %, no score is
enough, the limit is infinite, and the set is all four severities, for want of labels.

Thresholds searched on the same clips change this: then the final severities are those by thresholds in which the clip's
group had no say, and the promise is approximate (cross-conformal; Vovk 2015). What it comes to is measured in
docs/severity.md.

One score a judge: `letters` where the severities' letters were read of all its labelled clips, else `votes` where all
have two answers or more, else `distance`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError

LETTERS, VOTES, DISTANCE = tables.SET_SCORES
LEAST_VOTES: Final = 2

Probabilities = tuple[float, float, float, float]


@dataclass(frozen=True)
class Limit:
    """Up to which score severities belong to a set; infinite: to all of them, for want of groups."""

    score: float
    groups: int


@dataclass(frozen=True)
class SeveritySet:
    """The severities that a clip may truly have.

    Attributes:
        severities: neighbours, the final severity among them; all four where nothing narrower can be promised
        calibrated: False: all four for want of labels, of a final severity, or of what the score is made from
    """

    severities: tuple[str, ...]
    calibrated: bool


ANYTHING: Final = SeveritySet(tables.SEVERITIES, calibrated=False)


@dataclass(frozen=True)
class Calibration:
    """What the labels of one judge's clips say about its sets.

    Attributes:
        kind: of the score, see `score_kind`
        scores: by final severity, (score of the true severity, group) of each labelled clip
    """

    kind: str
    scores: Mapping[str, Sequence[tuple[float, int]]]

    def limit(self, final: str, coverage: float) -> Limit:
        """The conformal quantile among the clips of one final severity.

        Raises:
            InputError: a coverage that is not between 0 and 1.
        """
        if not 0 < coverage < 1:
            raise InputError(f"coverage must lie between 0 and 1, got {coverage}")
        sizes = Counter(group for _, group in self.scores[final])
        reached = 0.0
        for score, group in sorted(self.scores[final]):
            reached += 1 / ((len(sizes) + 1) * sizes[group])
            if reached >= coverage - 1e-12:  # rounding: 9 groups at 90 % are nine times 1/10
                return Limit(score, len(sizes))
        return Limit(math.inf, len(sizes))

    def severity_set(self, final: str | None, judgement: Mapping[str, Any], coverage: float) -> SeveritySet:
        """The set of one clip, from its final severity and its row of tables.REASON_OUTPUTS."""
        if final is None:
            return ANYTHING
        limit, found = self.limit(final, coverage).score, scores(final, judgement, self.kind)
        if found is None or math.isinf(limit):
            return ANYTHING
        return SeveritySet(tuple(name for name, s in zip(tables.SEVERITIES, found, strict=True) if s <= limit), True)


def calibrate(
    label: Sequence[str],
    final: Sequence[str | None],
    judgements: Sequence[Mapping[str, Any]],
    groups: Sequence[int],
) -> Calibration:
    """Score the true severities of labelled clips of one judge.

    Args:
        label: (clips,) true severities
        final: (clips,) what stood for each, by thresholds in which its label had no say; None (never judged, its set is
            all four) is left out
        judgements: (clips,) rows with `letter_log_probability` and `votes` of tables.REASON_OUTPUTS
        groups: (clips,) group of each clip
    """
    known = [row for row in range(len(label)) if final[row] is not None]
    kind = score_kind([judgements[row] for row in known])
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in tables.SEVERITIES}
    for row in known:
        stood = str(final[row])
        far = scores(stood, judgements[row], kind)
        if far is not None:
            found[stood].append((far[tables.SEVERITIES.index(label[row])], groups[row]))
    return Calibration(kind, found)


def score_kind(judgements: Sequence[Mapping[str, Any]]) -> str:
    """The score that all of these judgements have."""
    if judgements and all(row["letter_log_probability"] is not None for row in judgements):
        return LETTERS
    if judgements and all(len(row["votes"] or ()) >= LEAST_VOTES for row in judgements):
        return VOTES
    return DISTANCE


def probabilities(judgement: Mapping[str, Any], kind: str) -> Probabilities | None:
    """The judge's probability of each severity; None where this judgement gives none.

    `letters`: those of the four letters, scaled to 1. `votes`: (votes + 1/4) / (answers that were read + 1), Perks'
    prior of one answer in all. `distance`: never.
    """
    if kind == LETTERS and judgement["letter_log_probability"] is not None:
        read = judgement["letter_log_probability"]
        known = {name: read[name] for name in tables.SEVERITIES if read[name] is not None}
        if not known:
            return None
        highest = max(known.values())
        weight = [math.exp(known[name] - highest) if name in known else 0.0 for name in tables.SEVERITIES]
    elif kind == VOTES and judgement["votes"]:
        counted = Counter(vote["severity"] for vote in judgement["votes"] if vote["severity"] is not None)
        weight = [counted[name] + 1 / len(tables.SEVERITIES) for name in tables.SEVERITIES]
    else:
        return None
    none, low, medium, high = (value / sum(weight) for value in weight)
    return none, low, medium, high


def scores(final: str, judgement: Mapping[str, Any], kind: str) -> list[float] | None:
    """How far each severity is from the final one, which has 0; None where the judgement has no score of this kind.

    `letters`, `votes`: the probability of the severities that are taken before it, when from the final one the more
    probable neighbour is taken next (of equals the more severe): the ordinal sets of Lu, Angelopoulos and Pomerantz
    2022, begun at the final severity. `distance`: the number of steps between the two, less a half for the more severe
    ones, so that a set leaves out the less severe of two neighbours first.
    """
    at, last = tables.SEVERITIES.index(final), len(tables.SEVERITIES) - 1
    if kind == DISTANCE:
        return [abs(level - at) - (0.5 if level > at else 0.0) for level in range(last + 1)]
    share = probabilities(judgement, kind)
    if share is None:
        return None
    found = [0.0] * (last + 1)
    low = high = at
    taken = share[at]
    while low > 0 or high < last:
        if low == 0 or (high < last and share[high + 1] >= share[low - 1]):
            high += 1
            reached = high
        else:
            low -= 1
            reached = low
        found[reached] = taken
        taken += share[reached]
    return found
