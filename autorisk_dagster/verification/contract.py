"""A strict contract between a proposal and a model that judges it: schema, cross-field rules, conservative reject.

Source: seed 001, "Schema validation". The model's text is accepted as it is or not at all. Accepted are a JSON object,
a JSON object in one code fence, and <think>...</think> followed by a JSON object, where the object holds the
contract's JSON schema and agrees with itself and with the proposal. NaN, infinities, a key that stands twice, text
before or after: everything else becomes the contract's reject, with confidence 0.0, reason "unknown" and a rationale
that names the failure. A reject is a verdict that holds the schema too.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

MAX_CONTENT_CHARS: Final = 65_536  # a verdict has a few hundred; reasoning before it some thousand
MAX_TOLD_CHARS: Final = 300

Verdict = dict[str, Any]


class RefusedError(ValueError):
    """Why a text is not accepted."""


@dataclass(frozen=True)
class Proposal:
    """What a detector proposes.

    Attributes:
        event_id: carried through every log
        context: what the model is told, beside the frames
        features: what is logged for training and not sent
    """

    event_id: str
    context: Mapping[str, Any]
    features: Mapping[str, Any]


@dataclass(frozen=True)
class Contract:
    """One kind of verdict.

    Attributes:
        name: "gesture", "near_miss"
        system_prompt: the model's instructions, sent as they are
        schema: JSON schema (draft 2020-12) of the verdict
        contradiction: what in a verdict of valid form contradicts itself or the proposal's context; None if nothing
        reject: the conservative verdict on a proposal's context, with a rationale
        confirms: whether a verdict confirms what was proposed
    """

    name: str
    system_prompt: str
    schema: Mapping[str, Any]
    contradiction: Callable[[Verdict, Mapping[str, Any]], str | None]
    reject: Callable[[Mapping[str, Any], str], Verdict]
    confirms: Callable[[Verdict], bool]

    @property
    def version(self) -> str:
        """The version that every verdict carries."""
        return str(self.schema["properties"]["version"]["const"])

    @property
    def hash(self) -> str:
        """16 hex digits that change with the prompt or the schema."""
        text = json.dumps([self.name, self.system_prompt, self.schema], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Reading:
    """A verdict, the model's own or the reject. `error`: why it is the reject; None where the model was heard."""

    verdict: Verdict
    error: str | None


def load_schema(name: str) -> dict[str, Any]:
    """The JSON schema `name` that ships with this package."""
    text = files(__package__).joinpath("schemas", f"{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    Draft202012Validator.check_schema(schema)
    return schema


def read(contract: Contract, content: object, context: Mapping[str, Any]) -> Reading:
    """The model's verdict in `content`, or the reject. Never raises."""
    try:
        verdict = strict_object(_json_text(content))
        check_schema(verdict, contract.schema)
        contradiction = contract.contradiction(verdict, context)
    except RefusedError as error:
        return rejected(contract, context, str(error))
    except RecursionError:
        return rejected(contract, context, "the answer is nested too deep")
    if contradiction is not None:
        return rejected(contract, context, f"the answer contradicts itself or the proposal: {contradiction}")
    return Reading(verdict, None)


def rejected(contract: Contract, context: Mapping[str, Any], failure: str) -> Reading:
    """The conservative reject, its rationale naming the failure."""
    return Reading(contract.reject(context, f"rejected: {told(failure)}"), failure)


def told(failure: str) -> str:
    """`failure` as one short line of text that can be encoded."""
    line = " ".join(failure.encode("utf-8", "replace").decode("utf-8").split())
    return line if len(line) <= MAX_TOLD_CHARS else f"{line[: MAX_TOLD_CHARS - 3]}..."


_FENCE = re.compile(r"(`{3}|~{3})(?:json)?[ \t]*\r?\n(.*?)\r?\n?[ \t]*\1", re.DOTALL | re.IGNORECASE)
_WHITE = " \t\r\n"  # JSON's white space; str.strip knows more


def _json_text(content: object) -> str:
    """The part of `content` that has to be JSON as a whole."""
    if content is None:
        raise RefusedError("the content is null")
    if not isinstance(content, str):
        raise RefusedError(f"the content is {type(content).__name__}, not text")
    if len(content) > MAX_CONTENT_CHARS:
        raise RefusedError(f"the content has {len(content)} characters, allowed are {MAX_CONTENT_CHARS}")
    text = content.strip(_WHITE)
    if not text:
        raise RefusedError("the content is empty")
    if text.startswith("<think>"):
        if text.count("<think>") != 1 or text.count("</think>") != 1:
            raise RefusedError("the reasoning has not exactly one beginning and one end")
        return text.partition("</think>")[2]
    fence = _FENCE.fullmatch(text)
    return fence[2] if fence else text


def strict_object(text: str | bytes) -> dict[str, Any]:
    """`text` as one JSON object, with nothing beside it, no key twice, no NaN and no infinity.

    Raises:
        RefusedError: it is anything else, or its strings cannot be encoded.
    """
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        value = json.loads(decoded, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_duplicates)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError as error:
        raise RefusedError("not UTF-8") from error
    except RefusedError:
        raise
    except json.JSONDecodeError as error:
        raise RefusedError(f"not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise RefusedError("nested too deep") from error
    except ValueError as error:  # an integer of thousands of digits
        raise RefusedError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RefusedError(f"not a JSON object but {type(value).__name__}")
    return value


def check_schema(value: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
    """Raise RefusedError naming the place and the rule where `value` does not hold `schema`."""
    error = best_match(Draft202012Validator(schema).iter_errors(value))
    if error is not None:
        place = "/".join(str(part) for part in error.absolute_path)
        raise RefusedError(f"does not hold the schema{f' at {place}' if place else ''}: {told(error.message)}")


def _no_constant(name: str) -> None:
    raise RefusedError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise RefusedError(f"the number {told(digits)} is too large")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, inner in pairs:
        if key in value:
            raise RefusedError(f"key {told(key)!r} stands twice")
        value[key] = inner
    return value
