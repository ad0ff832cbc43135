"""What the dashboard is made of, read video by video so that memory does not grow with the fleet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.profile import CorrectionSettings
from autorisk_dagster.reporting.text_embeddings import Embedder
from autorisk_dagster.review.verdicts import Verdict

PER_VIDEO = (
    "source_video",
    "mined_clips",
    "shareable_clips",
    "clip_ttc",
    "tracks",
    "near_miss_events",
    "verified_events",
    "reason_outputs",
    "explanation_checklist",
    "saliency_maps",
    "corrected_severities",
    "severity_ranking",
    "review_queue",
    "predict_videos",
    "counterfactuals",
)
FLEET_WIDE = (
    "ground_truth",
    "correction_parameters",
    "eval_metrics",
    "error_analysis",
    "calibration",
    "grounding_metrics",
    "signal_metrics",
    "ablation",
)

Writing = Callable[[str], AbstractContextManager[Path]]  # a temporary path that becomes the named file, or nothing


class TableStore(Protocol):
    """Where tables come from; None where there is none."""

    def read(self, asset: str, partition: str | None = None) -> pl.DataFrame | None:
        """The table of an asset, or of one video."""


@dataclass(frozen=True)
class PipelineNode:
    """One asset of the graph, with what was made of it.

    Attributes:
        made: videos that have it; of an unpartitioned asset 1 or 0
        of: videos there are; 1 of an unpartitioned asset
    """

    name: str
    group: str
    parents: tuple[str, ...]
    made: int
    of: int
    per_video: bool


@dataclass(frozen=True)
class FleetData:
    """The fleet as the dashboard reads it.

    Attributes:
        video_ids: registered videos, processed or not
        store: their tables
        media_exists: whether a file lies in the media store, by its relative path
        pipeline: the graph with its counts; empty: not known
        rules: the correction rules' thresholds by profile
        set_coverage: share of clips whose severity set shall hold the truth, by profile
        verdicts: of the review log, in order
        embedder: for clips of like meaning; None: no model is configured
        generated_at: date and time to print
    """

    video_ids: Sequence[str]
    store: TableStore
    media_exists: Callable[[str], bool]
    pipeline: Sequence[PipelineNode]
    rules: Mapping[str, CorrectionSettings]
    set_coverage: Mapping[str, float]
    verdicts: Sequence[Verdict]
    embedder: Embedder | None
    generated_at: str


@dataclass
class VideoTables:
    """The tables of one video. `missing` names those that were never made, `stale` those of another version."""

    video_id: str
    found: dict[str, pl.DataFrame]
    missing: list[str]
    stale: list[str]

    def __getitem__(self, asset: str) -> pl.DataFrame:
        """The table, or one without rows."""
        return self.found[asset] if asset in self.found else tables.empty(tables.TABLES[asset])

    def __contains__(self, asset: str) -> bool:
        return asset in self.found


def read_video(store: TableStore, video_id: str) -> VideoTables:
    """All tables of one video. One whose columns are of another version is left out and named as stale."""
    video = VideoTables(video_id, {}, [], [])
    for asset in PER_VIDEO:
        table = store.read(asset, video_id)
        if table is None:
            video.missing.append(asset)
        elif dict(table.schema) != tables.TABLES[asset]:
            video.stale.append(asset)
        else:
            video.found[asset] = table
    return video


def read_fleet_wide(store: TableStore) -> tuple[dict[str, pl.DataFrame], list[str]]:
    """The unpartitioned tables there are, and the names of those of another version."""
    found, stale = {}, []
    for asset in FLEET_WIDE:
        table = store.read(asset)
        if table is None:
            continue
        if dict(table.schema) != tables.TABLES[asset]:
            stale.append(asset)
        else:
            found[asset] = table
    return found, stale
