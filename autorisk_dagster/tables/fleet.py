"""The tables over all videos, and those of the cabin."""

from __future__ import annotations

import polars as pl

from autorisk_dagster.tables.vocabulary import (
    LABEL_ORIGINS,
    OUTCOMES,
    RULES,
    SET_SCORES,
    SEVERITY,
    VERIFICATIONS,
    Schema,
    figures,
)

UTC = pl.Datetime("us", "UTC")

GROUND_TRUTH: Schema = {  # one row a labelled clip whose label counts
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
    "judged_output_sha256": pl.String,  # of the output that a reviewer saw while judging; null: labelled blind
    "note": pl.String,
}

CORRECTION_PARAMETERS: Schema = {  # one row a judge with blind labels; no row: the profile's thresholds stand
    "judge": pl.String,  # see severity/labelled.py: reasoner, model, revision, adapter and prompt
    "clips": pl.Int64,
    "groups": pl.Int64,
    "adopted": pl.Boolean,
    "reason": pl.String,  # why the searched thresholds stand, or why they do not
    "rule_set": pl.String,  # "seed", or "searched-" and the hash of the thresholds
    "compared_with": pl.String,  # hash of the default thresholds; a profile with other ones keeps its own
    "draws": pl.Int64,
    "r1_ttc_sec": pl.Float64,  # the thresholds that stand
    "r1_fused": pl.Float64,
    "r1_critical": pl.Int64,
    "r2_ttc_sec": pl.Float64,
    "r2_critical": pl.Int64,
    "r3_fused": pl.Float64,
    "r3_ttc_sec": pl.Float64,
    "r4_ttc_sec": pl.Float64,
    "r4_critical": pl.Int64,
    "r5_fused": pl.Float64,
    "r5_ttc_sec": pl.Float64,
    "r6_ttc_sec": pl.Float64,
    # Conformal severity sets, by final severity: the score that the true severity of each labelled clip had.
    "set_score": pl.Enum(SET_SCORES),
    "set_scores": pl.List(pl.Struct({"severity": SEVERITY, "score": pl.Float64, "group": pl.Int64})),
    # metric: accuracy, macro_f1, accuracy_difference (stage less the stage in the note). stage: majority,
    # always_commonest (not held out), reasoner, default, searched_same_clips (not held out), searched_clip_out (leaks),
    # searched_group_out, nested
    "figures": pl.List(pl.Struct(figures())),
}

# metric: accuracy, macro_f1, quadratic_kappa, mean_absolute_error, mean_signed_error (steps of severity), precision,
# recall, f1 (by class), confusion (class "LOW -> HIGH": label -> given), outcome, checklist (class: item), ...
# stage: majority, reasoner, corrected, difference (corrected less reasoner)
EVAL_METRICS: Schema = figures()

# metric: ece, brier, log_loss, temperature, reliability (one row a bin). stage: measured, tempered
CALIBRATION: Schema = figures(
    bin=pl.Int64,  # of equal mass, from 0; null: not of one bin
    mean_confidence=pl.Float64,  # of the bin; its share of right answers is the value
)

# stage: audio, motion, proximity, all. metric: signal_high, named, agreement, expected_by_chance, above_chance
GROUNDING_METRICS: Schema = figures()

# stage: what was measured, by its column. metric: spearman, average_precision, roc_auc, precision, recall (of danger,
# at the threshold of the note), median and quartiles by severity (class)
SIGNAL_METRICS: Schema = figures(
    p_value=pl.Float64,  # two-sided, by permutation within what is exchangeable; null: not tested
)

# stage: the variant (audio, motion, proximity, all; mining, reasoner, corrected). metric: average_precision,
# recall_at_k, accuracy, ...; *_difference: the variant less the reference in the note, on the same clips
ABLATION: Schema = figures()

ERROR_ANALYSIS: Schema = {  # one row a labelled clip, worst first
    "video_id": pl.String,
    "clip_id": pl.String,
    "label_origin": pl.Enum(LABEL_ORIGINS),
    "label": SEVERITY,
    "outcome": pl.Enum(OUTCOMES),
    "raw_severity": SEVERITY,
    "severity": SEVERITY,
    "rule": pl.Enum(RULES),
    "rule_set": pl.String,
    "verdict": pl.Enum(["under", "over", "not_judged", "right"]),  # of the corrected severity against the label
    "error_steps": pl.Int64,  # corrected less label; null: not judged
    "raw_error_steps": pl.Int64,  # what the reasoner said less label
    "correction": pl.Enum(["repaired", "spoilt", "nearer", "farther", "unchanged"]),  # what the rules did to the error
    "group": pl.Int64,
    "start_sec": pl.Float64,
    "end_sec": pl.Float64,
    "min_ttc_sec": pl.Float64,
    "critical_tracks": pl.Int64,
    "ttc_read_sec": pl.Float64,
    "fused_read": pl.Float64,
    "fused_score": pl.Float64,
    "audio_score": pl.Float64,
    "motion_score": pl.Float64,
    "proximity_score": pl.Float64,
    "causal_reasoning": pl.String,
    "measured": pl.String,  # in words
    "clip_path": pl.String,
    "clip_sha256": pl.String,
}

# stage: detector (every alarm stands), verified (what a model rejected does not), difference. metric: false_share (of
# the alarms that stand), false_alarms, false_rejected (share of the false ones), danger_pointed_at (share of the clips
# labelled MEDIUM or HIGH in which an alarm stands). n counts alarms, or clips where the metric is of clips
ALARM_METRICS: Schema = figures()

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

BROKEN_VIDEOS: Schema = {  # one row a video whose newest failure is not over
    "cause": pl.String,  # without what is this video's alone: equal causes are equal
    "partition": pl.String,  # the video; null: it failed over the fleet
    "asset": pl.String,
    "error": pl.String,
    "first_failed_at": UTC,  # for this cause, in a row
    "last_failed_at": UTC,
    "failures": pl.Int64,
    "given_up": pl.Boolean,  # the night leaves it to a person
    "run_id": pl.String,
    "command": pl.String,
}
