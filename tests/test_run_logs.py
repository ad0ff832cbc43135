"""Pruned logs leave everything that is read of videos as it was: state, lineage, staleness, checks, failures."""

import datetime as dt
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from autorisk_dagster import fleet_history as history
from autorisk_dagster.cli.instance import local_instance
from autorisk_dagster.cli.pruning import prune as pruning
from autorisk_dagster.run_logs import Pruned, prune
from tests.benchmarks.scale.server import missing_programs, postgres

VIDEOS = dg.DynamicPartitionsDefinition(name="videos")


@dg.asset(partitions_def=VIDEOS, code_version="1")
def tracks(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.info("a line that nobody reads a month later")
    return dg.MaterializeResult(metadata={"rows": 3}, data_version=dg.DataVersion(context.run.run_id))


@dg.asset_check(asset=tracks)
def plausible() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, metadata={"worst": 0.5})


@dg.asset(partitions_def=VIDEOS, code_version="1", deps=[tracks])
def report(context: dg.AssetExecutionContext) -> None:
    if context.partition_key == "torn":
        raise dg.Failure("torn")


WORLD = dg.Definitions([tracks, report], asset_checks=[plausible], jobs=[dg.define_asset_job("all_of_it")])
GRAPH = history.Graph({"tracks": ("tracks",), "report": ("report",)}, ("tracks", "report"), "now")
KEYS = ("torn", "stale")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty Dagster home. Not below pytest's own folder, which PostgreSQL's user may not enter."""
    with tempfile.TemporaryDirectory(prefix="logs", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setenv("DAGSTER_HOME", name)
        yield folder


@pytest.fixture(params=["sqlite", "postgres"])
def instance(request: pytest.FixtureRequest, home: Path) -> Iterator[dg.DagsterInstance]:
    with ExitStack() as stack:
        settings = "telemetry: {enabled: false}\n"
        if request.param == "postgres":
            pytest.importorskip("dagster_postgres", reason="needs the extra fleet")
            if missing_programs():
                pytest.skip(f"needs PostgreSQL's {', '.join(missing_programs())}")
            settings += f"storage:\n  postgres:\n    postgres_url: {stack.enter_context(postgres(home))}\n"
        (home / "dagster.yaml").write_text(settings)
        yield run_all(stack.enter_context(dg.DagsterInstance.from_config(str(home))))


def run_all(instance: dg.DagsterInstance, keys: Sequence[str] = KEYS) -> dg.DagsterInstance:
    """A run a video; "torn" fails, and of "stale" the first asset is made once more, with another version."""
    instance.add_dynamic_partitions("videos", list(keys))
    job = WORLD.resolve_job_def("all_of_it")
    for key in keys:
        job.execute_in_process(instance=instance, partition_key=key, raise_on_error=False)
        if key == "stale":
            dg.materialize([tracks], instance=instance, partition_key=key)
    return instance


def told(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Everything that pages, nights and lineage read."""
    stale = CachingStaleStatusResolver(instance, WORLD.resolve_asset_graph(), LoadingContextForTest(instance))
    found: dict[str, Any] = {
        f"stale {name} {key}": stale.get_status(dg.AssetKey(name), key) for name in GRAPH.per_video for key in KEYS
    }
    for name in GRAPH.per_video:
        key = dg.AssetKey(name)
        found[f"state {name}"] = instance.get_status_by_partition(key, KEYS, VIDEOS)
        found[f"made {name}"] = instance.fetch_materializations(key, limit=100).records
        found[f"planned {name}"] = instance.fetch_planned_materializations(key, limit=100).records
    check = dg.AssetCheckKey(dg.AssetKey("tracks"), "plausible")
    found["checks"] = instance.event_log_storage.get_asset_check_execution_history(check, limit=100)
    found["failures"] = history.failures(instance, GRAPH, {})
    found["made"] = history.made_events(instance, GRAPH.assets())
    runs = instance.get_runs()
    found["runs"] = runs
    found["ended"] = [instance.get_run_stats(run.run_id).end_time for run in runs]
    return found


def test_what_is_read_of_the_videos_stays_and_the_log_of_what_failed(instance: dg.DagsterInstance) -> None:
    before, now = told(instance), dt.datetime.now(dt.UTC)
    assert len(before["failures"]) == 1 and before["checks"] and len(before["made tracks"]) == 3
    assert [before[f"stale {name} stale"].value for name in ("tracks", "report")] == ["FRESH", "STALE"]
    logs = {run.run_id: len(instance.all_logs(run.run_id)) for run in instance.get_runs()}
    nothing = reduce(add, prune(instance, now - dt.timedelta(hours=1), remove=True), Pruned())
    counted = reduce(add, prune(instance, now, remove=False), Pruned())
    assert nothing == Pruned() and counted.runs == 2
    assert {run_id: len(instance.all_logs(run_id)) for run_id in logs} == logs  # counting removes nothing
    assert reduce(add, prune(instance, now, remove=True), Pruned()) == counted
    left = {run.run_id: len(instance.all_logs(run.run_id)) for run in instance.get_runs()}
    assert sum(logs.values()) - sum(left.values()) == counted.rows
    for run in instance.get_runs():
        assert left[run.run_id] < logs[run.run_id] / 2 if run.is_success else left[run.run_id] == logs[run.run_id]
    assert told(instance) == before
    assert reduce(add, prune(instance, now, remove=True), Pruned()) == Pruned()


def test_the_command_counts_first_and_removes_when_it_is_told_to(home: Path) -> None:
    with local_instance() as instance:
        (run_id,) = (run.run_id for run in run_all(instance, ("good",)).get_runs())
        logged = len(instance.all_logs(run_id))
        assert prune_command("1") == "would remove 0 rows of the logs of 0 runs, 0.0 MB of text\n"
        with closing(sqlite3.connect(home / "history" / "runs.db")) as runs, runs:
            runs.execute("UPDATE runs SET update_timestamp = '2020-01-01'")
        counted = prune_command("30")
        assert counted.startswith("would remove ") and counted.endswith("do it with --yes\n")
        assert len(instance.all_logs(run_id)) == logged
        file = home / "history" / "runs" / f"{run_id}.db"
        before = file.stat().st_size
        removed = prune_command("30", "--yes")
        assert removed == counted.splitlines()[0].replace("would remove", "removed") + "\n"
        assert len(instance.all_logs(run_id)) < logged / 2 and file.stat().st_size < before
    assert CliRunner().invoke(pruning, ["--older-than", "0"]).exit_code == 2


def prune_command(*arguments: str) -> str:
    shown = CliRunner().invoke(pruning, ["--older-than", *arguments])
    assert shown.exit_code == 0, shown.output
    return shown.output
