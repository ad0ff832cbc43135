"""The table of what was learned from labels, written and read: thresholds of R1-R6 and scores of the severity sets.

One row a judge (`labelled.judge_name`): thresholds tuned on one judge's errors say nothing of another's. Only blind
labels count, those of a label file: labels given in review were made with the output in sight, on clips that the queue
chose.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.profile import CorrectionSettings
from autorisk_dagster.severity.adoption import NOT_HELD_OUT, Adoption, study
from autorisk_dagster.severity.conformal import Calibration, calibrate
from autorisk_dagster.severity.correction import CorrectionRules, RuleSet
from autorisk_dagster.severity.intervals import Interval
from autorisk_dagster.severity.labelled import for_search, judge_name
from autorisk_dagster.severity.search import THRESHOLDS, draw_rules

DRAWS: Final = 5000  # seed 000's program draws so many
BLIND_ORIGIN: Final = "label_file"


@dataclass(frozen=True)
class Learned:
    """What stands for one judge.

    Attributes:
        rules: its thresholds; None: the profile's own
        rule_set: "seed", or "searched-" and the hash of the thresholds
        compared_with: hash of the default thresholds that adopted ones were compared with
        calibration: of its severity sets
    """

    rules: CorrectionRules | None
    rule_set: str
    compared_with: str
    calibration: Calibration

    def adopted_for(self, settings: CorrectionSettings) -> RuleSet | None:
        """The adopted thresholds, where the profile's own are those that they were found better than; else None."""
        if self.rules is None or not self._is_of(settings):
            return None
        return RuleSet(self.rule_set, self.rules)

    def calibration_for(self, settings: CorrectionSettings) -> Calibration | None:
        """The calibration, where the profile's clips are corrected as the labelled ones were; else None."""
        return self.calibration if self._is_of(settings) else None

    def _is_of(self, settings: CorrectionSettings) -> bool:
        return rules_hash(CorrectionRules.from_settings(settings)) == self.compared_with


def rules_hash(rules: CorrectionRules) -> str:
    """8 hex digits that change when, and only when, a threshold does."""
    values = {name: float(value) for name, value in asdict(rules).items()}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:8]


def learn(judged: pl.DataFrame, settings: CorrectionSettings) -> pl.DataFrame:
    """Study every judge of `labelled.JudgedClips.table` that has a blind label.

    The draws are the same in every call: the same labels give the same table.

    Args:
        judged: the judged clips
        settings: the thresholds that searched ones are compared with, and what they read

    Returns:
        tables.CORRECTION_PARAMETERS, by judge
    """
    default = CorrectionRules.from_settings(settings)
    draws = draw_rules(DRAWS, np.random.default_rng(0), default=default)
    blind = judged.filter(pl.col("origin") == BLIND_ORIGIN)
    rows = []
    for judge in blind["judge"].unique().sort():
        clips = blind.filter(pl.col("judge") == judge)
        label, groups = clips["label"].to_list(), clips["group"].to_list()
        found = study(for_search(clips, settings.rule_set), draws, groups)
        calibration = calibrate(label, found.standing, clips.to_dicts(), groups)
        standing = {name: getattr(found.rules, name) for name in THRESHOLDS}
        rows.append(
            {
                "judge": judge,
                "clips": clips.height,
                "groups": len(set(groups)),
                "adopted": found.adopted,
                "reason": found.reason,
                "rule_set": f"searched-{rules_hash(found.rules)}" if found.adopted else settings.rule_set,
                "compared_with": rules_hash(default),
                "draws": DRAWS,
                **standing,
                "set_score": calibration.kind,
                "set_scores": [
                    {"severity": severity, "score": score, "group": group}
                    for severity, scored in calibration.scores.items()
                    for score, group in scored
                ],
                "figures": _figures(found),
            }
        )
    return tables.frame(rows, tables.CORRECTION_PARAMETERS)


def learned(parameters: pl.DataFrame | None) -> dict[str, Learned]:
    """tables.CORRECTION_PARAMETERS by judge; nothing was learned where there is no table."""
    found = {}
    for row in parameters.iter_rows(named=True) if parameters is not None else ():
        rules = CorrectionRules(**{name: row[name] for name in THRESHOLDS}) if row["adopted"] else None
        scores: dict[str, list[tuple[float, int]]] = {name: [] for name in tables.SEVERITIES}
        for one in row["set_scores"]:
            scores[one["severity"]].append((one["score"], one["group"]))
        found[row["judge"]] = Learned(
            rules, row["rule_set"], row["compared_with"], Calibration(row["set_score"], scores)
        )
    return found


def calibrations(found: Mapping[str, Learned], settings: CorrectionSettings) -> dict[str, Calibration]:
    """By judge, the calibrations that hold for clips of a profile with these thresholds."""
    known = {judge: each.calibration_for(settings) for judge, each in found.items()}
    return {judge: calibration for judge, calibration in known.items() if calibration is not None}


def adopted_by_clip(
    reason_outputs: pl.DataFrame, found: Mapping[str, Learned], settings: CorrectionSettings
) -> dict[str, RuleSet]:
    """The thresholds that stand in the place of the profile's, for the clips whose judge has such."""
    by_judge = {judge: each.adopted_for(settings) for judge, each in found.items()}
    judges = reason_outputs.select("clip_id", judge_name()).iter_rows()
    return {clip_id: rules for clip_id, judge in judges if (rules := by_judge.get(judge)) is not None}


def _figures(found: Adoption) -> list[Mapping[str, Any]]:
    rows = [
        _figure(metric, stage, interval, NOT_HELD_OUT.get(stage))
        for metric, by_stage in (("accuracy", found.accuracy), ("macro_f1", found.macro_f1))
        for stage, interval in by_stage.items()
    ]
    return rows + [
        _figure("accuracy_difference", one, interval, f"less {other}, on the same clips")
        for (one, other), interval in found.differences.items()
    ]


def _figure(metric: str, stage: str, interval: Interval, note: str | None) -> Mapping[str, Any]:
    known = not math.isnan(interval.low)
    if not known and note is None:
        note = "one group: no interval can be given"
    return {
        **dict.fromkeys(tables.figures()),
        "label_origin": BLIND_ORIGIN,
        "metric": metric,
        "stage": stage,
        "value": interval.value,
        "low": interval.low if known else None,
        "high": interval.high if known else None,
        "interval": interval.how if known else None,
        "n": interval.n,
        "groups": interval.groups,
        "note": note,
    }
