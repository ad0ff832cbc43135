"""Intervals: against formulas worked by hand, other programs, and fleets whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, bootstrap

from autorisk_dagster.evaluation import scores
from autorisk_dagster.evaluation.intervals import (
    FEW,
    bootstrapped,
    effective_size,
    f1_estimate,
    mcnemar,
    paired_difference,
    proportion,
    sign_flip,
)
from autorisk_dagster.severity.intervals import wilson
from tests.evaluation.fleets import ANSWERS, SHARES, simulated_codes


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (7, 20), (9, 20), (13, 20), (20, 20), (1, 1), (250, 400)])
def test_wilson_is_that_of_scipy(hits: int, n: int) -> None:
    other = binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits / n, n) == pytest.approx((other.low, other.high), abs=1e-12)


def test_clips_that_are_alike_within_their_group_count_as_one() -> None:
    """Five groups of four copies, three groups right: 20 clips say what 4.2 independent ones would, and 2.4 once the
    uncertainty of so few groups is counted."""
    hits = np.repeat([1.0, 0.0, 1.0, 0.0, 1.0], 4)
    groups = np.repeat(np.arange(5), 4)
    plain = 0.24 / 19  # variance of a share of 20 clips, 0.6 * 0.4 / (n - 1)
    clustered = 5 / 4 * (3 * (4 * 0.4) ** 2 + 2 * (4 * 0.6) ** 2) / 20**2
    few = (2.0930240544 / 2.7764451052) ** 2  # t with 19 over t with 4 degrees of freedom
    assert effective_size(hits, groups) == pytest.approx(20 * plain / clustered * few)
    assert effective_size(hits, np.arange(20)) == 20
    wide, narrow = proportion(hits > 0, groups), proportion(hits > 0, np.arange(20))
    assert wide.low < narrow.low and wide.high > narrow.high
    assert "2.4 effective clips" in wide.interval


def test_without_a_single_miss_a_group_counts_as_one_clip() -> None:
    found = proportion(np.ones(20, dtype=bool), np.repeat(np.arange(5), 4))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(wilson(1.0, 5)[0])


def test_one_group_of_several_clips_has_no_interval() -> None:
    found = proportion(np.array([True, False]), np.array([3, 3]))
    assert (found.value, found.low, found.high) == (0.5, None, None)
    assert "one group only" in found.note


def test_f1_has_the_interval_of_the_proportion_it_is_made_of() -> None:
    """2 hits, 1 miss, 2 false alarms: p = 2 / 5, F1 = 4 / 7."""
    true = np.array([1, 1, 1, 0, 0, 0], dtype=bool)
    said = np.array([1, 1, 0, 1, 1, 0], dtype=bool)
    found = f1_estimate(true, said, np.arange(6))
    low, high = wilson(0.4, 5)
    assert found.value == pytest.approx(4 / 7)
    assert (found.low, found.high) == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)))
    assert f1_estimate(true[:0], said[:0], np.arange(0)).value is None


def test_the_bootstrap_is_that_of_scipy_but_for_the_expansion() -> None:
    values = np.random.default_rng(5).normal(size=400)
    ours = bootstrapped(lambda weights: weights @ values / weights.sum(axis=1), np.arange(400))
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=np.random.default_rng(1))
    assert ours.value == pytest.approx(values.mean())
    # Two sets of random resamples of a mean with standard error 0.05.
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.008)


def test_under_ten_groups_there_is_no_bootstrap() -> None:
    found = bootstrapped(lambda weights: weights @ np.arange(40.0) / weights.sum(axis=1), np.repeat(np.arange(8), 5))
    assert (found.value, found.low, found.note) == (19.5, None, FEW)


def test_a_statistic_that_cannot_vary_has_no_interval() -> None:
    found = bootstrapped(lambda weights: np.ones(len(weights)), np.arange(30))
    assert (found.low, found.high) == (None, None) and "same in every resample" in found.note


def test_the_paired_difference_is_that_of_agresti_and_min() -> None:
    """Of 20 clips 6 gained and none lost: (6.5 - 0.5) / 22 -+ 1.96 sqrt(7 - 36 / 22) / 22."""
    before = np.zeros(20, dtype=bool)
    after = np.arange(20) < 6
    found = paired_difference(before, after, np.arange(20))
    half = 1.959963985 * np.sqrt(7 - 36 / 22) / 22
    assert found.value == 0.3
    assert (found.low, found.high) == pytest.approx((6 / 22 - half, 6 / 22 + half))
    same = paired_difference(before, before, np.arange(20))
    assert same.value == 0 and same.low < -0.05 and same.high > 0.05


def test_mcnemar_is_the_binomial_test_of_those_that_changed() -> None:
    before = np.array([0] * 6 + [1] * 1 + [1] * 13, dtype=bool)
    after = np.array([1] * 6 + [0] * 1 + [1] * 13, dtype=bool)
    assert mcnemar(before, after) == pytest.approx(2 * (1 + 7) / 2**7)  # P(at most 1 of 7), both sides
    assert mcnemar(after, after) == 1.0


def test_flipping_whole_groups_does_not_count_copies_as_evidence() -> None:
    """Ten gained clips in two groups of five: the four sign patterns of two groups give at best p = 1/2."""
    before, after = np.zeros(10, dtype=bool), np.ones(10, dtype=bool)
    assert mcnemar(before, after) == pytest.approx(2 / 2**10)
    assert sign_flip(before, after, np.repeat([0, 1], 5)) == pytest.approx(0.5)
    assert sign_flip(before, after, np.zeros(10, dtype=np.int64)) == 1.0


clips = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 14)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(clips)
def test_every_interval_holds_its_estimate(drawn: list[tuple[bool, bool, int]]) -> None:
    one, other, groups = (np.array(part) for part in zip(*drawn, strict=True))
    label, said = one.astype(np.intp) * 2, other.astype(np.intp) * 3
    found = [
        proportion(one, groups),
        f1_estimate(one, other, groups),
        paired_difference(one, other, groups),
        bootstrapped(scores.scored(scores.macro_f1, label, said), groups),
        bootstrapped(scores.scored(scores.mean_signed_error, label, said), groups),
    ]
    for each in found:
        if each.low is not None:
            assert each.low <= each.value <= each.high
            assert each.groups >= 2 or each.n == 1


@pytest.mark.parametrize(("groups", "most", "alike"), [(20, 1, 0.0), (24, 5, 0.6)], ids=["clips apart", "in groups"])
def test_intervals_cover_the_truth_of_simulated_fleets(groups: int, most: int, alike: float) -> None:
    """Nominal 95 %; of 120 fleets at least 102 (85 %) must cover: at 95 % fewer has a chance of 1 in 50 000."""
    generator = np.random.default_rng(11)
    truth = SHARES[:, None] * ANSWERS
    statistics = {"macro_f1": scores.macro_f1, "kappa": scores.quadratic_kappa, "mae": scores.mean_absolute_error}
    covered = dict.fromkeys(("accuracy", "f1_high", "counted singly", *statistics), 0)
    for _ in range(120):
        label, said, group = simulated_codes(generator, groups, most, alike)
        found = proportion(label == said, group)
        accuracy = float(scores.accuracy(truth))
        covered["accuracy"] += found.low <= accuracy <= found.high
        single = wilson(found.value, found.n)
        covered["counted singly"] += single[0] <= accuracy <= single[1]
        f1 = f1_estimate(label == 3, said == 3, group)
        covered["f1_high"] += f1.low is None or f1.low <= float(scores.f1(truth)[3]) <= f1.high
        for name, statistic in statistics.items():
            found = bootstrapped(scores.scored(statistic, label, said), group)
            covered[name] += found.low <= float(statistic(truth)) <= found.high
    singly = covered.pop("counted singly")
    assert min(covered.values()) >= 102, covered
    if alike:
        assert singly < 102  # what counting clips of one scene singly costs
