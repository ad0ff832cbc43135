"""Verdicts: what each says of its clip, what makes it stale, and who disagrees."""

from __future__ import annotations

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.review.verdicts import Verdict, judged_outputs, standings, verdicts
from tests.review.example import at, clip, sha, verdict

OUTPUT = {clip(1): "ab" * 32, clip(2): "ab" * 32}
CLIPS = {clip(1): sha(clip(1)), clip(2): sha(clip(2))}


@pytest.mark.parametrize(
    ("given", "label"),
    [
        (verdict(1, "confirm"), "MEDIUM"),
        (verdict(1, "change", severity="HIGH"), "HIGH"),
        (verdict(1, "not_a_hazard"), "NONE"),
        (verdict(1, "dismiss"), None),
    ],
    ids=["confirm", "change", "not a hazard", "dismiss"],
)
def test_what_label_a_verdict_gives(given: Verdict, label: str | None) -> None:
    standing = standings([given], CLIPS, OUTPUT)[clip(1)]
    assert (standing.label, standing.stale, standing.disputed) == (label, False, False)


def test_a_verdict_comes_back_from_the_log_as_it_was() -> None:
    given = verdict(1, "change", severity="LOW", note="a <b>bold</b> note")
    record = given.record() | {"number": 1, "sha256": "cd" * 32}
    (found,) = verdicts([{"kind": "freezing"}, record])
    assert found.record() == given.record() and found.record_sha256 == "cd" * 32


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "approve"},
        {"kind": "change"},
        {"kind": "confirm", "severity": "LOW"},
        {"kind": "change", "severity": "low"},
        {"kind": "confirm", "shown_severity": None},
        {"kind": "confirm", "reviewer": " "},
        {"kind": "confirm", "time": at(0).replace(tzinfo=None)},
        {"kind": "confirm", "note": "x" * 2001},
    ],
    ids=lambda change: " ".join(f"{name}" for name in change),
)
def test_a_verdict_that_says_nothing_clear_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        verdict(1, **change)


def test_another_clip_file_makes_the_verdicts_of_that_clip_alone_stale() -> None:
    given = [verdict(1, "confirm"), verdict(2, "confirm")]
    found = standings(given, CLIPS | {clip(1): "ff" * 32}, OUTPUT)
    assert (found[clip(1)].clip_changed, found[clip(1)].stale, found[clip(1)].label) == (True, True, None)
    assert (found[clip(2)].stale, found[clip(2)].label) == (False, "MEDIUM")


def test_another_output_asks_for_a_new_look_and_keeps_what_the_verdict_says_of_the_clip() -> None:
    given = [verdict(1, "confirm"), verdict(2, "confirm")]
    found = standings(given, CLIPS, OUTPUT | {clip(1): "cd" * 32})
    assert (found[clip(1)].stale, found[clip(1)].label) == (True, "MEDIUM")
    assert not found[clip(2)].stale


def test_reviewers_who_disagree_make_no_label_until_they_agree() -> None:
    given = [verdict(1, "confirm"), verdict(1, "not_a_hazard", "bert")]
    standing = standings(given, CLIPS, OUTPUT)[clip(1)]
    assert standing.disputed and standing.label is None
    standing = standings([*given, verdict(1, "change", "anna", severity="NONE")], CLIPS, OUTPUT)[clip(1)]
    assert not standing.disputed and standing.label == "NONE"
    assert standing.current.reviewer == "anna"


def test_who_takes_a_verdict_back_has_given_none() -> None:
    assert standings([verdict(1, "confirm"), verdict(1, "withdraw")], CLIPS, OUTPUT) == {}
    both = [verdict(1, "confirm"), verdict(1, "dismiss", "bert"), verdict(1, "withdraw", "bert")]
    assert standings(both, CLIPS, OUTPUT)[clip(1)].label == "MEDIUM"


def test_a_verdict_on_the_file_that_is_there_now_outweighs_later_ones_on_another() -> None:
    other = verdict(1, "change", "bert", severity="HIGH", clip_sha256="ff" * 32)
    standing = standings([verdict(1, "confirm"), other], CLIPS, OUTPUT)[clip(1)]
    assert (standing.label, standing.clip_changed) == ("MEDIUM", False)


def test_what_is_judged_is_the_severity_its_rule_and_its_model_not_the_words() -> None:
    def outputs(**change: object) -> str:
        reason = dict.fromkeys(tables.REASON_OUTPUTS) | {
            "clip_id": clip(1),
            "outcome": "severity",
            "severity": "LOW",
            "clip_sha256": sha(clip(1)),
            "model_id": "m",
            "evidence": [],
        }
        corrected = dict.fromkeys(tables.CORRECTED_SEVERITIES) | {
            "clip_id": clip(1),
            "raw_severity": "LOW",
            "severity": "MEDIUM",
            "rule": "R3",
        }
        reason |= {name: value for name, value in change.items() if name in reason and name != "severity"}
        corrected |= {name: value for name, value in change.items() if name in corrected and name != "clip_id"}
        return judged_outputs(
            tables.frame([reason], tables.REASON_OUTPUTS), tables.frame([corrected], tables.CORRECTED_SEVERITIES)
        )[clip(1)]

    same = outputs()
    for name, value in {"raw_text": "other words", "settings_hash": "x", "seconds": 2.0, "rule_set": "x"}.items():
        assert outputs(**{name: value}) == same, name
    changes = {"severity": "HIGH", "raw_severity": "NONE", "rule": "R2", "model_id": "n", "prompt_hash": "x"}
    assert len({same, *(outputs(**{name: value}) for name, value in changes.items())}) == len(changes) + 1


def test_a_record_that_is_no_verdict_is_named() -> None:
    with pytest.raises(InputError, match="review record 4 is no verdict"):
        verdicts([{"kind": "verdict", "number": 4, "verdict": "confirm"}])


def test_the_empty_join_of_an_unjudged_clip_keeps_a_hash() -> None:
    reason = dict.fromkeys(tables.REASON_OUTPUTS) | {"clip_id": clip(1), "outcome": "abstained"}
    found = judged_outputs(
        tables.frame([reason], tables.REASON_OUTPUTS), pl.DataFrame(schema=tables.CORRECTED_SEVERITIES)
    )
    assert len(found[clip(1)]) == 64
