"""The tables over all videos, and those of the cabin."""

from __future__ import annotations

import polars as pl

from autorisk_dagster.tables.vocabulary import SEVERITY, VERIFICATIONS, Schema

UTC = pl.Datetime("us", "UTC")
LABEL_ORIGINS = ("label_file", "review")

GROUND_TRUTH: Schema = {  # one row a labelled clip
    "video_id": pl.String,
    "clip_id": pl.String,
    "clip_sha256": pl.String,  # of the file that was watched
    "start_sec": pl.Float64,
    "end_sec": pl.Float64,
    # Clips of one drive share a danger: never split between training and test. Null: unknown; video and time decide.
    "drive": pl.String,
    "severity": SEVERITY,
    "labeller": pl.String,
    "origin": pl.Enum(LABEL_ORIGINS),
    "labelled_at": UTC,
    "label_set": pl.String,
    "label_set_sha256": pl.String,  # of the frozen file, or of the log up to the verdict
    "frozen_at": UTC,
    "note": pl.String,
}

GESTURE_VERDICTS: Schema = {
    "file_name": pl.String,
    "event_id": pl.String,  # the file's stem where the file is no proposal
    "proposed_intent": pl.String,  # null, like all of the proposal, where the file is no proposal
    "final_intent": pl.String,
    "local_confidence": pl.Float64,
    "labelled_intentional": pl.Boolean,  # the truth, where a person labelled it
    "outcome": pl.Enum(VERIFICATIONS),
    "reason_category": pl.String,  # null, like the next two, where the model was not heard
    "rationale": pl.String,
    "stated_confidence": pl.Float64,
    "verifier": pl.String,
    "contract_hash": pl.String,
    "error": pl.String,
}
