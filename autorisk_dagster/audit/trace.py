"""The decision trace of one clip: from the severity back to the frames, as one JSON file that a person can read.

Numbers stand as they were computed; a number that is infinite ("nothing approaches") is the word "inf", null is "cannot
be said". What was not made stands there as `{"status": "not run", "why": ...}`: no record is made up.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import polars as pl

from autorisk_dagster.errors import InputError
from autorisk_dagster.profile import Profile
from autorisk_dagster.severity.correction import QUANTITIES_OF_RULE_SET, CorrectionRules, correct_severity

FORMAT = "autorisk-decision-trace/1"

JUDGEMENT = (
    "outcome",
    "severity",
    "hazards",
    "causal_reasoning",
    "short_term_prediction",
    "recommended_action",
    "evidence",
    "confidence",
    "notes",
    "error",
)
MODEL = ("reasoner", "model_id", "model_revision", "adapter", "prompt_hash", "settings_hash")
ANSWER = (
    "raw_text",
    "parse_layer",
    "votes",
    "vote_margin",
    "supplement_text",
    "letter_log_probability",
    "letter_mass",
    "prompt_tokens",
    "answer_tokens",
)
CUT = ("start_sec", "end_sec", "peak_sec", "frame_count", "has_audio", "clip_written_by", "clip_sha256")


def not_run(why: str) -> dict[str, str]:
    """What stands in the place of a record that nobody made."""
    return {"status": "not run", "why": why}


def decision_trace(
    clip: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    profile: Profile,
    *,
    source: Mapping[str, Any],
    media: Mapping[str, Any],
    reviews: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything a clip's severity rests on.

    Args:
        clip: its row of `mined_clips`
        tables: the video's tables by asset; one that is not there was not run
        profile: the settings that the video was processed with
        source: the video's `file_name`, `sha256` and `video_id`
        media: what the pack holds of the clip (`pack.exported_media`)
        reviews: verdicts on it, or `not_run`

    Raises:
        InputError: a table that every verdict needs lacks the clip, or judged another file than the clip.
    """
    clip_id = clip["clip_id"]
    answer = _row(tables, "reason_outputs", clip_id)
    if answer["clip_sha256"] != clip["clip_sha256"]:
        raise InputError(
            f"{clip_id}: what was judged ({answer['clip_sha256'][:12]}) is not the clip that is there "
            f"({clip['clip_sha256'][:12]}); make reason_outputs again"
        )
    corrected = _row(tables, "corrected_severities", clip_id)
    if corrected["raw_severity"] != answer["severity"]:
        raise InputError(
            f"{clip_id}: corrected from {corrected['raw_severity']}, but the reasoner says {answer['severity']}; "
            "make corrected_severities again"
        )
    ranked = _row(tables, "severity_ranking", clip_id)
    span = (clip["start_sec"], clip["end_sec"])
    trace = {
        "format": FORMAT,
        "clip_id": clip_id,
        "source": source,
        "severity": {"final": corrected["severity"], "raw": corrected["raw_severity"], "rank": ranked["rank"]},
        "clip": {name: clip[name] for name in CUT},
        "media": media,
        "mining": {name: value for name, value in clip.items() if name not in (*CUT, "clip_id", "clip_path")}
        | {"windows": _between(tables["frame_signals"], span, "start_sec", "end_sec").to_dicts()},
        "time_to_contact": {k: v for k, v in _row(tables, "clip_ttc", clip_id).items() if k != "clip_id"},
        "tracks": _tracks(tables["tracks"], span),
        "near_misses": _near_misses(tables, span),
        "judgement": {name: answer[name] for name in JUDGEMENT}
        | {"by": {name: answer[name] for name in MODEL}, "answer": {name: answer[name] for name in ANSWER}},
        "correction": _correction(corrected, clip, tables, profile),
        "saliency": _optional(tables, "saliency_maps", clip_id),
        "generated": _generated(tables, clip_id),
        "reviews": reviews,
    }
    found: dict[str, Any] = plain(trace)
    return found


def plain(value: Any) -> Any:
    """`value` as JSON holds it: infinities and NaN as words, times in ISO 8601."""
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    return value


def rows_sha256(table: pl.DataFrame) -> str:
    """SHA-256 of a table's rows as JSON lines, keys sorted: what another program can compute from the same rows."""
    digest = hashlib.sha256()
    for row in table.iter_rows(named=True):
        digest.update(json.dumps(plain(row), sort_keys=True, ensure_ascii=False).encode() + b"\n")
    return digest.hexdigest()


def _row(tables: Mapping[str, pl.DataFrame], asset: str, clip_id: str) -> dict[str, Any]:
    found = tables[asset].filter(pl.col("clip_id") == clip_id).to_dicts()
    if len(found) != 1:
        raise InputError(f"{asset} has {len(found)} rows of clip {clip_id}, expected 1; make it again")
    return found[0]


