"""What a vision-language back end gives: an answer in words, and how probable each severity's letter is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from autorisk_dagster.reasoning.prompts import Prompt
from autorisk_dagster.reasoning.schema import ASKED


@dataclass(frozen=True)
class Sampling:
    """How one answer is drawn. Temperature 0 is greedy; the seed fixes what is drawn on one machine and version."""

    temperature: float
    seed: int
    top_p: float = 0.95
    top_k: int = 20


@dataclass(frozen=True)
class Answer:
    """One answer in words, and what it cost.

    Attributes:
        text: as the model wrote it, its thoughts (`<think>...</think>`) first where it had any
        prompt_tokens, answer_tokens: counted by the back end; None where it does not say
        seconds: from request to answer
        notes: what did not go by the settings, such as a smaller pixel budget after running out of memory
    """

    text: str
    prompt_tokens: int | None
    answer_tokens: int | None
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LetterReading:
    """How probable each severity is as the next token, measured in one forward pass.

    Attributes:
        log_probability: severity -> natural logarithm of its letter's probability among all tokens
        prompt_tokens: counted by the back end; None where it does not say, or where the reading was stored
        seconds: from request to answer
        notes: as `Answer.notes`
    """

    log_probability: Mapping[str, float]
    prompt_tokens: int | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def mass(self) -> float:
        """Probability that the model answers with one of the letters at all."""
        return math.fsum(math.exp(value) for value in self.log_probability.values())

    def share(self, severity: str) -> float:
        """The severity's part of `mass`."""
        # Against the largest, so that letters of 1e-300 each still have shares.
        top = max(self.log_probability.values())
        if top == -math.inf:
            return math.nan
        weights = {name: math.exp(value - top) for name, value in self.log_probability.items()}
        return weights[severity] / math.fsum(weights.values())


class VisionLanguageModel(Protocol):
    """A model that looks at a clip and answers. `random_weights` marks one that was never trained."""

    name: str
    model_id: str
    model_revision: str
    adapter: str | None
    random_weights: bool
    concurrency: int  # clips it can be asked about at a time

    def answer(
        self, clip: Path, duration_sec: float, prompt: Prompt, sampling: Sampling, fields: Sequence[str] = ASKED
    ) -> Answer:
        """One answer in words: `fields` of an assessment."""
        ...

    def letters(self, clip: Path, duration_sec: float, prompt: Prompt) -> LetterReading | None:
        """The next token's probabilities of the letters; None where the back end cannot tell."""
        ...

    def close(self) -> None:
        """Give back the memory."""
        ...
