"""Simulated fleets whose truth is known, for what is said of thresholds and severity sets.

A fleet is drives, the groups. Clips of a drive show much the same: with probability `alike` a clip has its drive's
severity, and its measurements share `alike` of their variance with the drive's other clips. What a drive's camera adds
to the measurements, and what the reasoner gets wrong about it, is the drive's own. So errors within a drive go
together, and a rule may be right about a drive for reasons that hold nowhere else.

Severities are as common as in the published label file (4, 9, 4, 3 of 20), and the times by severity are roughly those
that seed 000 tells (mean TTC 1.77, 0.50, 0.42, 0.52 s), spread so that the default thresholds are right on about half
of the clips. It is a model to test statistics on, not a model of traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.severity.correction import CorrectionRules
from autorisk_dagster.severity.search import LabelledClips, RuleDraws, correct_all, draw_rules
from autorisk_dagster.tables import SEVERITIES

SHARE = np.array([4, 9, 4, 3]) / 20
MEAN_TTC_SEC = np.array([1.6, 0.75, 0.45, 0.3])
MEAN_FUSED = np.array([0.42, 0.5, 0.58, 0.66])
MEAN_CRITICAL = np.array([0.7, 1.5, 2.6, 4.0])
SPREAD_LOG_TTC, SPREAD_FUSED, SPREAD_CRITICAL = 0.55, 0.12, 0.5

Judgement = Mapping[str, Any]


@dataclass(frozen=True)
class Fleet:
    """Labelled clips, their drives, and the reasoner's letters and votes."""

    clips: LabelledClips
    group: NDArray[np.intp]
    judgements: list[Judgement]


def fleet(generator: np.random.Generator, sizes: NDArray[np.intp], alike: float = 0.8) -> Fleet:
    """A fleet with one drive for each of `sizes`, the clips in it."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    n = len(group)

    def shared(scale: float) -> NDArray[np.float64]:
        of_drive = generator.normal(0, scale, len(sizes))[group]
        return np.sqrt(alike) * of_drive + np.sqrt(1 - alike) * generator.normal(0, scale, n)

    of_drive = generator.choice(4, len(sizes), p=SHARE)[group]
    truth = np.where(generator.random(n) < alike, of_drive, generator.choice(4, n, p=SHARE))
    ttc = MEAN_TTC_SEC[truth] * np.exp(shared(SPREAD_LOG_TTC))
    fused = np.clip(MEAN_FUSED[truth] + shared(SPREAD_FUSED), 0, 1)
    critical = generator.poisson(MEAN_CRITICAL[truth] * np.exp(shared(SPREAD_CRITICAL)))
    # The reasoner: one belief a clip, wide, off by what it gets wrong about the drive, a little too severe.
    centre = truth + 0.4 + shared(0.8)
    levels = np.arange(4)
    weight = np.exp(-((levels - centre[:, None]) ** 2) / (2 * 0.8**2))
    share = weight / weight.sum(axis=1, keepdims=True)
    drawn = (generator.random((n, 5, 1)) > share.cumsum(axis=1)[:, None, :]).sum(axis=2).clip(0, 3)
    judgements: list[Judgement] = [
        {
            "letter_log_probability": dict(zip(SEVERITIES, np.log(share[clip]).tolist(), strict=True)),
            "votes": [{"severity": SEVERITIES[vote]} for vote in drawn[clip]],
        }
        for clip in range(n)
    ]
    words = [SEVERITIES[level] for level in truth]
    said = [SEVERITIES[level] for level in share.argmax(axis=1)]
    return Fleet(LabelledClips(words, said, ttc, fused, critical.astype(float)), group, judgements)


def kept_to(judgements: list[Judgement], kind: str) -> list[Judgement]:
    """The judgements of a reasoner that gives no more than `kind`: letters, votes or nothing (distance)."""
    return [
        {
            "letter_log_probability": each["letter_log_probability"] if kind == "letters" else None,
            "votes": each["votes"] if kind == "votes" else None,
        }
        for each in judgements
    ]


def one_rule(rules: CorrectionRules) -> RuleDraws:
    """A set of thresholds alone, as `correct_all` takes it."""
    return draw_rules(0, np.random.default_rng(0), default=rules)


def words_of(clips: LabelledClips, rules: CorrectionRules) -> list[str]:
    """What thresholds make of every clip; in these fleets every clip is judged."""
    return [SEVERITIES[code] for code in correct_all(clips, one_rule(rules))[0]]


def accuracy(clips: LabelledClips, rules: CorrectionRules) -> float:
    """Share of clips that thresholds are right on."""
    return float(np.mean([said == true for said, true in zip(words_of(clips, rules), clips.label, strict=True)]))
