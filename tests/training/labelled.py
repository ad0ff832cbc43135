"""Labelled clips for the tests of the training package: tables as the stages before it would write them."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import polars as pl

from autorisk_dagster import tables
from tests.reporting.example import clip_row

WHEN = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def label(video: str, number: int, severity: str | None, **changes: Any) -> dict[str, Any]:
    """A row of GROUND_TRUTH: clip `number` of `video`, one minute after the one before."""
    clip_id = f"{video}-c{number:02d}"
    return dict.fromkeys(tables.GROUND_TRUTH) | {
        "video_id": video,
        "clip_id": clip_id,
        "clip_sha256": sha(clip_id),
        "start_sec": 60.0 * number,
        "end_sec": 60.0 * number + 4,
        "severity": severity,
        "labeller": "analyst",
        "origin": "label_file",
        "labelled_at": WHEN,
        **changes,
    }


def mined(labels: list[dict[str, Any]]) -> pl.DataFrame:
    """MINED_CLIPS over all videos that hold the labelled clips, each its own video's file."""
    rows = [
        clip_row(1, row["start_sec"], row["end_sec"], row["start_sec"] + 1, row["clip_sha256"])
        | {"clip_id": row["clip_id"], "clip_path": f"{row['video_id']}/clips/{row['clip_id']}.mp4"}
        for row in labels
    ]
    table = tables.frame(rows, tables.MINED_CLIPS)
    return table.select(pl.Series("video_id", [row["video_id"] for row in labels], pl.String), pl.all())


def truth(labels: list[dict[str, Any]]) -> pl.DataFrame:
    return tables.frame(labels, tables.GROUND_TRUTH)
