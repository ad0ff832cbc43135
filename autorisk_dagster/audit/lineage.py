"""From one severity back to its frames: every step with what it said, what made it, and whether its hashes still hold.

The steps are those of the graph. What a step was made from is not taken from the graph but from Dagster's history: each
materialisation names the very event of each input. So a severity is led back to the tables it was computed from, and a
table that was changed, replaced or made again since is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from autorisk_dagster.audit import lineage_facts as facts_of
from autorisk_dagster.audit.lineage_facts import Facts
from autorisk_dagster.audit.trace import decision_trace
from autorisk_dagster.errors import InputError
from autorisk_dagster.profile import Profile
from autorisk_dagster.reporting import words

ASSETS: Final = (  # what a severity rests on, in the order of the work; its rank comes after it
    "source_video",
    "frame_signals",
    "tracks",
    "ego_motion",
    "mined_clips",
    "clip_ttc",
    "conflict_measures",
    "near_miss_events",
    "reason_outputs",
    "corrected_severities",
    "severity_ranking",
)
STEPS: Final = ASSETS[:-1]
SAMPLES_SHOWN: Final = 8
_FROM: Final = "from "


@dataclass(frozen=True)
class Finding:
    """Something that was looked at: whether it holds, and in words what was found."""

    what: str
    holds: bool
    told: str


@dataclass(frozen=True)
class Made:
    """The event that made a stored table, by Dagster's history.

    Attributes:
        run_id: of the run that made it
        made_at: date and time, ISO 8601
        code_version: of the asset's code and settings then
        data_version: hash of what it gave
        inputs: by asset, the data version of each input as it was read; None: there was none
    """

    run_id: str
    made_at: str
    code_version: str
    data_version: str
    inputs: Mapping[str, str | None]


@dataclass(frozen=True)
class Stored:
    """A table of the video as it lies there.

    Attributes:
        rows: None: there is none
        content_sha256: of what lies there now
        made: None: Dagster knows of no materialisation
        code_version: of today's code and settings
        parents: assets it is made from, by today's graph
    """

    rows: pl.DataFrame | None
    content_sha256: str | None
    made: Made | None
    code_version: str | None
    parents: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One asset on the way, for one clip."""

    asset: str
    parents: tuple[str, ...]
    facts: Facts
    made: Made | None
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        """Whether everything that was looked at holds."""
        return all(finding.holds for finding in self.findings)


@dataclass(frozen=True)
class Sample:
    """A frame that the time to contact rests on: where the road user was in it, and what followed.

    Attributes:
        at_sec: presentation time in the source
        source_frame: number of the frame, as decoded, from 0
        box_px: left, top, right, bottom
    """

    at_sec: float
    source_frame: int
    box_px: tuple[float, float, float, float]
    confidence: float
    ttc: str


@dataclass(frozen=True)
class Lineage:
    """A severity and everything behind it.

    Attributes:
        severity: None: not judged
        in_words: the way from the raw word to the severity
        raw_answer: the reasoner's own, as it came
        trouble: why the severity does not follow from what is stored; None: it does
        road_user: whom the samples are of
    """

    video_id: str
    clip_id: str
    severity: str | None
    in_words: str
    steps: tuple[Step, ...]
    samples: tuple[Sample, ...]
    road_user: str | None
    raw_answer: str | None
    trouble: str | None

    @property
    def findings(self) -> list[Finding]:
        """Of all steps."""
        return [finding for step in self.steps for finding in step.findings]

    @property
    def holds(self) -> bool:
        """Whether the severity follows from what is stored, and what is stored is what was made."""
        return self.trouble is None and all(finding.holds for finding in self.findings)


def trace_back(
    clip_id: str, stored: Mapping[str, Stored], profile: Profile, files: Mapping[str, Sequence[Finding]]
) -> Lineage:
    """The lineage of one clip's severity.

    Args:
        clip_id: the clip
        stored: the video's tables, by asset: those of ASSETS, and what else a rule may have read
        profile: the settings that the video is processed with
        files: what was found of the files, by the asset whose table names them

    Raises:
        InputError: there is no such clip.
    """
    tables = {name: one.rows for name, one in stored.items() if one.rows is not None}
    clips = tables["mined_clips"].filter(pl.col("clip_id") == clip_id).to_dicts() if "mined_clips" in tables else []
    if len(clips) != 1:
        raise InputError(f"there is no clip {clip_id}; autorisk status shows the videos, the dashboard their clips")
    source = tables["source_video"].row(0, named=True)
    trace, trouble = None, None
    missing = [name for name in ASSETS if name not in tables]
    if missing:
        trouble = f"not made: {', '.join(missing)}; run the video: autorisk run"
    else:
        try:
            named = {"video_id": source["video_id"], "file_name": source["file_name"], "sha256": source["sha256"]}
            trace = decision_trace(clips[0], tables, profile, source=named, media={}, reviews={})
        except InputError as error:
            trouble = str(error)
    samples, road_user = _samples(clip_id, tables)
    return Lineage(
        video_id=source["video_id"],
        clip_id=clip_id,
        severity=trace["severity"]["final"] if trace else None,
        in_words=_in_words(trace),
        steps=tuple(_step(name, stored, source, trace, files.get(name, ())) for name in STEPS),
        samples=samples,
        road_user=road_user,
        raw_answer=trace["judgement"]["answer"]["raw_text"] if trace else None,
        trouble=trouble,
    )


