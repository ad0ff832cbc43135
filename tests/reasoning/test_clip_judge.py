"""What becomes of a model's answers to a clip: outcome, confidence, votes, second pass, and reading them again."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.reasoning.clip_judge import Clip, ClipJudge, JudgeSettings, read, supplied
from autorisk_dagster.reasoning.prompts import Prompt
from autorisk_dagster.reasoning.schema import ASKED, SUPPLEMENTED
from autorisk_dagster.reasoning.vlm import Answer, LetterReading, Sampling

CLIP = Clip("v-c01", Path("clip.mp4"), "ab" * 32, 10.0)
SETTINGS = "0123456789abcdef"


def said(severity: str, **changes: Any) -> str:
    answer = {
        "severity": severity,
        "hazards": [{"type": "Cut-in", "actors": ["van"], "spatial_relation": "ahead"}],
        "causal_reasoning": f"Because of {severity}.",
        "short_term_prediction": "Contact.",
        "recommended_action": "Brake.",
    } | changes
    return json.dumps({name: value for name, value in answer.items() if value is not None})


def letters(**probability: float) -> LetterReading:
    return LetterReading(
        {name: math.log(probability[name]) if name in probability else -math.inf for name in tables.SEVERITIES}
    )


@dataclass
class Scripted:
    """A model that says what the test tells it to."""

    answers: list[str]
    reading: LetterReading | None = None
    name: str = "scripted"
    model_id: str = "scripted-1"
    model_revision: str = "r1"
    adapter: str | None = None
    random_weights: bool = False
    concurrency: int = 1
    asked: list[tuple[Prompt, Sampling, tuple[str, ...]]] = field(default_factory=list)

    def answer(
        self, clip: Path, duration_sec: float, prompt: Prompt, sampling: Sampling, fields: Sequence[str] = ASKED
    ) -> Answer:
        assert (clip, duration_sec) == (CLIP.path, CLIP.duration_sec)
        self.asked.append((prompt, sampling, tuple(fields)))
        return Answer(self.answers[len(self.asked) - 1], 100, 10, 0.5)

    def letters(self, clip: Path, duration_sec: float, prompt: Prompt) -> LetterReading | None:  # noqa: ARG002
        return self.reading

    def close(self) -> None:
        pass


def judged(model: Scripted, **changes: Any) -> dict[str, Any]:
    row = ClipJudge(model, JudgeSettings(**changes)).judge(CLIP, SETTINGS)
    tables.check(tables.frame([row], tables.REASON_OUTPUTS), tables.REASON_OUTPUTS)
    return row


def test_a_severity_with_its_measured_confidence_and_its_origin() -> None:
    row = judged(Scripted([f"<think>hm</think>{said('HIGH')}"], letters(HIGH=0.6, MEDIUM=0.3)))
    assert (row["outcome"], row["severity"]) == ("severity", "HIGH")
    assert row["confidence"] == pytest.approx(0.6 / 0.9)
    assert row["letter_mass"] == pytest.approx(0.9)
    assert (row["reasoner"], row["model_id"], row["model_revision"]) == ("scripted", "scripted-1", "r1")
    assert (row["clip_sha256"], row["settings_hash"]) == (CLIP.sha256, SETTINGS)
    assert row["raw_text"] == f"<think>hm</think>{said('HIGH')}"
    assert (row["prompt_tokens"], row["answer_tokens"], row["seconds"]) == (100, 10, 0.5)


def test_confidence_is_of_what_was_said_also_where_the_letters_prefer_another() -> None:
    row = judged(Scripted([said("LOW")], letters(HIGH=0.75, LOW=0.25)))
    assert (row["severity"], row["confidence"]) == ("LOW", pytest.approx(0.25))


def test_a_confidence_in_words_is_not_one() -> None:
    assert judged(Scripted([said("HIGH", confidence=0.99)]))["confidence"] is None


def test_letters_that_are_hardly_meant_are_abstained_on() -> None:
    row = judged(Scripted([said("HIGH")], letters(HIGH=0.3, LOW=0.1)))
    assert (row["outcome"], row["severity"], row["confidence"]) == ("abstained", None, None)
    assert row["error"] == "the severities' letters have 0.4 of the probability, less than 0.5"
    assert row["votes"][0]["severity"] == "HIGH"  # what it said is kept
    assert judged(Scripted([said("HIGH")], letters(HIGH=0.3)), min_letter_mass=0.2)["outcome"] == "severity"


def test_the_majority_stands_with_the_reasons_of_the_first_that_gave_it() -> None:
    model = Scripted([said("LOW"), said("HIGH", causal_reasoning="first"), "no idea", said("HIGH")])
    row = judged(model, temperatures=(0.0, 0.6, 0.6, 1.0), seed=40)
    assert (row["severity"], row["causal_reasoning"]) == ("HIGH", "first")
    assert row["vote_margin"] == pytest.approx((2 - 1) / 4)
    assert [vote["severity"] for vote in row["votes"]] == ["LOW", "HIGH", None, "HIGH"]
    assert [(sampling.temperature, sampling.seed) for _, sampling, _ in model.asked] == [
        (0.0, 40),
        (0.6, 41),
        (0.6, 42),
        (1.0, 43),
    ]
    assert (row["prompt_tokens"], row["seconds"]) == (400, 2.0)


def test_level_votes_are_abstained_on() -> None:
    row = judged(Scripted([said("LOW"), said("HIGH")]), temperatures=(0.6, 0.6))
    assert (row["outcome"], row["severity"], row["error"]) == (
        "abstained",
        None,
        "the answers are level: 1 x HIGH, 1 x LOW",
    )


def test_an_answer_that_cannot_be_read_is_kept_and_is_no_severity() -> None:
    row = judged(Scripted(["I would rather not say."], letters(NONE=0.9)))
    assert (row["outcome"], row["severity"], row["confidence"]) == ("parse_failure", None, None)
    assert row["raw_text"] == "I would rather not say."
    assert row["error"]


def test_a_second_pass_supplies_only_what_is_missing() -> None:
    first = said("HIGH", short_term_prediction=None, recommended_action=None)
    extra = {"short_term_prediction": "It stops.", "recommended_action": " ", "severity": "NONE"}
    model = Scripted([first, f"<think>...</think>{json.dumps(extra)}"])
    judge = ClipJudge(model, JudgeSettings())
    row = judge.judge(CLIP, SETTINGS)
    assert row["short_term_prediction"] is None
    supplemented = judge.supplement(CLIP, row, SETTINGS)
    assert supplemented["short_term_prediction"] == "It stops."
    assert supplemented["recommended_action"] is None  # a blank is no action
    assert (supplemented["severity"], supplemented["causal_reasoning"]) == ("HIGH", "Because of HIGH.")
    assert model.asked[1][2] == SUPPLEMENTED
    assert read(supplemented, 0.5) == supplemented  # and stays when the answers are read again
    assert (supplemented["prompt_tokens"], supplemented["answer_tokens"], supplemented["seconds"]) == (200, 20, 1.0)
    whole = judged(Scripted([said("HIGH")]))
    assert judge.supplement(CLIP, whole, SETTINGS) == whole  # nothing was missing


@pytest.mark.parametrize("change", [{"model_revision": "r2"}, {"adapter": "fleet@1"}, {"model_id": "scripted-2"}])
def test_a_second_pass_of_another_judge_is_refused(change: dict[str, Any]) -> None:
    row = judged(Scripted([said("HIGH", recommended_action=None)]))
    other = ClipJudge(Scripted([said("HIGH")], **change), JudgeSettings())
    with pytest.raises(InputError, match=f"mix two judges.*{next(iter(change))}.*materialise reason_outputs first"):
        other.supplement(CLIP, row, SETTINGS)
    with pytest.raises(InputError, match=f"settings_hash {SETTINGS}, now other"):
        ClipJudge(Scripted([]), JudgeSettings()).supplement(CLIP, row, "other")


def test_the_letters_are_paid_for_and_their_notes_are_told() -> None:
    reading = replace(letters(HIGH=0.9), prompt_tokens=70, seconds=0.25, notes=("shown smaller",))
    row = judged(Scripted([said("HIGH"), said("HIGH")], reading), temperatures=(0.6, 0.6))
    assert (row["prompt_tokens"], row["answer_tokens"], row["seconds"]) == (270, 20, 1.25)
    assert row["notes"] == ["letters: shown smaller"]


def test_reading_again_needs_no_model_and_changes_nothing_by_itself() -> None:
    row = judged(Scripted([said("MEDIUM"), "?"], letters(MEDIUM=0.7)), temperatures=(0.6, 0.6))
    assert read(row, 0.5) == row
    stale = row | {"outcome": "parse_failure", "severity": None, "error": "an older parser", "hazards": None}
    assert read(stale, 0.5) == row


def test_the_key_of_a_finished_judgement_names_all_it_depends_on() -> None:
    def key(clip: Clip = CLIP, settings: str = SETTINGS, thinking: bool = True, **changes: Any) -> str:
        return ClipJudge(Scripted([], **changes), JudgeSettings(thinking=thinking)).key(clip, settings)

    others = [
        key(Clip(CLIP.clip_id, CLIP.path, "cd" * 32, 10.0)),
        key(settings="f" * 16),
        key(thinking=False),
        key(model_id="scripted-2"),
        key(model_revision="r2"),
        key(adapter="fleet@1"),
        key(name="other"),
    ]
    assert len({key(), *others}) == 1 + len(others)
    assert key(Clip("v-c07", Path("elsewhere.mp4"), CLIP.sha256, 10.0)) == key()  # number and place do not matter


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", '{"recommended_action": 5}', "[" * 100_000, '{"other": "x"}'])
def test_a_second_answer_that_says_nothing_supplies_nothing(text: str) -> None:
    assert supplied(text, SUPPLEMENTED) == {}
