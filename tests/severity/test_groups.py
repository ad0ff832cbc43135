"""Which clips are one group: by hand, and against a plain closure over all pairs."""

from __future__ import annotations

import math
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster.errors import InputError
from autorisk_dagster.severity.groups import SAME_SCENE_GAP_SEC, clip_groups

Row = tuple[str, str | None, float, float]


def table(rows: list[Row]) -> pl.DataFrame:
    schema = {"video_id": pl.String, "drive": pl.String, "start_sec": pl.Float64, "end_sec": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], []),
        ([("v", None, 0, 10), ("v", None, 9, 19)], [0, 0]),  # they overlap
        ([("v", None, 0, 10), ("w", None, 0, 10)], [0, 1]),  # another video
        ([("v", None, 0, 10), ("v", None, 39.9, 50)], [0, 0]),  # 29.9 s between them
        ([("v", None, 0, 10), ("v", None, 40, 50)], [0, 1]),  # 30 s between them
        ([("v", "a", 0, 10), ("w", "a", 500, 510)], [0, 0]),  # one drive in two files
        ([("v", "a", 0, 10), ("v", "a", 900, 910)], [0, 0]),  # one drive, however far apart
        ([("v", "a", 0, 10), ("v", "b", 5, 15)], [0, 0]),  # overlapping under two names: still one scene
        ([("v", "a", 0, 10), ("v", None, 5, 15), ("w", "a", 0, 9), ("w", None, 99, 109)], [0, 0, 0, 1]),  # by a third
        ([("v", None, 0, 100), ("v", None, 5, 15), ("v", None, 120, 130)], [0, 0, 0]),  # 20 s after the long one
    ],
)
def test_by_hand(rows, expected):
    assert clip_groups(table(rows)).to_list() == expected
    assert clip_groups(table(rows)).dtype == pl.Int64


def test_without_a_gap_only_what_overlaps_is_linked():
    rows = [("v", None, 0.0, 10.0), ("v", None, 10.0, 20.0), ("v", None, 19.0, 29.0)]
    assert clip_groups(table(rows), gap_sec=0).to_list() == [0, 1, 1]


def linked(one: Row, other: Row) -> bool:
    if one[1] is not None and one[1] == other[1]:
        return True
    apart = max(one[2], other[2]) - min(one[3], other[3])
    if one[2] <= other[2] and other[3] <= one[3]:  # one lies within the other
        apart = -1.0
    return one[0] == other[0] and apart < SAME_SCENE_GAP_SEC


CLIPS = st.lists(
    st.tuples(
        st.sampled_from(["v", "w", "x"]),
        st.sampled_from([None, None, None, "a", "b"]),
        st.integers(0, 300).map(float),
        st.integers(0, 40).map(float),
    ).map(lambda clip: (clip[0], clip[1], clip[2], clip[2] + clip[3])),
    max_size=14,
)


@given(CLIPS)
@settings(max_examples=200, deadline=None)
def test_groups_are_the_closure_of_the_links_of_all_pairs(rows):
    parts = [{row} for row in range(len(rows))]
    for one in range(len(rows)):
        for other in range(one):
            if linked(rows[one], rows[other]):
                left = next(part for part in parts if one in part)
                right = next(part for part in parts if other in part)
                if left is not right:
                    parts.remove(right)
                    left |= right
    found = clip_groups(table(rows)).to_list()
    assert {frozenset(row for row in range(len(rows)) if found[row] == group) for group in set(found)} == {
        frozenset(part) for part in parts
    }


@given(CLIPS, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_the_rows_changes_no_number(rows, generator: random.Random):
    order = list(range(len(rows)))
    generator.shuffle(order)
    shuffled = clip_groups(table([rows[row] for row in order])).to_list()
    assert [shuffled[order.index(row)] for row in range(len(rows))] == clip_groups(table(rows)).to_list()


@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (table([("v", None, 0, 1)]).drop("drive"), "missing: drive"),
        (table([("v", None, 2, 1)]), "at or before end_sec"),
        (table([("v", None, math.nan, 1)]), "at or before end_sec"),
        (table([("v", None, 0, 1)]).with_columns(end_sec=pl.lit(None, pl.Float64)), "needs its video_id"),
    ],
)
def test_clips_without_a_place_are_refused(clips, message):
    with pytest.raises(InputError, match=message):
        clip_groups(clips)
