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
# What an explanation is checked for: see evaluation/checklist.py.
CHECKLIST_ITEMS = ("actors_exist", "relation_holds", "prediction_fits_ttc", "action_fits_hazard", "cause_named")
# Hazards as the world model's prompts tell them apart: seed 000, stage 4b.
HAZARD_KINDS = ("pedestrian", "cyclist", "cut-in", "rear-end", "side-swipe", "oncoming", "intersection", "default")
WORLD_MODELS = ("kinematic", "cosmos")
SCENARIOS = ("predict", "danger", "safe")
GENERATIONS = ("generated", "refused", "failed", "not_asked")  # refused: by the guardrail
RULES = ("R1", "R2", "R3", "R4", "R5", "R6")
# What a conformal severity set is measured by: see severity/conformal.py.
SET_SCORES = ("letters", "votes", "distance")
# Of a clip in the review queue. stale: a verdict was given, on another clip or another judgement than today's.
REVIEW_STATES = ("open", "stale", "reviewed")
# Of an audit pack: all that the policy wants reviewed is; some is not; no review queue was made.
PACK_REVIEWS = ("complete", "unreviewed", "not_run")

Schema = dict[str, Any]


# Origins of a label: blind (frozen before anything was judged), or given in review, with the output in sight.
LABEL_ORIGINS = ("label_file", "review")


def figures(**more: Any) -> Schema:
    """The columns of a table of figures, one row a figure: each with its interval and what it rests on.

    `value` is null where it cannot be said; `note` then says why, and otherwise what a reader must know with it.
    """
    return {
        "label_origin": pl.Enum(LABEL_ORIGINS),  # of the labels it rests on; null: it needs none
        "metric": pl.String,
        "stage": pl.String,  # what is judged: "reasoner", "corrected", a signal, a variant
        "class": pl.String,  # severity, item or outcome; null: all of them together
        "value": pl.Float64,
        "low": pl.Float64,  # interval; null: none can be given, and the note says why
        "high": pl.Float64,
        "interval": pl.String,  # its level and how it was made
        "n": pl.Int64,  # clips it rests on
        "groups": pl.Int64,  # of clips that show one scene or drive: what is independent
        "note": pl.String,
        **more,
    }
