"""Rules R1-R6 (seed 000, stage 3), at, under and over every threshold, and against an independent restatement."""

from __future__ import annotations

import math
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.profile import CorrectionSettings
from autorisk_dagster.severity.correction import Correction, CorrectionRules, correct, correct_severity

INF, NAN = math.inf, math.nan


def corrected(severity: str | None, ttc: float | None, fused: float | None, critical: float | None) -> tuple:
    correction = correct_severity(severity, min_ttc_sec=ttc, fused_score=fused, critical_tracks=critical)
    return correction.severity, correction.rule


@pytest.mark.parametrize(
    ("severity", "ttc", "fused", "critical", "expected"),
    [
        # R1: TTC >= 1.0 and fused < 0.55 and critical <= 1, whatever the severity
        ("HIGH", 1.0, 0.54, 1, ("NONE", "R1")),
        ("LOW", INF, 0.0, 0, ("NONE", "R1")),
        ("LOW", 0.999, 0.54, 1, ("LOW", None)),  # TTC under
        ("LOW", 1.0, 0.55, 1, ("LOW", None)),  # fused at
        ("LOW", 1.0, 0.54, 2, ("LOW", None)),  # critical over
        ("NONE", 1.0, 0.54, 1, ("NONE", "R1")),  # it fires though nothing changes
        # R2: TTC <= 0.25 and critical >= 4
        ("NONE", 0.25, 0.5, 4, ("HIGH", "R2")),
        ("HIGH", 0.0, 0.5, 9, ("HIGH", "R2")),
        ("LOW", 0.251, 0.5, 4, ("LOW", None)),
        ("LOW", 0.25, 0.5, 3, ("LOW", None)),
        # R3: LOW and fused >= 0.65 and TTC <= 0.6
        ("LOW", 0.6, 0.65, 0, ("MEDIUM", "R3")),
        ("LOW", 0.601, 0.65, 0, ("LOW", None)),
        ("LOW", 0.6, 0.649, 0, ("LOW", None)),
        ("HIGH", 0.6, 0.65, 0, ("HIGH", None)),
        # R4: HIGH and TTC >= 1.5 and critical <= 2; fused 0.55 keeps R1 away
        ("HIGH", 1.5, 0.55, 2, ("MEDIUM", "R4")),
        ("HIGH", INF, 0.9, 0, ("MEDIUM", "R4")),
        ("HIGH", 1.499, 0.55, 2, ("HIGH", None)),
        ("HIGH", 1.5, 0.55, 3, ("HIGH", None)),
        ("MEDIUM", 1.5, 0.55, 2, ("MEDIUM", None)),
        # R5: MEDIUM and fused < 0.5 and TTC >= 0.6
        ("MEDIUM", 0.6, 0.499, 0, ("LOW", "R5")),
        ("MEDIUM", 0.6, 0.5, 0, ("MEDIUM", None)),
        ("MEDIUM", 0.599, 0.499, 0, ("MEDIUM", None)),
        ("HIGH", 0.6, 0.499, 0, ("HIGH", None)),
        # R6: NONE and TTC <= 0.5
        ("NONE", 0.5, 0.9, 0, ("LOW", "R6")),
        ("NONE", 0.501, 0.9, 0, ("NONE", None)),
        ("LOW", 0.5, 0.1, 0, ("LOW", None)),
    ],
)
def test_each_rule_at_and_beside_its_thresholds(severity, ttc, fused, critical, expected):
    assert corrected(severity, ttc, fused, critical) == expected


@pytest.mark.parametrize(
    ("severity", "ttc", "fused", "critical", "expected"),
    [
        ("HIGH", 2.0, 0.3, 1, ("NONE", "R1")),  # R4 holds too
        ("MEDIUM", 2.0, 0.3, 1, ("NONE", "R1")),  # R5 holds too
        ("LOW", 0.2, 0.9, 4, ("HIGH", "R2")),  # R3 holds too
        ("NONE", 0.2, 0.9, 4, ("HIGH", "R2")),  # R6 holds too
    ],
)
def test_the_first_rule_that_matches_decides(severity, ttc, fused, critical, expected):
    assert corrected(severity, ttc, fused, critical) == expected


def test_one_pass_only_a_result_is_not_corrected_again():
    # R4 makes MEDIUM of HIGH, which would meet R5 in a second pass (fused 0.4 < 0.5, TTC 1.6 >= 0.6).
    assert corrected("HIGH", 1.6, 0.4, 2) == ("MEDIUM", "R4")


@pytest.mark.parametrize("missing", [None, NAN])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_missing_quantity_fires_no_rule_and_keeps_the_severity(missing, which):
    read: list[float | None] = [2.0, 0.1, 0]  # R1 would fire
    read[which] = missing
    assert corrected("HIGH", *read) == ("HIGH", None)


@pytest.mark.parametrize("negative", [-0.001, -INF])
def test_a_negative_ttc_fires_no_rule(negative):
    assert corrected("NONE", negative, 0.9, 9) == ("NONE", None)


def test_no_severity_in_none_out():
    assert corrected(None, 2.0, 0.1, 0) == (None, None)


@pytest.mark.parametrize("unknown", ["CRITICAL", "high", "", "NULL"])
def test_an_unknown_severity_is_an_error_even_when_nothing_could_fire(unknown):
    with pytest.raises(ValueError, match="known: NONE, LOW, MEDIUM, HIGH"):
        correct_severity(unknown, min_ttc_sec=None, fused_score=None, critical_tracks=None)


