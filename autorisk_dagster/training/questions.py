"""The three questions that a labelled clip answers: severity, whether it is HIGH, whether evasive action is warranted.

Source: seed 000, stage 4c. Each is answered by one letter. The severity's is the letter question that `reason_outputs`
reads its confidence from, word for word, so that what is trained is what is asked; the other two are its coarser forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from autorisk_dagster.errors import InputError
from autorisk_dagster.reasoning.prompts import LETTERS, PROMPT_VERSION, SEVERITY_DEFINITIONS, SYSTEM, Prompt
from autorisk_dagster.reasoning.prompts import letter_prompt as severity_prompt


@dataclass(frozen=True)
class Question:
    """A question with one letter for each severity that may be its answer.

    Attributes:
        name: of tables.QUESTIONS
        prompt: what is asked
        letter_of: severity -> the right letter
    """

    name: str
    prompt: Prompt
    letter_of: Mapping[str, str]

    @property
    def letters(self) -> tuple[str, ...]:
        """The choices, in order."""
        return tuple(sorted(set(self.letter_of.values())))


def prompt_of(text: str) -> Prompt:
    """The prompt around a question's stored text."""
    return Prompt(PROMPT_VERSION, SYSTEM, text)


def question(name: str) -> Question:
    """The question called `name`.

    Raises:
        InputError: there is none of that name.
    """
    for found in ALL:
        if found.name == name:
            return found
    raise InputError(f"no question {name!r}; known: {', '.join(found.name for found in ALL)}")


def _yes_or_no(text: str) -> Prompt:
    return prompt_of(f"Watch the whole clip. {text}\n\nA. Yes\nB. No\n\nAnswer with the letter only.")


ALL: Final[tuple[Question, ...]] = (
    Question("severity", severity_prompt(), {severity: letter for letter, severity in LETTERS.items()}),
    Question(
        "high",
        _yes_or_no(
            "Is its most serious moment of HIGH severity for the own vehicle, that is: "
            f"{SEVERITY_DEFINITIONS['HIGH'].lower()}?"
        ),
        {"NONE": "B", "LOW": "B", "MEDIUM": "B", "HIGH": "A"},
    ),
    Question(
        "evasive",
        _yes_or_no(
            "Does its most serious moment warrant evasive action of the own vehicle (decelerate, yield, brake hard, "
            "swerve), that is: is its severity MEDIUM or HIGH?"
        ),
        {"NONE": "B", "LOW": "B", "MEDIUM": "A", "HIGH": "A"},
    ),
)
