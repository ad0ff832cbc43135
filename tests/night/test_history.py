"""What Dagster's records say of failures, costs and runs, read from a real instance with real runs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.batches import one_by_one
from assets.spending import note_use
from autorisk_dagster import fleet_history as history
from autorisk_dagster.definitions import defs
from autorisk_dagster.errors import InputError
from autorisk_dagster.intake.sources import SourceRecord
from autorisk_dagster.night.cost import Cost
from autorisk_dagster.night.failures import Failure

VIDEOS = dg.DynamicPartitionsDefinition(name="videos")


@dg.multi_asset(name="one_pass", partitions_def=VIDEOS, outs={"tracks": dg.AssetOut(), "signals": dg.AssetOut()})
def one_pass(context: dg.AssetExecutionContext) -> tuple[int, int]:
    if context.partition_key.startswith("torn"):
        raise dg.Failure(f"{context.partition_key}.mp4: 7 of 9 packets are damaged")
    if context.partition_key.startswith("odd"):
        raise InputError("frame 12 is odd") from KeyError("odd")
    note_use(context, 1.5, 100)
    note_use(context, 0.5, 20)
    return 1, 1


@dg.asset(partitions_def=VIDEOS)
def report(tracks: int) -> int:
    return tracks


@dg.asset(partitions_def=VIDEOS, output_required=False, backfill_policy=dg.BackfillPolicy.single_run())
def batch(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    def fails(key: str, _: object) -> dg.MaterializeResult:
        raise InputError(f"{key}: the model said no")

    yield from one_by_one(context, None, "batch", {}, fails)  # type: ignore[arg-type]


@dg.asset
def over_the_fleet() -> None:
    raise RuntimeError("no labels\nat all")


WORLD = dg.Definitions(
    [one_pass, report, batch, over_the_fleet],
    jobs=[
        dg.define_asset_job("videos", ["tracks", "signals", "report"], tags={history.CODE_TAG: "now"}),
        dg.define_asset_job("batch_job", ["batch"]),
        dg.define_asset_job("fleet", ["over_the_fleet"]),
    ],
    executor=dg.in_process_executor,
)
STEPS = {
    "one_pass": ("signals", "tracks"),
    "report": ("report",),
    "batch": ("batch",),
    "over_the_fleet": ("over_the_fleet",),
}
GRAPH = history.Graph(STEPS, ("tracks", "signals", "report"), "now")


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        found.add_dynamic_partitions("videos", ["good-1", "torn-1", "torn-2", "odd-1"])
        for key in ("good-1", "torn-1", "torn-2", "odd-1"):
            WORLD.resolve_job_def("videos").execute_in_process(
                instance=found,
                partition_key=key,
                raise_on_error=False,
                tags={history.NIGHT_TAG: "n", "dagster/run_key": key},
            )
        ranged = {"dagster/asset_partition_range_start": "good-1", "dagster/asset_partition_range_end": "torn-1"}
        WORLD.resolve_job_def("batch_job").execute_in_process(instance=found, tags=ranged, raise_on_error=False)
        WORLD.resolve_job_def("fleet").execute_in_process(instance=found, raise_on_error=False)
        yield found


def found_in(instance: dg.DagsterInstance) -> dict[tuple[str | None, str], Failure]:
    names = {"torn-1": ("torn-1",), "torn-2": ("torn-2",), "good-1": ("good-1",)}
    return {(one.video_id, one.assets[0]): one for one in history.failures(instance, GRAPH, names)}


def test_each_failure_has_its_assets_cause_and_code(instance: dg.DagsterInstance) -> None:
    found = found_in(instance)
    assert set(found) == {
        ("torn-1", "signals"),
        ("torn-2", "signals"),
        ("odd-1", "signals"),
        ("good-1", "batch"),
        ("torn-1", "batch"),
        (None, "over_the_fleet"),
    }
    torn = found[("torn-1", "signals")]
    assert torn.error == "torn-1.mp4: 7 of 9 packets are damaged"
    assert torn.cause == found[("torn-2", "signals")].cause == "<video>.mp4: <n> of <n> packets are damaged"
    assert (torn.assets, torn.code) == (("signals", "tracks"), "now")
    assert "odd" in found[("odd-1", "signals")].error
    assert found[(None, "over_the_fleet")].error.endswith("no labels at all")


def test_of_a_batch_each_video_has_its_own_message(instance: dg.DagsterInstance) -> None:
    found = found_in(instance)
    assert found[("torn-1", "batch")].error == "torn-1: the model said no"
    assert found[("torn-1", "batch")].cause == found[("good-1", "batch")].cause


def test_what_was_made_since_is_over(instance: dg.DagsterInstance) -> None:
    made = history.made_events(instance, GRAPH.assets())
    assert set(made["tracks"]) >= {"good-1"} and "torn-1" not in made["tracks"]
    records = [SourceRecord(key, f"/f/{key}.mp4", "default", "") for key in ("torn-1", "torn-2")]
    broken = history.broken(instance, GRAPH, records, ["good-1", "torn-1", "torn-2"], made)
    assert {(one.video_id, one.asset) for one in broken} >= {("torn-1", "batch"), ("torn-2", "signals")}
    assert history.broken(instance, GRAPH, records, ["good-1", "torn-1", "torn-2"]) == broken
    assert history.made_events(instance, []) == {}
    newest = max(one.event for one in found_in(instance).values())
    assert history.newest_failure(instance) == newest


def test_runs_of_a_night_and_what_they_cost(instance: dg.DagsterInstance) -> None:
    records = history.night_runs(instance, "n", "videos")
    runs = {run.video_id: run for run in map(history.as_night_run, records)}
    assert {key: run.state for key, run in runs.items()} == {
        "good-1": "succeeded",
        "torn-1": "failed",
        "torn-2": "failed",
        "odd-1": "failed",
    }
    (good,) = [record for record in records if record.dagster_run.tags["dagster/partition"] == "good-1"]
    cost = history.cost_of(good, 0.0)
    assert (cost.gpu_sec, cost.tokens) == (2.0, 120.0)
    assert cost.machine_sec > 0
    (past,) = history.past_videos(instance, GRAPH, ["videos"], lambda keys: dict.fromkeys(keys, 0.5))
    assert (past.footage_hours, past.cost) == (0.5, cost)
    assert history.past_videos(instance, GRAPH, ["videos"], lambda _: {}) == []  # of unknown length


def test_a_run_that_goes_on_costs_until_now_and_one_by_a_clock_set_back_not_less_than_nothing(
    instance: dg.DagsterInstance,
) -> None:
    record = history.night_runs(instance, "n", "videos")[0]._replace(start_time=1000.0, end_time=None)
    assert history.cost_of(record, 1060.0).machine_sec == 60.0
    assert history.cost_of(record, 400.0) == Cost(0.0, *list(vars(history.cost_of(record, 0.0)).values())[1:])


def test_dagsters_own_retry_is_no_doubled_request_and_its_parents_use_is_not_its_own() -> None:
    tags = {"dagster/run_key": "n/a", "dagster/partition": "a", history.tokens_tag("parent-run", "x"): "100"}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_run(dg.DagsterRun("videos", run_id="parent-run", tags=tags))
        instance.add_run(
            dg.DagsterRun(
                "videos", run_id="child-run0", tags=tags, parent_run_id="parent-run", root_run_id="parent-run"
            )
        )
        child, parent = instance.get_run_records()
    assert history.as_night_run(parent).request == "n/a"
    assert history.as_night_run(child).request == "child-run0"
    assert history.cost_of(parent, 0.0).tokens == 100.0
    assert history.cost_of(child, 0.0).tokens == 0.0


def test_a_run_that_dagster_tries_again_goes_on() -> None:
    tags = {"dagster/run_key": "n/a", "dagster/partition": "a", "dagster/will_retry": "true"}
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_run(dg.DagsterRun("videos", run_id="killed", status=dg.DagsterRunStatus.FAILURE, tags=tags))
        (record,) = instance.get_run_records()
        assert history.as_night_run(record).state == "running"  # until the daemon has made the new run
        instance.add_run_tags("killed", {"dagster/auto_retry_run_id": "again"})
        (record,) = instance.get_run_records()
        assert history.as_night_run(record).state == "failed"


KILLED = """
import os, signal
import dagster as dg
videos = dg.DynamicPartitionsDefinition(name="videos")
@dg.asset(partitions_def=videos)
def tracks(): os.kill(os.getpid(), signal.SIGKILL)
@dg.asset(partitions_def=videos, deps=[tracks])
def report(): ...
with dg.DagsterInstance.get() as instance:
    from autorisk_dagster.fleet.orphans import PROCESS_TAG, this_process
    instance.add_dynamic_partitions("videos", ["a"])
    defs = dg.Definitions([tracks, report], jobs=[dg.define_asset_job("videos")])
    defs.resolve_job_def("videos").execute_in_process(
        instance=instance, partition_key="a", tags={PROCESS_TAG: this_process()}
    )
"""


def test_a_video_that_kills_its_process_is_broken_by_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autorisk_dagster.fleet.orphans import close_orphans

    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    killed = subprocess.run([sys.executable, "-c", KILLED], env=os.environ, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    with dg.DagsterInstance.get() as instance:
        assert len(close_orphans(instance)) == 1
        graph = history.Graph({"tracks": ("tracks",), "report": ("report",)}, ("tracks", "report"), "now")
        made = history.made_events(instance, graph.assets())
        (broken,) = history.broken(instance, graph, [], ["a"], made)
        # which step it was is not recorded; it is over when the last one was made
        assert (broken.asset, broken.tries) == ("report", 1)
        assert "was killed" in broken.cause and not any(char.isdigit() for char in broken.cause)


def test_the_graph_of_the_project_knows_every_step() -> None:
    from autorisk_dagster.jobs import GRAPH as real

    graph = defs().resolve_asset_graph()
    assert set(real.assets()) == {key.to_user_string() for key in graph.materializable_asset_keys}
    assert real.steps["perception"] == ("ego_motion", "frame_signals", "tracks")
    assert len(real.code) == 12
