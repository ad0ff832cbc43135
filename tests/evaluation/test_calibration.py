"""Confidence against truth: perfectly calibrated and overconfident judges, and what 20 clips can say."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import log_softmax, softmax

from autorisk_dagster import tables
from autorisk_dagster.evaluation.calibration import (
    NO_CONFIDENCE,
    best_temperature,
    bins_of,
    calibration,
    ece_of,
    left_out_temperatures,
    probabilities,
)
from tests.evaluation.fleets import labelled, row


def judged(n: int, sharpness: float = 1.0, seed: int = 0, groups: int | None = None) -> pl.DataFrame:
    """Clips whose labels are drawn from softmax(z); the judge says log-softmax(sharpness * z): calibrated at 1,
    overconfident above, with the best temperature `sharpness`."""
    generator = np.random.default_rng(seed)
    z = generator.normal(scale=1.5, size=(n, 4))
    label = [tables.SEVERITIES[generator.choice(4, p=p)] for p in softmax(z, axis=1)]
    said = log_softmax(sharpness * z, axis=1)
    letters = [dict(zip(tables.SEVERITIES, one.tolist(), strict=True)) for one in said]
    group = np.arange(n) % (groups or n)
    kind = {"letter_log_probability": tables.REASON_OUTPUTS["letter_log_probability"]}
    clips = labelled(label, label, groups=group.tolist())
    return clips.with_columns(pl.Series("letter_log_probability", letters, kind["letter_log_probability"]))


def test_ece_and_bins_by_hand() -> None:
    """Twenty clips in two bins of ten: 0.6 said and 4 right, 0.9 said and 8 right: (10 * 0.2 + 10 * 0.1) / 20."""
    confidence = np.repeat([0.6, 0.9], 10)
    right = np.array([1] * 4 + [0] * 6 + [1] * 8 + [0] * 2)
    assert bins_of(confidence).tolist() == [0] * 10 + [1] * 10
    assert ece_of(confidence, right) == pytest.approx(0.15)
    assert bins_of(np.full(30, 0.7)).max() == 0  # one confidence, one bin, whatever the order of the rows
    assert bins_of(np.linspace(0, 1, 9)).max() == 0  # nine clips are one bin
    assert np.bincount(bins_of(np.linspace(0, 1, 200))).tolist() == [20] * 10


def test_a_calibrated_judge_on_20_clips_is_not_improved() -> None:
    """The peer's temperature scaling "improves" one on 20 samples. Here no temperature is recommended, and the error
    that such a judge shows lies within what chance gives."""
    improved = outside = 0
    for seed in range(20):
        table = calibration(judged(20, seed=seed))
        found = row(table, "temperature", "tempered")
        assert found["value"] is None and "none is recommended" in found["note"]
        ece, chance = row(table, "ece", "measured"), row(table, "ece_if_calibrated", "measured")
        assert "too few to say anything of calibration" in ece["note"]
        outside += not chance["low"] <= ece["value"] <= chance["high"]
        clips = probabilities(judged(20, seed=seed))
        fitted = clips.at(best_temperature(clips.log_p, clips.label))
        improved += ece_of(fitted.max(axis=1), fitted.argmax(axis=1) == clips.label) < ece["value"]
    assert outside <= 4  # 5 % of 20, and little more by chance
    assert improved >= 5  # what fitting and judging on the same clips would have claimed


def test_a_calibrated_judge_on_many_clips_is_left_alone() -> None:
    advised = [row(calibration(judged(200, seed=seed)), "temperature", "tempered") for seed in range(3)]
    assert all(found["value"] == 1.0 and "none is recommended" in found["note"] for found in advised)


def test_an_overconfident_judge_is_found_and_its_temperature_too() -> None:
    table = calibration(judged(400, sharpness=3.0))
    tables.check(table, tables.CALIBRATION)
    ece, chance = row(table, "ece", "measured"), row(table, "ece_if_calibrated", "measured")
    assert ece["value"] > chance["high"]
    found = row(table, "temperature", "tempered")
    assert found["value"] == pytest.approx(3.0, rel=0.2) and found["note"].startswith("recommended")
    assert row(table, "log_loss_difference", "tempered")["high"] < 0
    assert row(table, "ece", "tempered")["value"] < ece["value"] / 2
    bins = table.filter((pl.col("metric") == "reliability") & (pl.col("stage") == "measured"))
    assert bins["n"].to_list() == [40] * 10
    assert (bins["mean_confidence"].diff().drop_nulls() > 0).all()


def test_brier_and_log_loss_by_hand() -> None:
    """Two clips, (0.7, 0.1, 0.1, 0.1) of NONE and of LOW: 0.09 + 0.03 = 0.12 and 0.49 + 0.81 + 0.02 = 1.32."""
    said = dict(zip(tables.SEVERITIES, np.log([0.7, 0.1, 0.1, 0.1]).tolist(), strict=True))
    clips = labelled(["NONE", "LOW"], ["NONE", "NONE"]).with_columns(
        pl.Series("letter_log_probability", [said, said], tables.REASON_OUTPUTS["letter_log_probability"])
    )
    table = calibration(clips)
    assert row(table, "brier", "measured")["value"] == pytest.approx((0.12 + 1.32) / 2)
    assert row(table, "log_loss", "measured")["value"] == pytest.approx(-(np.log(0.7) + np.log(0.1)) / 2)


def test_letters_are_normalised_and_an_impossible_one_is_no_infinity() -> None:
    said = {"NONE": -1.0, "LOW": -1.0, "MEDIUM": float("-inf"), "HIGH": -800.0}
    clips = labelled(["NONE"], ["NONE"]).with_columns(
        pl.Series("letter_log_probability", [said], tables.REASON_OUTPUTS["letter_log_probability"])
    )
    given = probabilities(clips).at(1.0)
    assert given[0] == pytest.approx([0.5, 0.5, 0.0, 0.0])
    assert np.isfinite(row(calibration(clips), "log_loss", "measured")["value"])


def test_the_temperature_of_a_clip_is_from_other_groups() -> None:
    """One group of labels that no judge could expect changes the others' temperature, not its own."""
    clips = probabilities(judged(60, groups=6))
    plain = left_out_temperatures(clips)
    strange = clips.groups == 0
    label = np.where(strange, clips.log_p.argmin(axis=1), clips.label)
    changed = left_out_temperatures(type(clips)(clips.log_p, label, clips.groups))
    assert changed[strange] == pytest.approx(plain[strange])
    assert (changed[~strange] > 1.05 * plain[~strange]).all()


def test_no_measured_confidence_is_no_figure() -> None:
    kind = tables.REASON_OUTPUTS["letter_log_probability"]
    clips = labelled(["LOW"] * 3, ["LOW"] * 3).with_columns(pl.lit(None, kind).alias("letter_log_probability"))
    table = calibration(clips)
    assert table.height == 1
    assert (table.item(0, "value"), table.item(0, "note")) == (None, NO_CONFIDENCE)
    assert "autorisk label" in calibration(clips.clear()).item(0, "note")
