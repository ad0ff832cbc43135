"""From a model's text to an assessment, or to a parse failure that says why. Never a severity that was not said.

The seven layers are seed 000's, stage 2: whole JSON, fence, truncation, braces in prose, missing comma, trailing key,
Markdown. The seed tries one after another and takes what comes out; here the text is read once, everything in it that
names a severity is compared, and the layers say, in the seed's order, how the answer was had.

Rules
- What stands between <think> and </think>, or before a </think> without an opening tag, is a draft: it never counts. A
  text that ends inside its reasoning has no answer.
- Of several answers that agree the first one counts; answers that disagree are a failure, and so are an answer whose
  severity is cut, unknown or repeated with another value.
- An object or list around the answer is unwrapped, unless it is cut: what comes after might be its own severity. The
  severity of a hazard is not that of the clip.
- An object that cannot be read to its end keeps what was read, if the rest does not name a severity.
- A field of the wrong form, or one in which the text ended, is dropped; half a sentence may mean its opposite. Dropped
  fields are None, like those that were never said. A confidence stated in words is always dropped (`reasoning.schema`).
- In the Markdown layer the severity has to stand alone on its line. A text that ends right behind it is taken as whole.

A field that the text does not have is never filled in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from autorisk_dagster.reasoning.loose_json import (
    UNSAID,
    Found,
    Items,
    Members,
    Repair,
    TooDeepError,
    Value,
    find_objects,
)
from autorisk_dagster.reasoning.markdown_fields import markdown_fields, severity_lines
from autorisk_dagster.reasoning.schema import Assessment, Hazard, Severity

SEVERITIES: Final[tuple[Severity, ...]] = ("NONE", "LOW", "MEDIUM", "HIGH")


@dataclass(frozen=True)
class ParseResult:
    """What was read.

    Attributes:
        assessment: None is a parse failure
        layer: name of the layer that had the answer, one of `LAYERS`; None in a failure
        error: why there is no assessment; None where there is one
        dropped: fields that the text had, but in a form that cannot be used
        raw_text: the text as it came
    """

    assessment: Assessment | None
    layer: str | None
    error: str | None
    dropped: tuple[str, ...] = ()
    raw_text: str = ""


@dataclass(frozen=True)
class _Answer:
    """Something that names a severity: an object, or the fields of a Markdown text."""

    members: Members
    repairs: Repair = Repair.NONE
    whole: bool = False  # nothing else stands in its text or fence
    fenced: bool = False
    markdown: bool = False


class _NoAnswerError(Exception):
    """Why a text holds no answer."""


def direct_json(answer: _Answer) -> bool:
    """Layer 1: the text is the JSON object, or a list of it, and nothing else."""
    return answer.whole and not answer.fenced and not answer.repairs


def markdown_fence(answer: _Answer) -> bool:
    """Layer 2: it is all that stands in a code fence."""
    return answer.whole and answer.fenced and not answer.repairs


def truncation_repair(answer: _Answer) -> bool:
    """Layer 3: the text ended before the object did."""
    return answer.repairs == Repair.CUT


def brace_extraction(answer: _Answer) -> bool:
    """Layer 4: a balanced object in prose."""
    return not answer.repairs and not answer.markdown


def missing_comma(answer: _Answer) -> bool:
    """Layer 5: as 3 or 4, and a comma is missing."""
    return bool(answer.repairs) and not answer.repairs & ~(Repair.CUT | Repair.COMMA)


def trailing_key(answer: _Answer) -> bool:
    """Layer 6: as 5, with a trailing comma, a key without value, notation of JavaScript or Python, or a broken end."""
    return bool(answer.repairs)


def markdown_field(answer: _Answer) -> bool:
    """Layer 7: no object names a severity, but lines such as "**Severity:** HIGH" do."""
    return answer.markdown


_LAYERS: Final[tuple[Callable[[_Answer], bool], ...]] = (
    direct_json,
    markdown_fence,
    truncation_repair,
    brace_extraction,
    missing_comma,
    trailing_key,
    markdown_field,
)
LAYERS: Final = tuple(layer.__name__ for layer in _LAYERS)


def parse_assessment(text: object) -> ParseResult:
    """The assessment in a model's text, by the rules above. Never raises; what is no text is a failure like any."""
    if not isinstance(text, str):
        return ParseResult(None, None, f"the answer is {type(text).__name__}, not text")
    try:
        answers = _answers(text)
        severity = _agreed(answers)
    except TooDeepError:
        return ParseResult(None, None, "brackets are nested too deep", raw_text=text)
    except _NoAnswerError as error:
        return ParseResult(None, None, str(error), raw_text=text)
    layer, answer = next((layer, answer) for layer in _LAYERS for answer in answers if layer(answer))
    assessment, dropped = _assessment(severity, answer.members)
    return ParseResult(assessment, layer.__name__, None, dropped, text)


