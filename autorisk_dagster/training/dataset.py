"""What an adapter learns from: labelled clips, asked three questions each, split so that no footage is on two sides.

The split is by group (`severity.groups`): clips of one drive, of one video that overlap or lie close together, and
here also clips whose files are the same byte for byte. Groups are dealt to `folds` parts with the severities spread as
evenly as whole groups allow, for blind labels and those from review apart (scikit-learn's StratifiedGroupKFold): the
first part is the test, the second the validation, the rest is trained on. The same labels and settings give the same
split. A reviewer saw what a model had said, so a label from review is learned from, but `held_out` does not hold it.

Not covered: two videos of one drive that nobody named, recorded by two cameras, are told from each other by nothing.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import dataclass
from typing import Any

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.reasoning.prompts import SYSTEM
from autorisk_dagster.severity.groups import clip_groups
from autorisk_dagster.training import questions

CLIP = ("video_id", "clip_id")


@dataclass(frozen=True)
class LabelledClips:
    """Clips with a label that counts, and the labels that do not.

    Attributes:
        clips: one row a clip: video_id, clip_id, clip_sha256, clip_path, start_sec, end_sec, drive, severity,
            origin
        not_counted: video_id, clip_id, reason
    """

    clips: pl.DataFrame
    not_counted: pl.DataFrame


def labelled_clips(ground_truth: pl.DataFrame, mined_clips: pl.DataFrame) -> LabelledClips:
    """The clips whose label was given to the very file that is there now.

    Args:
        ground_truth: tables.GROUND_TRUTH
        mined_clips: tables.MINED_CLIPS of all videos, with `video_id`

    Raises:
        InputError: two labels for one clip.
    """
    twice = ground_truth.filter(pl.struct(CLIP).is_duplicated())
    if twice.height:
        raise InputError(f"ground truth has two labels for {', '.join(sorted(set(twice['clip_id'])))}; keep one each")
    files = mined_clips.select(*CLIP, "clip_path", start_sec="start_sec", end_sec="end_sec", file_sha256="clip_sha256")
    labels = ground_truth.select(*CLIP, "clip_sha256", "drive", "severity", "origin")
    joined = labels.join(files, on=CLIP, how="left").with_columns(
        reason=pl.when(pl.col("severity").is_null())
        .then(pl.lit("no severity was given"))
        .when(pl.col("file_sha256").is_null())
        .then(pl.lit("the clip is not there"))
        .when(pl.col("clip_sha256").is_null() | (pl.col("clip_sha256") != pl.col("file_sha256")))
        .then(pl.lit("the label was given to another file of this name"))
    )
    counted = joined.filter(pl.col("reason").is_null()).sort("video_id", "start_sec", "clip_id")
    wanted = (*CLIP, "clip_sha256", "clip_path", "start_sec", "end_sec", "drive", "severity", "origin")
    return LabelledClips(
        counted.select(wanted), joined.filter(pl.col("reason").is_not_null()).select(*CLIP, "reason").sort(CLIP)
    )


def sft_dataset(clips: pl.DataFrame, *, folds: int, seed: int) -> pl.DataFrame:
    """Three questions a clip, split.

    Args:
        clips: as of `LabelledClips`
        folds: parts that the groups are dealt to, at least 3
        seed: of the deal

    Returns:
        tables.SFT_DATASET

    Raises:
        InputError: fewer groups than parts, or no severity with a clip for each part.
    """
    grouped = clips.with_columns(group=footage_groups(clips))
    rows = grouped.with_columns(split=_split(grouped, folds, seed)).to_dicts()
    samples = [
        row
        | {
            "sample_id": f"{row['clip_id']}-{asked.name}",
            "question": asked.name,
            "prompt": asked.prompt.user,
            "answer": asked.letter_of[row["severity"]],
        }
        for row in rows
        for asked in questions.ALL
    ]
    return tables.frame(samples, tables.SFT_DATASET)


def held_out(dataset: pl.DataFrame) -> pl.DataFrame:
    """The rows that an adapter is evaluated on: of the test part, those with a blind label."""
    return dataset.filter((pl.col("split") == "test") & (pl.col("origin") == "label_file"))


def footage_groups(clips: pl.DataFrame) -> pl.Series:
    """`severity.groups.clip_groups`, with groups that hold the same file made one; Int64, in the order of `clips`."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first: dict[tuple[str, Any], int] = {}
    links: list[tuple[int, int]] = []
    for row, (group, content) in enumerate(zip(clip_groups(clips), clips["clip_sha256"], strict=True)):
        links += [(first.setdefault(("group", group), row), row), (first.setdefault(("file", content), row), row)]
    if not links:
        return pl.Series("group", [], dtype=pl.Int64)
    one, other = np.array(links).T
    graph = coo_array((np.ones(len(links), bool), (one, other)), shape=(clips.height, clips.height))
    return pl.Series("group", connected_components(graph, directed=False)[1], dtype=pl.Int64)


