"""What a report is made of: the tables of one video, its settings, its media, and what else made the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.profile import Profile


@dataclass(frozen=True)
class ClipMedia:
    """Files of one clip that go into the report.

    Attributes:
        thumbnail_jpeg: picture of the peak
        original: the evidence file, H.264 MP4
        annotated: the copy with boxes drawn in, H.264 MP4
    """

    thumbnail_jpeg: bytes
    original: Path | None
    annotated: Path | None


@dataclass(frozen=True)
class ReportData:
    """What a report is made of. Tables are those of `autorisk_dagster.tables`, of one video.

    Attributes:
        video: one row of SOURCE_VIDEO
        profile: the settings that were used
        scores: one row a window: start_sec, end_sec, audio_score, motion_score, proximity_score, fused_score
        media: files by clip id
        provenance: what else made the result, by name: detector model and revision, package versions, run id
        generated_at: date and time to print
    """

    video: Mapping[str, Any]
    profile: Profile
    scores: pl.DataFrame
    frame_signals: pl.DataFrame
    tracks: pl.DataFrame
    mined_clips: pl.DataFrame
    clip_ttc: pl.DataFrame
    near_miss_events: pl.DataFrame
    reason_outputs: pl.DataFrame
    corrected_severities: pl.DataFrame
    severity_ranking: pl.DataFrame
    generated_at: str
    media: Mapping[str, ClipMedia] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown_near_misses(self) -> pl.DataFrame:
        """The events that the report is about, in time order; of the other version it gives the number only."""
        return self.near_miss_events.filter(pl.col("version") == tables.NEAR_MISS_SHOWN).sort("timestamp_sec")
