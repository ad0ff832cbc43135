"""The judged clips that a person has labelled: the one frame that search, calibration and metrics share.

A label is bound to the file that was watched. It counts where that file is the clip there is now and the one that was
judged (SHA-256 of all three); every other label is set aside with the reason, never silently.

Labels given in review were made with the output in sight, on clips that the queue chose: they say nothing of how good
the judge is on clips as they come. The column `origin` tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from autorisk_dagster.errors import InputError
from autorisk_dagster.severity.correction import QUANTITIES_OF_RULE_SET
from autorisk_dagster.severity.groups import clip_groups
from autorisk_dagster.severity.search import LabelledClips

KEY: Final = ("video_id", "clip_id")
JUDGE: Final = ("reasoner", "model_id", "model_revision", "adapter", "prompt_hash")
"""A judge is all that makes two answers comparable: thresholds and limits learned on one say nothing of another."""
_OF_LABEL = ("clip_sha256", "start_sec", "end_sec", "drive", "origin", "labeller", "frozen_at")
_OF_JUDGEMENT = ("outcome", *JUDGE, "votes", "letter_log_probability", "confidence")
_OF_TTC = ("min_ttc_sec", "min_area_tau_sec", "critical_tracks")
_OF_MINING = ("fused_score", "fused_score_seed")


@dataclass(frozen=True)
class JudgedClips:
    """Labels joined with what was said and measured.

    Attributes:
        table: one row a clip whose label counts, by video and start: `video_id`, `clip_id`, `clip_sha256`, `start_sec`,
            `end_sec`, `drive`, `origin`, `labeller`, `frozen_at` of the label, `label` (the true severity),
            `raw_severity` (null: not judged), `judge` and what it is made of, `outcome`, `votes`,
            `letter_log_probability`, `confidence`, the quantities of `clip_ttc` and `mined_clips` that rules and
            evaluation read (null: not measured), and `group` of `clip_groups`
        set_aside: `video_id`, `clip_id` and `reason` of every label that does not count
    """

    table: pl.DataFrame
    set_aside: pl.DataFrame


def judged_clips(
    ground_truth: pl.DataFrame,
    reason_outputs: pl.LazyFrame,
    clip_ttc: pl.LazyFrame,
    mined_clips: pl.LazyFrame,
) -> JudgedClips:
    """Join the labels with a fleet's tables (those carry `video_id`, as `FleetTable.rows` does).

    Groups are formed over all labels that count, whoever judged them.

    Raises:
        InputError: a clip with two labels, or that occurs twice in a table.
    """
    _once("ground_truth", ground_truth)
    keys = ground_truth.select(KEY).lazy()
    judged = _collected("reason_outputs", reason_outputs, keys, "clip_sha256", "severity", *_OF_JUDGEMENT)
    ttc = _collected("clip_ttc", clip_ttc, keys, *_OF_TTC)
    mined = _collected("mined_clips", mined_clips, keys, "clip_sha256", *_OF_MINING)
    joined = (
        ground_truth.select(*KEY, *_OF_LABEL, pl.col("severity").alias("label"))
        .join(mined.rename({"clip_sha256": "mined_sha256"}), on=KEY, how="left")
        .join(judged.rename({"clip_sha256": "judged_sha256", "severity": "raw_severity"}), on=KEY, how="left")
        .join(ttc, on=KEY, how="left")
        .with_columns(
            judge=judge_name(),
            reason=pl.when(pl.col("label").is_null())
            .then(pl.lit("the label names no severity"))
            .when(pl.col("mined_sha256").is_null())
            .then(pl.lit("there is no such clip now"))
            .when(pl.col("mined_sha256") != pl.col("clip_sha256"))
            .then(pl.lit("the clip is another file now than the one that was labelled"))
            .when(pl.col("judged_sha256").is_null())
            .then(pl.lit("the clip was not judged yet"))
            .when(pl.col("judged_sha256") != pl.col("clip_sha256"))
            .then(pl.lit("another file was judged than the one that was labelled")),
        )
        .sort("video_id", "start_sec", "clip_id")
    )
    counts = joined.filter(pl.col("reason").is_null()).drop("mined_sha256", "judged_sha256", "reason")
    return JudgedClips(
        counts.with_columns(clip_groups(counts)),
        joined.filter(pl.col("reason").is_not_null()).select(*KEY, "reason"),
    )


def judge_name() -> pl.Expr:
    """The judge of a row of `reason_outputs`, in one string."""
    return pl.concat_str([pl.col(name).fill_null("-") for name in JUDGE], separator=" | ").alias("judge")


def for_search(table: pl.DataFrame, rule_set: str = "seed") -> LabelledClips:
    """Rows of `JudgedClips.table` as the rule search takes them, with the quantities that the rule set reads."""
    ttc, fused = QUANTITIES_OF_RULE_SET[rule_set]
    return LabelledClips(
        label=table["label"].to_list(),
        severity=table["raw_severity"].to_list(),
        min_ttc_sec=table[ttc].to_list(),
        fused_score=table[fused].to_list(),
        critical_tracks=table["critical_tracks"].to_list(),
    )


def _collected(name: str, rows: pl.LazyFrame, keys: pl.LazyFrame, *columns: str) -> pl.DataFrame:
    table = rows.select(*KEY, *columns).join(keys, on=KEY, how="semi").collect()
    _once(name, table)
    return table


def _once(name: str, table: pl.DataFrame) -> None:
    twice = table.filter(pl.struct(KEY).is_duplicated()).select(KEY).unique().sort(KEY).rows()
    if twice:
        clips = ", ".join(f"{clip} of {video}" for video, clip in twice)
        raise InputError(f"{name} has more than one row for {clips}: every clip must occur once")
