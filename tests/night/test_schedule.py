"""The nightly batch asks for what is missing or failed and not given up, once a night, in its order."""

from __future__ import annotations

import datetime as dt
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from autorisk_dagster.definitions import defs
from autorisk_dagster.fleet.orphans import PROCESS_TAG, UNFINISHED, this_process
from autorisk_dagster.intake.sources import SourceLedger
from autorisk_dagster.jobs import GRAPH, PER_VIDEO
from autorisk_dagster.schedules import nightly_fleet_batch
from autorisk_dagster.storage.folder import Folder

REPOSITORY = defs().get_repository_def()
BATCH = REPOSITORY.get_job("fleet_batch")


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path))
    with dg.instance_for_test() as found:
        yield found


def torn(folder: Path, name: str = "torn", text: bytes = b"no video") -> str:
    file = folder / f"{name}.mp4"
    file.write_bytes(text)
    return SourceLedger(Folder(folder / "sources")).register(file).video_id


def requests(instance: dg.DagsterInstance, day: int = 1) -> list[dg.RunRequest] | str:
    at = dt.datetime(2026, 3, day, 2, tzinfo=dt.UTC)
    with dg.build_schedule_context(instance, scheduled_execution_time=at, repository_def=REPOSITORY) as context:
        found = nightly_fleet_batch.evaluate_tick(context)
    return found.skip_message or list(found.run_requests or [])


def tick(instance: dg.DagsterInstance, day: int = 1) -> list[str] | str:
    found = requests(instance, day)
    return found if isinstance(found, str) else [str(request.partition_key) for request in found]


def report(instance: dg.DagsterInstance, key: str, *assets: str) -> None:
    for name in assets or PER_VIDEO:
        instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=key))


def fail(instance: dg.DagsterInstance, key: str) -> None:
    only = [dg.AssetKey("source_video")]
    run = BATCH.execute_in_process(instance=instance, partition_key=key, asset_selection=only, raise_on_error=False)
    assert not run.success


def test_missing_and_failed_are_asked_for_and_what_is_made_is_not(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    assert str(tick(instance)).startswith("every registered video is made")
    key = torn(tmp_path)
    instance.add_dynamic_partitions("videos", [key, "new-00000000", "half-00000000", "done-00000000"])
    report(instance, "done-00000000")
    report(instance, "half-00000000", *PER_VIDEO[:-1])
    assert set(tick(instance, 2)) == {key, "new-00000000", "half-00000000"}
    report(instance, key)
    assert set(tick(instance, 3)) == {"new-00000000", "half-00000000"}
    fail(instance, key)  # it was made, and its last run failed
    assert set(tick(instance, 4)) == {key, "new-00000000", "half-00000000"}


def test_what_failed_twice_for_one_cause_is_left_to_a_person(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    key = torn(tmp_path)
    instance.add_dynamic_partitions("videos", [key])
    assert tick(instance, 1) == [key]
    fail(instance, key)
    assert tick(instance, 2) == [key]
    fail(instance, key)
    assert str(tick(instance, 3)).startswith("every registered video is made, given up")
    for run in instance.get_runs():  # by other code than today's: says nothing of today's
        assert run.tags["autorisk/code"] == GRAPH.code
        instance.add_run_tags(run.run_id, {"autorisk/code": "other"})
    assert tick(instance, 4) == [key]


def test_a_video_whose_file_is_gone_is_not_asked_for(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    gone, there = torn(tmp_path, "gone", b"gone"), torn(tmp_path, "there", b"there")
    instance.add_dynamic_partitions("videos", [gone, there])
    SourceLedger(Folder(tmp_path / "sources")).mark_missing(gone, "2026-03-01T00:00:00+00:00")
    assert tick(instance) == [there]


def test_a_second_tick_of_a_night_asks_for_the_same_runs(instance: dg.DagsterInstance) -> None:
    keys = [f"v{number}-00000000" for number in range(30)]
    instance.add_dynamic_partitions("videos", keys)
    with ThreadPoolExecutor(2) as pool:  # two schedulers at one moment
        first, second = pool.map(lambda _: requests(instance), range(2))
    assert [one.run_key for one in first] == [one.run_key for one in second]
    assert sorted(str(one.run_key) for one in first) == sorted(f"2026-03-01/{key}" for key in keys)
    # what came in meanwhile waits for the next night; it does not change what this one asked for
    instance.add_dynamic_partitions("videos", ["later-00000000"])
    assert [one.run_key for one in requests(instance)] == [one.run_key for one in first]
    assert len(requests(instance, 2)) == 31


def test_the_queue_starts_in_the_order_of_the_plan(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("videos", ["a-00000000", "b-00000000"])
    assert [one.tags["dagster/priority"] for one in requests(instance)] == ["-1", "-2"]
    assert {one.tags["autorisk/night"] for one in requests(instance)} == {"2026-03-01"}
    assert "no history yet" in requests(instance)[0].tags["autorisk/night_estimate"]


def test_a_night_of_thousands_asks_the_database_nothing_a_video(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """33 ms each on PostgreSQL, of the 60 s that a tick has; so the requests come resolved, as Dagster does it."""
    instance.add_dynamic_partitions("videos", ["a-00000000", "b-00000000"])
    asked: list[str] = []
    storage = type(instance.event_log_storage)
    monkeypatch.setattr(storage, "has_dynamic_partition", lambda _, name, key: asked.append(f"{name} {key}") or True)
    for request in requests(instance):
        wanted = BATCH.get_tags_for_partition_key(str(request.partition_key), None)
        assert wanted and wanted.items() <= request.tags.items()
    assert asked == []


def test_a_video_whose_process_was_killed_is_asked_for_again(instance: dg.DagsterInstance) -> None:
    """A killed run stays "started" in Dagster's history; without the check its video would never be retried."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    instance.add_dynamic_partitions("videos", ["dead-00000000", "busy-00000000"])
    for key, process in (
        ("dead-00000000", f"{socket.gethostname()}:{gone.pid}"),
        ("busy-00000000", this_process()),
    ):
        instance.add_run(
            dg.DagsterRun(
                "process_video",
                run_id=str(uuid.uuid4()),
                status=dg.DagsterRunStatus.STARTED,
                tags={PROCESS_TAG: process, "dagster/partition": key},
            )
        )
    assert tick(instance) == ["dead-00000000"]
    assert [run.tags["dagster/partition"] for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED))] == [
        "busy-00000000"
    ]
