"""Orders of clips against scikit-learn and SciPy, signals against labels, and what each part adds."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from autorisk_dagster import tables
from autorisk_dagster.evaluation import ranks
from autorisk_dagster.evaluation.ablation import ablation
from autorisk_dagster.evaluation.signals import permutation_p, signal_metrics
from tests.evaluation.fleets import labelled, row

scored = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(1, 3)), min_size=2, max_size=30).filter(
    lambda clips: len({danger for _, danger, _ in clips}) == 2
)


@settings(max_examples=80, deadline=None)
@given(scored)
def test_orders_are_those_of_scikit_learn_with_clips_drawn_several_times(clips: list[tuple[int, bool, int]]) -> None:
    score, danger, times = (np.array(part) for part in zip(*clips, strict=True))
    weights = times[None].astype(float)
    many = np.repeat(score, times), np.repeat(danger, times)
    assert ranks.roc_auc(score, danger, weights)[0] == pytest.approx(roc_auc_score(many[1], many[0]))
    assert ranks.average_precision(score, danger, weights)[0] == pytest.approx(
        average_precision_score(many[1], many[0])
    )
    other = score * 7 % 5
    if len(set(score)) > 1 and len(set(other)) > 1:
        theirs = spearmanr(many[0], np.repeat(other, times)).statistic
        assert ranks.spearman(score, other, weights)[0] == pytest.approx(theirs, abs=1e-9)


def test_recall_among_the_first() -> None:
    """Ten clips, dangerous ones first, third and last; the tie of the sixth to tenth gives its part."""
    score = np.array([9, 8, 7, 6, 5, 1, 1, 1, 1, 1], dtype=float)
    danger = np.array([1, 0, 1, 0, 0, 0, 0, 0, 0, 1], dtype=bool)
    ones = np.ones((1, 10))
    assert ranks.recall_at(0.1, score, danger, ones)[0] == pytest.approx(1 / 3)
    assert ranks.recall_at(0.5, score, danger, ones)[0] == pytest.approx(2 / 3)
    assert ranks.recall_at(0.6, score, danger, ones)[0] == pytest.approx((2 + 1 / 5) / 3)
    assert ranks.recall_at(1.0, score, danger, ones)[0] == pytest.approx(1)


def test_an_infinite_time_is_the_longest() -> None:
    auc = ranks.roc_auc(-np.array([1.0, 2.0, math.inf, math.inf]), np.array([1, 1, 0, 0], dtype=bool), np.ones((1, 4)))
    assert auc[0] == 1.0


def test_the_permutation_counts_groups_not_copies() -> None:
    """Forty clips in eight groups of five copies: an order that is perfect between groups has 8! = 40 320 deals, of
    which four groups of each kind leave 70 that differ; two of them are as extreme."""
    severity = np.repeat([0.0, 0, 0, 0, 3, 3, 3, 3], 5)
    value = np.repeat(np.arange(8.0), 5)
    by_clip, _ = permutation_p(value, severity, np.arange(40))
    by_group, told = permutation_p(value, severity, np.repeat(np.arange(8), 5))
    assert by_clip == pytest.approx(1 / 5000)
    assert by_group == pytest.approx(2 / 70, abs=0.01)
    assert "whole groups" in told


def test_groups_that_cannot_be_exchanged_have_no_p() -> None:
    sizes = np.repeat(np.arange(6), np.arange(1, 7))  # six groups of six sizes: one deal
    p, why = permutation_p(np.arange(21.0), np.arange(21.0) % 4, sizes)
    assert p is None and "can be dealt in 1 ways only" in why


def test_the_permutation_is_fair_where_nothing_is_related() -> None:
    """p is uniform under the null hypothesis: of 100 fleets 10 give p <= 0.1, +- 3 standard errors of 3."""
    generator = np.random.default_rng(7)
    small = 0
    for _ in range(100):
        groups = np.repeat(np.arange(12), 2)
        value = np.repeat(generator.normal(size=12), 2)
        severity = np.repeat(generator.integers(0, 4, 12), 2).astype(float)
        p, _ = permutation_p(value, severity, groups)
        small += p <= 0.1
    assert 1 <= small <= 19


def measured(n: int = 40, seed: int = 1) -> pl.DataFrame:
    """Clips whose sound follows the label, whose motion does not, and of which some have no time to contact."""
    generator = np.random.default_rng(seed)
    level = generator.integers(0, 4, n)
    label = [tables.SEVERITIES[number] for number in level]
    ttc = [
        None if number % 8 == 7 else (math.inf if level[number] == 0 else 6.0 / level[number]) for number in range(n)
    ]
    return labelled(
        label,
        ["LOW"] * n,
        label,
        min_ttc_sec=ttc,
        critical_tracks=[int(step == 3) for step in level],
        audio_score=(level / 3.0).tolist(),
        motion_score=generator.random(n).tolist(),
        proximity_score=[None] * n,
        fused_score=(level / 6.0 + generator.random(n) / 4).tolist(),
        fused_score_seed=generator.random(n).tolist(),
    ).cast({"proximity_score": pl.Float64})


def test_a_signal_that_follows_the_label_and_one_that_does_not() -> None:
    table = signal_metrics(measured())
    tables.check(table, tables.SIGNAL_METRICS)
    assert row(table, "spearman", "audio_score")["value"] == pytest.approx(1.0)
    assert row(table, "spearman", "audio_score")["p_value"] == pytest.approx(1 / 5000)
    noise = row(table, "spearman", "motion_score")
    assert noise["low"] < 0 < noise["high"] and noise["p_value"] > 0.05
    assert row(table, "roc_auc", "audio_score")["value"] == 1.0
    assert row(table, "spearman", "proximity_score")["value"] is None
    # Shorter is more dangerous: correlated downwards, and finds danger.
    assert row(table, "spearman", "min_ttc_sec")["value"] < -0.9
    assert row(table, "roc_auc", "min_ttc_sec")["value"] == 1.0


def test_what_has_no_time_to_contact_is_left_out_and_what_does_not_approach_is_longest() -> None:
    clips = measured()
    table = signal_metrics(clips)
    found = row(table, "spearman", "min_ttc_sec")
    infinite = clips.filter(pl.col("min_ttc_sec").is_infinite()).height
    assert found["n"] == 35
    assert f"5 clips without a value left out; {infinite} infinite, as the longest" in found["note"]
    none = row(table, "median", "min_ttc_sec", "NONE")
    assert none["value"] is None and none["note"].startswith("infinite: nothing approaches")
    assert row(table, "median", "min_ttc_sec", "HIGH")["value"] == pytest.approx(2.0)
    assert row(table, "recall", "min_ttc_sec")["note"].startswith("at most 2.4 s")


def test_two_dangerous_clips_are_too_few_for_an_order() -> None:
    clips = measured().filter(pl.col("label").is_in(["NONE", "LOW"]))
    few = pl.concat([clips, measured().filter(pl.col("label") == "HIGH").head(2)])
    found = row(signal_metrics(few), "roc_auc", "audio_score")
    assert found["value"] is None and "2 dangerous and" in found["note"]


def test_ablation_says_what_each_part_adds() -> None:
    table = ablation(measured())
    tables.check(table, tables.ABLATION)
    danger = measured()["label"].is_in(["MEDIUM", "HIGH"]).mean()
    assert row(table, "average_precision", "audio")["value"] == pytest.approx(1.0)
    assert row(table, "average_precision", "proximity")["value"] == pytest.approx(danger)  # never measured: no order
    assert "40 not measured" in row(table, "average_precision", "proximity")["note"]
    worse = row(table, "average_precision_difference", "motion")
    assert worse["high"] < 0
    assert row(table, "accuracy", "corrected")["value"] == 1.0
    gain = row(table, "accuracy_difference", "corrected")
    assert gain["low"] > 0 and gain["note"] == "less that of the reasoner alone"


def test_mining_alone_is_cut_where_the_labels_shares_cut_it() -> None:
    """Scores in the order of the labels give the labels back; a tie at a limit gets the lower severity together."""
    label = ["NONE", "NONE", "LOW", "MEDIUM", "HIGH", "HIGH"]
    columns = {name: [0.0] * 6 for name in ("audio_score", "motion_score", "proximity_score")}
    exact = labelled(label, label, **columns, fused_score=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert row(ablation(exact), "accuracy", "mining")["value"] == 1.0
    level = labelled(label, label, **columns, fused_score=[0.3] * 6)
    given_ = row(ablation(level), "accuracy", "mining")["value"]
    assert given_ in (pytest.approx(2 / 6), pytest.approx(1 / 6))


def test_without_labels_nothing_is_claimed() -> None:
    for table in (signal_metrics(measured().clear()), ablation(measured().clear())):
        assert table["value"].null_count() == table.height > 0