def _between(table: pl.DataFrame, span: tuple[float, float], start: str, end: str) -> pl.DataFrame:
    return table.filter((pl.col(end) >= span[0]) & (pl.col(start) <= span[1]))


def _tracks(tracks: pl.DataFrame, span: tuple[float, float]) -> dict[str, Any]:
    rows = _between(tracks, span, "timestamp_sec", "timestamp_sec")
    followed = (
        rows.drop_nulls("track_id")
        .group_by("track_id", maintain_order=True)
        .agg(
            pl.col("label").mode().sort().first(),
            pl.len().alias("boxes"),
            pl.col("timestamp_sec").min().alias("first_sec"),
            pl.col("timestamp_sec").max().alias("last_sec"),
            pl.col("confidence").median().alias("median_confidence"),
        )
        .sort("track_id")
    )
    return {
        "table": "tables/tracks.parquet",
        "rows": rows.height,
        "rows_sha256": rows_sha256(rows),
        "followed": followed.to_dicts(),
    }


def _near_misses(tables: Mapping[str, pl.DataFrame], span: tuple[float, float]) -> list[dict[str, Any]]:
    events = _between(tables["near_miss_events"], span, "start_sec", "end_sec").to_dicts()
    verified = tables.get("verified_events")
    by_event = (
        {(row["event_id"], row["version"]): row for row in verified.iter_rows(named=True)}
        if verified is not None
        else {}
    )
    for event in events:
        found = by_event.get((event["event_id"], event["version"]))
        event["verification"] = (
            {k: v for k, v in found.items() if k not in event} if found else not_run("not among verified_events")
        )
    return events


def _correction(
    corrected: Mapping[str, Any], clip: Mapping[str, Any], tables: Mapping[str, pl.DataFrame], profile: Profile
) -> dict[str, Any]:
    """The rule that decided, what it read and the thresholds it held it against; applied once more, to be sure."""
    columns = QUANTITIES_OF_RULE_SET[profile.correction.rule_set]
    ttc = _row(tables, "clip_ttc", clip["clip_id"])
    read = {"ttc_read_sec": ttc[columns[0]], "fused_read": clip[columns[1]], "critical_tracks": ttc["critical_tracks"]}
    stale = [name for name, value in read.items() if value != corrected[name]]
    if stale:
        raise InputError(
            f"{clip['clip_id']}: its correction read another {', '.join(stale)}; make corrected_severities again"
        )
    rules = _thresholds(corrected["rule_set"], tables, profile)
    again = correct_severity(
        corrected["raw_severity"],
        min_ttc_sec=read["ttc_read_sec"],
        fused_score=read["fused_read"],
        critical_tracks=read["critical_tracks"],
        rules=rules,
    )
    if (again.severity, again.rule) != (corrected["severity"], corrected["rule"]):
        raise InputError(
            f"{clip['clip_id']}: {corrected['severity']} by {corrected['rule'] or 'no rule'} does not follow from what "
            f"was read, which gives {again.severity} by {again.rule or 'no rule'}; make corrected_severities again"
        )
    return {
        "rule": corrected["rule"],
        "rule_set": corrected["rule_set"],
        "read": read,
        "read_from": {"ttc_read_sec": f"clip_ttc.{columns[0]}", "fused_read": f"mined_clips.{columns[1]}"},
        "thresholds": asdict(rules),
        "applied_again": "the same severity and rule",
    }


def _thresholds(rule_set: str, tables: Mapping[str, pl.DataFrame], profile: Profile) -> CorrectionRules:
    """The thresholds of a rule set: the profile's, or searched ones, which `correction_parameters` keeps."""
    if rule_set == profile.correction.rule_set:
        return CorrectionRules.from_settings(profile.correction)
    searched = tables.get("correction_parameters")
    rows = searched.filter(pl.col("rule_set") == rule_set).to_dicts() if searched is not None else []
    if not rows:
        raise InputError(f"nothing says what the rule set {rule_set} is; make correction_parameters again")
    return CorrectionRules(**{field.name: rows[0][field.name] for field in fields(CorrectionRules)})


def _optional(tables: Mapping[str, pl.DataFrame], asset: str, clip_id: str) -> dict[str, Any]:
    if asset not in tables:
        return not_run(f"there is no {asset} of this video")
    rows = tables[asset].filter(pl.col("clip_id") == clip_id).to_dicts()
    return {"rows": rows} if rows else not_run(f"{asset} has no row of this clip")


def _generated(tables: Mapping[str, pl.DataFrame], clip_id: str) -> dict[str, Any]:
    """Generated videos of the clip; they are no evidence of what happened, and each says that it is synthetic."""
    found: dict[str, Any] = {}
    for asset in ("predict_videos", "counterfactuals"):
        found[asset] = _optional(tables, asset, clip_id)
        for row in found[asset].get("rows", ()):
            row["synthetic"] = row["outcome"] == "generated"
    return found
