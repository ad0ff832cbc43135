"""The safety narrative: one page in plain language for a safety manager, every figure of it from a table.

What happened, when, why it matters, what to do, how sure it is; what to talk about with the driver, and what speaks for
the driver. Words of a model are not repeated here: a sentence that a model wrote may hold figures that nobody measured.
Of an answer only the kinds of hazard are named, from the list below; the answer itself is in the report.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from autorisk_dagster.reporting import coaching
from autorisk_dagster.reporting.coaching import Observation
from autorisk_dagster.reporting.figures import Figures
from autorisk_dagster.reporting.words import (
    NOT_JUDGED,
    OUTCOME_WORDS,
    REASONER_WORDS,
    SEVERITY_MEANING,
    clock,
)

TOLD_CLIPS: Final = 5  # a page holds no more; the others are counted and stand in the report
TOLD_POINTS: Final = 6

# What a safety manager does about a clip, by its severity after correction.
TO_DO: Final = {
    "HIGH": "Watch the clip today, talk to the driver, and keep the footage.",
    "MEDIUM": "Watch the clip and talk it over with the driver this week.",
    "LOW": "Watch the clip when there is time; no talk is needed for it alone.",
    "NONE": "Nothing, unless somebody asks about it.",
    NOT_JUDGED: "Watch the clip: it was not judged, and not judged is not safe.",
}

WITNESS: Final = "Watch the clip and keep the footage: the own vehicle took no part, and the driver may be a witness."

ADVICE: Final = {
    "headway": "Leave two seconds to the vehicle ahead, more on a wet road.",
    "braking": "Look further ahead and come off the accelerator earlier.",
    "passing": "Slow down and leave more room for people on foot or on two wheels, or wait behind them.",
}


@dataclass(frozen=True)
class NarrativeTables:
    """What a narrative is made of; tables are those of `autorisk_dagster.tables`, of one video."""

    video: Mapping[str, Any]
    mined_clips: pl.DataFrame
    clip_ttc: pl.DataFrame
    conflict_measures: pl.DataFrame
    near_miss_events: pl.DataFrame
    verified_events: pl.DataFrame
    reason_outputs: pl.DataFrame
    corrected_severities: pl.DataFrame
    severity_ranking: pl.DataFrame


@dataclass(frozen=True)
class Narrative:
    """A text in Markdown, and where each of its figures comes from."""

    text: str
    figures: Figures


def narrate(data: NarrativeTables) -> Narrative:
    """The narrative of one video."""
    figures = Figures()
    judged = _judged(data)
    near_misses = coaching.shown_near_misses(data.near_miss_events)
    serious = [row for row in judged if row["severity"] in ("HIGH", "MEDIUM", None)]
    told = serious[:TOLD_CLIPS]
    lines = [
        f"# Safety narrative of `{_name(data.video['file_name'])}`",
        _overview(data, judged, figures),
    ]
    for row in told:
        lines += _clip(data, row, near_misses, figures)
    if len(serious) > len(told):
        left = figures.count(len(serious) - len(told), "more clip", "severity_ranking")
        lines.append(f"{left} of this weight: see the safety report.")
    lines += ["## To talk about with the driver", *_points(coaching.to_talk_about(data.conflict_measures), figures)]
    worried = data.corrected_severities.filter(pl.col("severity").is_null() | (pl.col("severity") != "NONE"))
    clips = data.clip_ttc.filter(pl.col("clip_id").is_in(worried["clip_id"].to_list()))
    favour = coaching.in_favour(data.conflict_measures, near_misses, clips)
    lines += ["## What speaks for the driver", *_points(favour, figures)]
    lines += ["## How far this can be trusted", *_limits(data, judged, figures)]
    return Narrative("\n\n".join(lines) + "\n", figures)


def _judged(data: NarrativeTables) -> list[dict[str, Any]]:
    """One row a clip, by rank: the ranking, its place, what was said of it and what was measured."""
    answers = data.reason_outputs.select("clip_id", "outcome", "hazards", "reasoner", "vote_margin", "votes")
    return (
        data.severity_ranking.join(answers, on="clip_id", how="left")
        .join(data.corrected_severities.select("clip_id", "raw_severity", "rule"), on="clip_id", how="left")
        .join(data.mined_clips.select("clip_id", "peak_sec", "raised_by"), on="clip_id", how="left")
        .join(data.clip_ttc.drop("min_ttc_sec", "timeline").rename({"tracks": "ttc_tracks"}), on="clip_id", how="left")
        .sort("rank")
        .to_dicts()
    )


def _overview(data: NarrativeTables, judged: list[dict[str, Any]], figures: Figures) -> str:
    length = figures.tell(
        clock(data.video["duration_sec"], 0), "source_video", "duration_sec", data.video["duration_sec"]
    )
    if not judged:
        return (
            f"In {length} of footage no moment stood out enough to be cut out as a clip. That says what was measured, "
            "not that nothing happened."
        )
    counts = [
        figures.count(number, f"was {word}", "severity_ranking", f"were {word}")
        for word, number in (
            (name, sum((row["severity"] or NOT_JUDGED) == name for row in judged))
            for name in ("HIGH", "MEDIUM", "LOW", "NONE", NOT_JUDGED)
        )
        if number
    ]
    clips = figures.count(len(judged), "moment", "severity_ranking")
    worst = judged[0]["severity"] or NOT_JUDGED
    begin = "Nothing in it asks for a talk." if worst in ("LOW", "NONE") else f"The worst is **{worst}**."
    return f"In {length} of footage {clips} stood out: {_listed(counts)}. {begin}"


def _clip(data: NarrativeTables, row: dict[str, Any], near_misses: pl.DataFrame, figures: Figures) -> list[str]:
    clip, severity = row["clip_id"], row["severity"] or NOT_JUDGED
    at = _time(row["peak_sec"], "mined_clips", "peak_sec", clip, figures)
    start = _time(row["start_sec"], "severity_ranking", "start_sec", clip, figures)
    end = _time(row["end_sec"], "severity_ranking", "end_sec", clip, figures)
    inside = near_misses.filter(
        pl.col("timestamp_sec").is_between(row["start_sec"], row["end_sec"], closed="left")
    ).sort("risk_score", descending=True)
    return [
        f"## {severity} at {at}",
        f"Clip `{clip}`, {start} to {end}.",
        f"**What happened.** {_happened(row, inside, figures)}",
        f"**Why it matters.** {_matters(row, severity)}",
        f"**What to do.** {_to_do(severity, inside)}",
        f"**How sure.** {_sure(data, row, inside, figures)}",
    ]


def _happened(row: dict[str, Any], inside: pl.DataFrame, figures: Figures) -> str:
    clip, said = row["clip_id"], []
    kinds = _hazards(row["hazards"])
    if kinds:
        said.append(f"The reasoner names: {_listed(kinds)}.")
    for event in inside.head(2).iter_rows(named=True):
        said.append(_near_miss(event, figures))
    if inside.height > 2:
        said.append(f"{figures.count(inside.height - 2, 'more near miss', 'near_miss_events', 'more near misses')}.")
    ttc = row["min_ttc_sec"]
    if ttc is not None and math.isfinite(ttc) and row["min_ttc_track_id"] is not None:
        who = _who(f"{row['min_ttc_label']} {row['min_ttc_track_id']}", "clip_ttc", "min_ttc_track_id", clip, figures)
        left = figures.number(ttc, 1, "s", "clip_ttc", "min_ttc_sec", clip)
        when = _time(row["min_ttc_at_sec"], "clip_ttc", "min_ttc_at_sec", clip, figures)
        said.append(f"The shortest time to contact was {left}, with {who} at {when}.")
    elif ttc is not None:
        said.append("No road user that was followed came nearer.")
    else:
        said.append("No time to contact could be measured.")
    raised = {"audio": "what was heard", "motion": "how the picture moved", "proximity": "how near somebody was"}
    said.append(f"The moment stood out by {raised[row['raised_by']]}.")
    return " ".join(said)


def _to_do(severity: str, inside: pl.DataFrame) -> str:
    """By severity; where the worst near miss of the clip is of two others, the driver is a witness."""
    others = not inside.is_empty() and inside.item(0, "object_id_2") is not None
    return WITNESS if others and severity in ("HIGH", "MEDIUM") else TO_DO[severity]


def _near_miss(event: dict[str, Any], figures: Figures) -> str:
    row = event["event_id"]
    who = _who(event["actors"], "near_miss_events", "actors", row, figures)
    when = _time(event["timestamp_sec"], "near_miss_events", "timestamp_sec", row, figures)
    parts = [f"A near miss of {who} ({event['risk_level'].lower()} risk) at {when}"]
    if event["closing_mps"] is not None:
        speed = figures.number(event["closing_mps"], 1, "m/s", "near_miss_events", "closing_mps", row)
        parts.append(f"closing at {speed}")
    if event["gap_m"] == 0:
        parts.append("touching as measured")
    elif event["gap_m"] is not None:
        parts.append(f"{figures.number(event['gap_m'], 1, 'm', 'near_miss_events', 'gap_m', row)} apart as measured")
    return ", ".join(parts) + "."


def _matters(row: dict[str, Any], severity: str) -> str:
    meaning = SEVERITY_MEANING[severity]
    first = f"{severity} means: {meaning}."
    if row["rule"] is None:
        return f"{first} No rule on the measured signals changed the reasoner's word."
    if row["raw_severity"] == row["severity"]:
        return f"{first} The measured signals agree with the reasoner."
    return f"{first} The reasoner said {row['raw_severity']}; the measured signals corrected that."


def _sure(data: NarrativeTables, row: dict[str, Any], inside: pl.DataFrame, figures: Figures) -> str:
    clip, said = row["clip_id"], []
    low, high = row["min_ttc_low_sec"], row["min_ttc_high_sec"]
    if low is not None and high is not None:
        lowest = figures.number(low, 1, "s", "clip_ttc", "min_ttc_low_sec", clip)
        if math.isinf(high):
            said.append(f"The time to contact is {lowest} or more, with nine chances in ten.")
        else:
            highest = figures.number(high, 1, "s", "clip_ttc", "min_ttc_high_sec", clip)
            said.append(f"The time to contact lies between {lowest} and {highest} with nine chances in ten.")
    if row["vote_margin"] is not None and row["votes"]:
        votes = figures.count(len(row["votes"]), "answer", "reason_outputs")
        share = figures.number(100 * row["vote_margin"], 0, "%", "reason_outputs", "vote_margin", clip)
        said.append(f"The model was asked for {votes}; the majority leads by {share}.")
    if row["outcome"] != "severity":
        said.append(f"{OUTCOME_WORDS[row['outcome']].capitalize()}.")
    heard = data.verified_events.filter(pl.col("event_id").is_in(inside["event_id"].to_list()))
    for outcome, words in (("confirmed", "confirmed by the verifier"), ("rejected", "rejected by the verifier")):
        number = heard.filter(pl.col("outcome") == outcome).height
        if number:
            said.append(f"{figures.count(number, 'near miss', 'verified_events', 'near misses')} {words}.")
    if inside.height and not heard["outcome"].is_in(["confirmed", "rejected"]).any():
        said.append("No model looked at the near misses; they are measured only.")
    return " ".join(said) or "Nothing was measured that says so."


def _points(points: list[Observation], figures: Figures) -> list[str]:
    if not points:
        return ["Nothing was measured that belongs here."]
    lines = [f"- {_point(point, figures)}" for point in points[:TOLD_POINTS]]
    if len(points) > TOLD_POINTS:
        lines.append(f"- {figures.count(len(points) - TOLD_POINTS, 'more of the kind', points[0].table, 'more')}.")
    return ["\n".join(lines)]


def _point(point: Observation, figures: Figures) -> str:
    when = _time(point.at_sec, point.table, "timestamp_sec", point.row, figures)
    who = _who(point.who, point.table, "actors" if point.kind == "others" else "track_id", point.row, figures)

    def value(decimals: int, unit: str) -> str:
        return figures.number(point.value, decimals, unit, point.table, point.column, point.row)

    if point.kind == "headway":
        return f"At {when}: {value(1, 's')} behind {who}. {ADVICE['headway']}"
    if point.kind == "braking":
        return f"At {when}: {value(1, 'm/s²')} of braking was needed for {who}. {ADVICE['braking']}"
    if point.kind == "passing":
        return f"At {when}: {value(1, 'm')} of room to {who}. {ADVICE['passing']}"
    if point.kind == "others":
        return f"At {when}: a near miss of {who}. The own vehicle took no part in it."
    room = figures.number(point.before_m or 0.0, 1, "m", point.table, "gap_m", point.row)
    since = _time(point.start_sec, point.table, "timestamp_sec", point.row, figures)
    return (
        f"At {when}: {who} had moved sideways into the own path, at up to {value(1, 'm/s')}, from {room} beside it "
        f"(from {since} on). Who had the right of way is not measured."
    )


def _limits(data: NarrativeTables, judged: list[dict[str, Any]], figures: Figures) -> list[str]:
    said = []
    reasoners = sorted({row["reasoner"] for row in judged if row["reasoner"]})
    if reasoners:
        said.append(f"Judged by the {_listed([REASONER_WORDS.get(name, name) for name in reasoners])}.")
    unjudged = sum(row["severity"] is None for row in judged)
    if unjudged:
        said.append(f"{figures.count(unjudged, 'clip', 'severity_ranking')} not judged: that does not mean safe.")
    silent = data.clip_ttc.filter(pl.col("min_ttc_sec").is_null()).height
    if silent:
        said.append(f"In {figures.count(silent, 'clip', 'clip_ttc')} no time to contact could be measured.")
    if data.conflict_measures["own_speed_mps"].is_null().all():
        said.append(
            "The own speed was not measured, and with it no following distance in seconds: the profile gives no "
            "camera height and angle of view."
        )
    if data.video["audio_source"] == "none":
        said.append("The video has no sound: a horn or a bang could not raise a moment.")
    said.append(
        "Everything here is measured from one camera. It says what moved, and how fast; it knows no traffic signals, "
        "no right of way and nothing outside the picture. It is no finding of fault."
    )
    return ["\n".join(f"- {line}" for line in said)]


def _hazards(hazards: list[dict[str, Any]] | None) -> list[str]:
    """Kinds of hazard in the answer's order, each once, words only: a kind that holds a digit is left out."""
    kinds = (re.sub(r"[^\w /-]", "", hazard["type"] or "").strip().lower() for hazard in hazards or [])
    return list(dict.fromkeys(kind for kind in kinds if kind and not re.search(r"\d", kind)))[:4]


def _who(actors: str, table: str, column: str, row: str, figures: Figures) -> str:
    """Road users as they are named in the report, with the numbers of their tracks."""
    for number in re.findall(r"\d+", actors):
        figures.tell(number, table, column, float(number), row)
    return actors.replace("own vehicle", "the own vehicle")


def _time(seconds: float, table: str, column: str, row: str, figures: Figures) -> str:
    return figures.tell(clock(seconds), table, column, seconds, row)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _name(text: str) -> str:
    """A file's name between backticks: none of its own, and on one line."""
    return re.sub(r"[`\r\n]", "'", text)