_TAG = re.compile(r"<\s*(/?)\s*think(?:ing)?\s*>", re.IGNORECASE)


def _without_thinking(text: str) -> str:
    """The text outside its reasoning.

    Raises:
        _NoAnswerError: the text ends inside its reasoning.
    """
    kept: list[str] = []
    depth = position = 0
    for tag in _TAG.finditer(text):
        between = text[position : tag.start()]
        if depth == 0:
            kept.append(between)
        if not tag[1]:
            # Two opening tags in a row are one: the prompt's and the model's.
            depth += not (depth and not between.strip())
        elif depth == 0:
            kept.clear()  # the opening tag was in the prompt: all of this is reasoning
        else:
            depth -= 1
        position = tag.end()
    if depth:
        raise _NoAnswerError("the text ends inside its reasoning")
    return "".join([*kept, text[position:]])


_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*[\w+-]*[ \t]*\n?", re.MULTILINE)


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """Stretches of text inside and outside code fences, in order; True: inside one."""
    position = 0
    while fence := _FENCE.search(text, position):
        yield text[position : fence.start()], False
        end = text.find(fence[1], fence.end())
        yield text[fence.end() : end if end >= 0 else len(text)], True
        position = end + len(fence[1]) if end >= 0 else len(text)
    yield text[position:], False


def _answers(text: str) -> list[_Answer]:
    """Everything in the text that names a severity; readable or not, in order, Markdown last.

    Raises:
        TooDeepError, _NoAnswerError
    """
    objects = list(find_objects(text)) if text.lstrip()[:1] in ("{", "[") else []
    if _is_whole(text, objects) and not objects[0].repairs:
        return _answers_in(objects[0], whole=True, fenced=False)  # tags and fences in it are inside its strings
    answers: list[_Answer] = []
    prose: list[str] = []
    for part, fenced in _parts(_without_thinking(text)):
        objects = list(find_objects(part))
        whole = _is_whole(part, objects)
        position = 0
        for found in objects:
            if "severity" in part[found.read_to : found.end].lower():
                raise _NoAnswerError("an object cannot be read where it names a severity")
            answers += _answers_in(found, whole=whole, fenced=fenced)
            prose.append(part[position : found.start])
            position = found.end
        prose.append(part[position:])
    lines = "\n".join(prose)
    if not answers:
        fields = markdown_fields(lines)
        return [_Answer(Members(tuple(fields), False), markdown=True)] if fields else []
    said = _severity(answers[0].members)
    for line in severity_lines(lines):
        first = _word(re.split(r"[^A-Za-z]", line, maxsplit=1)[0])
        if first is not None and first != said:
            raise _NoAnswerError(f"two answers disagree: {said} and {first}")
    return answers


def _is_whole(text: str, objects: Sequence[Found]) -> bool:
    """The text is one object, or a list of it, and white space."""
    if len(objects) != 1:
        return False
    around = (text[: objects[0].start].strip(), text[objects[0].end :].strip())
    return around in (("", ""), ("[", "]"))


def _answers_in(found: Found, *, whole: bool, fenced: bool) -> list[_Answer]:
    return [_Answer(members, found.repairs, whole, fenced) for members in _with_severity(found.members)]


def _with_severity(members: Members) -> Iterator[Members]:
    """The object itself or those that it wraps, where they name a severity."""
    names = {_name(key) for key, _ in members.pairs}
    known = names & set(Assessment.model_fields)
    if known == {"severity"} and names & set(Hazard.model_fields):
        return  # a hazard with a severity of its own
    if "severity" in known:
        yield members
    elif members.cut or known:
        return
    for key, value in members.pairs:
        if _name(key) not in Assessment.model_fields:
            inner = value.values if isinstance(value, Items) else (value,)
            for item in inner:
                if isinstance(item, Members):
                    yield from _with_severity(item)


