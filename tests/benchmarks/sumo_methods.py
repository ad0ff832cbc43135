"""The methods that the benchmark compares, each from the product's tables of a drive to alarms.

Road users are called by their numbers in the tracks; `who_is` turns these into who they truly were at that moment, so
that an alarm about a swapped number counts as what it is. The own vehicle has no track: `OWN`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.kinematics.conflict_measures import conflict_measures
from autorisk_dagster.kinematics.events import find_near_misses
from autorisk_dagster.kinematics.near_miss_v2 import find_near_misses_v2
from autorisk_dagster.profile import CameraSettings, Profile
from autorisk_dagster.reasoning import rules
from autorisk_dagster.reasoning.evidence import Actor, clip_evidence
from tests.benchmarks.sumo_dashcam import Camera, Footage
from tests.benchmarks.sumo_roads import STEP_SEC
from tests.benchmarks.sumo_scoring import LEVELS, MERGE_SEC, Alarm

RATE_HZ: Final = 1 / STEP_SEC
OWN: Final = None
CLIP_SEC, CLIP_EVERY_SEC = 10.0, 5.0
NOTICED_AREA_SHARE: Final = 0.005


@dataclass(frozen=True)
class Report:
    """An alarm in the product's terms: track numbers, times in the video as in `Alarm`, risk and level."""

    track_ids: tuple[int | None, int]
    raised_sec: float
    time_sec: float
    score: float
    level: int


@dataclass(frozen=True)
class Case:
    """What the methods may look at: the product's tables of one drive.

    `conflicts` are measured by the default profile, which assumes or estimates the camera.
    """

    tracks: pl.DataFrame
    frame_size: tuple[int, int]
    profile: Profile
    conflicts: pl.DataFrame


def case(footage: Footage, camera: Camera, profile: Profile) -> Case:
    """The tables of a drive with its conflict measures."""
    conflicts = conflict_measures(footage.tracks, footage.ego_motion, camera.frame_size, profile.camera)
    return Case(footage.tracks, camera.frame_size, profile, conflicts)


def knowing(camera: Camera, profile: Profile) -> Profile:
    """The profile of an operator who has put in the camera's height, focal length and horizon."""
    known = CameraSettings(
        height_m=camera.height_m, focal_px=camera.focal_px, horizon_share=0.5, bumper_ahead_m=camera.behind_bumper_m
    )
    return profile.model_copy(update={"camera": known})


Method = Callable[[Case], Iterator[Report]]


def near_miss_v1(case: Case) -> Iterator[Report]:
    """Version 1.0 as it ships: pairs of road users in the image."""
    yield from _v1(case, filters=True)


def near_miss_v1_unfiltered(case: Case) -> Iterator[Report]:
    """Version 1.0 with its false-positive filters off."""
    yield from _v1(case, filters=False)


def _v1(case: Case, *, filters: bool) -> Iterator[Report]:
    settings = case.profile.near_miss.model_copy(update={"filters_enabled": filters})
    for event in find_near_misses(case.tracks, settings, RATE_HZ).iter_rows(named=True):
        ids = (event["object_id_1"], event["object_id_2"])
        at_sec = event["timestamp_sec"]
        yield Report(ids, at_sec, at_sec, event["risk_score"], LEVELS.index(event["risk_level"]))


def near_miss_v2(case: Case) -> Iterator[Report]:
    """Profile v2: pairs of road users, and the own vehicle by its conflict measures."""
    events = find_near_misses_v2(case.tracks, case.conflicts, case.frame_size, RATE_HZ, case.profile.near_miss_v2)
    for event in events.iter_rows(named=True):
        other = event["object_id_2"]
        ids = (OWN, event["object_id_1"]) if other is None else (event["object_id_1"], other)
        level = LEVELS.index(event["risk_level"])
        # an encounter is known as one when it has lasted long enough
        raised_sec = min(event["start_sec"] + case.profile.near_miss_v2.min_dwell_sec, event["timestamp_sec"])
        yield Report(ids, raised_sec, event["timestamp_sec"], event["risk_score"], level)


