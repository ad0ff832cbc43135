"""The severity that most answers give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.reasoning.voting import majority


@pytest.mark.parametrize(
    ("votes", "severity", "margin"),
    [
        (["HIGH"], "HIGH", 1.0),
        (["HIGH", "HIGH", "LOW"], "HIGH", 1 / 3),  # (2 - 1) / 3
        (["HIGH", None, None], "HIGH", 1 / 3),  # (1 - 0) / 3: what could not be read weighs against it
        (["HIGH", "LOW"], None, None),
        (["NONE", "NONE", "LOW", "LOW", "HIGH"], None, None),
        ([None, None], None, None),
        ([], None, None),
    ],
)
def test_by_hand(votes: list[str | None], severity: str | None, margin: float | None) -> None:
    found = majority(votes)  # type: ignore[arg-type]
    assert found.severity == severity
    assert found.margin == (None if margin is None else pytest.approx(margin))
    assert found.unread == votes.count(None)


@given(st.lists(st.sampled_from([*tables.SEVERITIES, None]), max_size=9))
def test_the_order_of_votes_does_not_matter_and_a_majority_is_strict(votes: list[str | None]) -> None:
    found = majority(votes)  # type: ignore[arg-type]
    assert majority(votes[::-1]) == found  # type: ignore[arg-type]
    if found.severity is not None:
        most = votes.count(found.severity)
        assert all(votes.count(other) < most for other in tables.SEVERITIES if other != found.severity)
        assert found.margin is not None and 0 < found.margin <= 1
