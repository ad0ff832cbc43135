"""The statistics of docs/severity.md on a few fleets: enough to see a promise broken or a leak gone."""

from __future__ import annotations

import numpy as np

from autorisk_dagster.severity.search import draw_rules
from tests.benchmarks import severity_page
from tests.benchmarks.severity_fleets import accuracy, fleet
from tests.benchmarks.severity_statistics import leak, promises, truths

DRAWS = draw_rules(500, np.random.default_rng(0))


def test_plain_leave_one_out_says_too_much_and_left_out_drives_say_the_truth():
    generator = np.random.default_rng(1)
    truth = truths(DRAWS, 0.8, generator)
    found = leak(6, 10, 60, DRAWS, truth, generator)
    assert found.bias_clip_out.low > 0.01
    assert found.bias_group_out.low < 0.01 and found.bias_group_out.high > -0.01
    assert found.same_clips.value > found.clip_out.value > found.group_out.value


def test_sets_hold_what_they_promise():
    sets = list(promises(60, 40, "default", DRAWS, np.random.default_rng(2)))
    assert [each.kind for each in sets] == ["letters", "votes", "distance"]
    letters, votes, distance = sets
    assert letters.held.high >= 0.9 and letters.held.value < 0.95
    assert min(votes.held.high, distance.held.high) >= 0.9
    assert all(mean.value > 0.87 for each in sets for mean in each.held_by_severity.values())
    page = severity_page.text([], sets, sets, np.array([0.5, 0.6]), 60)
    assert "| letters | default | 40 |" in page


def test_few_drives_promise_nothing():
    (letters, *_) = promises(10, 6, "default", DRAWS, np.random.default_rng(3))
    assert letters.promised.value == 0.0
    assert np.isnan(letters.held.value)


def test_clips_of_a_drive_are_alike():
    world = fleet(np.random.default_rng(4), np.full(400, 5))
    label = np.array(world.clips.label).reshape(400, 5)
    same = float((label[:, 0] == label[:, 1]).mean())
    # Both as the drive (0.8^2), else as two draws: 0.64 + 0.36 * (sum of squared shares 0.305).
    assert abs(same - (0.64 + 0.36 * 0.305)) < 0.06
    assert 0.45 < accuracy(world.clips, DRAWS.rules(0)) < 0.7
