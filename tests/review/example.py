"""Small clips, outputs and verdicts for the tests of labels and reviews."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.review.verdicts import Verdict

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
VIDEO = "drive-1-0a1b2c3d"


def at(minutes: float) -> datetime:
    """A time, in minutes after the first."""
    return START + timedelta(minutes=minutes)


def sha(clip_id: str) -> str:
    """A hash that tells its clip: the number of the clip, repeated."""
    return clip_id[-2:] * 32


def clip(number: int) -> str:
    """A clip's id."""
    return f"{VIDEO}-c{number:02d}"


def clip_table(*numbers: int, changed: tuple[int, ...] = ()) -> pl.DataFrame:
    """What `ground_truth` reads of the mined clips; the `changed` ones were cut anew."""
    rows = [
        {
            "video_id": VIDEO,
            "clip_id": clip(number),
            "clip_sha256": "ff" * 32 if number in changed else sha(clip(number)),
            "start_sec": 10.0 * number,
            "end_sec": 10.0 * number + 8.0,
        }
        for number in numbers
    ]
    return pl.DataFrame(rows)


def label_row(number: int, severity: str, frozen_minutes: float, origin: str = "label_file") -> dict[str, Any]:
    """A row of GROUND_TRUTH."""
    return dict.fromkeys(tables.GROUND_TRUTH) | {
        "video_id": VIDEO,
        "clip_id": clip(number),
        "clip_sha256": sha(clip(number)),
        "start_sec": 0.0,
        "end_sec": 8.0,
        "severity": severity,
        "labeller": "anna",
        "origin": origin,
        "label_set": "anna",
        "frozen_at": at(frozen_minutes),
    }


def verdict(number: int, kind: str, reviewer: str = "anna", **change: Any) -> Verdict:
    """A verdict on a clip that was shown as MEDIUM."""
    values: dict[str, Any] = {
        "video_id": VIDEO,
        "clip_id": clip(number),
        "clip_sha256": sha(clip(number)),
        "output_sha256": "ab" * 32,
        "shown_severity": "MEDIUM",
        "severity": None,
        "reviewer": reviewer,
        "time": at(60),
    }
    return Verdict(kind, **(values | change))
