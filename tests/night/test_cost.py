"""What a night will cost: cases by hand, and intervals that cover what then happens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.night.cost import Cost, Estimate, PastVideo, expected_costs, night_cost
from autorisk_dagster.night.wording import NO_HISTORY, in_words


def past(hours: float, machine: float, gpu: float = 0.0, tokens: float = 0.0) -> PastVideo:
    return PastVideo(hours, Cost(machine, gpu, tokens))


def test_without_history_nothing_is_guessed() -> None:
    found = night_cost([], [0.5, None])
    assert (found.videos, found.footage_hours, found.machine_sec) == (2, None, None)
    assert night_cost([], [0.5, 1.0]).footage_hours == Estimate(1.5, 1.5, 1.5, 0)
    assert expected_costs([], [1.0]) is None
    assert in_words(found).count(NO_HISTORY) == 4


def test_costs_grow_with_the_footage() -> None:
    history = [past(1.0, 100.0, 10.0, 1000.0), past(3.0, 300.0, 30.0, 3000.0)]
    found = night_cost(history, [2.0])
    assert found.machine_sec == Estimate(pytest.approx(200.0), pytest.approx(200.0), pytest.approx(200.0), 2)
    assert found.tokens is not None and found.tokens.value == pytest.approx(2000.0)
    # by itself: 2 h at 100 s an hour; of unknown length, the mean of the past: 2 h too
    assert expected_costs(history, [2.0, None]) == [Cost(200.0, 20.0, 2000.0)] * 2


def test_the_interval_by_hand() -> None:
    # rates 80 and 120 s an hour, one hour each: R = 100, residual variance (20^2 + 20^2) / 1 = 800;
    # of one more hour 800 (1 + 1/2) = 1200; t of one degree of freedom at 95 % is 6.314
    found = night_cost([past(1.0, 80.0), past(1.0, 120.0)], [1.0]).machine_sec
    assert found is not None and found.high == pytest.approx(100 + 6.314 * 1200**0.5, rel=1e-3)
    assert found.low == 0.0  # and not less than nothing


def test_one_past_video_gives_no_interval() -> None:
    found = night_cost([past(1.0, 100.0)], [None])
    assert found.machine_sec == Estimate(100.0, None, None, 1)
    assert "no interval: one past video" in in_words(found)


def test_nine_of_ten_nights_fall_into_the_interval() -> None:
    random = np.random.default_rng(7)

    def video() -> PastVideo:
        hours = random.gamma(2.0, 0.5)
        return past(hours, max(0.0, 100 * hours + random.normal(0, 30 * hours**0.5)))

    hits = {"known": 0, "unknown": 0}
    for _ in range(400):
        history, night = [video() for _ in range(12)], [video() for _ in range(20)]
        spent = sum(one.cost.machine_sec for one in night)
        for name, hours in (("known", [one.footage_hours for one in night]), ("unknown", [None] * 20)):
            found = night_cost(history, hours).machine_sec
            assert found is not None and found.low is not None and found.high is not None
            hits[name] += found.low <= spent <= found.high
    # 400 draws of 0.9 have a standard deviation of 0.015
    assert 0.855 <= hits["known"] / 400 <= 0.945 and 0.84 <= hits["unknown"] / 400 <= 0.945


HISTORY = st.lists(st.builds(past, st.floats(0.01, 10), st.floats(0, 1e5)), min_size=1, max_size=12)


@given(HISTORY, st.lists(st.none() | st.floats(0.01, 10), min_size=1, max_size=12))
def test_the_parts_add_up_to_the_whole_which_lies_in_its_interval(
    history: list[PastVideo], hours: list[float | None]
) -> None:
    found, each = night_cost(history, hours).machine_sec, expected_costs(history, hours)
    assert found is not None and each is not None
    assert found.value == pytest.approx(sum(one.machine_sec for one in each), abs=1e-6)
    if found.low is not None and found.high is not None:
        assert 0 <= found.low <= found.value + 1e-6 and found.value - 1e-6 <= found.high
