"""Base against adapter: held-out questions by their letters' probability, recent clips as `reason_outputs` judges.

One model is loaded, with the adapter laid over it; the base is the same weights with the adapter switched off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.profile import TrainingSettings
from autorisk_dagster.reasoning.clip_judge import Clip, ClipJudge
from autorisk_dagster.reasoning.local_vlm import LocalModel
from autorisk_dagster.reasoning.prompts import LETTERS
from autorisk_dagster.training.dataset import held_out
from autorisk_dagster.training.questions import prompt_of, question
from autorisk_dagster.training.samples import Sample, spread_frames

Letters = dict[str, float]


def letter_log_probabilities(model: LocalModel, sample: Sample, settings: TrainingSettings) -> Letters:
    """Natural log-probability of each of A to D as the answer's first token, shown the frames of training."""
    frames = spread_frames(sample.clip, sample.duration_sec, settings.frames, settings.max_pixels)
    read = model.letters_of(frames, prompt_of(sample.prompt)).log_probability
    return {letter: read[severity] for letter, severity in LETTERS.items()}


def evaluated(
    model: LocalModel,
    dataset: pl.DataFrame,
    samples: Mapping[str, Sample],
    settings: TrainingSettings,
    report: Callable[[float], None],
) -> pl.DataFrame:
    """Both answers to every held-out question.

    Args:
        model: with the adapter over it
        dataset: tables.SFT_DATASET
        samples: of the rows that are `held_out`, by `sample_id`
        settings: how clips are shown
        report: called with the questions done

    Returns:
        the columns of tables.ADAPTER_EVALUATION from `sample_id` to `adapter_log_probability`
    """
    common = majority_answers(dataset)
    rows: list[dict[str, Any]] = []
    for row in held_out(dataset).iter_rows(named=True):
        sample, choices = samples[row["sample_id"]], question(row["question"]).letters
        with_adapter = letter_log_probabilities(model, sample, settings)
        with model.network.disable_adapter():
            base = letter_log_probabilities(model, sample, settings)
        rows.append(
            {name: row[name] for name in ("sample_id", "video_id", "clip_id", "clip_sha256", "group", "question")}
            | {
                "answer": row["answer"],
                "majority_answer": common[row["question"]],
                "base_answer": max(choices, key=base.__getitem__),
                "adapter_answer": max(choices, key=with_adapter.__getitem__),
                "base_log_probability": {letter: base[letter] if letter in choices else None for letter in "ABCD"},
                "adapter_log_probability": {
                    letter: with_adapter[letter] if letter in choices else None for letter in "ABCD"
                },
            }
        )
        report(float(len(rows)))
    wanted = list(tables.ADAPTER_EVALUATION)
    known = wanted[: wanted.index("adapter_log_probability") + 1]
    return tables.frame(rows, {name: tables.ADAPTER_EVALUATION[name] for name in known})


def majority_answers(dataset: pl.DataFrame) -> dict[str, str]:
    """The commonest answer of the training clips to each question; the first letter of several."""
    train = dataset.filter(pl.col("split") == "train")
    counts = train.group_by("question", "answer").len().sort("len", "answer", descending=[True, False])
    return {str(name): str(answer) for name, answer, _ in reversed(counts.rows())}  # the commonest comes last and stays


def shadowed(judge: ClipJudge, clips: Sequence[tuple[str, Clip]], report: Callable[[float], None]) -> pl.DataFrame:
    """What base and adapter say to the same clips, asked as `reason_outputs` asks.

    Args:
        judge: its model has the adapter over it
        clips: video and clip
        report: called with the clips done

    Returns:
        the columns of tables.ADAPTER_SHADOW but `adapter_revision`
    """
    network = judge.local_model().network
    rows: list[dict[str, Any]] = []
    for video_id, clip in clips:
        adapted = judge.judge(clip, "shadow")
        with network.disable_adapter():
            base = judge.judge(clip, "shadow")
        rows.append(
            {
                "video_id": video_id,
                "clip_id": clip.clip_id,
                "clip_sha256": clip.sha256,
                "base_outcome": base["outcome"],
                "base_severity": base["severity"],
                "adapter_outcome": adapted["outcome"],
                "adapter_severity": adapted["severity"],
                "max_probability_change": _largest_change(
                    base["letter_log_probability"], adapted["letter_log_probability"]
                ),
            }
        )
        report(float(len(rows)))
    return tables.frame(
        rows, {name: kind for name, kind in tables.ADAPTER_SHADOW.items() if name != "adapter_revision"}
    )


def shares(log_probability: Mapping[str, float | None]) -> dict[str, float]:
    """Each choice's share of the choices' probability together; those that are None are no choices."""
    known = {name: value for name, value in log_probability.items() if value is not None}
    top = max(known.values())
    weights = {name: math.exp(value - top) for name, value in known.items()}
    return {name: weight / math.fsum(weights.values()) for name, weight in weights.items()}


def _largest_change(base: Mapping[str, float] | None, adapted: Mapping[str, float] | None) -> float | None:
    if base is None or adapted is None:
        return None
    before, after = shares(base), shares(adapted)
    return max(abs(after[name] - before[name]) for name in before)
