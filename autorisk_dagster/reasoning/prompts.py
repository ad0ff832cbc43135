"""What a vision-language model is asked about a clip: prompts with a version and a hash.

Source: seed 000 (severity definitions of its Ground Truth Protocol; framing of its prompt version 3). Version 1 there
introduced each clip as a danger candidate, and 70 % of the answers were HIGH; version 2 told the model which shares to
expect. Version 3 does neither, and neither do these prompts: they say nothing of why the clip was cut out, nothing of
how often a severity occurs, and hold no signal, track or time to contact, so that the answer and the measurements that
correct it stay independent.

The template of the answer shows all severities in one value, which is none of them: a model that only repeats it is
told from one that answers (`reasoning.parsing`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from autorisk_dagster.errors import InputError
from autorisk_dagster.reasoning.schema import ASKED, SUPPLEMENTED, Assessment, Severity

PROMPT_VERSION: Final = "v3.0"

SEVERITY_DEFINITIONS: Final[dict[Severity, str]] = {
    "NONE": "No hazard elements (normal driving)",
    "LOW": "Attention needed but margin exists",
    "MEDIUM": "Evasive action warranted (decelerate, yield)",
    "HIGH": "Collision risk, emergency response needed",
}
# Letters of the letter question, in the order of rising severity and of the seed's training questions (stage 4c). One
# order for all clips: log-probabilities of two clips can be compared, whatever a model's liking for a letter.
LETTERS: Final[dict[str, Severity]] = {"A": "NONE", "B": "LOW", "C": "MEDIUM", "D": "HIGH"}

SYSTEM: Final = (
    "You are a helpful assistant. You review clips from a camera that looks out of the windscreen of a vehicle, "
    "called the own vehicle."
)
# The wording in which Cosmos Reason 2 was trained to think aloud, as its own sample program sends it.
THINKING: Final = (
    "Answer the question using the following format:\n\n<think>\nYour reasoning.\n</think>\n\n"
    "Write your final answer immediately after the </think> tag."
)
_FIELDS: Final[dict[str, tuple[str, str]]] = {  # value in the template, what it means
    "severity": ('"NONE | LOW | MEDIUM | HIGH"', "exactly one of the four words"),
    "hazards": (
        '[{"type": "...", "actors": ["..."], "spatial_relation": "..."}]',
        "one entry for each hazard element, with the road users that take part in it and where they are to the own "
        "vehicle; an empty list if there is none",
    ),
    "causal_reasoning": ('"..."', "what is seen in the clip and how it leads to the severity"),
    "short_term_prediction": ('"..."', "what happens in the next seconds if nobody changes what they do"),
    "recommended_action": ('"..."', "what the driver of the own vehicle should do"),
}


@dataclass(frozen=True)
class Prompt:
    """The text around a clip. The clip itself goes before `user`, in the same message.

    Attributes:
        version: changes when the meaning of a prompt changes
        system: system message
        user: text of the user message
    """

    version: str
    system: str
    user: str

    @property
    def thinking(self) -> bool:
        """It asks for thoughts before the answer."""
        return self.user.endswith(THINKING)

    @property
    def hash(self) -> str:
        """16 hex digits over version and both texts: the prompt's part of what identifies an answer."""
        text = json.dumps([self.version, self.system, self.user], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def assessment_prompt(*, thinking: bool) -> Prompt:
    """The question for a whole assessment.

    Args:
        thinking: ask for the reasoning between <think> and </think> before the answer. Where the chat template opens
            <think> itself, the back end puts the tag back before it parses the answer.
    """
    question = (
        "Watch the whole clip. Describe what the road users do and how it concerns the own vehicle, then give the one "
        f"severity that fits the most serious moment.\n\n{_definitions()}\n\n{_shape(ASKED)}"
    )
    return _prompt(question, thinking=thinking)


def supplement_prompt(assessment: Assessment, *, thinking: bool) -> Prompt:
    """The second pass: the same clip, what was answered, and only the prediction and action that are missing.

    Raises:
        InputError: nothing is missing.
    """
    missing = missing_fields(assessment)
    if not missing:
        raise InputError("supplement prompt: prediction and action are both there; ask only where one is missing")
    said = assessment.model_dump(mode="json", exclude_none=True, include=set(ASKED))
    question = (
        f"An earlier answer about this clip:\n\n{json.dumps(said, ensure_ascii=False)}\n\n"
        f"It leaves something out. Keep to what the clip shows.\n\n{_shape(missing)}"
    )
    return _prompt(question, thinking=thinking)


def missing_fields(assessment: Assessment) -> tuple[str, ...]:
    """Which of the fields that a second pass can supply were not said."""
    return tuple(name for name in SUPPLEMENTED if getattr(assessment, name) is None)


def letter_prompt() -> Prompt:
    """The severity as one letter (`LETTERS`), to be read from the log-probabilities of the first answer token.

    Never with thinking: the letter has to be the first token.
    """
    choices = "\n".join(
        f"{letter}. {severity}: {SEVERITY_DEFINITIONS[severity]}" for letter, severity in LETTERS.items()
    )
    question = (
        "Watch the whole clip. Which severity fits its most serious moment for the own vehicle?\n\n"
        f"{choices}\n\nAnswer with the letter only."
    )
    return _prompt(question, thinking=False)


def _prompt(question: str, *, thinking: bool) -> Prompt:
    return Prompt(PROMPT_VERSION, SYSTEM, f"{question}\n\n{THINKING}" if thinking else question)


def _definitions() -> str:
    lines = "\n".join(f"- {severity}: {meaning}" for severity, meaning in SEVERITY_DEFINITIONS.items())
    return f"Severities:\n{lines}"


def _shape(fields: Sequence[str]) -> str:
    template = ",\n".join(f'  "{name}": {_FIELDS[name][0]}' for name in fields)
    meanings = "\n".join(f"- {name}: {_FIELDS[name][1]}" for name in fields)
    return f"Answer with one JSON object and nothing else:\n\n{{\n{template}\n}}\n\n{meanings}"
