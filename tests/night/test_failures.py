"""What is broken now, how often it was tried, and when two failures have one cause."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.night.failures import Failure, broken_now, by_cause, cause_of, is_over, one_line

CODE = "now"


def failure(event: int, cause: str = "torn", video: str | None = "a", **other: object) -> Failure:
    first = Failure(
        f"run{event}", video, ("tracks",), cause, f"{cause} {video}", 1000.0 + event, event, CODE, "default"
    )
    return replace(first, **other)


def broken(*failures: Failure, made: int = -1, profile: str = "default") -> list[tuple[int, int, bool]]:
    made_of = {"tracks": {"a": made}} if made >= 0 else {}
    found = broken_now(failures, made_of, CODE, {"a": profile}, ["a"])
    return [(one.failures, one.tries, one.given_up) for one in found]


def test_a_failure_is_over_when_its_asset_was_made_after_it() -> None:
    assert broken(failure(5)) == [(1, 1, False)]
    assert broken(failure(5), made=4) == [(1, 1, False)]  # made before, by an older run
    assert broken(failure(5), made=6) == []


def test_a_step_of_three_tables_is_over_when_all_are_made() -> None:
    three = failure(5, assets=("ego_motion", "frame_signals", "tracks"))
    assert not is_over(three, {"tracks": {"a": 9}, "ego_motion": {"a": 9}})
    assert is_over(three, {"tracks": {"a": 9}, "ego_motion": {"a": 9}, "frame_signals": {"a": 9}})


def test_two_failures_in_a_row_for_one_cause_are_given_up() -> None:
    assert broken(failure(1), failure(2)) == [(2, 2, True)]
    assert broken(failure(1), failure(3), made=2) == [(1, 1, False)]  # it had worked in between


def test_another_cause_is_tried_anew() -> None:
    assert broken(failure(1), failure(2, "disk full")) == [(1, 1, False)]
    assert broken(failure(1), failure(2, "disk full"), failure(3)) == [(1, 1, False)]
    assert broken(failure(1), failure(2, assets=("mined_clips",))) == [(1, 1, False)]


@pytest.mark.parametrize(
    ("code", "profile", "tries"), [(CODE, "default", 2), (None, None, 2), ("then", "default", 0), (CODE, "winter", 0)]
)
def test_what_failed_by_other_code_settings_or_profile_is_tried_anew(
    code: str | None, profile: str | None, tries: int
) -> None:
    old = {"code": code, "profile": profile}
    assert broken(failure(1, **old), failure(2, **old)) == [(2, tries, tries == 2)]
    assert broken(failure(1, **old), failure(2, **old), failure(3))[0][1] == tries + 1 if tries else 1


def test_removed_videos_are_not_broken_and_what_is_of_the_fleet_is_listed_by_asset() -> None:
    found = broken_now([failure(1, video="gone"), failure(2, video=None)], {}, CODE, {}, ["a"])
    assert [(one.video_id, one.asset) for one in found] == [(None, "tracks")]


def test_causes_are_listed_by_how_many_they_break() -> None:
    failures = [failure(n, video=f"v{n}") for n in range(3)] + [failure(9, "disk full", "v9")]
    causes = by_cause(broken_now(failures, {}, CODE, {}, [f"v{n}" for n in range(10)]))
    assert [(cause.cause, len(cause.broken)) for cause in causes] == [("torn", 3), ("disk full", 1)]
    assert (causes[0].first_failed_at_sec, causes[0].last_failed_at_sec) == (1000.0, 1002.0)


FAILURES = st.lists(
    st.builds(
        lambda event, cause, video, code: failure(event, cause, video, code=code),
        st.integers(0, 15).map(lambda number: 2 * number),
        st.sampled_from(["torn", "disk full"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from([CODE, "then", None]),
    ),
    max_size=8,
    unique_by=lambda one: one.event,
)


@given(FAILURES, st.randoms(use_true_random=False), st.integers(-1, 15).map(lambda number: 2 * number + 1))
def test_the_order_in_which_failures_are_read_does_not_matter(failures: list[Failure], random, made: int) -> None:
    shuffled = random.sample(failures, len(failures))
    arguments = ({"tracks": {"a": made, "b": made}}, CODE, {}, ["a", "b"])
    found = broken_now(failures, *arguments)
    assert broken_now(shuffled, *arguments) == found
    for one in found:
        mine = [each for each in failures if each.video_id == one.video_id and each.event > made]
        newest = max(mine, key=lambda each: each.event)
        assert (one.cause, one.run_id) == (newest.cause, newest.run_id)
        assert 0 <= one.tries <= one.failures <= len(mine)
    assert {one.video_id for one in found} == {each.video_id for each in failures if each.event > made}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("drive_1.mp4: 281 of 293 packets are damaged", "drive_2.mp4: 12 of 90 packets are damaged"),
        ("cannot read /data/a/b.mp4 (Permission denied)", "cannot read /mnt/other/c.mp4 (Permission denied)"),
        ("process 4711 that made this run was killed", "process 12 that made this run was killed"),
        ("Timeout after 12.5 s at 2026-03-01", "Timeout after 3.25 s at 2026-03-02"),
        ("no key 'abc' in 'x'", "no key 'defg' in 'yz'"),
        ("run 3f2b8c1e-0a1b-4c2d-8e3f-112233445566 unexpectedly exited", "run ffffffff-0a1b-4c2d unexpectedly exited"),
    ],
)
def test_names_and_numbers_are_no_part_of_the_cause(first: str, second: str) -> None:
    assert cause_of(first) == cause_of(second)


def test_a_short_name_is_not_cut_out_of_words() -> None:
    assert cause_of("a.mp4: a bad atom", ["a.mp4", "a"]) == "<video>: <video> bad atom"


def test_different_reasons_stay_different() -> None:
    causes = {cause_of(text) for text in ("a.mp4: no video stream", "a.mp4: no moov atom", "disk is full", "R1 failed")}
    assert len(causes) == 4


WORDS = st.text(st.characters(codec="utf-8", categories=("L", "Zs")), min_size=1, max_size=30)


@given(WORDS, st.integers(0, 10**6), st.integers(0, 10**6), st.from_regex(r"[a-z]{3,12}-[0-9a-f]{8}", fullmatch=True))
def test_a_message_about_another_video_with_other_numbers_has_the_same_cause(
    words: str, first: int, second: int, video: str
) -> None:
    one = cause_of(f"{video}: {words} {first} frames", [video])
    other = cause_of(f"other-00000000: {words} {second} frames", ["other-00000000"])
    assert one == other


@given(st.text(max_size=2000))
def test_a_cause_is_one_line_of_bounded_length(text: str) -> None:
    for found in (cause_of(text), one_line(text)):
        assert "\n" not in found and len(found) <= 400