def kinematic_severity(case: Case) -> Iterator[Report]:
    """The kinematic reasoner's findings in clips of 10 s, one every 5 s; ranked by severity, then time to contact."""
    events = find_near_misses(case.tracks, case.profile.near_miss, RATE_HZ)
    silent = tables.empty(tables.FRAME_SIGNALS)
    for clip in _clips(case.tracks).iter_rows(named=True):
        evidence = clip_evidence(clip, case.tracks, case.conflicts, events, silent, case.frame_size)
        for finding in rules.findings(evidence):
            level = ("LOW", "MEDIUM", "HIGH").index(finding.severity)
            if finding.encounter is not None:
                yield Report(finding.encounter.track_ids, finding.at_sec, finding.at_sec, float(level), level)
            elif finding.actor is not None and finding.sample is not None:
                high_sec = finding.sample.high_sec
                urgency = 1 / (1 + high_sec) if math.isfinite(high_sec) else 0.0
                ids = (OWN, finding.actor.track_id)
                yield Report(ids, _raised_sec(finding.actor, finding.rule), finding.at_sec, level + urgency, level)


def _raised_sec(actor: Actor, name: str) -> float:
    """When the rule had held long enough, or its worst moment where that comes first."""
    (rule,) = (rule for rule in rules.RULES if rule.name == name)
    held = rules.longest_hold(actor, rule)
    worst = min(held, key=lambda sample: sample.high_sec if name.startswith("approach-") else sample.gap_m)
    return min(held[rules.HOLD_SAMPLES - 1].timestamp_sec, worst.timestamp_sec)


def nearest_box(case: Case) -> Iterator[Report]:
    """The trivial rule: every MERGE_SEC the largest followed box is an alarm, ranked by its area."""
    area = (pl.col("x2_px") - pl.col("x1_px")) * (pl.col("y2_px") - pl.col("y1_px"))
    largest = (
        case.tracks.drop_nulls("track_id")
        .with_columns(area=area / (case.frame_size[0] * case.frame_size[1]), part=pl.col("timestamp_sec") // MERGE_SEC)
        .filter(pl.col("area") >= NOTICED_AREA_SHARE)
        .sort("area", descending=True)
        .unique("part", keep="first", maintain_order=True)
    )
    for row in largest.iter_rows(named=True):
        at_sec = row["timestamp_sec"]
        yield Report((OWN, row["track_id"]), at_sec, at_sec, row["area"], LEVELS.index("Low"))


METHODS: Final[dict[str, Method]] = {
    "v1.0": near_miss_v1,
    "v1.0, filters off": near_miss_v1_unfiltered,
    "v2": near_miss_v2,
    "kinematic severity": kinematic_severity,
    "nearest box": nearest_box,
}
READ_CAMERA: Final = ("v2", "kinematic severity")  # the others do not ask for the camera


def _clips(tracks: pl.DataFrame) -> pl.DataFrame:
    end_sec = float(tracks["timestamp_sec"].max() or 0.0) if tracks.height else 0.0  # type: ignore[arg-type]
    starts = np.arange(0.0, max(end_sec - CLIP_EVERY_SEC, 0.0) + 1e-6, CLIP_EVERY_SEC)
    rows: list[dict[str, Any]] = [
        {"clip_id": f"c{n:03d}", "start_sec": float(start), "end_sec": float(start) + CLIP_SEC}
        for n, start in enumerate(starts)
    ]
    return pl.DataFrame(rows, schema={"clip_id": pl.String, "start_sec": pl.Float64, "end_sec": pl.Float64})


class TrueActors:
    """Who a track's number stood for at a time."""

    def __init__(self, footage: Footage, ego: int) -> None:
        self._ego = ego
        table = footage.tracks.with_columns(who=pl.Series(footage.who)).drop_nulls("track_id").sort("timestamp_sec")
        self._of = {
            number: (rows["timestamp_sec"].to_numpy(), rows["who"].to_numpy())
            for (number,), rows in table.group_by("track_id", maintain_order=True)
        }

    def pair(self, track_ids: tuple[int | None, int], time_sec: float) -> tuple[int, int] | None:
        """The two true road users, smaller first; None where both numbers stood for one."""
        one, other = (self._ego if number is OWN else self._who(number, time_sec) for number in track_ids)
        return None if one == other else (min(one, other), max(one, other))

    def _who(self, number: int, time_sec: float) -> int:
        times, who = self._of[number]
        return int(who[np.argmin(np.abs(times - time_sec))])


def alarms(reports: Iterator[Report], actors: TrueActors, start_sec: float) -> list[Alarm]:
    """Reports of a video as alarms of the world; `start_sec` is the world's time at the video's first frame."""
    found = []
    for report in reports:
        pair = actors.pair(report.track_ids, report.time_sec)
        # a pair of one road user with itself matches nothing: kept as a false alarm
        raised_sec, time_sec = report.raised_sec + start_sec, report.time_sec + start_sec
        found.append(Alarm(pair or (-1, -1), raised_sec, time_sec, report.score, report.level))
    return found
