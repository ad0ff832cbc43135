"""What people said of a video's clips, and what the policy still wants looked at before the pack leaves.

The policy's reasons come from `review_queue`, which reads the final severity; whether a clip is reviewed comes from the
review log itself, so that a verdict given after the queue was made counts, and one on another output does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from autorisk_dagster.audit.trace import not_run
from autorisk_dagster.errors import InputError
from autorisk_dagster.review.log import ReviewLog
from autorisk_dagster.review.verdicts import Standing, judged_outputs, standings, verdicts


@dataclass(frozen=True)
class Review:
    """The state of review of one video.

    Attributes:
        outcome: of `tables.PACK_REVIEWS`
        unreviewed: clips that the policy wants reviewed and that are not, each with the policy's reasons
        clips: what the trace says of each clip: `wanted_by_policy` (reasons why it still must be reviewed) and the
            verdicts
        log: where the review log ends, which pins it against a change of its past; or `not_run`
    """

    outcome: str
    unreviewed: Mapping[str, Sequence[str]]
    clips: Mapping[str, Mapping[str, Any]]
    log: Mapping[str, Any]


def review_state(log: ReviewLog, tables: Mapping[str, pl.DataFrame]) -> Review:
    """The state of review of a video.

    Raises:
        InputError: the log was tampered with, or the review queue is of other outputs than there are now.
    """
    facts = tables["mined_clips"].select("clip_id", "clip_sha256")
    records = log.records()
    found = standings(
        verdicts(records),
        dict(facts.iter_rows()),
        judged_outputs(tables["reason_outputs"], tables["corrected_severities"]),
    )
    unreviewed = _unreviewed(tables, found)
    outcome = "not_run" if unreviewed is None else "unreviewed" if unreviewed else "complete"
    head = log.head() if records else None
    return Review(
        outcome,
        unreviewed or {},
        {clip: {"wanted_by_policy": _wanted(unreviewed, clip), **_told(found.get(clip))} for clip in facts["clip_id"]},
        {"records": head.records, "sha256": head.sha256} if head else not_run("the review log is empty"),
    )


def _unreviewed(tables: Mapping[str, pl.DataFrame], found: Mapping[str, Standing]) -> dict[str, list[str]] | None:
    """Clips that must be reviewed and are not, with the reasons; None where no queue says which."""
    queue = tables.get("review_queue")
    if queue is None:
        return None
    severity = dict(tables["corrected_severities"].select("clip_id", "severity").iter_rows())
    digest = dict(tables["mined_clips"].select("clip_id", "clip_sha256").iter_rows())
    missing: dict[str, list[str]] = {}
    if set(queue["clip_id"]) != set(digest):
        raise InputError("review_queue is of other clips than there are now; make review_queue again")
    for row in queue.iter_rows(named=True):
        clip = row["clip_id"]
        if (row["severity"], row["clip_sha256"]) != (severity[clip], digest[clip]):
            raise InputError(f"review_queue is of another {clip} than there is now; make review_queue again")
        standing = found.get(clip)
        if row["must_review"] and (standing is None or standing.stale or standing.disputed):
            missing[clip] = list(row["reasons"])
    return missing


def _wanted(unreviewed: Mapping[str, Sequence[str]] | None, clip: str) -> Any:
    return not_run("there is no review_queue of this video") if unreviewed is None else list(unreviewed.get(clip, ()))


def _told(standing: Standing | None) -> dict[str, Any]:
    if standing is None:
        return not_run("nobody reviewed this clip")
    return {
        "label": standing.label,
        "stale": standing.stale,
        "disputed": standing.disputed,
        "verdicts": [verdict.record() | {"record_sha256": verdict.record_sha256} for verdict in standing.latest],
    }
