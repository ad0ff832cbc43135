"""The assessment of one clip: what every reasoner answers with.

Source: seed 000, stage 2. `evidence` and `confidence` extend the seed's schema: what the answer rests on, and a
probability that is null unless it was measured. A reasoner never fills a field that it has no ground for.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Severity = Literal["NONE", "LOW", "MEDIUM", "HIGH"]


class Hazard(BaseModel):
    """One danger: its kind ("Pedestrian", "Rear-end"), who takes part, and where they are to the own vehicle."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str
    actors: list[str]
    spatial_relation: str


class Assessment(BaseModel):
    """A severity with its reasons. Severities: seed 000, Ground Truth Protocol.

    NONE: no hazard elements (normal driving). LOW: attention needed but margin exists. MEDIUM: evasive action warranted
    (decelerate, yield). HIGH: collision risk, emergency response needed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    severity: Severity
    hazards: list[Hazard]
    causal_reasoning: str
    short_term_prediction: str
    recommended_action: str
    evidence: list[str] = []
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
