"""The protocol: who may judge what. Times are minutes after the first."""

from __future__ import annotations

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.review.protocol import (
    label_standing,
    labels_for_evaluation,
    labels_frozen_before_outputs,
    output_digests,
)
from tests.review.example import at, clip, label_row, sha


def truth(*rows: dict[str, object]) -> pl.DataFrame:
    return tables.frame(list(rows), tables.GROUND_TRUTH)


CASES = {
    "blind": (label_row(1, "LOW", 0), {sha(clip(1)): at(1)}, True),
    "late": (label_row(1, "LOW", 2), {sha(clip(1)): at(1)}, False),
    "saw_output": (label_row(1, "LOW", 2, "review"), {sha(clip(1)): at(1)}, True),
    "time_unknown": (label_row(1, "LOW", 0), {sha(clip(1)): None}, False),
    "no_output": (label_row(1, "LOW", 0), {sha(clip(2)): at(1)}, True),
}


@pytest.mark.parametrize("standing", list(CASES))
def test_each_label_stands_to_the_output_it_meets(standing: str) -> None:
    row, made, passed = CASES[standing]
    assert label_standing(truth(row), made)["standing"].to_list() == [standing]
    found = labels_frozen_before_outputs(truth(row), made)
    assert found.passed == passed
    assert {name: count for name, count in found.counts.items() if count} == {standing: 1}
    assert labels_for_evaluation(truth(row), made).height == (standing == "blind")


def test_a_label_frozen_at_the_very_moment_is_late() -> None:
    assert not labels_frozen_before_outputs(truth(label_row(1, "LOW", 1)), {sha(clip(1)): at(1)}).passed


def test_one_late_label_among_many_fails_and_is_named() -> None:
    rows = [label_row(number, "LOW", 0) for number in range(1, 20)] + [label_row(20, "LOW", 5)]
    found = labels_frozen_before_outputs(truth(*rows), {sha(clip(n)): at(1) for n in range(1, 21)})
    assert not found.passed
    assert found.late["clip_id"].to_list() == [clip(20)]


def test_no_label_passes_and_says_so() -> None:
    found = labels_frozen_before_outputs(truth(), {sha(clip(1)): at(1)})
    assert found.passed and sum(found.counts.values()) == 0


def test_other_words_for_the_same_severity_are_the_same_output() -> None:
    def output(**change: object) -> dict[str, str]:
        row = dict.fromkeys(tables.REASON_OUTPUTS) | {"clip_id": clip(1), "clip_sha256": sha(clip(1)), **change}
        return output_digests(tables.frame([row], tables.REASON_OUTPUTS))

    same = output(outcome="severity", severity="LOW")
    assert output(outcome="severity", severity="LOW", raw_text="new", seconds=2.0, settings_hash="s") == same
    assert output(outcome="severity", severity="HIGH") != same
    assert output(outcome="severity", severity="LOW", model_id="m") != same
    assert output(outcome="severity", severity="LOW", prompt_hash="m") != same
