"""Gestures that a local tracker proposed and somebody recorded: a folder of JSON files with their frames or videos.

Each `*.json` holds `schemas/recorded_gesture.json`: what a request to the service holds, with the names of JPEG files
or of a video in place of the pictures, and the truth where it was labelled. Files are looked for in the folder only.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.verification.contract import Proposal, RefusedError, check_schema, load_schema, strict_object
from autorisk_dagster.verification.evidence import MAX_FRAME_BYTES, evidence_window
from autorisk_dagster.verification.figures import Figures, Judged, Outcome, figures
from autorisk_dagster.verification.gesture import gesture_proposal
from autorisk_dagster.verification.verifier import Verifier

RECORDED_SCHEMA = load_schema("recorded_gesture")

Row = dict[str, Any]


def verify_gestures(folder: Path, verifier: Verifier, concurrency: int = 4) -> pl.DataFrame:
    """A row of tables.GESTURE_VERDICTS for each `*.json` in `folder`, by name.

    A file that is no proposal, or whose pictures cannot be shown, is a row with outcome "failed" and the reason.

    Args:
        folder: of the recordings; one that does not exist holds none
        verifier: of the gesture contract
        concurrency: gestures asked about at once
    """
    with ThreadPoolExecutor(concurrency) as pool:
        rows = list(pool.map(lambda path: _verified(path, verifier), sorted(folder.glob("*.json"))))
    return tables.frame(rows, tables.GESTURE_VERDICTS)


def gate_figures(verdicts: pl.DataFrame) -> Figures:
    """Gestures carried out with and without the gate: with it, what the model confirmed."""
    rows = verdicts.select("outcome", "labelled_intentional").iter_rows()
    return figures(Judged(outcome, outcome == "confirmed", genuine) for outcome, genuine in rows)


def _verified(path: Path, verifier: Verifier) -> Row:
    row: Row = dict.fromkeys(tables.GESTURE_VERDICTS) | {
        "file_name": path.name,
        "event_id": path.stem,
        "outcome": "failed",
        "verifier": verifier.model,
        "contract_hash": verifier.contract.hash,
    }
    try:
        recorded, proposal = _proposal(path)
        row |= {
            "event_id": proposal.event_id,
            "proposed_intent": recorded["proposed_intent"],
            "local_confidence": recorded.get("local_confidence"),
            "labelled_intentional": recorded.get("intentional"),
        }
        frames = [] if verifier.client is None else _frames(path.parent, recorded)
    except InputError as error:
        return row | {"error": str(error)}
    verified = verifier.verify(proposal, frames)
    outcome: Outcome = "not_run" if verified.source == "stub" else "failed"
    heard: Row = {}
    if verified.source == "model":
        heard = verified.verdict
        outcome = "confirmed" if verifier.contract.confirms(heard) else "rejected"
    return row | {
        "outcome": outcome,
        "final_intent": verified.verdict["final_intent"],
        "reason_category": heard.get("reason_category"),
        "rationale": heard.get("rationale"),
        "stated_confidence": heard.get("confidence"),
        "error": verified.error,
    }


def _proposal(path: Path) -> tuple[Row, Proposal]:
    try:
        recorded = strict_object(path.read_bytes())
        check_schema(recorded, RECORDED_SCHEMA)
    except (RefusedError, RecursionError, OSError) as error:
        raise InputError(f"{path.name} is no recorded gesture: {error}") from error
    return recorded, gesture_proposal(recorded)


def _frames(folder: Path, recorded: Row) -> list[bytes]:
    if "video" in recorded:
        return list(evidence_window(_inside(folder, recorded["video"]), recorded["at_sec"]).frames)
    frames = []
    for name in recorded["frames"]:
        path = _inside(folder, name)
        if not path.is_file() or path.stat().st_size > MAX_FRAME_BYTES:
            raise InputError(f"{name} is no file of at most {MAX_FRAME_BYTES} bytes")
        data = path.read_bytes()
        if not data.startswith(b"\xff\xd8\xff"):
            raise InputError(f"{name} is no JPEG")
        frames.append(data)
    return frames


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f"{name!r} leaves the folder of the recordings")
    return path
