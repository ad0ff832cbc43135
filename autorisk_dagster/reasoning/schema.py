"""The assessment of one clip: what every reasoner answers with, and the JSON schema that a model's answer must hold.

Source: seed 000, stage 2. One pydantic model serves parsing, constrained decoding and the endpoint; `answer_schema` is
derived from it. A field that is None was not said, which is something else than an empty one: `hazards=[]` says that
there are none.

`evidence` and `confidence` extend the seed and are not asked from a model. What a clip's judgement rests on is measured
by this project; and a probability that a model writes down in words is no measurement of it, so confidence comes from
log-probabilities (`reasoning.prompts.letter_prompt`) or stays None, and a stated one is dropped by the parser.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION: Final = "1.0"

Severity = Literal["NONE", "LOW", "MEDIUM", "HIGH"]

# What a model must say, in the order of the seed's example: constrained decoding writes fields in this order.
ASKED: Final = ("severity", "hazards", "causal_reasoning", "short_term_prediction", "recommended_action")
# What a second pass asks for where the first left it out.
SUPPLEMENTED: Final = ("short_term_prediction", "recommended_action")


class Hazard(BaseModel):
    """One danger: its kind ("Pedestrian", "Rear-end"), who takes part, and where they are to the own vehicle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    actors: list[str]
    spatial_relation: str


class Assessment(BaseModel):
    """A severity with its reasons; None where a reason was not said. Severities: seed 000, Ground Truth Protocol.

    NONE: no hazard elements (normal driving). LOW: attention needed but margin exists. MEDIUM: evasive action warranted
    (decelerate, yield). HIGH: collision risk, emergency response needed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    severity: Severity
    hazards: list[Hazard] | None = None
    causal_reasoning: str | None = None
    short_term_prediction: str | None = None
    recommended_action: str | None = None
    evidence: list[str] = []
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None


def answer_schema(fields: Sequence[str] = ASKED) -> dict[str, Any]:
    """JSON schema of a model's answer: `fields` of the assessment, all required, and nothing else.

    It holds only keywords that llguidance and OpenAI's strict `response_format` both know: every object closed, every
    property required, no defaults, no references. A new dict at each call.
    """
    described = Assessment.model_json_schema()
    hazard = _bare(described["$defs"]["Hazard"])
    properties = {name: _said(described["properties"][name], hazard) for name in fields}
    return {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}


def schema_hash() -> str:
    """16 hex digits that change when the answer's schema or its version changes."""
    text = json.dumps([SCHEMA_VERSION, ASKED, answer_schema()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def response_format(fields: Sequence[str] = ASKED) -> dict[str, Any]:
    """The schema as an OpenAI-compatible endpoint takes it (`response_format` of chat completions)."""
    return {
        "type": "json_schema",
        "json_schema": {"name": "assessment", "schema": answer_schema(fields), "strict": True},
    }


def _said(described: dict[str, Any], hazard: dict[str, Any]) -> dict[str, Any]:
    """A property without its null alternative."""
    said = next(kind for kind in described.get("anyOf", [described]) if kind.get("type") != "null")
    return {"type": "array", "items": hazard} if said.get("type") == "array" else _bare(said)


def _bare(described: dict[str, Any]) -> dict[str, Any]:
    """A pydantic schema without titles, descriptions and defaults."""
    kept = {key: value for key, value in described.items() if key not in ("title", "description", "default")}
    if "properties" in kept:
        kept["properties"] = {name: _bare(value) for name, value in kept["properties"].items()}
    return kept
