"""What the measurements say of the driving itself: points to talk about with the driver, and points in the driver's
favour.

Both come from the own vehicle's conflict measures and the near misses alone. They are observations with a time to look
at, no finding of fault: who had the right of way, what the driver saw and what the signals showed is not measured.

Sources of the limits: two seconds of headway is the rule of driving schools, and under one second is tailgating in
the Swiss and German penalty practice (half the speedometer); braking over 3.4 m/s2 is more than most drivers choose
(AASHTO, stopping sight distance); 1.5 m beside people on foot or on a bicycle is what the German road code asks in
town (StVO section 5, 4).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl

from autorisk_dagster import tables

SHORT_HEADWAY_SEC: Final = 1.0
HARD_BRAKING_MPS2: Final = 3.4
PASSING_ROOM_M: Final = 1.5
BESIDE_M: Final = 6.0  # a road user this near is being passed, not only seen
HOLD_SAMPLES: Final = 3  # at one sample nothing is said: boxes jump
LOOK_BACK_SEC: Final = 4.0  # before a conflict, for who moved into whose way
CAME_FROM_M: Final = 0.5  # free room beside the own path from which a road user moved in
MOVING_IN_MPS: Final = 0.3
SIGNIFICANT: Final = 2.0  # standard errors of that speed
UNPROTECTED: Final = ("person", "bicycle", "motorcycle")

Kind = Literal["headway", "braking", "passing", "moved_in", "others"]


@dataclass(frozen=True)
class Observation:
    """Something measured about the driving.

    Attributes:
        kind: headway, braking, passing: to talk about; moved_in, others: in the driver's favour
        at_sec: of the most telling sample
        start_sec: of the first one
        who: "car 3"
        table, column, value: the measured quantity and where it stands
        row: which row of the table
        before_m: moved_in: free room beside the own path before
    """

    kind: Kind
    at_sec: float
    start_sec: float
    who: str
    table: str
    column: str
    value: float
    row: str
    before_m: float | None = None


def to_talk_about(conflicts: pl.DataFrame) -> list[Observation]:
    """Short following, hard braking that was needed, and little room for people, one observation a road user and kind.

    Args:
        conflicts: tables.CONFLICT_MEASURES; a measure that is null says nothing

    Returns:
        By time.
    """
    near = pl.col("distance_m") <= BESIDE_M
    held = (
        ("headway", "headway_sec", pl.col("in_own_path") & (pl.col("headway_sec") < SHORT_HEADWAY_SEC), False),
        ("braking", "drac_mps2", pl.col("on_collision_course") & (pl.col("drac_mps2") > HARD_BRAKING_MPS2), True),
        (
            "passing",
            "gap_m",
            pl.col("label").is_in(UNPROTECTED) & near & (pl.col("gap_m") < PASSING_ROOM_M),
            False,
        ),
    )
    found = [
        observation
        for kind, column, holds, larger_is_worse in held
        for observation in _runs(conflicts, kind, column, holds, larger_is_worse)  # type: ignore[arg-type]
    ]
    return sorted(found, key=lambda point: (point.at_sec, point.kind, point.who))


def in_favour(conflicts: pl.DataFrame, near_misses: pl.DataFrame, clips: pl.DataFrame) -> list[Observation]:
    """Conflicts that the measurements lay with somebody else, by time.

    Two kinds: near misses of two others, in which the own vehicle took no part; and road users that moved sideways
    into the own path shortly before the shortest time to contact of a clip, or before a near miss with the own vehicle.

    Args:
        conflicts: tables.CONFLICT_MEASURES
        near_misses: tables.NEAR_MISS_EVENTS, of the version that people see
        clips: tables.CLIP_TTC of the clips that were judged LOW or worse
    """
    found = [
        Observation(
            "others",
            row["timestamp_sec"],
            row["start_sec"],
            row["actors"],
            "near_miss_events",
            "timestamp_sec",
            row["timestamp_sec"],
            row["event_id"],
        )
        for row in near_misses.filter(pl.col("object_id_2").is_not_null()).iter_rows(named=True)
    ]
    moments = {
        (row["object_id_1"], row["timestamp_sec"])
        for row in near_misses.filter(pl.col("object_id_2").is_null()).iter_rows(named=True)
    } | {
        (row["min_ttc_track_id"], row["min_ttc_at_sec"])
        for row in clips.drop_nulls("min_ttc_track_id").iter_rows(named=True)
    }
    came_in: dict[int, Observation] = {}
    for track_id, at_sec in sorted(moments, key=lambda moment: moment[1]):
        observation = _moved_in(conflicts, track_id, at_sec)
        if observation is not None:
            came_in.setdefault(track_id, observation)
    return sorted([*found, *came_in.values()], key=lambda point: (point.at_sec, point.who))


def _moved_in(conflicts: pl.DataFrame, track_id: int, at_sec: float) -> Observation | None:
    """Whether the road user came from beside the own path into it within LOOK_BACK_SEC before `at_sec`."""
    before = conflicts.filter(
        (pl.col("track_id") == track_id) & pl.col("timestamp_sec").is_between(at_sec - LOOK_BACK_SEC, at_sec)
    ).sort("timestamp_sec")
    beside = before.filter(pl.col("gap_m") >= CAME_FROM_M)
    if beside.is_empty():
        return None
    first = beside.row(0, named=True)
    later = before.filter(pl.col("timestamp_sec") > first["timestamp_sec"])
    moving = later.filter(
        (pl.col("inward_mps") >= MOVING_IN_MPS) & (pl.col("inward_mps") >= SIGNIFICANT * pl.col("inward_error_mps"))
    )
    arrives = later.filter(pl.col("in_own_path"))
    if moving.height < HOLD_SAMPLES or arrives.is_empty():
        return None
    fastest = moving.sort("inward_mps", descending=True).row(0, named=True)
    return Observation(
        "moved_in",
        arrives.item(0, "timestamp_sec"),
        first["timestamp_sec"],
        f"{first['label']} {track_id}",
        "conflict_measures",
        "inward_mps",
        fastest["inward_mps"],
        _sample(fastest),
        beside["gap_m"].max(),  # type: ignore[arg-type]
    )


def _runs(
    conflicts: pl.DataFrame, kind: Kind, column: str, holds: pl.Expr, larger_is_worse: bool
) -> Iterator[Observation]:
    """The worst sample of each road user of which `holds` was true at HOLD_SAMPLES samples running."""
    marked = conflicts.sort("track_id", "timestamp_sec").with_columns(_holds=holds.fill_null(False))
    runs = marked.with_columns(
        _run=(pl.col("_holds") != pl.col("_holds").shift(1, fill_value=False)).cum_sum().over("track_id")
    ).filter("_holds")
    best: dict[int, tuple[float, dict[str, Any], float]] = {}
    for run in runs.partition_by("track_id", "_run", maintain_order=True):
        if run.height < HOLD_SAMPLES:
            continue
        worst = run.sort(column, descending=larger_is_worse).row(0, named=True)
        badness = worst[column] if larger_is_worse else -worst[column]
        if worst["track_id"] not in best or badness > best[worst["track_id"]][0]:
            best[worst["track_id"]] = (badness, worst, run.item(0, "timestamp_sec"))
    for _, worst, start_sec in best.values():
        yield Observation(
            kind,
            worst["timestamp_sec"],
            start_sec,
            f"{worst['label']} {worst['track_id']}",
            "conflict_measures",
            column,
            worst[column],
            _sample(worst),
        )


def _sample(row: dict[str, Any]) -> str:
    return f"track {row['track_id']} at {row['timestamp_sec']:.3f}"


def shown_near_misses(near_miss_events: pl.DataFrame) -> pl.DataFrame:
    """The events that people are told of, by time."""
    return near_miss_events.filter(pl.col("version") == tables.NEAR_MISS_SHOWN).sort("timestamp_sec")
