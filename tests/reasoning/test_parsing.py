"""Reading a model's text: what is accepted by which layer, what is refused and why; and no cut invents anything."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autorisk_dagster.reasoning.parsing import LAYERS, SEVERITIES, parse_assessment
from autorisk_dagster.reasoning.schema import Assessment, Hazard
from tests.reasoning.answers import COMPACT, FULL, PRETTY, READ, REFUSED

LOGS = Path(__file__).parents[3] / "shared" / "data" / "cosmos_reason2"


def severity_of(text: str) -> str | None:
    result = parse_assessment(text)
    assert (result.assessment is None) == (result.layer is None) == (result.error is not None)
    return result.assessment.severity if result.assessment else None


@pytest.mark.parametrize(("text", "severity", "layer"), READ, ids=lambda value: str(value)[:40])
def test_what_is_read_and_by_which_layer(text: str, severity: str, layer: str) -> None:
    result = parse_assessment(text)
    assert result.error is None
    assert result.assessment is not None
    assert (result.assessment.severity, result.layer) == (severity, layer)
    assert result.assessment.confidence is None
    assert result.assessment.evidence == []


@pytest.mark.parametrize(("text", "severity", "error"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_is_refused_and_why(text: str, severity: None, error: str) -> None:
    result = parse_assessment(text)
    assert (result.assessment, result.layer) == (severity, None)
    assert error in (result.error or "")
    assert result.raw_text == text


def test_every_layer_has_its_cases() -> None:
    assert tuple(Counter(layer for _, _, layer in READ).items()) == (
        ("direct_json", 16),
        ("markdown_fence", 8),
        ("truncation_repair", 5),
        ("brace_extraction", 8),
        ("missing_comma", 3),
        ("trailing_key", 15),
        ("markdown_field", 5),
    )
    assert tuple(Counter(layer for _, _, layer in READ)) == LAYERS


def test_the_whole_answer_comes_out_as_it_went_in() -> None:
    for text in (COMPACT, PRETTY, f"<think>no</think>~~~json\n{PRETTY}\n~~~", str(FULL)):
        assert parse_assessment(text).assessment == Assessment.model_validate(FULL)


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("hazards", "none", None),
        ("hazards", {"type": "Car"}, None),
        ("hazards", [1, "car"], None),
        ("hazards", [{"type": "Car"}], None),
        ("hazards", [{"type": "...", "actors": ["..."], "spatial_relation": "..."}], None),
        ("hazards", [FULL["hazards"][0], {"type": 3}], [Hazard(**FULL["hazards"][0])]),  # type: ignore[index]
        ("hazards", [{**FULL["hazards"][0], "severity": "LOW"}], [Hazard(**FULL["hazards"][0])]),  # type: ignore[index]
        ("causal_reasoning", ["a", "b"], None),
        ("causal_reasoning", "...", None),
        ("causal_reasoning", "  ", None),
        ("evidence", "seen", None),
        ("evidence", ["seen", 4], None),
        ("confidence", "high", None),
        ("confidence", 1.5, None),
        ("confidence", 0.9, None),  # stated in words, not measured
    ],
)
def test_a_bad_field_is_dropped_and_named_and_the_severity_kept(field: str, value: object, kept: object) -> None:
    result = parse_assessment(json.dumps(FULL | {field: value}))
    assert result.assessment is not None
    assert result.assessment.severity == "HIGH"
    assert getattr(result.assessment, field) == (kept if field != "evidence" else [])
    clean = field == "hazards" and kept and len(kept) == len(value)  # type: ignore[arg-type]
    assert [name.split("[")[0] for name in result.dropped] == [] if clean else [field]


def test_what_is_null_or_empty_is_not_what_is_bad() -> None:
    result = parse_assessment(
        '{"severity": "NONE", "hazards": [], "causal_reasoning": null, "evidence": ["empty road"]}'
    )
    assert result.assessment == Assessment(severity="NONE", hazards=[], evidence=["empty road"])
    assert result.dropped == ()


def test_half_a_sentence_is_no_field() -> None:
    cut = parse_assessment(COMPACT[: COMPACT.index("braking")])  # "Emergency " might go on in any way
    assert cut.assessment is not None
    assert cut.assessment.recommended_action is None
    assert cut.assessment.short_term_prediction == FULL["short_term_prediction"]
    assert cut.dropped == ("recommended_action",)


@pytest.mark.parametrize("text", [text for text, _, _ in READ])
def test_no_cut_of_a_readable_answer_gives_another_severity(text: str) -> None:
    # Where the opening tag stood in the prompt, a text cut before </think> cannot be told from an answer: the back end
    # puts the tag back.
    if text.startswith("So,"):
        text = f"<think>{text}"
    whole = severity_of(text)
    for end in range(len(text)):
        assert severity_of(text[:end]) in (whole, None), text[:end]


@pytest.mark.parametrize("text", [text for text, _, error in REFUSED if "too deep" not in error])
def test_a_cut_of_a_refused_answer_gives_only_what_stands_in_it(text: str) -> None:
    for end in range(len(text)):
        cut = severity_of(text[:end])
        # Only texts that say something else later: an answer cut off from its contradiction is an answer.
        assert cut is None or re.search(rf"\b{cut}\b", text[:end], re.IGNORECASE), text[:end]


def real_answers() -> list[str]:
    """Cosmos Reason 2's own answers with its own reasoning, as the model wrote them."""
    found = []
    for path in sorted(LOGS.glob("*.log")):
        sections = re.split(r"^-{20}$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        said = {part.split(":", 1)[0].strip(): part.split(":", 1)[1].strip() for part in sections if ":" in part}
        if "Assistant" in said:
            reasoning = f"<think>\n{said['Reasoning']}\n</think>\n\n" if "Reasoning" in said else ""
            found.append(reasoning + said["Assistant"])
    return found


@pytest.mark.skipif(not LOGS.exists(), reason="needs ../shared/data/cosmos_reason2")
def test_real_answers_to_other_questions_hold_no_severity() -> None:
    answers = real_answers()
    assert len(answers) == 3
    for text in answers:
        data = text.encode()
        for end in range(len(data) + 1):  # at every byte: a character of several may be cut in two
            assert severity_of(data[:end].decode(errors="replace")) is None
    for path in LOGS.glob("*.log"):
        assert severity_of(path.read_text(encoding="utf-8")) is None


@pytest.mark.skipif(not LOGS.exists(), reason="needs ../shared/data/cosmos_reason2")
@pytest.mark.parametrize("answer", [PRETTY, f"```json\n{PRETTY}\n```", "**Severity:** HIGH\n"])
def test_no_cut_of_an_answer_behind_real_reasoning_gives_another_severity(answer: str) -> None:
    reasoning = next(text for text in real_answers() if text.startswith("<think>")).split("</think>")[0]
    text = f'{reasoning} At first {{"severity": "LOW"}}.\nSeverity: LOW\n</think>\n\n{answer}'
    assert severity_of(text) == "HIGH"
    data = text.encode()
    for end in range(len(data)):
        assert severity_of(data[:end].decode(errors="replace")) in ("HIGH", None)


@given(st.text())
@example("{'\\")
@example('{"\\u')
@example("{“\\")
def test_any_text_is_read_or_refused(text: str) -> None:
    assert severity_of(text) in (*SEVERITIES, None)


MARKS = [*":,{}[]\"'\\“’", "```", "~~~", "<think>", "</think>", "//", "/*", "*/", '"severity"', "severity"]
VALUES = ["null", "NaN", '"HIGH"', "LOW", '"hazards"', "é", "\n", " ", "**Severity:** NONE", "\ud800"]


@given(st.lists(st.sampled_from([*MARKS, *VALUES]), max_size=40).map("".join))
def test_any_rubble_of_answers_is_read_or_refused(text: str) -> None:
    assert severity_of(text) in (*SEVERITIES, None)


WORDS = st.text(min_size=1).filter(lambda text: any(mark.isalnum() for mark in text) and text.isprintable())
ASSESSMENTS = st.builds(
    Assessment,
    severity=st.sampled_from(SEVERITIES),
    hazards=st.none() | st.lists(st.builds(Hazard, type=WORDS, actors=st.lists(WORDS), spatial_relation=WORDS)),
    causal_reasoning=st.none() | WORDS,
    short_term_prediction=st.none() | WORDS,
    recommended_action=st.none() | WORDS,
    evidence=st.lists(WORDS),
    confidence=st.none(),
)


@given(ASSESSMENTS, st.booleans())
def test_what_is_written_as_json_is_read_back(assessment: Assessment, indented: bool) -> None:
    text = assessment.model_dump_json(indent=2 if indented else None)
    assert parse_assessment(text).assessment == assessment


@given(ASSESSMENTS, st.data())
def test_one_damaged_character_never_turns_one_severity_into_another(
    assessment: Assessment, data: st.DataObject
) -> None:
    text = assessment.model_dump_json()
    at = data.draw(st.integers(0, len(text) - 1))
    damage = data.draw(st.sampled_from(["", "{", "}", '"', "\\", ",", ":", "x", "\n"]))
    assert severity_of(text[:at] + damage + text[at + 1 :]) in (assessment.severity, None)


@pytest.mark.parametrize(
    "text",
    [
        '{"severity": "HIGH", "causal_reasoning": "' + "x" * 2_000_000 + '"}',
        '{"severity": "HIGH"}' * 20_000,
        "{ " * 200_000,
        '{"a": "\\q", ' * 20_000,
        '{"a" 1}' * 20_000,
        '"\\"' * 200_000 + '{"a" @ "' + '\\"' * 200_000,
        "{'a': '" + "it's " * 100_000,
        "{/*" * 100_000,
        "`" * 300_000,
        "```\n" * 50_000,
        "<think>" * 50_000 + "</think>" * 50_000,
        "- " * 200_000 + "severity",
        "severity:\n" * 20_000,
        " " * 300_000 + '{"severity": "HIGH"}' * 2_000,
    ],
    ids=lambda text: text[:20],
)
def test_long_texts_are_read_in_linear_time(text: str) -> None:
    severity_of(text)  # a quadratic reader would take hours


def test_what_is_no_text_is_a_failure() -> None:
    for value in (None, b'{"severity": "HIGH"}', {"severity": "HIGH"}, 3):
        result = parse_assessment(value)
        assert result.assessment is None
        assert "not text" in (result.error or "")
