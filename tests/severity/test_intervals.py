"""Intervals: against SciPy where clips are independent, by hand where they are not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from autorisk_dagster.errors import InputError
from autorisk_dagster.severity.intervals import bootstrap, difference, share, wilson


@given(n=st.integers(1, 300), data=st.data())
def test_wilson_is_scipys(n, data):
    hits = data.draw(st.integers(0, n))
    expected = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("share_", "n"), [(-0.1, 5), (1.1, 5), (math.nan, 5), (0.5, 0)])
def test_a_share_that_cannot_be_is_refused(share_, n):
    with pytest.raises(InputError, match="in 0 to 1"):
        wilson(share_, n)


def test_clips_that_are_their_own_groups_count_singly():
    # Variance between 20 single clips of which 9 are right: 20/19 * 20 * 0.45 * 0.55 / 20^2. The effective number is
    # 0.45 * 0.55 over that, 19.
    found = share([True] * 9 + [False] * 11, range(20))
    assert (found.value, found.n, found.groups) == (0.45, 20, 20)
    assert (found.low, found.high) == pytest.approx(wilson(0.45, 19))


def test_groups_whose_clips_all_agree_count_as_one_clip_each():
    # Ten groups of ten clips, half of the groups right in all: as many as the groups, less the one for the mean.
    found = share(np.repeat([True, False] * 5, 10), np.repeat(range(10), 10))
    assert (found.low, found.high) == pytest.approx(wilson(0.5, 9))
    alone = share([True, False] * 50, range(100))
    assert found.high - found.low > 2.5 * (alone.high - alone.low)


def test_groups_that_are_alike_give_no_more_than_their_clips():
    # Every group half right: no variance between groups, which must not become certainty.
    found = share([True, False] * 10, np.repeat(range(10), 2))
    assert (found.low, found.high) == pytest.approx(wilson(0.5, 10))


def test_all_right_rests_on_the_groups():
    found = share([True] * 30, np.repeat(range(3), 10))
    assert (found.value, found.low) == (1.0, pytest.approx(wilson(1.0, 3)[0]))


def test_one_group_gives_no_interval():
    found = share([True, False], [7, 7])
    assert (found.value, found.groups) == (0.5, 1)
    assert math.isnan(found.low) and math.isnan(found.high)
    assert math.isnan(difference([True, False], [False, False], [7, 7]).low)


def test_a_difference_is_paired():
    # Every clip that one gets right the other gets right too, and one in four more, one in each group of four.
    right = np.array([True, True, False, False] * 10)
    other = np.array([True, False, False, False] * 10)
    found = difference(right, other, np.repeat(range(10), 4))
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)


def test_the_bootstrap_is_scipys():
    rng = np.random.default_rng(2)
    counts = np.stack([rng.binomial(8, 0.6, 40), np.full(40, 8)], axis=1).astype(float)
    found = bootstrap(counts, lambda sums: sums[:, 0] / sums[:, 1], 320)
    expected = stats.bootstrap(
        (counts[:, 0], counts[:, 1]),
        lambda hits, all_, axis: hits.sum(axis=axis) / all_.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=9999,
        rng=rng,
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.004)
    assert bootstrap(counts, lambda sums: sums[:, 0] / sums[:, 1], 320) == found


def test_wilsons_interval_over_groups_holds_the_truth():
    # 400 worlds of 30 groups of 6 clips, right with a share that differs by group (mean 0.7): the plain interval,
    # which counts 180 clips, misses far more often than 5 %.
    rng = np.random.default_rng(0)
    groups = np.repeat(range(30), 6)
    held = plain = 0
    for _ in range(400):
        right = rng.random(180) < np.repeat(rng.beta(1.4, 0.6, 30), 6)
        found = share(right, groups)
        held += found.low <= 0.7 <= found.high
        low, high = wilson(right.mean(), 180)
        plain += low <= 0.7 <= high
    assert held / 400 >= 0.92
    assert plain / 400 <= 0.85


def test_every_clip_needs_a_group():
    with pytest.raises(InputError, match="2 clips, 1 groups"):
        share([True, False], [1])
