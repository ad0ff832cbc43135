"""The labelled clips with everything the evaluation reads: one row a label that counts.

The join of labels and outputs, and which labels count, is `severity.labelled`; here the corrected severity, the signals
and the words are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.severity.groups import clip_groups
from autorisk_dagster.severity.labelled import KEY, judged_clips

PLAIN_RULE_SET: Final = "seed"


@dataclass(frozen=True)
class EvaluatedClips:
    """Attributes:
    table: one row a label that counts, by video and time, with `label_origin`, `label`, `outcome`, `raw_severity`,
        `severity`, `rule`, `rule_set`, `group`, the letters' probabilities, signals, times to contact and words
    set_aside: `video_id`, `clip_id` and `reason` of every label that does not count
    learned: clips whose severity was corrected by thresholds that were learned from labels
    """

    table: pl.DataFrame
    set_aside: pl.DataFrame
    learned: int

    def said(self) -> dict[str, int | dict[str, int]]:
        """What an asset says of the labels in its metadata."""
        return {
            "labels": self.table.height + self.set_aside.height,
            "labels_counted": self.table.height,
            "labels_by_origin": counts(self.table["label_origin"]),
            "labels_set_aside": counts(self.set_aside["reason"]),
            "independent_groups": self.table["group"].n_unique(),
            "judges": counts(self.table["judge"]),
        }

    def warnings(self) -> list[str]:
        """What a reader of any figure must know, in sentences."""
        judges = self.table["judge"].n_unique()
        found = []
        if judges > 1:
            found.append(f"pools {judges} reasoners (models, prompts or adapters)")
        if self.learned:
            found.append(
                f"{self.learned} clips were corrected by thresholds learned from labels: held-out figures are in "
                "correction_parameters"
            )
        return found


def evaluated_clips(
    ground_truth: pl.DataFrame,
    reason_outputs: pl.LazyFrame,
    corrected_severities: pl.LazyFrame,
    clip_ttc: pl.LazyFrame,
    mined_clips: pl.LazyFrame,
) -> EvaluatedClips:
    """Join the labels with a fleet's tables (those carry `video_id`, as `FleetTable.rows` does)."""
    found = judged_clips(ground_truth, reason_outputs, clip_ttc, mined_clips)
    keys = found.table.select(KEY).lazy()
    scores = [f"{signal}_score" for signal in tables.SIGNALS]
    mined = mined_clips.select(*KEY, *scores, "clip_path").join(keys, on=KEY, how="semi").collect()
    said = reason_outputs.select(*KEY, "causal_reasoning").join(keys, on=KEY, how="semi").collect()
    corrected = (
        corrected_severities.select(*KEY, "severity", "rule", "rule_set", "ttc_read_sec", "fused_read")
        .join(keys, on=KEY, how="semi")
        .collect()
    )
    table = (
        found.table.join(corrected, on=KEY, how="left")
        .join(mined, on=KEY, how="left")
        .join(said, on=KEY, how="left")
        .with_columns(label_origin=pl.col("origin").cast(pl.Enum(tables.LABEL_ORIGINS)))
        .sort("video_id", "start_sec", "clip_id")
    )
    learned = table.filter(pl.col("rule_set") != PLAIN_RULE_SET).height
    return EvaluatedClips(table, found.set_aside, learned)


def answered_clips(reason_outputs: pl.LazyFrame, mined_clips: pl.LazyFrame) -> pl.DataFrame:
    """Every clip that was judged from the file that is mined now, with its words, signals and `group`.

    Which drive a video belongs to is known of labelled clips only: groups are formed by video and time.
    """
    answers = reason_outputs.select(*KEY, "outcome", "hazards", "causal_reasoning", "clip_sha256")
    scores = [f"{signal}_score" for signal in tables.SIGNALS]
    mined = mined_clips.select(*KEY, "clip_sha256", "start_sec", "end_sec", *scores)
    joined = answers.join(mined, on=[*KEY, "clip_sha256"], how="inner").sort(*KEY).collect()
    return joined.with_columns(clip_groups(joined.with_columns(drive=pl.lit(None, pl.String))))


def counts(values: pl.Series) -> dict[str, int]:
    """How often each value occurs, the commonest first."""
    found = (
        values.drop_nulls().value_counts(sort=True, name="count").sort(["count", values.name], descending=[True, False])
    )
    return {str(value): count for value, count in found.iter_rows()}
