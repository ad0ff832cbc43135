"""The nightly batch: every registered video whose report is missing or that failed."""

from __future__ import annotations

from collections.abc import Iterable, Set

import dagster as dg

from autorisk_dagster.jobs import PER_VIDEO, fleet_batch
from autorisk_dagster.orphans import UNFINISHED, close_orphans
from autorisk_dagster.partitions import videos


def videos_to_run(registered: Iterable[str], reported: Set[str], failed: Set[str], running: Set[str]) -> list[str]:
    """Registered videos without a report, or with a step that failed last time, that no run is busy with; in order."""
    return [key for key in registered if (key not in reported or key in failed) and key not in running]


@dg.schedule(
    job=fleet_batch,
    cron_schedule="0 2 * * *",
    description="At 02:00: `fleet_batch` for every video that is missing or failed.",
)
def nightly_fleet_batch(context: dg.ScheduleEvaluationContext) -> dg.SkipReason | list[dg.RunRequest]:
    """Request one run per video; the run key holds the night, so that a second tick requests nothing twice."""
    instance = context.instance
    close_orphans(instance)
    registered = instance.get_dynamic_partitions(videos.name or "")
    reported = instance.get_materialized_partitions(dg.AssetKey("safety_report"))
    statuses = [instance.get_status_by_partition(dg.AssetKey(name), registered, videos) or {} for name in PER_VIDEO]
    failed = {key for status in statuses for key, value in status.items() if value and value.name == "FAILED"}
    unfinished = instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED))
    running = {record.dagster_run.tags.get("dagster/partition", "") for record in unfinished}
    keys = videos_to_run(registered, reported, failed, running)
    if not keys:
        return dg.SkipReason(f"all {len(registered)} registered videos are reported or under way")
    night = context.scheduled_execution_time.date().isoformat()
    return [dg.RunRequest(run_key=f"{night}/{key}", partition_key=key) for key in keys]
