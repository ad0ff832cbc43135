"""The nightly batch: every registered video of which something is missing or failed, as far as the budget goes."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import dagster as dg

from autorisk_dagster.fleet.orphans import close_orphans
from autorisk_dagster.fleet_history import NIGHT_TAG, PROFILE_TAG
from autorisk_dagster.intake.sources import source_ledger
from autorisk_dagster.jobs import fleet_batch
from autorisk_dagster.night.plan import priority
from autorisk_dagster.night.settings import load_night
from autorisk_dagster.night.wording import in_words
from autorisk_dagster.paths import CONFIGS
from autorisk_dagster.tonight import tonight

NIGHT = load_night(CONFIGS)
ESTIMATE_TAG = "autorisk/night_estimate"


def night_of(start: dt.datetime) -> str:
    """The night's name: the date at its start, by the schedule's clock."""
    return start.astimezone(ZoneInfo(NIGHT.timezone)).date().isoformat()


@dg.schedule(
    job=fleet_batch,
    cron_schedule=NIGHT.cron,
    execution_timezone=NIGHT.timezone,
    description=f"At {NIGHT.start} ({NIGHT.timezone}): `fleet_batch` for every video of which something is missing or "
    "failed and not given up, the worst and newest first, as far as the budget of `configs/night.yaml` goes.",
)
def nightly_fleet_batch(context: dg.ScheduleEvaluationContext) -> dg.SkipReason | list[dg.RunRequest]:
    """Request one run per video; the run key holds the night, so that a second tick requests nothing twice."""
    instance = context.instance
    close_orphans(instance)
    night = night_of(context.scheduled_execution_time)
    plan = tonight(instance, night, NIGHT.budget)
    told = in_words(plan.estimate)
    context.log.info(f"night {night}: {told}; left out for the next: {len(plan.left_out)}")
    for key in plan.too_large:
        context.log.warning(f"{key} alone costs more than the budget of a night: no night will take it")
    if not plan.videos:
        over = f"; {len(plan.left_out)} do not fit into the budget" if plan.left_out else ""
        return dg.SkipReason(f"every registered video is made, given up, gone or under way{over}")
    profiles = {record.video_id: record.profile for record in source_ledger().of(plan.videos)}
    return [
        dg.RunRequest(
            run_key=f"{night}/{key}",
            partition_key=key,
            tags={
                # Dagster takes a request that carries its partition for resolved; else it asks the database of each
                # whether there is such a partition, with three connections: 2,000 videos would take a tick's 60 s.
                "dagster/partition": key,
                "dagster/partition_set": f"{fleet_batch.name}_partition_set",
                NIGHT_TAG: night,
                ESTIMATE_TAG: told,
                "dagster/priority": priority(place),
                **({PROFILE_TAG: profiles[key]} if key in profiles else {}),
            },
        )
        for place, key in enumerate(plan.videos)
    ]
