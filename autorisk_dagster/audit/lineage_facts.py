"""What each step of a lineage says of one clip: names and values for a person, from the clip's decision trace.

Each function takes the trace (`trace.decision_trace`) and the rows of the step's own table in the clip's time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import polars as pl

from autorisk_dagster.reporting import words

Facts = tuple[tuple[str, str], ...]
Trace = Mapping[str, Any]


def source(row: Mapping[str, Any]) -> Facts:
    return (
        ("file", str(row["file_name"])),
        ("SHA-256", str(row["sha256"])),
        ("footage", f"{words.clock(row['duration_sec'])}, {row['width_px']} x {row['height_px']} px, "
                    f"{row['video_codec']}, {row['frame_count']} frames, profile {row['profile']}"),
    )  # fmt: skip


def signals(trace: Trace, _: pl.DataFrame) -> Facts:
    windows = trace["mining"]["windows"]
    loudest = max(
        (one["loudness_over_floor_db"] for one in windows if _number(one["loudness_over_floor_db"])), default=None
    )
    moving = max((one["flow_mean_px"] for one in windows if _number(one["flow_mean_px"])), default=None)
    return (
        ("windows in the clip", f"{len(windows)}, of {sum(one['frames'] for one in windows)} frames"),
        ("loudest over the floor", words.quantity(loudest, "dB", 1)),
        ("strongest motion", words.quantity(moving, "px in 0.1 s at 240 px height")),
    )


def tracks(trace: Trace, _: pl.DataFrame) -> Facts:
    found = trace["tracks"]
    users = [
        f"{one['label']} #{one['track_id']} ({one['boxes']} boxes, {words.clock(one['first_sec'])} to "
        f"{words.clock(one['last_sec'])})"
        for one in found["followed"]
    ]
    return (
        ("boxes in the clip", str(found["rows"])),
        ("their SHA-256", found["rows_sha256"]),
        ("followed", "; ".join(users) or "nobody"),
    )


def own_motion(_: Trace, rows: pl.DataFrame) -> Facts:
    still = rows["still_share"].median() if rows.height else None
    return (
        ("pairs of frames in the clip", str(rows.height)),
        ("share of the picture that stands still, median", words.quantity(still)),  # type: ignore[arg-type]
    )


def conflicts(_: Trace, rows: pl.DataFrame) -> Facts:
    course = rows.filter(pl.col("on_collision_course"))
    users = sorted({f"{label} #{track}" for label, track in course.select("label", "track_id").iter_rows()})
    return (
        ("samples in the clip", str(rows.height)),
        ("on a collision course", f"{course.height} samples: {', '.join(users)}" if users else "none"),
    )


def clip(trace: Trace, _: pl.DataFrame) -> Facts:
    clip, mining = trace["clip"], trace["mining"]
    scores = ", ".join(f"{name} {mining[f'{name}_score']:.2f}" for name in ("audio", "motion", "proximity")
                       if _number(mining[f"{name}_score"]))  # fmt: skip
    return (
        ("cut", f"{clip['start_sec']:.3f} s to {clip['end_sec']:.3f} s, peak at {clip['peak_sec']:.2f} s, "
                f"{clip['frame_count']} frames, {clip['clip_written_by'].replace('_', ' ')}"),
        ("raised by", f"{mining['raised_by']}; fused score {mining['fused_score']:.2f} ({scores})"),
        ("file's SHA-256", clip["clip_sha256"]),
    )  # fmt: skip


def ttc(trace: Trace, _: pl.DataFrame) -> Facts:
    ttc = trace["time_to_contact"]
    lowest = words.ttc_words(*(_float(ttc[name]) for name in ("min_ttc_sec", "min_ttc_low_sec", "min_ttc_high_sec")))
    if ttc["min_ttc_track_id"] is not None:
        lowest += f" to {ttc['min_ttc_label']} #{ttc['min_ttc_track_id']} at {ttc['min_ttc_at_sec']:.3f} s"
    return (
        ("lowest time to contact", lowest),
        ("samples", f"{ttc['samples']} of {ttc['tracks']} road users"),
        ("critical road users", str(ttc["critical_tracks"])),
    )


def near_misses(trace: Trace, _: pl.DataFrame) -> Facts:
    events = [
        f"{one['actors']} at {one['timestamp_sec']:.2f} s: {one['risk_level']} ({one['version']})"
        for one in trace["near_misses"]
    ]
    return (("in the clip", "; ".join(events) or "none"),)


def answer(trace: Trace, _: pl.DataFrame) -> Facts:
    judged, answer = trace["judgement"], trace["judgement"]["answer"]
    by = [(name.replace("_", " "), str(value)) for name, value in judged["by"].items() if value is not None]
    votes = ", ".join(str(vote["severity"]) for vote in answer["votes"] or [])
    said = judged["severity"] or words.OUTCOME_WORDS[judged["outcome"]]
    read = {"parsed by": answer["parse_layer"], "votes": votes}
    return (("said", said), *by, *((name, value) for name, value in read.items() if value))


def correction(trace: Trace, _: pl.DataFrame) -> Facts:
    found = trace["correction"]
    named = {"critical_tracks": "clip_ttc.critical_tracks"} | found["read_from"]
    read = ", ".join(f"{named[name]} {_shown(value)}" for name, value in found["read"].items())
    severity = trace["severity"]
    return (
        (
            "severity",
            f"{severity['raw'] or 'none'} becomes {severity['final'] or 'none'}; rank {severity['rank']} in its video",
        ),
        ("rule", found["rule"] or "none fired"),
        ("read", read),
        ("rule set", f"{found['rule_set']}: {json.dumps(found['thresholds'])}"),
        ("applied again now", found["applied_again"]),
    )


STEP: Final[Mapping[str, Callable[[Trace, pl.DataFrame], Facts]]] = {
    "frame_signals": signals,
    "tracks": tracks,
    "ego_motion": own_motion,
    "mined_clips": clip,
    "clip_ttc": ttc,
    "conflict_measures": conflicts,
    "near_miss_events": near_misses,
    "reason_outputs": answer,
    "corrected_severities": correction,
}


def _number(value: object) -> bool:
    return isinstance(value, int | float)


def _float(value: float | str | None) -> float | None:
    return float(value) if isinstance(value, str) else value


def _shown(value: object) -> str:
    return "not measured" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
