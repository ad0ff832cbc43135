"""The plan of a night, and where it is kept: in Dagster's own store, so that every daemon and the command line see one.

The newest plan replaces the one before. What the next night needs of it is what it left out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import dagster as dg
import polars as pl

from autorisk_dagster import fleet_history as history
from autorisk_dagster.fleet.orphans import UNFINISHED
from autorisk_dagster.intake.sources import SourceRecord, source_ledger
from autorisk_dagster.io import FrameStoreIOManager
from autorisk_dagster.jobs import GRAPH, PER_VIDEO, fleet_batch, process_video
from autorisk_dagster.night.cost import Estimate, NightCost, PastVideo
from autorisk_dagster.night.failures import Broken, Made
from autorisk_dagster.night.plan import Plan, Waiting, due, plan_night
from autorisk_dagster.night.settings import BudgetSettings
from autorisk_dagster.partitions import videos
from autorisk_dagster.storage import data_storage

_KEY = "autorisk/night"


@dataclass(frozen=True)
class StoredNight:
    """The plan of the newest night.

    Attributes:
        night: date at its start, where the schedule's clock is
        made_at_sec: seconds since 1970
        videos: in the order in which they are made
        left_out: these come first in the next night
        estimate: of `videos`, by quantity
    """

    night: str
    made_at_sec: float
    videos: tuple[str, ...]
    left_out: tuple[str, ...]
    too_large: tuple[str, ...]
    estimate: NightCost


@dataclass(frozen=True)
class Fleet:
    """What is known of the fleet before a night: its videos, what was made of them, what is broken, who is busy."""

    records: Mapping[str, SourceRecord]
    registered: tuple[str, ...]
    made: Made
    broken: tuple[Broken, ...]
    busy: frozenset[str]

    def broken_videos(self) -> dict[str, Broken]:
        """What is broken, by video, of what the night makes."""
        return {one.video_id: one for one in self.broken if one.video_id and one.asset in PER_VIDEO}


def look(instance: dg.DagsterInstance) -> Fleet:
    """The fleet as the records have it now."""
    records = source_ledger().all()
    registered = tuple(instance.get_dynamic_partitions(videos.name or ""))
    made = history.made_events(instance, GRAPH.assets())
    unfinished = instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    busy = frozenset(record.dagster_run.tags.get("dagster/partition", "") for record in unfinished)
    broken = history.broken(instance, GRAPH, records, registered, made)
    return Fleet({record.video_id: record for record in records}, registered, made, tuple(broken), busy)


def waiting(fleet: Fleet, left_out: Collection[str]) -> list[Waiting]:
    """The videos that must be made, with what decides their turn."""
    gone = {key for key, record in fleet.records.items() if record.missing_since is not None}
    keys = due(fleet.registered, PER_VIDEO, fleet.made, fleet.broken_videos(), fleet.busy, gone)
    hours, worst = footage_hours(keys), worst_of(keys)
    return [
        Waiting(
            key,
            fleet.records[key].registered_at if key in fleet.records else "",
            worst.get(key),
            hours.get(key),
            key in left_out,
        )
        for key in keys
    ]


def past(instance: dg.DagsterInstance) -> list[PastVideo]:
    """What videos cost before."""
    return history.past_videos(instance, GRAPH, (fleet_batch.name, process_video.name), footage_hours)


def tonight(instance: dg.DagsterInstance, night: str, budget: BudgetSettings) -> StoredNight:
    """The plan of `night`; the one that is kept already where it was just made or its runs have begun, so that two
    schedulers, and one that was killed and comes back, ask for the same runs."""
    kept = stored(instance)
    if kept is not None and kept.night == night:
        fresh = abs(time.time() - kept.made_at_sec) < 900
        if fresh or history.night_runs(instance, night, fleet_batch.name):
            return kept
    plan = planned(instance, budget)
    new = StoredNight(night, time.time(), plan.videos, plan.left_out, plan.too_large, plan.cost)
    keep(instance, new)
    return new


def planned(instance: dg.DagsterInstance, budget: BudgetSettings) -> Plan:
    """What a night that began now would do."""
    fleet, before = look(instance), stored(instance)
    return plan_night(waiting(fleet, before.left_out if before else ()), past(instance), budget)


def stored(instance: dg.DagsterInstance) -> StoredNight | None:
    """The newest night's plan; None: there was no night yet."""
    text = instance.daemon_cursor_storage.get_cursor_values({_KEY}).get(_KEY)
    if not text:
        return None
    values = json.loads(text)
    lists = {name: tuple(values[name]) for name in ("videos", "left_out", "too_large")}
    return StoredNight(**{**values, **lists, "estimate": _cost(values["estimate"])})


def keep(instance: dg.DagsterInstance, night: StoredNight) -> None:
    """Replace the plan that is kept."""
    instance.daemon_cursor_storage.set_cursor_values({_KEY: json.dumps(asdict(night))})


def also_left_out(instance: dg.DagsterInstance, night: StoredNight, video_ids: Iterable[str]) -> None:
    """Remember what the night did not get to."""
    keep(instance, replace(night, left_out=tuple(dict.fromkeys([*night.left_out, *video_ids]))))


def footage_hours(video_ids: Iterable[str]) -> dict[str, float]:
    """How long the footage of each video lasts, of those that were opened."""
    rows = _tables().read_fleet("source_video", video_ids).rows.select("video_id", "duration_sec").collect()
    return {key: seconds / 3600 for key, seconds in rows.iter_rows() if seconds and seconds > 0}


def worst_of(video_ids: Iterable[str]) -> dict[str, str]:
    """The highest severity of each video's clips, of those that were ranked."""
    rows = _tables().read_fleet("severity_ranking", video_ids).rows
    worst = rows.group_by("video_id").agg(pl.col("severity").drop_nulls().max()).drop_nulls().collect()
    return {key: str(severity) for key, severity in worst.iter_rows()}


def _tables() -> FrameStoreIOManager:
    return FrameStoreIOManager(data_storage().at("tables"))


def _cost(values: Mapping[str, Any]) -> NightCost:
    parts: dict[str, Any] = {name: Estimate(**one) if isinstance(one, dict) else one for name, one in values.items()}
    return NightCost(**parts)
