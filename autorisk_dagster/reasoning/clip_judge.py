"""A clip judged by a vision-language model: answers, vote, and the measured probability of the severity that stands.

Each round draws an answer at its own temperature and seed. The severity is the majority's; hazards and reasons are
those of the first answer that gave it. Beside the words, the probabilities of the severities' letters are read in one
forward pass: `confidence` is that of the severity that stands, and where the model hardly means to answer with a
letter at all, the clip is abstained on. Nothing is filled in: what a model did not say is null.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autorisk_dagster import tables
from autorisk_dagster.errors import BackendError, InputError
from autorisk_dagster.reasoning import prompts
from autorisk_dagster.reasoning.parsing import ParseResult, parse_assessment
from autorisk_dagster.reasoning.schema import Assessment, schema_hash
from autorisk_dagster.reasoning.vlm import LetterReading, Sampling, VisionLanguageModel
from autorisk_dagster.reasoning.voting import majority

if TYPE_CHECKING:
    from autorisk_dagster.reasoning.local_vlm import LocalModel

Row = dict[str, Any]


@dataclass(frozen=True)
class JudgeSettings:
    """How a clip is asked about.

    Attributes:
        temperatures: one answer each; 0 is greedy
        seed: of the first answer; the next ones count on
        thinking: ask for thoughts before the answer
        letters: read the letters' probabilities
        min_letter_mass: abstain where the letters' probability together is less
    """

    temperatures: tuple[float, ...] = (0.6,)
    seed: int = 0
    thinking: bool = True
    letters: bool = True
    min_letter_mass: float = 0.5


@dataclass(frozen=True)
class Clip:
    """The clip to judge: a file and what is known of it."""

    clip_id: str
    path: Path
    sha256: str
    duration_sec: float


class ClipJudge:
    """Asks one model about clips, one after another."""

    def __init__(self, model: VisionLanguageModel, settings: JudgeSettings) -> None:
        self.model = model
        self.settings = settings
        self.prompt = prompts.assessment_prompt(thinking=settings.thinking)
        self.question = prompts.letter_prompt()

    @property
    def prompt_hash(self) -> str:
        """16 hex digits over every prompt that is sent, and the schema of the answer."""
        return hashlib.sha256((self.prompt.hash + self.question.hash + schema_hash()).encode()).hexdigest()[:16]

    def local_model(self) -> LocalModel:
        """The model, where it runs in this process.

        Raises:
            BackendError: it does not.
        """
        from autorisk_dagster.reasoning.local_vlm import LocalModel

        if not isinstance(self.model, LocalModel):
            raise BackendError(f"the {self.model.name} back end runs elsewhere: it has no gradients here")
        return self.model

    def key(self, clip: Clip, settings_hash: str) -> str:
        """What a finished judgement depends on: the clip's bytes, model, adapter, prompts and settings."""
        parts = [clip.sha256, self.model.name, self.model.model_id, self.model.model_revision, self.model.adapter or ""]
        return hashlib.sha256(json.dumps([*parts, self.prompt_hash, settings_hash]).encode()).hexdigest()

    def judge(self, clip: Clip, settings_hash: str) -> Row:
        """A row of tables.REASON_OUTPUTS.

        Raises:
            VideoError: the clip cannot be read.
            BackendError: the model cannot answer.
        """
        answers = [
            self.model.answer(clip.path, clip.duration_sec, self.prompt, self._sampling(number))
            for number in range(len(self.settings.temperatures))
        ]
        letters = None
        if self.settings.letters:
            letters = self.model.letters(clip.path, clip.duration_sec, self.question)
        asked = dict.fromkeys(tables.REASON_OUTPUTS) | {
            "clip_id": clip.clip_id,
            "reasoner": self.model.name,
            "model_id": self.model.model_id,
            "model_revision": self.model.model_revision,
            "adapter": self.model.adapter,
            "clip_sha256": clip.sha256,
            "prompt_hash": self.prompt_hash,
            "settings_hash": settings_hash,
            "votes": [
                {"temperature": temperature, "severity": None, "raw_text": answer.text}
                for temperature, answer in zip(self.settings.temperatures, answers, strict=True)
            ],
            "letter_log_probability": dict(letters.log_probability) if letters else None,
            "letter_mass": min(1.0, letters.mass) if letters else None,
            "prompt_tokens": _total([*(answer.prompt_tokens for answer in answers), *_letter_tokens(letters)]),
            "answer_tokens": _total([answer.answer_tokens for answer in answers]),
            "seconds": sum(answer.seconds for answer in answers) + (letters.seconds if letters else 0.0),
            "notes": [
                *(note for answer in answers for note in answer.notes),
                *(f"letters: {note}" for note in (letters.notes if letters else ())),
            ],
        }
        return read(asked, self.settings.min_letter_mass)

    def supplement(self, clip: Clip, row: Row, settings_hash: str) -> Row:
        """Ask again for the prediction and the action where a judgement lacks them; whatever it says stays, and the
        cost of the second pass is added.

        Raises:
            InputError: another model, prompt or setting than this one's judged the clip.
            VideoError, BackendError: as `judge`.
        """
        mine = {
            "model_id": self.model.model_id,
            "model_revision": self.model.model_revision,
            "adapter": self.model.adapter,
            "prompt_hash": self.prompt_hash,
            "settings_hash": settings_hash,
        }
        others = [f"{name} {row[name]}, now {value}" for name, value in mine.items() if row[name] != value]
        if others:
            raise InputError(
                f"{clip.clip_id}: a second pass would mix two judges ({'; '.join(others)}); materialise reason_outputs "
                "first"
            )
        if row["outcome"] != "severity":
            return row
        said = Assessment(**{name: row[name] for name in Assessment.model_fields if row[name] is not None})
        missing = prompts.missing_fields(said)
        if not missing:
            return row
        prompt = prompts.supplement_prompt(said, thinking=self.settings.thinking)
        answer = self.model.answer(clip.path, clip.duration_sec, prompt, self._sampling(0), missing)
        asked = row | {
            "supplement_text": answer.text,
            "notes": [*(row["notes"] or []), *(f"second pass: {note}" for note in answer.notes)],
            "prompt_tokens": _total([row["prompt_tokens"], answer.prompt_tokens]),
            "answer_tokens": _total([row["answer_tokens"], answer.answer_tokens]),
            "seconds": row["seconds"] + answer.seconds,
        }
        return read(asked, self.settings.min_letter_mass)

    def _sampling(self, number: int) -> Sampling:
        return Sampling(self.settings.temperatures[number], self.settings.seed + number)


