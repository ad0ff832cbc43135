"""Prompts: the hazard's kind by whole words, the seed's three strategies, bounded and hashed."""

from __future__ import annotations

from typing import Any

import pytest

from autorisk_dagster.errors import InputError
from autorisk_dagster.prediction.prompts import MAX_FIELD_CHARS, compose, hazard_kind
from autorisk_dagster.tables.vocabulary import HAZARD_KINDS, SCENARIOS


def judgement(*hazards: tuple[str, str, str], **changes: Any) -> dict[str, Any]:
    """A judgement with hazards of (type, actor, relation)."""
    return {
        "hazards": [{"type": kind, "actors": [actor], "spatial_relation": where} for kind, actor, where in hazards],
        "causal_reasoning": "A parked van hides the kerb.",
        "short_term_prediction": "Contact in 1.2 s",
        "recommended_action": "Brake hard and yield",
    } | changes


@pytest.mark.parametrize(
    ("kind", "hazard"),
    [
        ("pedestrian", ("Pedestrian", "Person in blue", "crossing lane")),  # the seed's own example
        ("pedestrian", ("Vulnerable road user", "two children", "at the kerb")),
        ("cyclist", ("Cyclist", "bicycle #4", "right")),
        ("cyclist", ("Motorcyclist", "motorcycle #2", "left")),
        ("cut-in", ("Cut-in", "car #5", "left")),
        ("cut-in", ("Merging vehicle", "SUV", "left lane")),
        ("rear-end", ("Rear-end", "car #3", "ahead")),
        ("rear-end", ("Sudden braking", "lead car", "ahead")),
        ("side-swipe", ("Side-swipe", "truck #12", "right")),
        ("side-swipe", ("Sideswiping", "bus", "left")),
        ("oncoming", ("Oncoming", "van", "ahead")),
        ("oncoming", ("Head-on conflict", "car", "ahead")),
        ("intersection", ("Intersection", "car #1", "with each other")),
        ("intersection", ("Turning vehicle", "car", "ahead")),
        ("default", ("Unexplained", "", "not seen")),
        ("default", ("Debris", "a box", "on the road")),
    ],
)
def test_each_kind_is_told_from_type_actors_and_place(kind: str, hazard: tuple[str, str, str]) -> None:
    assert hazard_kind(judgement(hazard)) == kind


@pytest.mark.parametrize(
    "text", ["Be careful, scarce room", "personal belongings", "no pedestrian", "bikeshed", "emergency", "crosswind"]
)
def test_parts_of_words_and_denied_ones_are_no_hazard(text: str) -> None:
    assert hazard_kind(judgement((text, "", ""))) == "default"


def test_the_first_hazard_that_says_its_type_decides_and_types_go_before_actors() -> None:
    first = judgement(("Rear-end", "car", "ahead of a pedestrian"), ("Pedestrian", "person", "left"))
    assert hazard_kind(first) == "rear-end"
    assert hazard_kind(judgement(("Obstacle", "person", ""), ("Cut-in", "car", ""))) == "cut-in"
    assert hazard_kind(judgement()) == "default"
    assert hazard_kind(judgement() | {"hazards": None}) == "default"


def test_danger_does_not_react_and_safe_does_what_is_recommended() -> None:
    clip = judgement(("Pedestrian", "Person in blue #7", "crossing lane"))
    danger, safe, predict = (compose(clip, name).text for name in ("danger", "safe", "predict"))
    assert "The driver does not react." in danger and "hits the pedestrian" in danger
    assert "A parked van hides the kerb." in danger and "Contact in 1.2 s." in danger
    assert "Brake hard and yield." in safe and "evasive action" in safe and "unharmed" in safe
    assert "hits the pedestrian" not in safe and "A parked van" not in safe
    assert "A parked van hides the kerb." in predict and "does not react" not in predict
    for text in (danger, safe, predict):
        assert "pedestrian, Person in blue, crossing lane" in text  # named, and without the track's number


def test_every_kind_has_its_own_danger_and_safe_words() -> None:
    endings = {
        (scenario, compose(judgement((kind.capitalize(), "", "")), scenario).text)
        for kind in HAZARD_KINDS
        for scenario in ("danger", "safe")
    }
    assert len(endings) == 2 * len(HAZARD_KINDS)


def test_the_hash_follows_the_words_and_nothing_else() -> None:
    one = compose(judgement(("Cut-in", "car", "left")), "danger")
    assert one == compose(judgement(("Cut-in", "car", "left"), evidence=["another"]), "danger")
    hashes = {compose(judgement(("Cut-in", "car", "left")), scenario).hash for scenario in SCENARIOS}
    assert len(hashes) == 3
    assert compose(judgement(("Cut-in", "car", "right")), "danger").hash != one.hash


def test_long_answers_are_cut_at_a_sentence_and_control_characters_are_dropped() -> None:
    text = "The van brakes. " + "It goes on and on " * 60
    prompt = compose(judgement(causal_reasoning=text + "\x00\u202e", short_term_prediction=None), "predict").text
    assert "The van brakes. Consistent" in prompt
    assert len(compose(judgement(causal_reasoning="word " * 500), "predict").text) < 3 * MAX_FIELD_CHARS
    assert "\x00" not in prompt and "\u202e" not in prompt


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(InputError, match="scenario 'worse' is not known"):
        compose(judgement(), "worse")