def _agreed(answers: Sequence[_Answer]) -> Severity:
    """The one severity that all answers name."""
    if not answers:
        raise _NoAnswerError("no severity in the text")
    severities = sorted({_severity(answer.members) for answer in answers}, key=SEVERITIES.index)
    if len(severities) > 1:
        raise _NoAnswerError(f"answers disagree: {', '.join(severities)}")
    return severities[0]


def _severity(members: Members) -> Severity:
    values = [value for name, value in _fields(members) if name == "severity"]
    severity = _word(values[0]) if values else None
    if severity is None:
        shown = "is cut or missing" if values[:1] in ([], [UNSAID]) else f"{_shown(values[0])} is not one of the four"
        raise _NoAnswerError(f"severity {shown}")
    return severity


def _fields(members: Members) -> list[tuple[str, Value]]:
    """The members that are fields of an assessment, once each.

    Raises:
        _NoAnswerError: one is there twice, with two values.
    """
    fields: dict[str, Value] = {}
    for key, value in members.pairs:
        name = _name(key)
        if name not in Assessment.model_fields:
            continue
        if name in fields and _plain(fields[name]) != _plain(value) and not _same_word(fields[name], value):
            raise _NoAnswerError(f"{name} is there twice, with two values")
        fields.setdefault(name, value)
    return list(fields.items())


def _same_word(first: Value, second: Value) -> bool:
    return _word(first) is not None and _word(first) == _word(second)


def _name(key: str) -> str:
    return re.sub(r"[\s-]+", "_", key.strip().lower())


def _word(value: object) -> Severity | None:
    """The severity that a value is, in any case; None for anything else."""
    if not isinstance(value, str) or not value.isascii():  # "ı".upper() is "I"
        return None
    word = value.strip().upper()
    return next((severity for severity in SEVERITIES if severity == word), None)


def _shown(value: Value) -> str:
    return repr(_plain(value))[:60]


def _assessment(severity: Severity, members: Members) -> tuple[Assessment, tuple[str, ...]]:
    """The usable fields, and the names of the others."""
    fields: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in _fields(members):
        if name in ("severity", "confidence"):
            if name == "confidence" and value is not None:
                dropped.append(name)
        elif name == "hazards":
            fields[name], bad = _hazards(value)
            dropped += bad
        elif name == "evidence":
            if isinstance(value, Items) and not value.cut and all(_is_said(item) for item in value.values):
                fields[name] = list(value.values)
            elif value is not None:
                dropped.append(name)
        elif _is_said(value):
            fields[name] = value
        elif value is not None:
            dropped.append(name)
    return Assessment(severity=severity, **fields), tuple(dropped)


def _is_said(value: object) -> bool:
    """Text with at least one letter or digit: neither blank nor the template's dots."""
    return isinstance(value, str) and any(mark.isalnum() for mark in value)


def _hazards(value: Value) -> tuple[list[Hazard] | None, list[str]]:
    """The hazards that are whole, and what was dropped; None where the list is unusable or nothing in it is."""
    if value is None:
        return None, []
    if not isinstance(value, Items) or value.cut:
        return None, ["hazards"]
    hazards, dropped = [], []
    for index, item in enumerate(value.values):
        plain = _plain(item)
        said = {name: plain.get(name) for name in Hazard.model_fields} if isinstance(plain, dict) else {}
        try:
            if not _is_said(said.get("type")):
                said = {}
            hazards.append(Hazard.model_validate(said, strict=True))
        except ValidationError:
            dropped.append(f"hazards[{index}]")
    return (None if dropped and not hazards else hazards), dropped


def _plain(value: Value) -> Any:
    """Dicts and lists; a name that is there twice with two values becomes UNSAID."""
    if isinstance(value, Items):
        return [_plain(item) for item in value.values]
    if not isinstance(value, Members):
        return value
    plain: dict[str, Any] = {}
    for key, inner in value.pairs:
        name, said = _name(key), _plain(inner)
        plain[name] = said if plain.get(name, said) == said else UNSAID
    return plain
