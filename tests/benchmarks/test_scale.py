"""The scale benchmark measures what it says: its history is Dagster's own, row by row, and its queries are the UI's."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

pytest.importorskip("dagster_postgres", reason="needs the extra fleet")

from tests.benchmarks.scale import front_end, history, questions
from tests.benchmarks.scale.project import Project
from tests.benchmarks.scale.server import missing_programs, postgres

videos = dg.DynamicPartitionsDefinition(name="videos")
PICTURE = "![it](data:image/png;base64," + 2000 * "A" + ")"
AWKWARD = "tab\t, line\nbreak, \\ and 100 %s"


@dg.asset(partitions_def=videos, code_version="1")
def first(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Metadata that COPY and %-formatting must not stumble over."""
    context.log.info(AWKWARD)
    metadata = {"picture": dg.MetadataValue.md(PICTURE), "of": context.partition_key, AWKWARD: AWKWARD}
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion("7"))


@dg.asset_check(asset=first)
def fine() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, metadata={"n": 1})


@dg.asset(partitions_def=videos, deps=[first])
def second(context: dg.AssetExecutionContext) -> None:
    """Fails for one video."""
    if context.partition_key.startswith("bad"):
        raise dg.Failure("torn")


@pytest.fixture(scope="module")
def project() -> Iterator[tuple[Project, dg.DagsterInstance]]:
    if missing_programs():
        pytest.skip(f"needs PostgreSQL's {', '.join(missing_programs())}")
    # Not below pytest's own folder, which other users may not enter: the server is one of them.
    with tempfile.TemporaryDirectory(prefix="scale", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with postgres(folder) as url, pytest.MonkeyPatch.context() as patch:
            made = Project(folder, url)
            for variable in made.environment():  # what it sets is gone afterwards
                patch.setenv(variable, os.environ.get(variable, ""))
            made.set_up()
            with made.instance() as instance:
                yield made, instance


def run(instance: dg.DagsterInstance, key: str) -> str:
    definitions = dg.Definitions([first, second], asset_checks=[fine], jobs=[dg.define_asset_job("both")])
    instance.add_dynamic_partitions("videos", [key])
    job = definitions.resolve_job_def("both")
    run_id: str = job.execute_in_process(instance=instance, partition_key=key, raise_on_error=False).run_id
    return run_id


def test_copied_rows_are_those_that_dagster_writes(project: tuple[Project, dg.DagsterInstance]) -> None:
    made, instance = project
    run_ids = [run(instance, key) for key in ("a-00000001", "b-00000002", "bad-00000003", "bad-00000004")]
    copies = ["c-00000005", "bad-00000006"]
    instance.add_dynamic_partitions("videos", copies)
    with made.connection() as connection:
        written = [
            history.write(
                connection,
                history.template(connection, run_id, key, keep=history.EVERYTHING, whole=True),
                [copy],
            )[0]
            for run_id, key, copy in zip(run_ids[::2], ("a-00000001", "bad-00000003"), copies, strict=True)
        ]
        for by_dagster, copied in zip(run_ids[1::2], written, strict=True):
            assert history.rows_of(connection, copied) == history.rows_of(connection, by_dagster)
    # Dagster reads them as its own: state, newest materialisation and where it came from, the run
    states = instance.get_status_by_partition(dg.AssetKey("second"), copies, videos) or {}
    assert [getattr(states[key], "name", "") for key in copies] == ["MATERIALIZED", "FAILED"]
    newest = {}
    for asset in ("first", "second"):
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=["c-00000005"])
        newest[asset] = instance.fetch_materializations(wanted, limit=1).records[0]
    tags = newest["second"].asset_materialization.tags or {}
    assert tags["dagster/input_event_pointer/first"] == str(newest["first"].storage_id)
    metadata = newest["first"].asset_materialization.metadata
    assert metadata["of"].value == "c-00000005" and metadata[AWKWARD].value == AWKWARD
    assert metadata["picture"].value == PICTURE
    (record,) = instance.get_run_records(dg.RunsFilter(tags={"dagster/partition": "bad-00000006"}))
    assert record.dagster_run.status is dg.DagsterRunStatus.FAILURE


def test_a_pruned_copy_keeps_what_the_state_of_a_video_is_read_from(
    project: tuple[Project, dg.DagsterInstance],
) -> None:
    made, instance = project
    run_id = run(instance, "e-00000008")
    instance.add_dynamic_partitions("videos", ["f-00000009"])
    with made.connection() as connection:
        whole = history.template(connection, run_id, "e-00000008", keep=history.EVERYTHING, whole=True)
        kept = history.template(connection, run_id, "e-00000008")
        before = indexes(connection)
        with history.indexed_afterwards(connection):
            history.write(connection, kept, ["f-00000009"])
        assert indexes(connection) == before
        history.point_to_newest(connection)
    last = instance.get_latest_materialization_event(dg.AssetKey("second"))
    assert last is not None and last.dagster_event is not None and last.dagster_event.partition == "f-00000009"
    left, all_of_it = (
        Counter(line.split(b"\t")[3].decode() for line in one.blocks["event_logs"].splitlines())
        for one in (kept, whole)
    )
    read = ("ASSET_MATERIALIZATION", "ASSET_MATERIALIZATION_PLANNED", "ASSET_CHECK_EVALUATION", "PIPELINE_SUCCESS")
    assert [left[kind] for kind in read] == [2, 2, 1, 1] and 2 * left.total() < all_of_it.total()
    assert left == {kind: count for kind, count in all_of_it.items() if kind in left}
    assert kept.rows()["asset_check_executions"] == 1
    assert kept.size_bytes() < whole.size_bytes() - 2 * 2000 + 100  # the picture is cut, in two rows
    assert "f-00000009" in instance.get_materialized_partitions(dg.AssetKey("first"))
    # and Dagster goes on after the copies
    run_id = run(instance, "g-00000010")
    assert "g-00000010" in instance.get_materialized_partitions(dg.AssetKey("second"))
    with closing(made.connection()) as connection:
        whole, kept = (
            history.template(connection, run_id, "g-00000010", keep=keep, whole=True)
            for keep in (history.EVERYTHING, history.KEPT)
        )
        runs = instance.get_runs_count()
        sizes = [history.bytes_a_run(connection, one) for one in (whole, kept)]
    assert instance.get_runs_count() == runs  # what was measured is taken away again
    assert sizes[0] > sizes[1] > kept.size_bytes() / 2  # pictures are packed, indexes come on top


def indexes(connection: Any) -> set[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
        return set(cursor.fetchall())


@pytest.mark.parametrize("query", questions.QUERIES)
def test_the_queries_are_those_of_the_installed_front_end(query: str) -> None:
    from dagster_graphql.schema import create_schema
    from graphql import parse, validate

    schema = create_schema().graphql_schema
    assert validate(schema, parse(front_end.document(query))) == []
