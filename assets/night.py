"""The fleet's inventory of what is broken."""

import datetime as dt

import dagster as dg
import polars as pl

from assets.freshness import EACH_NIGHT
from assets.placement import CPU
from assets.tabulate import OWNERS, TABLE, code_version, markdown_table, schema_check, table_result
from autorisk_dagster import fleet_history as history
from autorisk_dagster import tables
from autorisk_dagster.fleet_history import Graph
from autorisk_dagster.partitions import videos
from resources.media_store import MediaStore


@dg.asset(
    dagster_type=TABLE,
    group_name="night",
    op_tags=CPU,
    kinds={"dagster", "polars"},
    owners=OWNERS,
    code_version=code_version(1),
    freshness_policy=EACH_NIGHT,
    check_specs=[
        schema_check("broken_videos"),
        dg.AssetCheckSpec("nothing_is_broken", asset="broken_videos", description="No video waits for a person."),
    ],
)
def broken_videos(
    context: dg.AssetExecutionContext, media: MediaStore, graph: dg.ResourceParam[Graph]
) -> dg.MaterializeResult:
    """What is broken now, by cause: each video with the asset that failed, since when, why, and the command that makes
    it again. The same as `autorisk night broken`, as it stood when the night ended."""
    from autorisk_dagster.night.failures import by_cause
    from autorisk_dagster.night.wording import rerun_command

    instance = context.instance
    records = {record.video_id: record for record in media.ledger.all()}
    registered = instance.get_dynamic_partitions(videos.name or "")
    made = history.made_events(instance, graph.assets())
    found = by_cause(history.broken(instance, graph, list(records.values()), registered, made))
    rows = [
        {
            "cause": cause.cause,
            "partition": one.video_id,
            "asset": one.asset,
            "error": one.error,
            "first_failed_at": dt.datetime.fromtimestamp(one.first_failed_at_sec, dt.UTC),
            "last_failed_at": dt.datetime.fromtimestamp(one.last_failed_at_sec, dt.UTC),
            "failures": one.failures,
            "given_up": one.given_up,
            "run_id": one.run_id,
            "command": rerun_command(
                one,
                records[one.video_id].path if one.video_id in records else None,
                graph.per_video,
            ),
        }
        for cause in found
        for one in cause.broken
    ]
    table = tables.frame(rows, tables.BROKEN_VIDEOS)
    causes = table.group_by("cause", maintain_order=True).agg(
        pl.len().alias("broken"),
        pl.col("given_up").sum(),
        pl.col("first_failed_at").min(),
        pl.col("last_failed_at").max(),
        pl.col("partition").first().alias("for one"),
        pl.col("command").first(),
    )
    return table_result(
        "broken_videos",
        table,
        {
            "broken": table.height,
            "given_up": int(table["given_up"].sum()),
            "causes": dg.MetadataValue.md(markdown_table(causes)),
        },
        [
            dg.AssetCheckResult(
                check_name="nothing_is_broken",
                passed=not table["given_up"].any(),
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"broken": table.height},
            )
        ],
        preview=["cause", "partition", "asset", "last_failed_at", "command"],
    )