def find_leaks(dataset: pl.DataFrame) -> list[str]:
    """Every way in which footage of one split is in another, in words; empty: none.

    Looks at drives, times and files anew and does not rely on the column `group`.
    """
    clips = dataset.unique(["split", *CLIP, "clip_sha256", "group"], maintain_order=True)
    found = []
    for what, column in (
        ("group", clips["group"]),
        ("file", clips["clip_sha256"]),
        ("drive or scene", clip_groups(clips)),
    ):
        sides = clips.with_columns(key=column).drop_nulls("key").group_by("key", maintain_order=True)
        for _, members in sides:
            splits = members["split"].unique(maintain_order=True)
            if len(splits) > 1:
                named = ", ".join(f"{row['clip_id']} ({row['split']})" for row in members.to_dicts()[:4])
                found.append(f"one {what} in {' and '.join(splits)}: {named}")
    return found


def refuse_leaks(dataset: pl.DataFrame) -> None:
    """Nothing, where the splits share no footage.

    Raises:
        InputError: they do; the first leaks are named.
    """
    leaks = find_leaks(dataset)
    if leaks:
        raise InputError(
            f"the dataset leaks ({len(leaks)} times): {'; '.join(leaks[:3])}. Materialise sft_dataset again; "
            "nothing is trained or evaluated on a leaking split"
        )


def data_hash(dataset: pl.DataFrame) -> str:
    """16 hex digits over what is learned and tested: files, questions, answers and splits, in any order of rows."""
    rows = dataset.select("split", "clip_sha256", "question", "prompt", "answer").sort(pl.all()).rows()
    return hashlib.sha256(json.dumps([SYSTEM, rows]).encode()).hexdigest()[:16]


def conversations(dataset: pl.DataFrame, split: str) -> list[dict[str, Any]]:
    """One split in LLaVA's form, with the hash of each video file beside its path in the media store."""
    return [
        {
            "id": row["sample_id"],
            "video": row["clip_path"],
            "video_sha256": row["clip_sha256"],
            "system": SYSTEM,
            "conversations": [
                {"from": "human", "value": f"<video>\n{row['prompt']}"},
                {"from": "gpt", "value": row["answer"]},
            ],
        }
        for row in dataset.filter(pl.col("split") == split).iter_rows(named=True)
    ]


def _split(clips: pl.DataFrame, folds: int, seed: int) -> pl.Series:
    from sklearn.model_selection import StratifiedGroupKFold

    groups = clips["group"].n_unique()
    if groups < folds:
        raise InputError(
            f"{clips.height} labelled clips lie in {groups} groups that share no footage; training.folds is {folds}. "
            "Label clips of more drives, or lower training.folds"
        )
    strata = clips.select(pl.concat_str(pl.col("severity", "origin").cast(pl.String), separator=" ")).to_series()
    most = strata.value_counts()["count"].max()
    if most is None or int(str(most)) < folds:
        raise InputError(
            f"no severity has {folds} labelled clips of one origin, one for each part (training.folds); label more "
            "clips, or lower training.folds"
        )
    dealer = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    split = ["train"] * clips.height
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # told by the counts of each split
        parts = [test for _, test in dealer.split(strata, strata, clips["group"].to_numpy())]
    for name, part in (("test", parts[0]), ("validation", parts[1])):
        for row in part:
            split[row] = name
    return pl.Series("split", split)
