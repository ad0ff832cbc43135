"""What people said of a video's clips, and what the review queue asks of them, for the clips' pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autorisk_dagster.reporting.dashboard.fleet_data import VideoTables
from autorisk_dagster.review.verdicts import Standing, Verdict, judged_outputs, standings

Row = dict[str, Any]
_OF_OUTPUT: Final = ("reason_outputs", "corrected_severities")


@dataclass(frozen=True)
class VideoReview:
    """The review of one video.

    Attributes:
        standings: what the reviewers say now, by clip
        queue: rows of REVIEW_QUEUE by clip; None: not made
        coverage: share of clips whose severity set shall hold the truth; None: the profile is no longer there
    """

    standings: Mapping[str, Standing]
    queue: Mapping[str, Row] | None
    coverage: float | None


def video_review(video: VideoTables, given: Sequence[Verdict], coverage: float | None) -> VideoReview:
    """The review of a video.

    Args:
        video: its tables
        given: verdicts of the review log on this video, in order
        coverage: of the profile's severity sets
    """
    clips = dict(video["mined_clips"].select("clip_id", "clip_sha256").iter_rows())
    judged = all(name in video for name in _OF_OUTPUT)
    outputs = judged_outputs(*(video[name] for name in _OF_OUTPUT)) if judged else {}
    queue = {row["clip_id"]: row for row in video["review_queue"].iter_rows(named=True)}
    return VideoReview(standings(given, clips, outputs), queue if "review_queue" in video else None, coverage)


def review_record(review: VideoReview, clip: Row, severity: str | None) -> Row:
    """What the page says of one clip's review.

    Args:
        review: of its video
        clip: its row of MINED_CLIPS
        severity: the final one now; None: not judged
    """
    standing = review.standings.get(clip["clip_id"])
    row = (review.queue or {}).get(clip["clip_id"])
    return {
        "queue": _queued(row, clip, severity, review.coverage),
        "queue_made": review.queue is not None,
        "verdicts": [_verdict(each, standing) for each in standing.latest] if standing else [],
        "label": standing.label if standing else None,
        "disputed": standing.disputed if standing else False,
        "clip_changed": standing.clip_changed if standing else False,
    }


def _queued(row: Row | None, clip: Row, severity: str | None, coverage: float | None) -> Row | None:
    if row is None:
        return None
    return {
        **{name: row[name] for name in ("position", "must_review", "reasons", "state", "set_calibrated")},
        "set": row["severity_set"],
        "coverage": coverage,
        "label_value": round(row["label_value"], 2) if row["label_value"] is not None else None,
        # The queue of an earlier output says nothing of this one.
        "of_this": (row["clip_sha256"], row["severity"]) == (clip["clip_sha256"], severity),
    }


def _verdict(each: Verdict, standing: Standing) -> Row:
    return {
        "verdict": each.verdict,
        "shown": each.shown_severity,
        "severity": each.label,
        "reviewer": each.reviewer,
        "time": each.time.isoformat(timespec="minutes"),
        "note": each.note,
        "output_changed": each.reviewer in standing.output_changed,
    }
