"""The nightly batch asks for what is missing or failed, and for nothing else."""

from __future__ import annotations

import datetime as dt
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import dagster as dg
import pytest

from autorisk_dagster.definitions import defs
from autorisk_dagster.orphans import PROCESS_TAG, UNFINISHED, this_process
from autorisk_dagster.schedules import nightly_fleet_batch, videos_to_run
from autorisk_dagster.sources import SourceLedger
from autorisk_dagster.storage.folder import Folder

TWO_AT_NIGHT = dt.datetime(2026, 3, 1, 2, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("reported", "failed", "running", "expected"),
    [
        (set(), set(), set(), ["a", "b", "c"]),
        ({"a", "b", "c"}, set(), set(), []),
        ({"a"}, set(), set(), ["b", "c"]),
        ({"a", "b", "c"}, {"b"}, set(), ["b"]),  # reported once, and a later run failed
        (set(), {"b"}, {"b"}, ["a", "c"]),  # someone is on it
    ],
)
def test_missing_or_failed_and_not_under_way(
    reported: set[str], failed: set[str], running: set[str], expected: list[str]
) -> None:
    assert videos_to_run(["a", "b", "c"], reported, failed, running) == expected


def tick(instance: dg.DagsterInstance) -> list[str] | str:
    with dg.build_schedule_context(
        instance, scheduled_execution_time=TWO_AT_NIGHT, repository_def=defs().get_repository_def()
    ) as context:
        found = nightly_fleet_batch.evaluate_tick(context)
    return found.skip_message or sorted(str(request.partition_key) for request in found.run_requests or [])


def test_a_tick_on_a_real_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path))
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(b"no video")
    key = SourceLedger(Folder(tmp_path / "sources")).register(torn).video_id
    with dg.instance_for_test() as instance:
        assert tick(instance) == "all 0 registered videos are reported or under way"
        instance.add_dynamic_partitions("videos", [key, "new-00000000", "done-00000000"])
        instance.report_runless_asset_event(dg.AssetMaterialization("safety_report", partition="done-00000000"))
        assert tick(instance) == ["new-00000000", key]
        job = defs().resolve_job_def("fleet_batch")
        assert not job.execute_in_process(instance=instance, partition_key=key, raise_on_error=False).success
        assert tick(instance) == ["new-00000000", key]
        # a video that was reported and whose last run failed is asked for again
        instance.report_runless_asset_event(dg.AssetMaterialization("safety_report", partition=key))
        assert tick(instance) == ["new-00000000", key]


def test_one_night_requests_a_video_once() -> None:
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("videos", ["new-00000000"])
        with dg.build_schedule_context(
            instance, scheduled_execution_time=TWO_AT_NIGHT, repository_def=defs().get_repository_def()
        ) as context:
            requests = nightly_fleet_batch.evaluate_tick(context).run_requests or []
        assert [request.run_key for request in requests] == ["2026-03-01/new-00000000"]


def test_a_video_whose_process_was_killed_is_asked_for_again() -> None:
    """A killed run stays "started" in Dagster's history; without the check its video would never be retried."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with dg.instance_for_test() as instance:
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
