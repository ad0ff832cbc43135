"""The rule search against the scalar rules, clip by clip, and against scores counted one at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster.errors import InputError
from autorisk_dagster.severity import search
from autorisk_dagster.severity.correction import CorrectionRules, correct_severity
from autorisk_dagster.severity.search import (
    NEVER_JUDGED,
    THRESHOLDS,
    LabelledClips,
    RuleDraws,
    SearchRanges,
    correct_all,
    draw_rules,
    leave_one_out,
    search_rules,
)
from autorisk_dagster.tables import SEVERITIES

# Values at which some threshold decides, between them, and everything a table may hold besides numbers.
ODD = [None, math.nan, math.inf, -math.inf, -0.1, -0.0, 0.0]
TTC = st.sampled_from([*ODD, *(round(0.05 * k, 2) for k in range(45))]) | st.floats(0, 3)
FUSED = st.sampled_from([*ODD, *(round(0.05 * k, 2) for k in range(21))]) | st.floats(0, 1)
CRITICAL = st.sampled_from([*ODD, 1, 2, 3, 4, 5, 6, 7, 2.5])
CLIP = st.tuples(st.sampled_from(SEVERITIES), st.sampled_from([*SEVERITIES, None]), TTC, FUSED, CRITICAL)


def clips_of(rows: Sequence[tuple]) -> LabelledClips:
    return LabelledClips(*(list(column) for column in zip(*rows, strict=True)))


def drawn(count: int, seed: int = 0) -> RuleDraws:
    return draw_rules(count, np.random.default_rng(seed))


def scalar(clips: LabelledClips, rules: CorrectionRules) -> list[str | None]:
    rows = zip(clips.severity, clips.min_ttc_sec, clips.fused_score, clips.critical_tracks, strict=True)
    return [
        correct_severity(severity, min_ttc_sec=ttc, fused_score=fused, critical_tracks=critical, rules=rules).severity
        for severity, ttc, fused, critical in rows
    ]


def counted(predicted: Sequence[str | None], labels: Sequence[str]) -> tuple[float, float]:
    """Accuracy and macro-F1 by the book: precision and recall of each labelled severity."""
    pairs = list(zip(predicted, labels, strict=True))
    scores = []
    for severity in sorted(set(labels)):
        hits = pairs.count((severity, severity))
        precision = hits / max(1, sum(given == severity for given, _ in pairs))
        recall = hits / labels.count(severity)
        scores.append(2 * precision * recall / (precision + recall) if hits else 0.0)
    return sum(given == true for given, true in pairs) / len(pairs), sum(scores) / len(scores)


def some_clips(count: int, seed: int = 1) -> LabelledClips:
    rng = np.random.default_rng(seed)
    label, severity = rng.choice(SEVERITIES, (2, count)).tolist()
    return LabelledClips(label, severity, rng.exponential(0.8, count), rng.random(count), rng.integers(0, 6, count))


@given(rows=st.lists(CLIP, min_size=1, max_size=70), seed=st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_every_draw_and_clip_is_what_the_scalar_rules_say(rows, seed):
    clips, rules = clips_of(rows), drawn(12, seed)
    corrected = correct_all(clips, rules)
    for draw in range(len(rules)):
        words = [None if code == NEVER_JUDGED else SEVERITIES[code] for code in corrected[draw]]
        assert words == scalar(clips, rules.rules(draw))


@given(rows=st.lists(CLIP, min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_scores_are_those_counted_one_at_a_time(rows):
    clips, rules = clips_of(rows), drawn(8)
    for row in search_rules(clips, rules).iter_rows(named=True):
        predicted = scalar(clips, CorrectionRules(**{name: row[name] for name in THRESHOLDS}))
        assert (row["accuracy"], row["macro_f1"]) == pytest.approx(counted(predicted, clips.label))


def test_two_clips_by_hand():
    # TTC 1.0, score 0.4, nothing critical: R1 by the defaults makes it NONE, which is right. HIGH with TTC 0.9 stays
    # HIGH, labelled LOW. One of two is right; NONE has F1 1, LOW has 0: macro-F1 0.5. HIGH was never true: not counted.
    clips = clips_of([("NONE", "MEDIUM", 1.0, 0.4, 0), ("LOW", "HIGH", 0.9, 0.4, 0)])
    (row,) = search_rules(clips, drawn(0)).to_dicts()
    assert (row["accuracy"], row["macro_f1"], row["distance"], row["draw"]) == (0.5, 0.5, 0.0, 0)


def test_a_clip_that_was_never_judged_is_wrong_under_every_draw():
    clips = clips_of([("NONE", None, 2.0, 0.1, 0), ("LOW", "LOW", None, None, None)])
    found = search_rules(clips, drawn(50))
    assert set(found["accuracy"]) == {0.5}


def test_best_first_and_ties_lean_to_the_defaults():
    found = search_rules(some_clips(20), drawn(3000))
    keys = [(-row["accuracy"], -row["macro_f1"], row["distance"], row["draw"]) for row in found.iter_rows(named=True)]
    assert keys == sorted(keys)
    # Clips that nothing can change: every draw scores the same and the defaults win.
    same = search_rules(clips_of([("LOW", "LOW", None, 0.1, 0)] * 3), drawn(100))
    assert same["draw"][0] == 0
    assert same.row(0, named=True) | vars(CorrectionRules()) == same.row(0, named=True)


def test_the_distance_is_a_share_of_each_range_on_average():
    rules = drawn(500)
    ranges = SearchRanges()
    for draw in (0, 1, 499):
        shares = []
        for name in THRESHOLDS:
            low, high, _ = getattr(ranges, name)
            shares.append(abs(getattr(rules.rules(draw), name) - getattr(CorrectionRules(), name)) / (high - low))
        assert rules.distance[draw] == pytest.approx(sum(shares) / 12)


def test_thresholds_that_made_the_labels_are_found():
    # All thresholds but one stay at their defaults: R6 at 0.3 s instead of 0.5 s. NONE at 0.4 s then stays NONE.
    ranges = SearchRanges(
        **{name: (value, value, 1) for name, value in vars(CorrectionRules()).items()} | {"r6_ttc_sec": (0.3, 0.7, 0.1)}
    )
    clips = clips_of([("NONE", "NONE", 0.4, 0.6, 2), ("LOW", "NONE", 0.3, 0.6, 2)])
    best = search_rules(clips, draw_rules(50, np.random.default_rng(0), ranges)).row(0, named=True)
    assert (best["accuracy"], best["r6_ttc_sec"]) == (1.0, 0.3)


def test_draws_lie_on_the_grid_all_of_it_is_drawn_and_a_seed_repeats_them():
    rules = drawn(3000, seed=7)
    assert rules.rules(0) == CorrectionRules()
    again = drawn(3000, seed=7)
    for name, values in rules.values().items():
        assert set(values[1:]) == set(SearchRanges().values(name))
        assert (values == again.values()[name]).all()
    assert 0.55 in SearchRanges().values("r1_fused")  # as written, not 0.35 + 4 * 0.05 with its rounding error
    assert SearchRanges().values("r1_fused")[-1] == 0.65
    assert isinstance(rules.rules(5).r1_critical, int)


@pytest.mark.parametrize("groups", [None, [0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5]])
def test_left_out_clips_have_no_say(groups):
    clips, rules = some_clips(12), drawn(300)
    found = leave_one_out(clips, rules, groups)
    keys = list(range(12)) if groups is None else groups
    every = [scalar(clips, rules.rules(draw)) for draw in range(len(rules))]
    expected = []
    for clip in range(12):
        rest = [i for i in range(12) if keys[i] != keys[clip]]
        labels = [clips.label[i] for i in rest]
        scores = [counted([corrected[i] for i in rest], labels) for corrected in every]
        best = max(
            range(len(rules)), key=lambda d: (scores[d][0], round(scores[d][1], 12), -round(rules.distance[d], 12), -d)
        )
        assert found.draw[clip] == best
        expected.append(every[best][clip])
    assert list(found.severity) == expected
    assert (found.accuracy, found.macro_f1) == pytest.approx(counted(expected, clips.label))


def test_luck_on_the_labels_does_not_survive_leaving_out():
    # Labels without any relation to what was measured: searching finds more than half right, unseen clips do not.
    clips, rules = some_clips(20, seed=3), drawn(5000)
    assert search_rules(clips, rules)["accuracy"][0] >= leave_one_out(clips, rules).accuracy + 0.2


def test_chunks_of_draws_change_nothing(monkeypatch):
    clips, rules = some_clips(130), drawn(1000)
    whole = search_rules(clips, rules), leave_one_out(clips, rules, [i // 10 for i in range(130)])
    monkeypatch.setattr(search, "_CHUNK_DRAWS", 7)
    parts = search_rules(clips, rules), leave_one_out(clips, rules, [i // 10 for i in range(130)])
    assert whole[0].equals(parts[0])
    assert (whole[1].draw == parts[1].draw).all()
    assert whole[1].severity == parts[1].severity


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SearchRanges(r1_fused=(0.6, 0.3, 0.1)), "r1_fused must be"),
        (lambda: SearchRanges(r1_fused=(0.3, 0.6, 0.0)), "r1_fused must be"),
        (lambda: clips_of([("SAFE", "LOW", 1, 1, 1)]), "SAFE"),
        (lambda: clips_of([(None, "LOW", 1, 1, 1)]), "None"),
        (lambda: LabelledClips(["LOW"], ["LOW"], [1.0], [], [1]), "fused_score': 0"),
        (lambda: LabelledClips([], [], [], [], []), "one clip"),
        (lambda: drawn(-1), "0 or more"),
        (lambda: leave_one_out(some_clips(3), drawn(1), ["a", "a", "a"]), "two groups"),
        (lambda: leave_one_out(some_clips(3), drawn(1), ["a", "b"]), "each of 3 clips"),
    ],
)
def test_input_that_makes_no_sense_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