def _step(
    asset: str,
    stored: Mapping[str, Stored],
    source: Mapping[str, Any],
    trace: Mapping[str, Any] | None,
    files: Sequence[Finding],
) -> Step:
    own = stored[asset]
    if asset == "source_video":
        facts = facts_of.source(source)
    elif trace is None or own.rows is None:
        facts = ()
    else:
        facts = facts_of.STEP[asset](trace, _within(own.rows, trace["clip"]["start_sec"], trace["clip"]["end_sec"]))
    parents = tuple(name for name in STEPS if name in own.parents)
    return Step(asset, parents, facts, own.made, (*_of_history(asset, stored), *files))


def _within(rows: pl.DataFrame, start_sec: float, end_sec: float) -> pl.DataFrame:
    """The rows of one clip's time, where rows have a time."""
    if "timestamp_sec" not in rows.columns:
        return rows
    return rows.filter(pl.col("timestamp_sec").is_between(start_sec, end_sec))


def told(findings: Sequence[Finding]) -> list[str]:
    """What holds, in few lines."""
    whole = [finding for finding in findings if finding.holds]
    lines = [finding.told for finding in whole if not finding.what.startswith(_FROM)]
    inputs = [finding.what.removeprefix(_FROM) for finding in whole if finding.what.startswith(_FROM)]
    return [*lines, f"made from {', '.join(inputs)}, as they are now"] if inputs else lines


def _of_history(asset: str, stored: Mapping[str, Stored]) -> list[Finding]:
    """What Dagster's history says of a table, and of what it was made from."""
    own = stored[asset]
    if own.rows is None:
        return [Finding("stored", False, "there is no such table of this video")]
    if own.made is None:
        return [Finding("stored as made", False, "Dagster knows of no materialisation")]
    same = own.content_sha256 == own.made.data_version
    found = [
        Finding(
            "stored as made",
            same,
            "the stored table has the hash that was recorded when it was made"
            if same
            else f"the stored table was changed since: {_short(own.content_sha256)}, "
            f"made {_short(own.made.data_version)}",
        )
    ]
    current = own.made.code_version == own.code_version
    found.append(
        Finding(
            "by today's code",
            current,
            "made by today's code and settings"
            if current
            else f"made by other code or settings ({own.made.code_version}) than today's ({own.code_version})",
        )
    )
    for parent, version in sorted(own.made.inputs.items()):
        there = stored[parent].made
        now = there.data_version if there else None
        found.append(
            Finding(
                f"{_FROM}{parent}",
                version == now,
                f"read {parent} as it is now"
                if version == now
                else f"read another {parent} ({_short(version)}) than is there now ({_short(now)})",
            )
        )
    return found


def _samples(clip_id: str, tables: Mapping[str, pl.DataFrame]) -> tuple[tuple[Sample, ...], str | None]:
    """The frames up to the lowest time to contact, of the road user that has it."""
    if "clip_ttc" not in tables or "tracks" not in tables:
        return (), None
    row = next(iter(tables["clip_ttc"].filter(pl.col("clip_id") == clip_id).to_dicts()), None)
    if row is None or row["min_ttc_track_id"] is None:
        return (), None
    track = row["min_ttc_track_id"]
    measured = {one["timestamp_sec"]: one for one in row["timeline"] or [] if one["track_id"] == track}
    seen = tables["tracks"].filter(
        (pl.col("track_id") == track) & pl.col("timestamp_sec").is_in(list(measured)),
        pl.col("timestamp_sec") <= row["min_ttc_at_sec"],
    )
    samples = tuple(
        Sample(
            at_sec=one["timestamp_sec"],
            source_frame=one["source_frame"],
            box_px=(one["x1_px"], one["y1_px"], one["x2_px"], one["y2_px"]),
            confidence=one["confidence"],
            ttc=words.ttc_words(*(measured[one["timestamp_sec"]][name] for name in ("ttc_sec", "low_sec", "high_sec"))),
        )
        for one in seen.sort("timestamp_sec").tail(SAMPLES_SHOWN).iter_rows(named=True)
    )
    return samples, f"{row['min_ttc_label']} #{track}"


def _in_words(trace: Mapping[str, Any] | None) -> str:
    if trace is None:
        return "What is stored does not lead to a severity."
    by, correction = trace["judgement"]["by"], trace["correction"]
    if trace["severity"]["raw"] is None:
        return f"Not judged: {words.OUTCOME_WORDS[trace['judgement']['outcome']]}."
    judge = by["model_id"] or by["reasoner"]
    rule = f"rule {correction['rule']} made it" if correction["rule"] else "no rule fired, so it stays"
    return f"{judge} said {trace['severity']['raw']}; {rule} {trace['severity']['final']}."


def _short(digest: str | None) -> str:
    return (digest or "nothing")[:12]
