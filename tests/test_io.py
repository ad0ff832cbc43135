"""Tables over a fleet: what is read, what is missing, and what is said of it."""

import dataclasses
import hashlib

import dagster as dg
import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.io import FleetTable, FrameStore
from autorisk_dagster.partitions import videos

TABLE = dg.PythonObjectDagsterType(pl.DataFrame, name="Table")


def ranked(*severities: str) -> pl.DataFrame:
    row = dict.fromkeys(tables.SEVERITY_RANKING)
    rows = [
        {**row, "rank": n, "clip_id": f"clip-{n}", "severity": s, "start_sec": 0.0, "end_sec": 1.0}
        for n, s in enumerate(severities, start=1)
    ]
    return tables.frame(rows, tables.SEVERITY_RANKING)


MADE = {"a-00000001": ranked("HIGH"), "b-00000002": ranked("LOW", "NONE"), "c-00000003": ranked()}


@dg.asset(partitions_def=videos, dagster_type=TABLE)
def severity_ranking(context: dg.AssetExecutionContext) -> pl.DataFrame:
    return MADE[context.partition_key]


@dg.asset(dagster_type=TABLE)
def over_the_fleet(severity_ranking: FleetTable) -> dg.MaterializeResult[pl.DataFrame]:
    return dg.MaterializeResult(value=severity_ranking.rows.collect(), metadata=severity_ranking.coverage())


@pytest.fixture
def materialise(tmp_path):
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("videos", list(MADE))

        def make(asset, **more):
            found = dg.materialize(
                [severity_ranking, over_the_fleet],
                selection=[asset],
                instance=instance,
                resources={"io_manager": FrameStore(base_dir=str(tmp_path))},
                **more,
            )
            assert found.success
            return found

        yield make


@pytest.mark.parametrize("stored", [[], ["b-00000002"], ["c-00000003"], ["a-00000001", "b-00000002"], list(MADE)])
def test_a_fleet_asset_reads_the_videos_that_are_there_and_counts_the_others(materialise, stored):
    for key in stored:
        materialise(severity_ranking, partition_key=key)
    result = materialise(over_the_fleet)
    (made,) = result.asset_materializations_for_node("over_the_fleet")
    assert made.metadata["videos"].value == f"{len(stored)} of 3"
    assert made.metadata["video_ids"].value == stored
    rows = result.output_for_node("over_the_fleet")
    assert rows.columns == ["video_id", *tables.SEVERITY_RANKING]
    wanted = [(key, clip) for key in stored for clip in MADE[key]["clip_id"]]
    assert list(rows.select("video_id", "clip_id").iter_rows()) == wanted


def test_a_table_that_already_names_its_video_keeps_one_column(tmp_path):
    store = FrameStore(base_dir=str(tmp_path)).create_io_manager(dg.build_init_resource_context())
    row = {**dict.fromkeys(tables.SOURCE_VIDEO), "video_id": "a-00000001"}
    store.write("source_video", "a-00000001", tables.frame([row], tables.SOURCE_VIDEO))
    rows = store.read_fleet("source_video", ["a-00000001", "never-made"]).rows.collect()
    assert rows.columns == list(tables.SOURCE_VIDEO)
    assert rows["video_id"].to_list() == ["a-00000001"]


def test_a_table_of_another_version_is_an_error_and_not_nulls(tmp_path):
    store = FrameStore(base_dir=str(tmp_path)).create_io_manager(dg.build_init_resource_context())
    store.write("severity_ranking", "a", ranked("HIGH").drop("fused_score"))
    with pytest.raises(pl.exceptions.PolarsError, match="fused_score"):
        store.read_fleet("severity_ranking", ["a"]).rows.collect()


def test_the_rows_of_some_videos_open_no_other_file(tmp_path):
    store = FrameStore(base_dir=str(tmp_path)).create_io_manager(dg.build_init_resource_context())
    for key, table in MADE.items():
        store.write("severity_ranking", key, table)
    (tmp_path / "severity_ranking" / "c-00000003.parquet").write_bytes(b"torn")
    fleet = store.read_fleet("severity_ranking", [*MADE, "never-made"])
    rows = fleet.of(["b-00000002", "never-made", "unknown"]).collect()
    assert rows["video_id"].to_list() == ["b-00000002", "b-00000002"]
    nothing = fleet.of([]).collect()
    assert nothing.is_empty() and nothing.schema == rows.schema
    with pytest.raises(pl.exceptions.PolarsError):
        fleet.rows.collect()


def test_of_a_large_fleet_the_metadata_bind_the_videos_and_do_not_list_them():
    keys = tuple(f"{number:06d}" for number in range(1001))
    fleet = FleetTable(pl.LazyFrame(), keys, 1002, lambda _: pl.LazyFrame())
    digest = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    assert fleet.coverage() == {"videos": "1001 of 1002", "video_ids_sha256": digest}
    assert len(dataclasses.replace(fleet, video_ids=keys[:1000]).coverage()["video_ids"]) == 1000
