"""Near-miss events of one video, each shown to the verifier: rows of tables.VERIFIED_EVENTS.

Only the model's own verdict confirms or rejects an event. Where it was not heard the event is neither: "failed" or
"not_run", with the reason, and it stays an alarm, because a failure must not make a danger disappear. Tries and latency
are in the verifier's log, not here: the same verdicts are the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.kinematics.near_miss_v2 import VERSION
from autorisk_dagster.verification.evidence import EvidenceWindow, evidence_window
from autorisk_dagster.verification.figures import Figures, Judged, Outcome, figures
from autorisk_dagster.verification.near_miss import Box, near_miss_proposal
from autorisk_dagster.verification.verifier import Verified, Verifier

_EDGES = ("x1_px", "y1_px", "x2_px", "y2_px")

Row = dict[str, Any]


def verify_events(
    video_id: str,
    events: pl.DataFrame,
    tracks: pl.DataFrame,
    video: Path,
    frame_size: tuple[int, int],
    verifier: Verifier,
    concurrency: int = 4,
) -> pl.DataFrame:
    """A row of tables.VERIFIED_EVENTS for each event of near-miss profile v2, in their order.

    Args:
        video_id: of the video
        events: tables.NEAR_MISS_EVENTS
        tracks: tables.TRACKS of the same video
        video: its file
        frame_size: (width, height) of its frames in px
        verifier: of the near-miss contract
        concurrency: events asked about at once

    Raises:
        VideoError: the video cannot be read.
    """
    found = list(events.filter(pl.col("version") == VERSION).iter_rows(named=True))

    def one(event: Row) -> Row:
        try:
            window = _window(video, event, verifier)
        except InputError as error:
            return _row(event, "failed", verifier, error=str(error))
        boxes = _boxes(tracks, event)
        proposal = near_miss_proposal(video_id, event, boxes, frame_size, window.timestamps_sec)
        return _judged(event, verifier.verify(proposal, window.frames), len(window.frames), verifier)

    with ThreadPoolExecutor(concurrency) as pool:
        return tables.frame(list(pool.map(one, found)), tables.VERIFIED_EVENTS)


def alarm_figures(verified: pl.DataFrame) -> Figures:
    """Alarms with and without the verifier: with it, what the model rejected is none."""
    return figures(Judged(outcome, outcome != "rejected", None) for outcome in verified["outcome"])


def _window(video: Path, event: Row, verifier: Verifier) -> EvidenceWindow:
    if verifier.client is None:
        return EvidenceWindow((), ())  # nobody looks: no need to decode
    return evidence_window(video, event["timestamp_sec"])


def _boxes(tracks: pl.DataFrame, event: Row) -> Mapping[int, Box]:
    ids = [event[name] for name in ("object_id_1", "object_id_2") if event[name] is not None]
    at = tracks.filter((pl.col("frame_index") == event["frame_index"]) & pl.col("track_id").is_in(ids))
    return {row["track_id"]: tuple(row[edge] for edge in _EDGES) for row in at.iter_rows(named=True)}


def _judged(event: Row, verified: Verified, frames: int, verifier: Verifier) -> Row:
    if verified.source == "model":
        outcome: Outcome = "confirmed" if verifier.contract.confirms(verified.verdict) else "rejected"
        return _row(event, outcome, verifier, verified=verified, frames=frames)
    outcome = "not_run" if verified.source == "stub" else "failed"
    return _row(event, outcome, verifier, error=verified.error, verified=verified, frames=frames)


def _row(
    event: Row,
    outcome: Outcome,
    verifier: Verifier,
    *,
    error: str | None = None,
    verified: Verified | None = None,
    frames: int = 0,
) -> Row:
    heard = verified.verdict if verified is not None and verified.source == "model" else {}
    return {
        "event_id": event["event_id"],
        "version": event["version"],
        "actors": event["actors"],
        "timestamp_sec": event["timestamp_sec"],
        "risk_level": event["risk_level"],
        "outcome": outcome,
        "reason_category": heard.get("reason_category"),
        "rationale": heard.get("rationale"),
        "stated_confidence": heard.get("confidence"),
        "verifier": verifier.model,
        "contract_hash": verifier.contract.hash,
        "evidence_frames": frames,
        "error": error,
    }