def test_defaults_are_the_seeds_and_a_profiles_numbers_reach_the_rules():
    assert CorrectionRules.from_settings(CorrectionSettings()) == CorrectionRules()
    own = CorrectionSettings(r1_ttc_sec=3.0, r6_ttc_sec=0.1)
    assert CorrectionRules.from_settings(own) == replace(CorrectionRules(), r1_ttc_sec=3.0, r6_ttc_sec=0.1)


def test_a_nan_threshold_is_refused():
    with pytest.raises(ValueError, match="r3_fused"):
        CorrectionRules(r3_fused=NAN)


# On and beside every threshold, and everything that is no number.
TTC = st.sampled_from([None, NAN, INF, -INF, -0.1, 0.0, 0.25, 0.5, 0.6, 1.0, 1.5]) | st.floats(0, 3)
FUSED = st.sampled_from([None, NAN, 0.0, 0.5, 0.55, 0.65, 1.0]) | st.floats(0, 1)
CRITICAL = st.sampled_from([None, NAN]) | st.integers(0, 6)


@given(st.sampled_from([None, *tables.SEVERITIES]), TTC, FUSED, CRITICAL)
def test_it_agrees_with_the_table_restated_as_data(severity, ttc, fused, critical):
    table = [
        ("R1", tables.SEVERITIES, (1.0, INF), (0.0, 0.55, False), (0, 1), "NONE"),
        ("R2", tables.SEVERITIES, (0.0, 0.25), (0.0, 9.0, True), (4, 99), "HIGH"),
        ("R3", ("LOW",), (0.0, 0.6), (0.65, 9.0, True), (0, 99), "MEDIUM"),
        ("R4", ("HIGH",), (1.5, INF), (0.0, 9.0, True), (0, 2), "MEDIUM"),
        ("R5", ("MEDIUM",), (0.6, INF), (0.0, 0.5, False), (0, 99), "LOW"),
        ("R6", ("NONE",), (0.0, 0.5), (0.0, 9.0, True), (0, 99), "LOW"),
    ]
    expected = Correction(severity, None)
    known = [value is not None and value == value for value in (ttc, fused, critical)]
    if all(known):
        for rule, severities, (ttc_low, ttc_high), (low, high, including), (few, many), result in table:
            in_fused = low <= fused <= high if including else low <= fused < high
            if severity in severities and ttc_low <= ttc <= ttc_high and in_fused and few <= critical <= many:
                expected = Correction(result, rule)
                break
    assert correct_severity(severity, min_ttc_sec=ttc, fused_score=fused, critical_tracks=critical) == expected


def reason_outputs(**severities: str | None) -> pl.DataFrame:
    rows = [
        dict.fromkeys(tables.REASON_OUTPUTS)
        | {"clip_id": clip, "severity": severity, "outcome": "severity" if severity else "abstained"}
        for clip, severity in severities.items()
    ]
    return tables.frame(rows, tables.REASON_OUTPUTS)


def clip_ttc(**read: tuple[float | None, float | None, int | None]) -> pl.DataFrame:
    rows = [
        dict.fromkeys(tables.CLIP_TTC)
        | {"clip_id": clip, "min_ttc_sec": ttc, "min_area_tau_sec": tau, "critical_tracks": critical}
        for clip, (ttc, tau, critical) in read.items()
    ]
    return tables.frame(rows, tables.CLIP_TTC)


def mined_clips(**fused: tuple[float, float]) -> pl.DataFrame:
    rows = [
        dict.fromkeys(tables.MINED_CLIPS) | {"clip_id": clip, "fused_score": score, "fused_score_seed": seed}
        for clip, (score, seed) in fused.items()
    ]
    return tables.frame(rows, tables.MINED_CLIPS)


def test_the_rule_set_seed_reads_the_area_form_and_the_min_max_score():
    # Time to contact 1.0 s is area form 0.5 s: read as TTC, R6 would not fire (1.0 > 0.5); read as area form, it does.
    # Absolute score 0.2, seed's 0.9: with the absolute score and a TTC of 1.0, R1 would fire.
    table = correct(
        reason_outputs(a="NONE"), clip_ttc(a=(1.0, 0.5, 0)), mined_clips(a=(0.2, 0.9)), CorrectionSettings()
    )
    assert table.to_dicts() == [
        {
            "clip_id": "a",
            "raw_severity": "NONE",
            "severity": "LOW",
            "rule": "R6",
            "rule_set": "seed",
            "ttc_read_sec": 0.5,
            "fused_read": 0.9,
            "critical_tracks": 0,
        }
    ]
    tables.check(table, tables.CORRECTED_SEVERITIES)


def test_clips_keep_their_order_and_a_clip_without_measurements_keeps_its_severity():
    table = correct(
        reason_outputs(c="HIGH", a="HIGH", b=None),
        clip_ttc(a=(4.0, 2.0, 0), b=(4.0, 2.0, 0)),
        mined_clips(a=(0.1, 0.1), b=(0.1, 0.1), c=(0.1, 0.1)),
        CorrectionSettings(),
    )
    assert table.select("clip_id", "severity", "rule").rows() == [
        ("c", "HIGH", None),
        ("a", "NONE", "R1"),
        ("b", None, None),
    ]


def test_a_clip_that_occurs_twice_is_refused():
    twice = pl.concat([clip_ttc(a=(4.0, 2.0, 0)), clip_ttc(a=(1.0, 0.5, 0))])
    with pytest.raises(InputError, match="clip_ttc has more than one row for a"):
        correct(reason_outputs(a="HIGH"), twice, mined_clips(a=(0.1, 0.1)), CorrectionSettings())


def test_no_clips_give_an_empty_table():
    table = correct(reason_outputs(), clip_ttc(), mined_clips(), CorrectionSettings())
    assert table.height == 0
    assert dict(table.schema) == tables.CORRECTED_SEVERITIES
