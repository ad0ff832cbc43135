"""The watch over a night and the alerts, on a real instance with the records that runs leave."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._utils.schedules import schedule_execution_time_iterator

from autorisk_dagster import night_sensors, schedules
from autorisk_dagster.jobs import GRAPH
from autorisk_dagster.night.cost import NightCost
from autorisk_dagster.night.delivery import WEBHOOK
from autorisk_dagster.night.settings import BudgetSettings, NightSettings
from autorisk_dagster.night_sensors import failure_alerts, fleet_night, night_watch
from autorisk_dagster.tonight import StoredNight, keep, stored
from tests.night.receivers import web_server

NIGHT = "2026-03-01"
# Dagster queues only what it knows where to launch from.
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("autorisk"), "repository"), "fleet_batch")
EVENTS = {
    "QUEUED": ["PIPELINE_ENQUEUED"],
    "STARTED": ["PIPELINE_ENQUEUED", "PIPELINE_START"],
    "SUCCESS": ["PIPELINE_START", "PIPELINE_SUCCESS"],
    "FAILURE": ["PIPELINE_START"],
}
KEYS = ("a-00000000", "b-00000000", "c-00000000")


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path))
    with dg.DagsterInstance.ephemeral() as found:
        found.add_dynamic_partitions("videos", list(KEYS))
        yield found


def planned(instance: dg.DagsterInstance, *videos: str) -> None:
    keep(instance, StoredNight(NIGHT, time.time(), videos, (), (), NightCost(len(videos), None, None, None, None)))


def run(instance: dg.DagsterInstance, key: str, status: str, error: str = "disk full", **tags: str) -> str:
    made = dg.DagsterRun(
        "fleet_batch",
        run_id=str(uuid.uuid4()),
        tags={
            "autorisk/night": NIGHT,
            "autorisk/code": GRAPH.code,
            "dagster/partition": key,
            "dagster/run_key": f"{NIGHT}/{key}",
            **tags,
        },
        remote_job_origin=ORIGIN,
    )
    instance.add_run(made)
    for name in EVENTS[status]:
        instance.report_dagster_event(dg.DagsterEvent(name, "fleet_batch", message=name), made.run_id)
    if status == "FAILURE":
        instance.report_run_failed(made, error)
    return made.run_id


def watch(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult | dg.SkipReason:
    found = night_watch(dg.build_sensor_context(instance, cursor=cursor))
    assert isinstance(found, dg.SensorResult | dg.SkipReason)
    return found


def budget(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    monkeypatch.setattr(night_sensors, "NIGHT", NightSettings(budget=BudgetSettings(**limits)))


def test_without_a_night_nothing_happens(instance: dg.DagsterInstance) -> None:
    assert isinstance(watch(instance), dg.SkipReason)


def test_a_first_failure_is_requested_once_more_behind_the_others(instance: dg.DagsterInstance) -> None:
    planned(instance, *KEYS[:2])
    run(instance, KEYS[0], "FAILURE")
    run(instance, KEYS[1], "STARTED")
    found = watch(instance)
    assert isinstance(found, dg.SensorResult)
    (retry,) = found.run_requests or []
    assert (retry.run_key, retry.partition_key, retry.job_name) == (f"{NIGHT}/{KEYS[0]}/retry", KEYS[0], "fleet_batch")
    assert int(retry.tags["dagster/priority"]) < -100_000
    assert found.cursor is None


def test_the_last_end_brings_what_is_over_the_fleet_once_though_a_video_failed(instance: dg.DagsterInstance) -> None:
    planned(instance, *KEYS[:2])
    for key, status, extra in ((KEYS[0], "FAILURE", ""), (KEYS[0], "FAILURE", "/retry"), (KEYS[1], "SUCCESS", "")):
        run(instance, key, status, **{"dagster/run_key": f"{NIGHT}/{key}{extra}"})
    found = watch(instance)
    assert isinstance(found, dg.SensorResult)
    assert [(one.run_key, one.job_name) for one in found.run_requests or []] == [(f"{NIGHT}/after", "after_night")]
    (record,) = found.asset_events
    values = {name: value.value for name, value in record.metadata.items()}
    assert (values["planned"], values["made"], values["failed"], values["left_out"]) == (2, 1, 1, 0)
    assert isinstance(watch(instance, found.cursor), dg.SkipReason)


def test_a_used_up_budget_empties_the_queue_and_the_next_night_begins_with_it(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget(monkeypatch, tokens=100)
    planned(instance, *KEYS)
    done = run(instance, KEYS[0], "SUCCESS")
    running, queued = run(instance, KEYS[1], "STARTED"), run(instance, KEYS[2], "QUEUED")
    assert isinstance(watch(instance), dg.SensorResult)
    instance.add_run_tags(done, {f"autorisk/tokens/{done[:8]}/reason_outputs": "100.0"})
    found = watch(instance)
    states = {key: instance.get_run_by_id(key).status.value for key in (done, running, queued)}  # type: ignore[union-attr]
    assert states == {done: "SUCCESS", running: "STARTED", queued: "CANCELED"}
    assert isinstance(found, dg.SensorResult) and not found.run_requests
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_SUCCESS", "fleet_batch", message="done"), running)
    found = watch(instance)
    assert isinstance(found, dg.SensorResult) and found.cursor == NIGHT
    night = stored(instance)
    assert night is not None and night.left_out == (KEYS[2],)


def test_of_a_doubled_request_the_later_run_is_taken_out_of_the_queue(instance: dg.DagsterInstance) -> None:
    planned(instance, KEYS[0])
    first, second = run(instance, KEYS[0], "QUEUED"), run(instance, KEYS[0], "QUEUED")
    watch(instance)
    watch(instance)
    states = [instance.get_run_by_id(key).status.value for key in (first, second)]  # type: ignore[union-attr]
    assert states == ["QUEUED", "CANCELED"]


def alert(instance: dg.DagsterInstance, cursor: str | None = None) -> str | None:
    found = failure_alerts(dg.build_sensor_context(instance, cursor=cursor))
    return found.cursor if isinstance(found, dg.SensorResult) else None


def test_alerts_wait_for_the_end_of_the_night_and_come_once(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert alert(instance) is None  # nobody is to be told
    with web_server() as server:
        monkeypatch.setenv(WEBHOOK, f"http://127.0.0.1:{server.port}/hook")
        planned(instance, *KEYS)
        for key in KEYS:
            run(instance, key, "FAILURE", f"{key}: no moov atom")
        cursor = alert(instance)
        assert server.posts == []
        ended = dg.AssetMaterialization(fleet_night.key, metadata={"night": NIGHT})
        instance.report_runless_asset_event(ended)
        server.refuse = 1
        cursor = alert(instance, cursor)
        assert server.posts == []  # it was refused, and the tick did not fail
        later = time.time() + 61
        monkeypatch.setattr(time, "time", lambda: later)
        cursor = alert(instance, cursor)
        assert [post["subject"] for post in server.posts] == ["AutoRisk: 3 broken for 1 cause (1 new)"]
        cursor = alert(instance, cursor)
        assert len(server.posts) == 1
        night = stored(instance)
        assert night is not None
        keep(instance, replace(night, night="2026-03-02"))
        instance.report_runless_asset_event(dg.AssetMaterialization(fleet_night.key, metadata={"night": "2026-03-02"}))
        cursor = alert(instance, cursor)
        assert [post["subject"] for post in server.posts[1:]] == ["AutoRisk: 3 broken for 1 cause (1 still there)"]


@pytest.mark.parametrize(("start", "first"), [("02:00", "2026-03-27"), ("02:30", "2026-10-23")])
def test_each_date_has_one_night_where_the_clock_is_changed(
    start: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Berlin 02:00 to 03:00 is skipped on 29 March 2026 and comes twice on 25 October."""
    settings = NightSettings(start=start, timezone="Europe/Berlin")
    monkeypatch.setattr(schedules, "NIGHT", settings)
    begin = dt.datetime.fromisoformat(first).replace(tzinfo=ZoneInfo("Europe/Berlin"))
    ticks = schedule_execution_time_iterator(begin.timestamp(), settings.cron, settings.timezone)
    starts = [next(ticks) for _ in range(5)]
    nights = [schedules.night_of(one) for one in starts]
    expected = [(dt.date.fromisoformat(first) + dt.timedelta(days=n)).isoformat() for n in range(5)]
    assert nights == expected
    local = [one.astimezone(ZoneInfo("Europe/Berlin")).hour for one in starts]
    assert local == ([2, 2, 3, 2, 2] if first.startswith("2026-03") else [2] * 5)
    offsets = [one.astimezone(ZoneInfo("Europe/Berlin")).utcoffset() for one in starts]
    assert offsets[2] == dt.timedelta(hours=2 if first.startswith("2026-03") else 1)  # in October the second 02:30
