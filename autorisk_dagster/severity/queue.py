"""The review queue: which clips must be looked at, why, and which label is worth most.

The value of a label is the expected value of perfect information (Raiffa and Schlaifer 1961, Howard 1966) about one
clip: what the severity that stands now is expected to cost, less what the true one costs, which is nothing. With C the
profile's cost of letting d stand where y is true, and p the belief about y,

    value = sum_y p(y) * C[y][d].

The belief keeps to what the conformal set promises: the severities in the set share `coverage`, those outside share the
rest, each in proportion to the judge's own probabilities (letters, votes). A judge that gives none is believed by
`_STEP_SHARE` less for each step from the final severity; of a clip that was not judged every severity is as probable as
the other. Such a clip stands as NONE: nobody would look at it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.profile import ReviewSettings
from autorisk_dagster.severity.conformal import ANYTHING, Calibration, SeveritySet, probabilities, score_kind
from autorisk_dagster.severity.correction import NONE
from autorisk_dagster.severity.labelled import judge_name
from autorisk_dagster.severity.policy import review_reasons

_STEP_SHARE: Final = 0.5  # chosen here: half as probable with each step


def belief(final: str | None, found: SeveritySet, judgement: Mapping[str, Any], coverage: float) -> dict[str, float]:
    """The probability of each severity that set and judge leave together; they add up to 1.

    Args:
        final: severity that stands; None: not judged
        found: the clip's set
        judgement: its row of tables.REASON_OUTPUTS
        coverage: what the set promises
    """
    own = probabilities(judgement, score_kind([judgement]))
    if final is None:
        weight = dict.fromkeys(tables.SEVERITIES, 1.0)
    elif own is None:
        at = tables.SEVERITIES.index(final)
        weight = {name: _STEP_SHARE ** abs(level - at) for level, name in enumerate(tables.SEVERITIES)}
    else:
        weight = dict(zip(tables.SEVERITIES, own, strict=True))
    inside = [name for name in tables.SEVERITIES if name in found.severities]
    outside = [name for name in tables.SEVERITIES if name not in inside]
    result = {}
    for part, share in ((inside, coverage if outside else 1.0), (outside, 1.0 - coverage)):
        total = sum(weight[name] for name in part)
        for name in part:
            # A judge that gives this whole part no probability leaves nothing to divide by: equal parts.
            result[name] = share * (weight[name] / total if total > 0 else 1 / len(part))
    return result


def label_value(final: str | None, beliefs: Mapping[str, float], settings: ReviewSettings) -> float:
    """Expected cost that a label of the clip saves, in the units of the profile's cost."""
    stands = tables.SEVERITIES.index(NONE if final is None else final)
    return sum(beliefs[name] * row[stands] for name, row in settings.cost.items())


def review_queue(
    ranking: pl.DataFrame,
    corrected: pl.DataFrame,
    reason_outputs: pl.DataFrame,
    mined_clips: pl.DataFrame,
    near_miss_events: pl.DataFrame,
    calibrations: Mapping[str, Calibration],
    states: Mapping[str, str],
    settings: ReviewSettings,
) -> pl.DataFrame:
    """Every clip of the ranking, what must be reviewed first.

    Order: what must be reviewed before the rest; then what is open or stale before what is reviewed; then the larger
    `label_value`; then the ranking.

    Args:
        ranking, corrected, reason_outputs, mined_clips, near_miss_events: tables of one video
        calibrations: by judge (`labelled.judge_name`); of a judge that is not there nothing is calibrated
        states: by clip, of `tables.REVIEW_STATES`; a clip that is not there is open
        settings: the profile's section

    Returns:
        tables.REVIEW_QUEUE
    """
    judged = {row["clip_id"]: row for row in reason_outputs.with_columns(judge_name()).iter_rows(named=True)}
    correction = {row["clip_id"]: row for row in corrected.iter_rows(named=True)}
    sha256 = dict(mined_clips.select("clip_id", "clip_sha256").iter_rows())
    events = near_miss_events.filter(pl.col("version") == tables.NEAR_MISS_SHOWN)
    rows: list[dict[str, Any]] = []
    for clip in ranking.sort("rank").iter_rows(named=True):
        clip_id, final, output = clip["clip_id"], clip["severity"], judged[clip["clip_id"]]
        calibration = calibrations.get(output["judge"])
        found = calibration.severity_set(final, output, settings.coverage) if calibration else ANYTHING
        inside = pl.col("timestamp_sec").is_between(clip["start_sec"], clip["end_sec"], closed="left")
        levels = events.filter(inside)["risk_level"].drop_nulls().to_list()
        facts = correction[clip_id] | {"outcome": output["outcome"]}
        reasons = review_reasons(facts, found, levels, settings)
        rows.append(
            {
                "clip_id": clip_id,
                "clip_sha256": sha256[clip_id],
                "start_sec": clip["start_sec"],
                "end_sec": clip["end_sec"],
                "outcome": output["outcome"],
                "raw_severity": facts["raw_severity"],
                "severity": final,
                "rule": facts["rule"],
                "severity_set": list(found.severities),
                "set_calibrated": found.calibrated,
                "must_review": bool(reasons),
                "reasons": reasons,
                "label_value": label_value(final, belief(final, found, output, settings.coverage), settings),
                "state": states.get(clip_id, "open"),
            }
        )
    rows.sort(key=lambda row: (not row["must_review"], row["state"] == "reviewed", -row["label_value"]))
    return tables.frame([{"position": at, **row} for at, row in enumerate(rows, start=1)], tables.REVIEW_QUEUE)
