"""Severity sets: scores and limits by hand, the guarantee on drawn fleets, and when nothing can be promised."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster.errors import InputError
from autorisk_dagster.severity.conformal import ANYTHING, Calibration, calibrate, probabilities, score_kind, scores
from autorisk_dagster.tables import SEVERITIES


def letters(*share: float) -> dict:
    logs = {name: math.log(p) if p > 0 else None for name, p in zip(SEVERITIES, share, strict=True)}
    return {"letter_log_probability": logs, "votes": None}


def votes(*severities: str | None) -> dict:
    return {"letter_log_probability": None, "votes": [{"severity": severity} for severity in severities]}


NOTHING = {"letter_log_probability": None, "votes": None}


def test_steps_from_the_final_severity_where_there_are_no_probabilities():
    assert scores("LOW", NOTHING, "distance") == [1, 0, 0.5, 1.5]
    assert scores("HIGH", NOTHING, "distance") == [3, 2, 1, 0]


def test_the_more_probable_neighbour_is_taken_next():
    # From LOW (0.5): MEDIUM (0.3) before NONE (0.15), then HIGH. Each scores what was taken before it.
    assert scores("LOW", letters(0.15, 0.5, 0.3, 0.05), "letters") == pytest.approx([0.8, 0, 0.5, 0.95])
    # From the final NONE, which the rules set, everything lies on one side whatever the letters say.
    assert scores("NONE", letters(0.1, 0.2, 0.3, 0.4), "letters") == pytest.approx([0, 0.1, 0.3, 0.6])


def test_of_equal_neighbours_the_more_severe_is_taken_first():
    assert scores("LOW", letters(0.25, 0.25, 0.25, 0.25), "letters") == pytest.approx([0.75, 0, 0.25, 0.5])


def test_probabilities_of_letters_are_scaled_and_of_votes_are_perks():
    # Half of the mass is on other letters: 0.1, 0.2, 0.1, 0.1 of 0.5.
    assert probabilities(letters(0.1, 0.2, 0.1, 0.1), "letters") == pytest.approx((0.2, 0.4, 0.2, 0.2))
    assert probabilities(letters(0, 0.5, 0.5, 0), "letters") == pytest.approx((0, 0.5, 0.5, 0))
    # Two for HIGH, one for MEDIUM, one that could not be read: (n + 1/4) / 4.
    assert probabilities(votes("HIGH", "HIGH", "MEDIUM", None), "votes") == pytest.approx(
        (1 / 16, 1 / 16, 5 / 16, 9 / 16)
    )
    assert probabilities(NOTHING, "letters") is None
    assert probabilities(letters(0.1, 0.2, 0.3, 0.4), "distance") is None


def test_a_judge_has_the_one_score_that_all_its_clips_have():
    assert score_kind([letters(0.1, 0.2, 0.3, 0.4)]) == "letters"
    assert score_kind([letters(0.1, 0.2, 0.3, 0.4), votes("LOW", "LOW")]) == "distance"
    assert score_kind([votes("LOW", "LOW"), votes("LOW", "LOW", "HIGH")]) == "votes"
    assert score_kind([votes("LOW")]) == "distance"
    assert score_kind([NOTHING]) == score_kind([]) == "distance"


def calibration(*scored: tuple[float, int]) -> Calibration:
    return Calibration("distance", dict.fromkeys(SEVERITIES, ()) | {"LOW": scored})


def test_nine_groups_are_the_fewest_for_90_percent():
    # Nine clips of nine groups: each weighs 1/10, so that 0.9 is reached at the largest score, and never with eight.
    nine = calibration(*[(0.0, group) for group in range(8)], (2.0, 8))
    assert (nine.limit("LOW", 0.9).score, nine.limit("LOW", 0.9).groups) == (2.0, 9)
    assert nine.limit("LOW", 0.8).score == 0.0
    eight = calibration(*[(0.0, group) for group in range(8)])
    assert math.isinf(eight.limit("LOW", 0.9).score)
    assert eight.severity_set("LOW", NOTHING, 0.9) == ANYTHING


def test_a_large_group_weighs_no_more_than_a_small_one():
    # Ten groups; the one with 90 clips, all two steps off, weighs 1/11 like each of the nine that are right. 9/11 is
    # under 0.9, so that its score is the limit there, but not at 0.8, where 90 of 99 clips counted singly would set it.
    many = calibration(*[(0.0, group) for group in range(9)], *[(2.0, 9)] * 90)
    assert many.limit("LOW", 0.9).score == 2.0
    assert many.limit("LOW", 0.8).score == 0.0  # 9/11


def test_sets_grow_by_the_limit_and_keep_the_final_severity():
    found = calibration(*[(0.0, group) for group in range(9)], (1.0, 9), (1.0, 10))
    assert found.limit("LOW", 0.8).score == 1.0  # 9/12 < 0.8 <= 10/12
    assert found.severity_set("LOW", NOTHING, 0.8).severities == ("NONE", "LOW", "MEDIUM")
    half = calibration(*[(0.0, group) for group in range(9)], (0.5, 9), (1.0, 10))
    assert half.severity_set("LOW", NOTHING, 0.8).severities == ("LOW", "MEDIUM")
    single = found.severity_set("LOW", NOTHING, 0.75)
    assert (single.severities, single.calibrated) == (("LOW",), True)
    # Nothing was labelled among those called HIGH: their sets promise nothing.
    assert found.severity_set("HIGH", NOTHING, 0.8) == ANYTHING
    assert found.severity_set(None, NOTHING, 0.8) == ANYTHING


def test_a_clip_without_its_judges_letters_may_be_anything():
    found = Calibration("letters", {name: [(0.0, group) for group in range(20)] for name in SEVERITIES})
    assert found.severity_set("LOW", letters(0.1, 0.7, 0.1, 0.1), 0.9).severities == ("LOW",)
    assert found.severity_set("LOW", NOTHING, 0.9) == ANYTHING


def test_clips_that_were_never_judged_are_left_out():
    found = calibrate(["LOW", "HIGH", "MEDIUM"], ["LOW", None, "HIGH"], [NOTHING] * 3, [4, 5, 6])
    assert found == Calibration("distance", {"NONE": [], "LOW": [(0.0, 4)], "MEDIUM": [], "HIGH": [(1.0, 6)]})
    upwards = calibrate(["HIGH"], ["LOW"], [NOTHING], [4])
    assert upwards.scores["LOW"] == [(1.5, 4)]


@pytest.mark.parametrize("coverage", [0.0, 1.0, math.nan, -1.0])
def test_a_coverage_that_cannot_be_is_refused(coverage):
    with pytest.raises(InputError, match="between 0 and 1"):
        calibration().limit("LOW", coverage)


SHARES = st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(lambda weight: [w / sum(weight) for w in weight])


@given(final=st.sampled_from(SEVERITIES), share=SHARES, limit=st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_sets_are_neighbours_around_the_final_severity_and_grow_with_the_limit(final, share, limit):
    def at(level: float) -> tuple[str, ...]:
        found = Calibration("letters", {final: [(level, group) for group in range(20)]})
        return found.severity_set(final, letters(*share), 0.9).severities

    inside = at(limit)
    assert final in inside
    assert "|".join(inside) in "|".join(SEVERITIES)
    assert set(inside) <= set(at(limit + 0.1))


@pytest.mark.parametrize(("groups", "coverage"), [(9, 0.9), (15, 0.8), (30, 0.9)])
def test_the_truth_is_in_the_set_of_a_clip_of_a_new_group_as_often_as_promised(groups, coverage):
    # Scores of a group share a level, and groups have 1 to 8 clips: 4,000 worlds, the new clip is of one group more.
    # The standard error is at most 0.8 %; the promise is "at least", and the excess at most 1 / (groups + 1) and ties.
    rng = np.random.default_rng(groups)
    worlds, held = 4000, 0
    for _ in range(worlds):
        level = rng.normal(0, 2, groups + 1)
        size = rng.integers(1, 9, groups + 1)
        scored = [(float(level[g] + rng.normal()), g) for g in range(groups) for _ in range(size[g])]
        limit = calibration(*scored).limit("LOW", coverage).score
        held += level[groups] + rng.normal() <= limit
    assert coverage - 0.015 <= held / worlds <= coverage + 2 / (groups + 1) + 0.015
