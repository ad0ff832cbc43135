"""Prompts: neutral, versioned, hashed, and not mistaken for an answer when a model repeats them."""

from __future__ import annotations

import re

import pytest

from autorisk_dagster.errors import InputError
from autorisk_dagster.reasoning.parsing import parse_assessment
from autorisk_dagster.reasoning.prompts import (
    LETTERS,
    PROMPT_VERSION,
    SEVERITY_DEFINITIONS,
    Prompt,
    assessment_prompt,
    letter_prompt,
    missing_fields,
    supplement_prompt,
)
from autorisk_dagster.reasoning.schema import ASKED, Assessment

ALL = [assessment_prompt(thinking=False), assessment_prompt(thinking=True), letter_prompt()]
ALL.append(supplement_prompt(Assessment(severity="HIGH"), thinking=True))


def test_the_definitions_are_the_seeds() -> None:
    assert SEVERITY_DEFINITIONS == {
        "NONE": "No hazard elements (normal driving)",
        "LOW": "Attention needed but margin exists",
        "MEDIUM": "Evasive action warranted (decelerate, yield)",
        "HIGH": "Collision risk, emergency response needed",
    }
    for prompt in (assessment_prompt(thinking=False), letter_prompt()):
        for severity, meaning in SEVERITY_DEFINITIONS.items():
            assert f"{severity}: {meaning}" in prompt.user


@pytest.mark.parametrize("prompt", ALL)
def test_no_prompt_primes_the_model(prompt: Prompt) -> None:
    """Version 1 said "danger candidate" and gave a score; version 2 gave expected shares; confidence is measured."""
    text = f"{prompt.system} {prompt.user}".lower()
    words = "danger|candidate|score|suspicious|incident|distribution|most clips|usually|rare|percent|%|confidence|ttc"
    assert re.search(words, text) is None
    assert prompt.version == PROMPT_VERSION


@pytest.mark.parametrize("prompt", ALL)
def test_a_model_that_repeats_the_prompt_has_not_answered(prompt: Prompt) -> None:
    assert parse_assessment(prompt.user).assessment is None
    template = re.search(r"^\{$.*^\}$", prompt.user, re.DOTALL | re.MULTILINE)
    if template:
        assert parse_assessment(template[0]).assessment is None


def test_every_asked_field_is_in_the_template() -> None:
    for name in ASKED:
        assert f'"{name}":' in assessment_prompt(thinking=False).user


def test_thinking_is_asked_in_the_models_own_words() -> None:
    assert assessment_prompt(thinking=True).user.endswith(
        "Answer the question using the following format:\n\n<think>\nYour reasoning.\n</think>\n\n"
        "Write your final answer immediately after the </think> tag."
    )
    assert "think" not in assessment_prompt(thinking=False).user


def test_the_hash_tells_prompts_apart_and_does_not_change_by_itself() -> None:
    assert len({prompt.hash for prompt in ALL}) == len(ALL)
    base = Prompt("v", "a", "b")
    assert base.hash == Prompt("v", "a", "b").hash
    assert len({base.hash, Prompt("w", "a", "b").hash, Prompt("v", "ab", "").hash, Prompt("v", "", "ab").hash}) == 4
    # An edited prompt needs a new PROMPT_VERSION, and then these.
    assert (assessment_prompt(thinking=True).hash, letter_prompt().hash) == ("f10f26fa6e12ec41", "35d55f77145f9fc6")


def test_the_letters_rise_with_the_severity() -> None:
    assert LETTERS == {"A": "NONE", "B": "LOW", "C": "MEDIUM", "D": "HIGH"}
    places = [letter_prompt().user.index(f"{letter}. {severity}") for letter, severity in LETTERS.items()]
    assert places == sorted(places)


def test_the_supplement_asks_for_what_is_missing_only() -> None:
    half = Assessment(severity="LOW", hazards=[], short_term_prediction="Nothing.")
    assert missing_fields(half) == ("recommended_action",)
    text = supplement_prompt(half, thinking=False).user
    assert '"recommended_action": "..."' in text
    assert '"short_term_prediction": "..."' not in text
    assert '"short_term_prediction": "Nothing."' in text  # the earlier answer
    with pytest.raises(InputError, match="both there"):
        supplement_prompt(half.model_copy(update={"recommended_action": "None."}), thinking=False)
