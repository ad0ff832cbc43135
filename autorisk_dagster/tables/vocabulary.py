"""Words that tables share, and the Polars types of them."""

from __future__ import annotations

from typing import Any

import polars as pl

SEVERITIES = ("NONE", "LOW", "MEDIUM", "HIGH")
SEVERITY = pl.Enum(SEVERITIES)
OUTCOMES = ("severity", "abstained", "parse_failure", "not_run")
SIGNALS = ("audio", "motion", "proximity")
ROAD_USERS = ("vehicle", "pedestrian")
RISK_LEVELS = ("Low", "Medium", "High")
VERIFICATIONS = ("confirmed", "rejected", "failed", "not_run")  # the first two only where the model was heard
NEAR_MISS_VERSIONS = ("1.0", "v2")
# What ranking, report and annotated clips read: one event an encounter, the own vehicle's among them, fewer false
# alarms. The kinematic reasoner keeps 1.0's, on which its rules were written.
NEAR_MISS_SHOWN = "v2"
RULES = ("R1", "R2", "R3", "R4", "R5", "R6")

Schema = dict[str, Any]
