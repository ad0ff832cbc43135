"""One clip as the dashboard knows it: a row of the list, the details that load on demand, and its words.

Numbers stay numbers and are rounded to what the page draws. What was not made is `None`, and the page says what to run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.profile import CorrectionSettings
from autorisk_dagster.reporting import words
from autorisk_dagster.reporting.clip_preview import preview_path
from autorisk_dagster.reporting.dashboard.fleet_data import VideoTables
from autorisk_dagster.reporting.dashboard.review_records import VideoReview, review_record
from autorisk_dagster.reporting.plots import track_color
from autorisk_dagster.severity.ranking import LEVELS, order_key

Row = dict[str, Any]
MAX_TTC_SEC: Final = 20.0  # longer times to contact are no concern and are not drawn


@dataclass(frozen=True)
class ClipRecord:
    """A clip.

    Attributes:
        order: sorts the fleet, worst first
        row: one value a column of the list
        detail: everything else, for the clip's own page
        texts: what search looks in, by field
    """

    order: tuple[Any, ...]
    row: Row
    detail: Row
    texts: dict[str, str]


def clip_records(
    video: VideoTables,
    labels: Mapping[tuple[str, str], Row],
    media_exists: Callable[[str], bool],
    rules: CorrectionSettings | None,
    review: VideoReview,
) -> list[ClipRecord]:
    """The clips of one video, whether they were judged or not.

    Args:
        video: its tables
        labels: rows of GROUND_TRUTH by (clip id, SHA-256 of the clip's file)
        media_exists: whether a relative path of the media store is there
        rules: the thresholds that the rules' words name; None: the video's profile is no longer there
        review: what people said of its clips
    """
    facts = video["source_video"].row(0, named=True) if video["source_video"].height else None
    by_clip = {
        name: {row["clip_id"]: row for row in video[name].iter_rows(named=True)}
        for name in (
            *("clip_ttc", "reason_outputs", "saliency_maps", "corrected_severities", "severity_ranking"),
            "shareable_clips",
        )
    }
    verdicts = {row["event_id"]: row for row in video["verified_events"].iter_rows(named=True)}
    shown = video["near_miss_events"].filter(pl.col("version") == tables.NEAR_MISS_SHOWN).sort("timestamp_sec")
    records = []
    for clip in video["mined_clips"].iter_rows(named=True):
        of_clip = {name: rows.get(clip["clip_id"]) for name, rows in by_clip.items()}
        events = shown.filter(pl.col("timestamp_sec").is_between(clip["start_sec"], clip["end_sec"], closed="left"))
        records.append(
            _record(video, facts, clip, of_clip, events.to_dicts(), verdicts, labels, media_exists, rules, review)
        )
    return records


def media_url(relative: str) -> str:
    """The address of a file of the media store from a page of the site, which lies two folders down in it."""
    return "../../" + quote(relative)


def _record(
    video: VideoTables,
    facts: Row | None,
    clip: Row,
    of_clip: Mapping[str, Row | None],
    events: list[Row],
    verdicts: Mapping[str, Row],
    labels: Mapping[tuple[str, str], Row],
    media_exists: Callable[[str], bool],
    rules: CorrectionSettings | None,
    review: VideoReview,
) -> ClipRecord:
    reason, corrected, ttc = (of_clip[name] for name in ("reason_outputs", "corrected_severities", "clip_ttc"))
    ranked = of_clip["severity_ranking"]
    severity = corrected["severity"] if corrected else None
    level = max((LEVELS.index(event["risk_level"]) for event in events if event["risk_level"]), default=-1)
    risk = max((event["risk_score"] for event in events if event["risk_score"] is not None), default=None)
    min_ttc = ttc["min_ttc_sec"] if ttc else None
    label = labels.get((clip["clip_id"], clip["clip_sha256"]))
    annotated = f"{PurePosixPath(clip['clip_path']).parent.parent}/annotated/{PurePosixPath(clip['clip_path']).name}"
    shareable = of_clip["shareable_clips"]
    if shareable is not None and shareable["evidence_sha256"] != clip["clip_sha256"]:
        shareable = None  # a copy of a clip that was cut anew since
    hidden = shareable is None or shareable["hidden_by"] is not None
    # Footage goes out only as the profile allows, and so does every picture that was made from it.
    media = {"report": f"{video.video_id}/report.html", "narrative": f"{video.video_id}/narrative.md"}
    if shareable is not None:
        path = shareable["clip_path"]
        media |= {"footage": path, "annotated": annotated, "preview": preview_path(path)}
    urls = dict.fromkeys(("footage", "annotated", "preview", "report", "narrative"))
    urls |= {name: media_url(path) for name, path in media.items() if media_exists(path)}
    saliency = _saliency(of_clip["saliency_maps"], media_exists, hidden=hidden)
    row = {
        "id": clip["clip_id"],
        "rank": ranked["rank"] if ranked else None,
        "start": _rounded(clip["start_sec"]),
        "end": _rounded(clip["end_sec"]),
        "severity": severity,
        "raw": reason["severity"] if reason else None,
        "rule": corrected["rule"] if corrected else None,
        "outcome": reason["outcome"] if reason else None,
        "label": label["severity"] if label else None,
        "ttc": _rounded(min_ttc, 9),  # people see one decimal of it, rounded once
        "with": ttc["min_ttc_label"] if ttc else None,
        "misses": len(events) if "near_miss_events" in video else None,
        "risk": _rounded(risk),
        "fused": _rounded(clip["fused_score"], 3),
        "audio": _rounded(clip["audio_score"], 3),
        "motion": _rounded(clip["motion_score"], 3),
        "proximity": _rounded(clip["proximity_score"], 3),
        "raised_by": clip["raised_by"],
        "preview": urls["preview"],
        "saliency": saliency["url"] if saliency else None,
    }
    detail = {
        "id": clip["clip_id"],
        "video": video.video_id,
        "size": [facts["width_px"], facts["height_px"]] if facts else None,
        "start": clip["start_sec"],
        "end": clip["end_sec"],
        "peak": clip["peak_sec"],
        "urls": urls,
        "sha256": clip["clip_sha256"],
        "shareable": shareable is not None,
        "hidden_by": shareable["hidden_by"] if shareable else None,
        "has_audio": clip["has_audio"],
        "raised_by": [clip["raised_by"], _rounded(clip["raised_by_share"], 3)],
        "verdict": _verdict(corrected, rules),
        "reason": _reason(reason, clip),
        "review": review_record(review, clip, severity),
        "label": {name: str(label[name]) for name in ("severity", "labeller", "origin", "label_set") if label[name]}
        if label
        else None,
        "ttc": _ttc(ttc),
        "tracks": _tracks(video, clip) if "tracks" in video else None,
        "misses": [_event(event, verdicts.get(event["event_id"]), "verified_events" in video) for event in events],
        "saliency": saliency,
        "checklist": _checklist(video, clip["clip_id"]),
        "predict": _generated(video, "predict_videos", clip["clip_id"], media_exists, shareable),
        "counterfactuals": _generated(video, "counterfactuals", clip["clip_id"], media_exists, shareable),
        "missing": [*video.missing, *video.stale],
    }
    order = order_key(
        {
            "severity": severity,
            "min_ttc_sec": min_ttc,
            "fused_score": clip["fused_score"],
            "clip_id": clip["clip_id"],
        },
        level,
    )
    return ClipRecord(order, row, detail, _texts(reason, events))


def _verdict(corrected: Row | None, rules: CorrectionSettings | None) -> Row | None:
    if corrected is None:
        return None
    rule = corrected["rule"]
    return {
        "raw": corrected["raw_severity"],
        "severity": corrected["severity"],
        "rule": rule,
        "rule_words": words.rule_words(rule, rules) if rule in tables.RULES and rules is not None else None,
        "rule_set": corrected["rule_set"],
        "read": [
            ["TTC read", words.quantity(corrected["ttc_read_sec"], "s")],
            ["fused score read", words.quantity(corrected["fused_read"])],
            ["critical tracks", _or_not_measured(corrected["critical_tracks"])],
        ],
    }


def _reason(reason: Row | None, clip: Row) -> Row | None:
    if reason is None:
        return None
    told = [
        *("outcome", "severity", "hazards", "causal_reasoning", "short_term_prediction", "recommended_action"),
        *("evidence", "confidence", "error", "parse_layer", "notes", "vote_margin", "letter_mass", "supplement_text"),
    ]
    letters = reason["letter_log_probability"]
    return {
        **{name: reason[name] for name in told},
        "raw_text": reason["raw_text"] if reason["outcome"] != "severity" else None,
        "outcome_words": words.OUTCOME_WORDS[reason["outcome"]],
        "reasoner_words": words.REASONER_WORDS.get(reason["reasoner"], f"reasoner {reason['reasoner']}"),
        "made_by": [
            [name.replace("_", " "), str(reason[name])]
            for name in ("model_id", "model_revision", "adapter", "prompt_hash", "settings_hash", "parse_layer")
            if reason[name] is not None
        ],
        "votes": [[vote["temperature"], vote["severity"]] for vote in reason["votes"] or []],
        "letters": [[name, _rounded(math.exp(value), 3)] for name, value in letters.items() if value is not None]
        if letters
        else [],
        "other_file": reason["clip_sha256"] is not None and reason["clip_sha256"] != clip["clip_sha256"],
    }


def _ttc(ttc: Row | None) -> Row | None:
    if ttc is None:
        return None
    by_track: dict[int, list[Row]] = {}
    for sample in ttc["timeline"] or []:
        if sample["ttc_sec"] is not None and sample["ttc_sec"] <= MAX_TTC_SEC:
            by_track.setdefault(sample["track_id"], []).append(sample)
    return {
        "words": words.ttc_words(ttc["min_ttc_sec"], ttc["min_ttc_low_sec"], ttc["min_ttc_high_sec"]),
        "min": _rounded(ttc["min_ttc_sec"]),
        "at": _rounded(ttc["min_ttc_at_sec"]),
        "label": ttc["min_ttc_label"],
        "track": ttc["min_ttc_track_id"],
        "critical": ttc["critical_tracks"],
        "samples": ttc["samples"],
        "tracks": [
            [
                track,
                track_color(track),
                [_rounded(one["timestamp_sec"]) for one in samples],
                [_rounded(one["ttc_sec"]) for one in samples],
                [_rounded(one["low_sec"]) for one in samples],
                [_or_word(one["high_sec"]) for one in samples],
            ]
            for track, samples in sorted(by_track.items())
        ],
    }


def _tracks(video: VideoTables, clip: Row) -> list[list[Any]]:
    """Followed road users: id, label, colour, times (s in the video), boxes (px, four a time)."""
    inside = video["tracks"].filter(
        pl.col("track_id").is_not_null()
        & ~pl.col("still")
        & pl.col("timestamp_sec").is_between(clip["start_sec"], clip["end_sec"], closed="left")
    )
    boxes = pl.col("x1_px", "y1_px", "x2_px", "y2_px").round(0).cast(pl.Int64)
    rows = inside.sort("track_id", "timestamp_sec").select("track_id", "label", pl.col("timestamp_sec").round(3), boxes)
    found = []
    for track, path in groupby(rows.iter_rows(), key=itemgetter(0)):
        samples = list(path)
        found.append(
            [
                track,
                Counter(sorted(sample[1] for sample in samples)).most_common(1)[0][0],
                track_color(track),
                [sample[2] for sample in samples],
                [value for sample in samples for value in sample[3:]],
            ]
        )
    return found


def _event(event: Row, verdict: Row | None, verified: bool) -> Row:
    told = ("timestamp_sec", "start_sec", "end_sec", "actors", "risk_level", "risk_score", "evidence")
    return {
        **{name: event[name] for name in told},
        "verification": {
            name: verdict[name] for name in ("outcome", "reason_category", "rationale", "verifier", "error")
        }
        if verdict
        else {"outcome": "not_run", "error": None if verified else "not made: materialise verified_events"},
    }


def _saliency(saliency: Row | None, media_exists: Callable[[str], bool], *, hidden: bool) -> Row | None:
    if saliency is None:
        return None
    path = saliency["overlay_path"]
    return {
        "severity": saliency["severity"],
        "reason": saliency["reason"],
        "peak_sec": saliency["peak_sec"],
        "times": [_rounded(one) for one in saliency["times_sec"] or []],
        "share": [_rounded(one, 4) for one in saliency["frame_share"] or []],
        "model_id": saliency["model_id"],
        "url": media_url(path) if path and not hidden and media_exists(path) else None,
        "withheld": bool(path) and hidden,
    }


def _checklist(video: VideoTables, clip_id: str) -> list[Row] | None:
    if "explanation_checklist" not in video:
        return None
    rows = video["explanation_checklist"].filter(pl.col("clip_id") == clip_id)
    return rows.select("item", "holds", "evidence").to_dicts()


def _generated(
    video: VideoTables, asset: str, clip_id: str, media_exists: Callable[[str], bool], shareable: Row | None
) -> list[Row] | None:
    """Generated videos of a clip; every one is synthetic, and the page says so.

    They are shown where the same is hidden in them as in the clip's shareable copy, or nothing has to be.
    """
    if asset not in video:
        return None
    found = []
    for row in video[asset].filter(pl.col("clip_id") == clip_id).iter_rows(named=True):
        path = row["video_path"]
        both = row.get("comparison_path")
        withheld = shareable is None or shareable["hidden_by"] not in (None, row["hidden_by"])
        found.append(
            {
                **{name: row[name] for name in ("scenario", "outcome", "error", "world_model", "model_id", "hazard")},
                "prompt": row["prompt"],
                "contact": words.ttc_words(row["contact_sec"], row["contact_low_sec"], row["contact_high_sec"])
                if row["contact_sec"] is not None
                else None,
                "between": row["contact_between"],
                "hidden_by": row["hidden_by"],
                "url": media_url(path) if path and not withheld and media_exists(path) else None,
                "comparison": media_url(both) if both and not withheld and media_exists(both) else None,
                "withheld": bool(path) and withheld,
            }
        )
    return found


def _texts(reason: Row | None, events: list[Row]) -> dict[str, str]:
    if reason is None:
        return {"hazards": "", "reasoning": "", "evidence": ""}
    hazards = [
        " ".join([hazard["type"] or "", *(hazard["actors"] or []), hazard["spatial_relation"] or ""])
        for hazard in reason["hazards"] or []
    ]
    told = ("causal_reasoning", "short_term_prediction", "recommended_action")
    measured = [f"{event['actors']} {event['evidence'] or ''}" for event in events]
    return {
        "hazards": "\n".join(hazards),
        "reasoning": "\n".join(reason[name] or "" for name in told),
        "evidence": "\n".join([*(reason["evidence"] or []), *measured]),
    }


def _rounded(value: float | None, decimals: int = 2) -> float | None:
    """Rounded, infinity kept; NaN is none."""
    if value is None or math.isnan(value):
        return None
    return round(value, decimals) if math.isfinite(value) else value


def _or_word(value: float | None) -> float | str | None:
    """As `to_json` would write it, in one step for the many numbers of a curve."""
    return "inf" if value == math.inf else _rounded(value)


def _or_not_measured(value: object) -> str:
    return "not measured" if value is None else str(value)
