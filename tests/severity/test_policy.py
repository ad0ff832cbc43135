"""What must be reviewed: on the final severity, with the reason in words."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from autorisk_dagster.profile import ReviewSettings
from autorisk_dagster.severity.conformal import ANYTHING, SeveritySet
from autorisk_dagster.severity.policy import review_reasons

SURE = SeveritySet(("LOW",), calibrated=True)


def reasons(raw="LOW", final="LOW", rule=None, outcome="severity", found=SURE, near=(), **settings):
    clip = {"outcome": outcome, "raw_severity": raw, "severity": final, "rule": rule}
    return review_reasons(clip, found, near, ReviewSettings(**settings))


def test_a_plain_low_clip_is_not_asked_for():
    assert reasons() == []
    assert reasons(final="MEDIUM", raw="MEDIUM") == []


def test_the_final_severity_decides_and_not_the_raw_one():
    assert reasons(raw="MEDIUM", final="HIGH", rule="R2") == ["its final severity is HIGH"]
    # Rule R4 takes one level off: the raw HIGH asks for nothing.
    assert reasons(raw="HIGH", final="MEDIUM", rule="R4") == []


@pytest.mark.parametrize(
    ("outcome", "words"),
    [("abstained", "abstained"), ("parse_failure", "could not be read"), ("not_run", "never judged")],
)
def test_what_was_not_judged_is_always_asked_for(outcome, words):
    (reason,) = reasons(raw=None, final=None, outcome=outcome, found=ANYTHING, severities=())
    assert words in reason


def test_a_rule_that_changed_much_is_named():
    assert reasons(raw="HIGH", final="NONE", rule="R1") == ["rule R1 lowered it from HIGH to NONE"]
    assert reasons(raw="LOW", final="HIGH", rule="R2")[1] == "rule R2 raised it from LOW to HIGH"
    assert reasons(raw="HIGH", final="NONE", rule="R1", rule_levels=4) == []


def test_an_ambiguous_set_is_asked_for_but_not_one_that_is_full_for_want_of_labels():
    wide = SeveritySet(("NONE", "LOW", "MEDIUM"), calibrated=True)
    (reason,) = reasons(found=wide)
    assert "NONE, LOW, MEDIUM" in reason
    assert reasons(found=wide, max_set_size=3) == []
    assert reasons(found=SeveritySet(("LOW", "MEDIUM"), calibrated=True)) == []
    assert reasons(found=ANYTHING) == []


def test_a_clip_that_may_be_high_is_asked_for():
    either = SeveritySet(("MEDIUM", "HIGH"), calibrated=True)
    assert len(reasons(raw="MEDIUM", final="MEDIUM", found=either)) == 1
    # Where HIGH stands it is asked for as that, and not twice.
    assert reasons(raw="HIGH", final="HIGH", found=either) == ["its final severity is HIGH"]
    assert reasons(raw="MEDIUM", final="MEDIUM", found=either, severities=()) == []


@pytest.mark.parametrize(
    ("near", "final", "asked"),
    [
        (["Low", "High"], "LOW", True),
        (["High"], "NONE", True),
        (["Medium"], "NONE", False),
        (["High"], "MEDIUM", False),
        ([], "NONE", False),
    ],
)
def test_a_near_miss_contradicts_a_low_severity(near, final, asked):
    assert bool(reasons(raw=final, final=final, near=near)) == asked


def test_every_reason_is_told():
    assert (
        len(reasons(raw="LOW", final="HIGH", rule="R2", found=SeveritySet(("LOW", "MEDIUM", "HIGH"), calibrated=True)))
        == 3
    )


def test_costs_that_reward_an_error_are_refused():
    rows = dict.fromkeys(("NONE", "LOW", "MEDIUM", "HIGH"), (1.0, 1.0, 1.0, 1.0))
    with pytest.raises(ValidationError, match="what is right costs 0"):
        ReviewSettings(cost=rows)
    with pytest.raises(ValidationError, match="missing: LOW"):
        ReviewSettings(cost={"NONE": (0.0, 1.0, 1.0, 1.0)})
