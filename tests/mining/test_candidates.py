"""Candidates: which peaks become clips, and where the clips lie.

Windows are 0.5 s; window k has its middle at k / 2 + 0.25.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.errors import InputError
from autorisk_dagster.mining.candidates import Candidate, find_candidates
from autorisk_dagster.profile import MiningSettings

SETTINGS = MiningSettings(
    min_score=0.15, min_prominence=0.05, min_distance_sec=2.0, context_sec=1.0, top_n=20, clip_sec=10.0
)


def scored(fused: list[float], **columns: list[float | None]) -> pl.DataFrame:
    """A score table; all of the fused score comes from motion (weight 0.4) unless columns say otherwise."""
    count = len(fused)
    base: dict[str, list[float | None]] = {
        "start_sec": [k * 0.5 for k in range(count)],
        "end_sec": [k * 0.5 + 0.5 for k in range(count)],
        "audio_score": [None] * count,
        "motion_score": [value / 0.4 for value in fused],
        "proximity_score": [0.0] * count,
        "fused_score": list(fused),
        "fused_score_seed": [0.5] * count,
    }
    schema = dict.fromkeys(base, pl.Float64)
    return pl.DataFrame(base | columns, schema=schema).with_row_index("window_index")


def with_peaks(seconds: float, peaks: dict[float, float], floor: float = 0.0) -> pl.DataFrame:
    fused = [floor] * round(seconds * 2)
    for at_sec, height in peaks.items():
        fused[int(at_sec * 2)] = height
    return scored(fused)


def spans(found: list[Candidate]) -> list[tuple[float, float]]:
    return [(clip.start_sec, clip.end_sec) for clip in found]


def test_a_clip_lies_around_its_peak() -> None:
    (clip,) = find_candidates(with_peaks(60, {30.0: 0.4}), SETTINGS, 60.0)
    assert (clip.start_sec, clip.peak_sec, clip.end_sec) == (25.25, 30.25, 35.25)


@pytest.mark.parametrize(
    ("at_sec", "span"), [(0.0, (0.0, 10.0)), (59.5, (50.0, 60.0)), (3.0, (0.0, 10.0))], ids=["first", "last", "early"]
)
def test_danger_in_the_first_and_last_window_is_found_and_the_clip_shifted_inside(
    at_sec: float, span: tuple[float, float]
) -> None:
    assert spans(find_candidates(with_peaks(60, {at_sec: 0.4}), SETTINGS, 60.0)) == [span]


def test_a_video_shorter_than_a_clip_is_one_whole_clip() -> None:
    found = find_candidates(with_peaks(3.8, {0.5: 0.4, 3.0: 0.3}), SETTINGS, 3.8)
    assert spans(found) == [(0.0, 3.8)]
    assert found[0].peak_sec == 0.75


def test_danger_all_through_a_short_video_is_found() -> None:
    assert spans(find_candidates(scored([0.5] * 4), SETTINGS, 2.0)) == [(0.0, 2.0)]


def test_a_video_of_one_short_window() -> None:
    table = scored([0.5]).with_columns(end_sec=pl.lit(0.2))
    (clip,) = find_candidates(table, SETTINGS, 0.2)
    assert (clip.start_sec, clip.peak_sec, clip.end_sec) == (0.0, 0.1, 0.2)


@pytest.mark.parametrize(
    "fused",
    [
        pytest.param([0.0] * 40, id="nothing"),
        pytest.param([0.1] * 20 + [0.149] + [0.1] * 19, id="under min_score"),
    ],
)
def test_a_quiet_video_has_no_candidate(fused: list[float]) -> None:
    assert find_candidates(scored(fused), SETTINGS, 20.0) == []


def test_ripple_on_a_high_level_is_one_candidate_not_many() -> None:
    ripple = np.random.default_rng(0).uniform(0.30, 0.34, 120)
    (clip,) = find_candidates(scored(ripple.tolist()), SETTINGS, 60.0)
    assert clip.fused_score == ripple.max()


def test_a_lower_peak_that_a_clip_shows_gets_no_clip() -> None:
    # 30.25 +- 5 s shows 33.25, two seconds before its end; 34.75 is in its last second.
    assert len(find_candidates(with_peaks(60, {30.0: 0.5, 33.0: 0.4}), SETTINGS, 60.0)) == 1
    assert len(find_candidates(with_peaks(60, {30.0: 0.5, 34.5: 0.4}), SETTINGS, 60.0)) == 2


def test_a_second_clip_gives_up_what_the_first_shows_but_keeps_a_quarter_before_its_peak() -> None:
    # Peaks at 30.25 and 34.75: the first clip ends at 35.25, so that the second begins 2.5 s before its own peak.
    later = find_candidates(with_peaks(60, {30.0: 0.5, 34.5: 0.4}), SETTINGS, 60.0)
    assert spans(later) == [(25.25, 35.25), (32.25, 39.75)]
    earlier = find_candidates(with_peaks(60, {34.5: 0.5, 30.0: 0.4}), SETTINGS, 60.0)
    assert spans(earlier) == [(29.75, 39.75), (25.25, 32.75)]


def test_a_second_clip_farther_off_loses_the_overlap_only() -> None:
    found = find_candidates(with_peaks(60, {30.0: 0.5, 38.0: 0.4}), SETTINGS, 60.0)
    assert spans(found) == [(25.25, 35.25), (35.25, 43.25)]


def test_the_highest_come_first_and_the_top_n_are_clips_not_peaks() -> None:
    peaks = {10.0: 0.3, 30.0: 0.5, 32.5: 0.45, 50.0: 0.4}  # 32.75 is shown by the clip of 30.25
    found = find_candidates(with_peaks(60, peaks), SETTINGS.model_copy(update={"top_n": 2}), 60.0)
    assert [clip.peak_sec for clip in found] == [30.25, 50.25]


def test_what_raised_it_is_the_largest_weighted_part() -> None:
    # 0.3 * 0.8 = 0.24 of sound, 0.4 * 0.5 = 0.2 of motion, 0.3 * 0.2 = 0.06 of proximity: 0.5 in all.
    table = scored([0.5], audio_score=[0.8], motion_score=[0.5], proximity_score=[0.2])
    (clip,) = find_candidates(table, SETTINGS, 0.5)
    assert clip.raised_by == "audio"
    assert clip.raised_by_share == pytest.approx(0.48)
    assert (clip.audio_score, clip.motion_score, clip.proximity_score) == (0.8, 0.5, 0.2)


def test_a_signal_not_measured_stays_none() -> None:
    (clip,) = find_candidates(scored([0.4]), SETTINGS, 0.5)
    assert clip.audio_score is None
    assert (clip.raised_by, clip.raised_by_share) == ("motion", pytest.approx(1.0))


def test_a_duration_that_is_not_positive_is_refused() -> None:
    with pytest.raises(InputError, match="duration_sec must be positive, got 0"):
        find_candidates(scored([0.4]), SETTINGS, 0.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=120), st.floats(2.0, 20.0))
def test_every_clip_is_inside_the_video_holds_its_peak_and_no_peak_is_shown_twice(
    fused: list[float], clip_sec: float
) -> None:
    duration_sec = len(fused) / 2
    settings = SETTINGS.model_copy(update={"clip_sec": clip_sec})
    found = find_candidates(scored(fused), settings, duration_sec)
    if max(fused) >= settings.min_score:
        assert found
        assert found[0].fused_score == max(fused)
    assert [clip.fused_score for clip in found] == sorted((clip.fused_score for clip in found), reverse=True)
    for k, clip in enumerate(found):
        assert 0 <= clip.start_sec < clip.peak_sec < clip.end_sec <= duration_sec
        assert clip.end_sec - clip.start_sec <= clip_sec + 1e-9
        for other in found[:k]:
            assert not other.start_sec + 1 <= clip.peak_sec <= other.end_sec - 1
