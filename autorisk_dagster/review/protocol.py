"""The label protocol: a label judges an output only if it was frozen before that output was first made.

Source: seed 000, "Ground Truth Protocol": clips first, labels blind to model output, frozen before inference, then
compared. An output here is a clip's answer by one model, adapter and prompt with one severity. It counts as known from
the first time it was ever stored: an answer that is made again after the labels were frozen is the same answer.

What a label may be used for, its standing towards the outputs that exist now:

- `blind`: from a label file frozen before the output was first made. Evaluation may use it.
- `late`: from a label file frozen when the output existed already. It judges nothing; an evaluation with it fails.
- `saw_output`: from a review. The reviewer saw a prediction; it is for training and correction, never for evaluation.
- `time_unknown`: nothing tells when the output was first made. Treated like `late`.
- `no_output`: the clip has no output yet, so there is nothing to judge.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

import polars as pl

STANDINGS = ("blind", "late", "saw_output", "time_unknown", "no_output")
# What makes an output another one. Its words are not in it: the same severity said anew is no new prediction.
OUTPUT_FIELDS = (
    "clip_sha256",
    "outcome",
    "severity",
    "reasoner",
    "model_id",
    "model_revision",
    "adapter",
    "prompt_hash",
)


def output_digests(reason_outputs: pl.DataFrame) -> dict[str, str]:
    """SHA-256 of each output's identity (tables.REASON_OUTPUTS), by the SHA-256 of the clip it judges."""
    rows = reason_outputs.select(OUTPUT_FIELDS).iter_rows(named=True)
    return {row["clip_sha256"]: canonical_sha256(row) for row in rows if row["clip_sha256"] is not None}


def canonical_json(values: object) -> str:
    """A JSON value in one spelling: keys sorted, no spaces, ASCII."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical_sha256(values: object) -> str:
    """SHA-256 of `canonical_json`: the same whatever the order of keys."""
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


def label_standing(ground_truth: pl.DataFrame, first_made: dict[str, datetime | None]) -> pl.DataFrame:
    """`ground_truth` (tables.GROUND_TRUTH) with the columns `output_first_made_at` and `standing` behind it.

    Args:
        first_made: by `clip_sha256` of every clip that has an output now, when that output was first stored (aware);
            None where nothing tells
    """
    made = [first_made.get(clip) for clip in ground_truth["clip_sha256"]]
    standing = [
        _standing(origin, frozen_at, clip in first_made, at)
        for origin, frozen_at, clip, at in zip(
            ground_truth["origin"], ground_truth["frozen_at"], ground_truth["clip_sha256"], made, strict=True
        )
    ]
    return ground_truth.with_columns(
        pl.Series("output_first_made_at", made, pl.Datetime("us", "UTC")),
        pl.Series("standing", standing, pl.Enum(STANDINGS)),
    )


def _standing(origin: str, frozen_at: datetime | None, has_output: bool, made_at: datetime | None) -> str:
    if origin == "review":
        return "saw_output"
    if not has_output:
        return "no_output"
    if made_at is None:
        return "time_unknown"
    return "blind" if frozen_at is not None and frozen_at < made_at else "late"


@dataclass(frozen=True)
class ProtocolFinding:
    """Whether labels may judge the outputs.

    Attributes:
        passed: no label of a label file is late or of unknown time; labels from review are left out, not late
        counts: labels by standing, every standing named
        late: the labels that break the protocol: clip_id, label_set, labeller, both times, standing
    """

    passed: bool
    counts: dict[str, int]
    late: pl.DataFrame


def labels_frozen_before_outputs(ground_truth: pl.DataFrame, first_made: dict[str, datetime | None]) -> ProtocolFinding:
    """Hold labels to the protocol; arguments as `label_standing`."""
    standing = label_standing(ground_truth, first_made)
    counts = {name: int((standing["standing"] == name).sum()) for name in STANDINGS}
    late = standing.filter(pl.col("standing").is_in(["late", "time_unknown"])).select(
        "clip_id", "label_set", "labeller", "frozen_at", "output_first_made_at", "standing"
    )
    return ProtocolFinding(late.is_empty(), counts, late)


def labels_for_evaluation(ground_truth: pl.DataFrame, first_made: dict[str, datetime | None]) -> pl.DataFrame:
    """The rows of `ground_truth` that may judge the outputs that exist now: `blind` ones; arguments as above."""
    standing = label_standing(ground_truth, first_made)
    return standing.filter(pl.col("standing") == "blind").select(ground_truth.columns)
