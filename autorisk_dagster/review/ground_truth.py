"""Ground truth: which labels count, one a clip, and why the others do not.

Blind labels of frozen sets come first. Labellers who agree on a clip make one label; where they do not, the clip has no
label until a set called `adjudicated` says which it is. Verdicts of reviewers fill in where there is no blind label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from itertools import combinations
from typing import Any, Final

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.review.label_sets import Freezing, LabelSet
from autorisk_dagster.review.verdicts import Standing

ADJUDICATED: Final = "adjudicated"
LEFT_OUT: Final = {"clip_id": pl.String, "source": pl.String, "severity": pl.String, "reason": pl.String}

Row = dict[str, Any]


@dataclass(frozen=True)
class GroundTruth:
    """The labels that count (tables.GROUND_TRUTH), those that do not with the reason (LEFT_OUT), and the agreement of
    each two labellers on the clips that both labelled."""

    table: pl.DataFrame
    left_out: pl.DataFrame
    agreement: pl.DataFrame


def collect(
    sets: Iterable[LabelSet], frozen: Mapping[str, Freezing], reviews: Iterable[Standing], clips: pl.DataFrame
) -> GroundTruth:
    """Take the labels together.

    Args:
        sets: every label file
        frozen: the freezings that the review log holds; a sidecar that says otherwise does not count
        reviews: `verdicts.standings` of the review log
        clips: tables.MINED_CLIPS with `video_id`, of all videos
    """
    known = {row["clip_id"]: row for row in clips.iter_rows(named=True)}
    left_out: list[Row] = []
    blind: dict[str, list[Row]] = {}
    for each in sets:
        freezing = _freezing(each, frozen)
        for label in each.table.iter_rows(named=True):
            clip_id = label["clip_id"]
            usable = freezing if isinstance(freezing, str) else _watched(clip_id, freezing, known)
            if isinstance(usable, str):
                left_out.append(_left(clip_id, each.name, label["severity"], usable))
            else:
                blind.setdefault(clip_id, []).append(_blind_row(label, each, usable, known[clip_id]))
    rows: dict[str, Row] = {}
    for clip_id, labels in blind.items():
        one = _one(labels)
        if one is not None:
            rows[clip_id] = one
        else:
            told = ", ".join(f"{label['labeller']} {label['severity']}" for label in labels)
            reason = f"labellers disagree ({told}); a label set {ADJUDICATED} settles it"
            left_out += [_left(clip_id, label["label_set"], label["severity"], reason) for label in labels]
    for review in reviews:
        against = _review_fault(review, known, rows.get(review.clip_id))
        if against is None:
            rows[review.clip_id] = _review_row(review, known[review.clip_id])
        else:
            left_out += [_left(review.clip_id, f"review: {v.reviewer}", v.label, against) for v in review.latest]
    table = tables.frame(sorted(rows.values(), key=lambda row: row["clip_id"]), tables.GROUND_TRUTH)
    return GroundTruth(table, pl.DataFrame(left_out, schema=LEFT_OUT).sort("clip_id", "source"), agreement(blind))


def _freezing(label_set: LabelSet, frozen: Mapping[str, Freezing]) -> Freezing | str:
    """The freezing of a set, or why it does not judge."""
    if label_set.freezing is None:
        return "the label set is not frozen"
    if frozen.get(label_set.name) != label_set.freezing:
        return "the review log does not hold this freezing"
    return label_set.freezing


def _watched(clip_id: str, freezing: Freezing, known: Mapping[str, Row]) -> Freezing | str:
    """The freezing, if the clip that was watched is the one there is now, or why its label does not count."""
    if clip_id not in known:
        return "the clip is gone"
    if freezing.clips[clip_id] != known[clip_id]["clip_sha256"]:
        return "the clip is another file now"
    return freezing


def _review_fault(review: Standing, known: Mapping[str, Row], blind: Row | None) -> str | None:
    if review.clip_id not in known:
        return "the clip is gone"
    if review.clip_changed:
        return "the clip is another file now"
    if review.disputed:
        told = ", ".join(f"{each.reviewer} {each.label or each.verdict}" for each in review.latest)
        return f"reviewers disagree ({told})"
    if review.label is None:
        return "dismissed: it cannot be judged"
    if blind is not None:
        return f"the blind label {blind['severity']} counts"
    return None


def _blind_row(label: Row, label_set: LabelSet, freezing: Freezing, clip: Row) -> Row:
    return {
        **{name: clip[name] for name in ("video_id", "clip_id", "clip_sha256", "start_sec", "end_sec")},
        **{name: label[name] for name in ("drive", "severity", "labelled_at", "note")},
        "labeller": label["labeller"] or label_set.name,
        "origin": "label_file",
        "label_set": label_set.name,
        "label_set_sha256": label_set.sha256,
        "frozen_at": freezing.time.astimezone(UTC),
        "judged_output_sha256": None,
    }


def _review_row(review: Standing, clip: Row) -> Row:
    last = review.current
    at = last.time.astimezone(UTC)
    return {
        **{name: clip[name] for name in ("video_id", "clip_id", "clip_sha256", "start_sec", "end_sec")},
        "drive": None,
        "severity": review.label,
        "labeller": ", ".join(sorted(each.reviewer for each in review.latest)),
        "origin": "review",
        "labelled_at": at,
        "label_set": "review",
        "label_set_sha256": last.record_sha256,  # binds the log up to this verdict
        "frozen_at": at,
        "judged_output_sha256": last.output_sha256,
        "note": last.note or None,
    }


def _one(labels: list[Row]) -> Row | None:
    """The label that several make, by the set frozen last; None where they disagree and nobody settled it."""
    settled = [label for label in labels if label["label_set"] == ADJUDICATED]
    agreed = settled or labels
    if len({label["severity"] for label in agreed}) > 1:
        return None
    last = max(agreed, key=lambda label: label["frozen_at"])
    drives = {label["drive"] for label in labels if label["drive"]}
    return last | {
        "labeller": ", ".join(sorted({label["labeller"] for label in agreed})),
        "drive": last["drive"] or (drives.pop() if len(drives) == 1 else None),
    }


def _left(clip_id: str, source: str, severity: str | None, reason: str) -> Row:
    return {"clip_id": clip_id, "source": source, "severity": severity, "reason": reason}


def agreement(blind: Mapping[str, list[Row]]) -> pl.DataFrame:
    """For each two label sets with clips in common: their number, the share labelled alike, quadratic-weighted kappa.

    Kappa (Cohen 1968; scikit-learn) is null where both gave one severity throughout: chance alone would agree as well.
    """
    by_set: dict[str, dict[str, int]] = {}
    for clip_id, labels in blind.items():
        for label in labels:
            by_set.setdefault(label["label_set"], {})[clip_id] = tables.SEVERITIES.index(label["severity"])
    rows = []
    for first, second in combinations(sorted(set(by_set) - {ADJUDICATED}), 2):
        common = sorted(set(by_set[first]) & set(by_set[second]))
        if common:
            pairs = [(by_set[first][clip_id], by_set[second][clip_id]) for clip_id in common]
            rows.append((first, second, len(pairs), sum(a == b for a, b in pairs) / len(pairs), _kappa(pairs)))
    names = ["first", "second", "clips", "agreement", "quadratic_kappa"]
    types = [pl.String, pl.String, pl.Int64, pl.Float64, pl.Float64]
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def _kappa(pairs: list[tuple[int, int]]) -> float | None:
    if len({value for pair in pairs for value in pair}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score

    first, second = zip(*pairs, strict=True)
    return float(cohen_kappa_score(first, second, weights="quadratic", labels=range(len(tables.SEVERITIES))))
