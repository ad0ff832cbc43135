"""Straight lines through values of which some are wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autorisk_dagster.kinematics.robust_line import ROWS_AT_ONCE, robust_line, trailing_lines


def test_two_wrong_values_of_eight_change_nothing():
    # value 10 - 2 t, with two outliers: at the last time, 0.7 s, it is 10 - 1.4 = 8.6.
    times = np.arange(8) / 10
    values = 10 - 2 * times
    values[2] += 30
    values[5] -= 30
    value, slope, error = robust_line(times, values)
    assert (value, slope) == (pytest.approx(8.6), pytest.approx(-2.0))
    assert error == pytest.approx(0.0, abs=1e-9)


def test_it_needs_three_values():
    assert all(math.isnan(number) for number in robust_line(np.arange(4.0), np.array([1.0, np.nan, 3.0, np.nan])))


@pytest.mark.parametrize("count", [0, 1, 2, 40, ROWS_AT_ONCE + 5])
def test_all_windows_at_once_are_the_lines_one_by_one(count):
    generator = np.random.default_rng(3)
    times = np.cumsum(generator.uniform(0.03, 0.2, count))
    values = np.where(generator.random(count) < 0.2, np.nan, generator.normal(0, 1, count) + 3 * times)
    one_by_one = [
        robust_line(times[(times > t - 0.8) & (times <= t)], values[(times > t - 0.8) & (times <= t)]) for t in times
    ]
    found = trailing_lines(times, values, 0.8)
    assert found.shape == (count, 3)
    np.testing.assert_allclose(found, np.array(one_by_one).reshape(count, 3), atol=1e-9)


def test_earlier_values_are_shifted_to_how_they_look_now():
    # Values stand still at 5, but the frame moves by 2 a second: as seen now, earlier ones were at 5 + 2 (now - then).
    times = np.arange(12) / 10
    lines = trailing_lines(times, np.full(12, 5.0), 0.8, lambda then, now: 2.0 * (times[now] - times[then]))
    assert lines[-1, :2] == pytest.approx([5.0, -2.0])
