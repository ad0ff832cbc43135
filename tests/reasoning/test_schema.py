"""The seed's schema: what it accepts and what it refuses."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from pydantic import ValidationError

from autorisk_dagster.reasoning.schema import (
    SCHEMA_VERSION,
    SUPPLEMENTED,
    Assessment,
    answer_schema,
    response_format,
    schema_hash,
)

SEED_EXAMPLE = """{
  "severity": "HIGH",
  "hazards": [{"type": "Pedestrian", "actors": ["Person in blue"], "spatial_relation": "crossing lane"}],
  "causal_reasoning": "Pedestrian stepping into road while car door blocks visibility...",
  "short_term_prediction": "Collision risk within 2 seconds if speed maintained...",
  "recommended_action": "Emergency braking and yield to pedestrian..."
}"""


def test_the_seeds_example_is_an_assessment_without_invented_evidence_or_confidence():
    assessment = Assessment.model_validate_json(SEED_EXAMPLE)
    assert assessment.hazards[0].actors == ["Person in blue"]
    assert assessment.evidence == []
    assert assessment.confidence is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("severity", "CRITICAL"), ("severity", None), ("confidence", 1.5), ("hazards", [{"type": "x"}]), ("mood", "calm")],
)
def test_what_the_schema_does_not_know_is_refused(field, value):
    with pytest.raises(ValidationError):
        Assessment.model_validate(json.loads(SEED_EXAMPLE) | {field: value})


def test_the_answers_schema_asks_for_the_seeds_fields_and_closes_every_object():
    schema = answer_schema()
    assert list(schema["properties"]) == schema["required"] == list(json.loads(SEED_EXAMPLE))
    assert schema["properties"]["severity"] == {"enum": ["NONE", "LOW", "MEDIUM", "HIGH"], "type": "string"}
    hazard = schema["properties"]["hazards"]["items"]
    assert hazard["required"] == list(hazard["properties"]) == ["type", "actors", "spatial_relation"]
    assert schema["additionalProperties"] is hazard["additionalProperties"] is False
    assert not re.search(r'"(default|anyOf|\$ref|title|description)"', json.dumps(schema))


def test_the_answers_schema_accepts_the_example_and_nothing_incomplete_or_more():
    schema = answer_schema()
    example = json.loads(SEED_EXAMPLE)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(example, schema)
    for bad in (
        *({name: value for name, value in example.items() if name != left_out} for left_out in example),
        example | {"confidence": 0.9},
        example | {"severity": "CRITICAL"},
        example | {"recommended_action": None},
        example | {"hazards": [{"type": "Pedestrian"}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


def test_llguidance_takes_the_schema_and_follows_it():
    llguidance = pytest.importorskip("llguidance", reason="needs the extra `models`")
    grammar = llguidance.LLMatcher.grammar_from_json_schema(answer_schema(), defaults={"whitespace_flexible": False})
    tokenizer = llguidance.LLTokenizer("byte")
    assert not llguidance.LLMatcher.validate_grammar(grammar, tokenizer)
    compact = json.dumps(json.loads(SEED_EXAMPLE), separators=(",", ":"))
    for text, whole in ((compact, True), (compact.replace("HIGH", "CRITICAL"), False)):
        matcher = llguidance.LLMatcher(tokenizer, grammar)
        taken = matcher.try_consume_tokens(tokenizer.tokenize_str(text))
        assert (taken == len(text.encode()) and matcher.is_accepting()) is whole


def test_the_endpoint_gets_the_same_schema():
    form = response_format()
    assert form["type"] == "json_schema"
    assert form["json_schema"] == {"name": "assessment", "schema": answer_schema(), "strict": True}
    supplement = response_format(SUPPLEMENTED)["json_schema"]["schema"]
    assert supplement["required"] == ["short_term_prediction", "recommended_action"]


def test_the_schemas_hash_changes_with_the_schema_only():
    assert (SCHEMA_VERSION, schema_hash()) == ("1.0", "06de02e8e4e72206")  # an edited schema needs a new version