def _letter_tokens(letters: LetterReading | None) -> list[int | None]:
    return [] if letters is None else [letters.prompt_tokens]


def _total(counts: Sequence[int | None]) -> int | None:
    """The sum of what was counted; None where nothing was."""
    counted = [count for count in counts if count is not None]
    return sum(counted) if counted else None


def read(row: Row, min_letter_mass: float) -> Row:
    """`row` with everything that follows from its stored answers (`votes`, `supplement_text`) and letters, read today.

    Needs no model: answers that an older parser could not read are read again this way.
    """
    votes = row["votes"]
    results = [parse_assessment(vote["raw_text"]) for vote in votes]
    letters = None
    if row["letter_log_probability"] is not None:
        letters = LetterReading(row["letter_log_probability"])
    stands = standing(results, letters, min_letter_mass)
    said = stands.assessment
    told: Row = dict.fromkeys(Assessment.model_fields) if said is None else said.model_dump()
    if said is not None and row["supplement_text"] is not None:
        told |= supplied(row["supplement_text"], prompts.missing_fields(said))
    # A confidence written in words is not one that was measured.
    told["confidence"] = None if said is None or letters is None else letters.share(said.severity)
    return row | {
        "outcome": stands.outcome,
        **told,
        "raw_text": votes[stands.answer]["raw_text"],
        "parse_layer": results[stands.answer].layer,
        "error": stands.error,
        "votes": [
            vote | {"severity": result.assessment.severity if result.assessment else None}
            for vote, result in zip(votes, results, strict=True)
        ],
        "vote_margin": stands.margin,
    }


def supplied(text: str, fields: Sequence[str]) -> dict[str, str]:
    """Those of `fields` that a second pass's answer gives as text; nothing is repaired."""
    try:
        found = json.loads(text.rsplit("</think>", 1)[-1])
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: found[name] for name in fields if isinstance(found.get(name), str) and found[name].strip()}


@dataclass(frozen=True)
class Standing:
    """What becomes of a clip's answers: an outcome of tables.OUTCOMES, and the answer it rests on."""

    outcome: str
    assessment: Assessment | None
    answer: int
    margin: float | None
    error: str | None


def standing(results: Sequence[ParseResult], letters: LetterReading | None, min_letter_mass: float) -> Standing:
    """The outcome of parsed answers (at least one) and a letter reading."""
    votes = [result.assessment.severity if result.assessment else None for result in results]
    counted = majority(votes)
    if not counted.counts:
        return Standing("parse_failure", None, 0, None, results[0].error)
    if counted.severity is None:
        level = ", ".join(f"{count} x {name}" for name, count in sorted(counted.counts.items()))
        return Standing("abstained", None, 0, None, f"the answers are level: {level}")
    answer = votes.index(counted.severity)
    if letters is not None and letters.mass < min_letter_mass:
        reason = f"the severities' letters have {letters.mass:.2g} of the probability, less than {min_letter_mass:g}"
        return Standing("abstained", None, answer, counted.margin, reason)
    return Standing("severity", results[answer].assessment, answer, counted.margin, None)
