"""The seed's schema: what it accepts and what it refuses."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from autorisk_dagster.reasoning.schema import Assessment

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
