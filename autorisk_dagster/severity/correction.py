"""Rules R1-R6: correct a reasoner's severity by what was measured.

Source: seed 000, stage 3 (the table) and DESIGN.md, ruling "Severity correction". One pass over the rules in the
order R1 to R6, all on the raw severity; the first whose condition holds decides and nothing after it is looked at.
Comparisons are exactly as written, without epsilons.

The thresholds were tuned on the seed's own quantities: the area form A / (dA/dt), which is half the time to contact,
and the min-max fused score. The rule set `seed` therefore reads `min_area_tau_sec` and `fused_score_seed`, never the
time to contact or the absolute score that people are shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.profile import CorrectionSettings

NONE, LOW, MEDIUM, HIGH = tables.SEVERITIES

QUANTITIES_OF_RULE_SET: Final = {"seed": ("min_area_tau_sec", "fused_score_seed")}
"""What a rule set reads: the column of `CLIP_TTC` for the TTC, the column of `MINED_CLIPS` for the fused score."""


@dataclass(frozen=True)
class CorrectionRules:
    """Thresholds of R1-R6, defaults from seed 000, stage 3: TTC in s, fused scores in 0..1, critical tracks counted.

    Raises:
        ValueError: a threshold is NaN, which would silently switch its rule off.
    """

    r1_ttc_sec: float = 1.0
    r1_fused: float = 0.55
    r1_critical: int = 1
    r2_ttc_sec: float = 0.25
    r2_critical: int = 4
    r3_fused: float = 0.65
    r3_ttc_sec: float = 0.6
    r4_ttc_sec: float = 1.5
    r4_critical: int = 2
    r5_fused: float = 0.5
    r5_ttc_sec: float = 0.6
    r6_ttc_sec: float = 0.5

    def __post_init__(self) -> None:
        wrong = [name for name, value in vars(self).items() if math.isnan(value)]
        if wrong:
            raise ValueError(f"correction thresholds must be numbers, NaN found in {', '.join(wrong)}")

    @classmethod
    def from_settings(cls, settings: CorrectionSettings) -> CorrectionRules:
        """The rules of a profile, which names its thresholds the same."""
        return cls(**settings.model_dump(exclude={"rule_set"}))


@dataclass(frozen=True)
class Correction:
    """What the rules made of one severity: `rule` is "R1" to "R6", or None when none fired and nothing changed."""

    severity: str | None
    rule: str | None


def correct_severity(
    severity: str | None,
    *,
    min_ttc_sec: float | None,
    fused_score: float | None,
    critical_tracks: float | None,
    rules: CorrectionRules = CorrectionRules(),
) -> Correction:
    """Apply R1-R6 once to a raw severity.

    A rule whose condition holds *fires* and is named even if the severity stays what it was: R1 on NONE gives
    `Correction("NONE", "R1")`, because R1 decided and R6 was never asked.

    Args:
        severity: "NONE", "LOW", "MEDIUM" or "HIGH"; None (never judged) comes out as None
        min_ttc_sec: shortest TTC, in the quantity the thresholds were tuned on; `inf` (tracked, nothing approaches) is
            a value and satisfies >=; None, NaN or negative (cannot say): no rule fires
        fused_score: mining score; None or NaN: no rule fires
        critical_tracks: number of tracks with a critical TTC; None or NaN: no rule fires

    Raises:
        ValueError: an unknown severity.
    """
    if severity is not None and severity not in tables.SEVERITIES:
        raise ValueError(f"unknown severity {severity!r}; known: {', '.join(tables.SEVERITIES)}")
    if severity is None or min_ttc_sec is None or fused_score is None or critical_tracks is None:
        return Correction(severity, None)
    if math.isnan(min_ttc_sec) or min_ttc_sec < 0 or math.isnan(fused_score) or math.isnan(critical_tracks):
        return Correction(severity, None)

    ttc, fused, critical = min_ttc_sec, fused_score, critical_tracks
    if ttc >= rules.r1_ttc_sec and fused < rules.r1_fused and critical <= rules.r1_critical:
        return Correction(NONE, "R1")
    if ttc <= rules.r2_ttc_sec and critical >= rules.r2_critical:
        return Correction(HIGH, "R2")
    if severity == LOW and fused >= rules.r3_fused and ttc <= rules.r3_ttc_sec:
        return Correction(MEDIUM, "R3")
    if severity == HIGH and ttc >= rules.r4_ttc_sec and critical <= rules.r4_critical:
        return Correction(MEDIUM, "R4")
    if severity == MEDIUM and fused < rules.r5_fused and ttc >= rules.r5_ttc_sec:
        return Correction(LOW, "R5")
    if severity == NONE and ttc <= rules.r6_ttc_sec:
        return Correction(LOW, "R6")
    return Correction(severity, None)


@dataclass(frozen=True)
class RuleSet:
    """Thresholds under the name they are known by."""

    name: str
    rules: CorrectionRules


def correct(
    reason_outputs: pl.DataFrame,
    clip_ttc: pl.DataFrame,
    mined_clips: pl.DataFrame,
    settings: CorrectionSettings,
    adopted: Mapping[str, RuleSet] = {},
) -> pl.DataFrame:
    """Correct every clip of `reason_outputs` (tables.REASON_OUTPUTS) and record what the rules read.

    A clip without a row in `clip_ttc` or `mined_clips` has a missing quantity: no rule fires and its severity stays.

    Args:
        reason_outputs, clip_ttc, mined_clips: tables of one video
        settings: the profile's thresholds
        adopted: by clip id, thresholds learned from labels in the place of the profile's; they read the same quantities

    Returns:
        tables.CORRECTED_SEVERITIES, one row a clip, in the order of `reason_outputs`.

    Raises:
        InputError: a clip that occurs twice in one of the tables.
    """
    ttc_column, fused_column = QUANTITIES_OF_RULE_SET[settings.rule_set]
    for name, table in (("reason_outputs", reason_outputs), ("clip_ttc", clip_ttc), ("mined_clips", mined_clips)):
        twice = table.filter(pl.col("clip_id").is_duplicated())["clip_id"].unique().sort().to_list()
        if twice:
            raise InputError(f"{name} has more than one row for {', '.join(twice)}: every clip must occur once")
    ttc = clip_ttc.select("clip_id", pl.col(ttc_column).alias("ttc_read_sec"), "critical_tracks")
    fused = mined_clips.select("clip_id", pl.col(fused_column).alias("fused_read"))
    read = (
        reason_outputs.select("clip_id", pl.col("severity").alias("raw_severity"))
        .join(ttc, on="clip_id", how="left", maintain_order="left")
        .join(fused, on="clip_id", how="left", maintain_order="left")
    )
    own = RuleSet(settings.rule_set, CorrectionRules.from_settings(settings))
    rows = []
    for row in read.iter_rows(named=True):
        rule_set = adopted.get(row["clip_id"], own)
        correction = correct_severity(
            row["raw_severity"],
            min_ttc_sec=row["ttc_read_sec"],
            fused_score=row["fused_read"],
            critical_tracks=row["critical_tracks"],
            rules=rule_set.rules,
        )
        rows.append(row | {"severity": correction.severity, "rule": correction.rule, "rule_set": rule_set.name})
    return tables.frame(rows, tables.CORRECTED_SEVERITIES)
