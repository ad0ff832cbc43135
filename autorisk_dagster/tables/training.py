"""The tables of the loop: what an adapter learns from, what it is, what the gate says."""

from __future__ import annotations

import polars as pl

from autorisk_dagster.tables.vocabulary import LABEL_ORIGINS, OUTCOMES, SEVERITY, Schema

SPLITS = ("train", "validation", "test")  # validation chooses the epoch; test is seen by the evaluation alone
QUESTIONS = ("severity", "high", "evasive")

SFT_DATASET: Schema = {  # one row a question about a labelled clip
    "sample_id": pl.String,  # clip and question
    "split": pl.Enum(SPLITS),
    "video_id": pl.String,
    "clip_id": pl.String,
    "clip_sha256": pl.String,
    "clip_path": pl.String,
    "start_sec": pl.Float64,
    "end_sec": pl.Float64,
    "drive": pl.String,  # null: unknown
    "group": pl.Int64,  # clips of one group are in one split
    "severity": SEVERITY,  # the label
    "origin": pl.Enum(LABEL_ORIGINS),  # a label from review saw an output: it is learned from and tests nothing
    "question": pl.Enum(QUESTIONS),
    "prompt": pl.String,
    "answer": pl.String,  # one letter
}

LORA_ADAPTER: Schema = {  # one row
    "revision": pl.String,  # of data, settings and base together
    "adapter_path": pl.String,  # folder, relative to the adapters'
    "adapter_sha256": pl.String,  # of its weights
    "base_model": pl.String,
    "base_revision": pl.String,
    "data_hash": pl.String,
    "settings_hash": pl.String,
    "train_examples": pl.Int64,
    "validation_examples": pl.Int64,
    "trained_parameters": pl.Int64,
    "best_epoch": pl.Int64,
    "best_validation_loss": pl.Float64,
    "epochs": pl.List(pl.Struct({"epoch": pl.Int64, "train_loss": pl.Float64, "validation_loss": pl.Float64})),
    "seconds": pl.Float64,
}

LETTER_LOG_PROBABILITY = pl.Struct(dict.fromkeys("ABCD", pl.Float64))  # null: no choice of the question

ADAPTER_EVALUATION: Schema = {  # one row a question about a held-out clip
    "sample_id": pl.String,
    "video_id": pl.String,
    "clip_id": pl.String,
    "clip_sha256": pl.String,
    "group": pl.Int64,
    "question": pl.Enum(QUESTIONS),
    "answer": pl.String,  # the label's letter
    "majority_answer": pl.String,  # the commonest letter of the training clips
    "base_answer": pl.String,  # the most probable letter
    "adapter_answer": pl.String,
    "base_log_probability": LETTER_LOG_PROBABILITY,
    "adapter_log_probability": LETTER_LOG_PROBABILITY,
    "adapter_revision": pl.String,
    "base_model": pl.String,
    "base_revision": pl.String,
}

ADAPTER_SHADOW: Schema = {  # one row a recent clip, judged by base and adapter as `reason_outputs` would
    "video_id": pl.String,
    "clip_id": pl.String,
    "clip_sha256": pl.String,
    "base_outcome": pl.Enum(OUTCOMES),
    "base_severity": SEVERITY,
    "adapter_outcome": pl.Enum(OUTCOMES),
    "adapter_severity": SEVERITY,
    "max_probability_change": pl.Float64,  # of a severity's letter; null: letters are not read
    "adapter_revision": pl.String,
}

ADAPTER_PROMOTION: Schema = {  # one row a type of question; the last columns are the decision, the same in each row
    "question": pl.Enum(QUESTIONS),
    "clips": pl.Int64,
    "groups": pl.Int64,
    "majority_accuracy": pl.Float64,
    "base_accuracy": pl.Float64,
    "adapter_accuracy": pl.Float64,
    "gain": pl.Float64,  # adapter less base
    "gain_low": pl.Float64,  # cluster bootstrap over groups
    "gain_high": pl.Float64,
    "gain_over_majority": pl.Float64,
    "only_base_right": pl.Int64,
    "only_adapter_right": pl.Int64,
    "p_value": pl.Float64,  # exact McNemar, two-sided
    "changed_share": pl.Float64,  # of the answers
    "max_probability_change": pl.Float64,  # of a letter among the choices
    "finding": pl.Enum(["gain", "loss", "no difference shown"]),
    "adapter_revision": pl.String,
    "promoted": pl.Boolean,
    "reason": pl.String,
}
