"""While the night goes on, and after it: the budget, the one retry, what is over the fleet, and who is told."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence

import dagster as dg

from autorisk_dagster import fleet_history as history
from autorisk_dagster.fleet_history import NIGHT_TAG, PROFILE_TAG
from autorisk_dagster.intake.sources import SourceRecord
from autorisk_dagster.jobs import after_night, fleet_batch
from autorisk_dagster.night import alerts, delivery
from autorisk_dagster.night.cost import Cost
from autorisk_dagster.night.failures import by_cause
from autorisk_dagster.night.watch import Steps, next_steps
from autorisk_dagster.night.wording import in_words
from autorisk_dagster.schedules import NIGHT
from autorisk_dagster.tonight import StoredNight, also_left_out, look, stored

# Behind everything that the plan asked for.
RETRY_PRIORITY = "-1000000"
LONGEST_NIGHT_SEC = 20 * 3600.0

fleet_night = dg.AssetSpec(
    "fleet_night",
    group_name="night",
    owners=["team:fleet-safety"],
    kinds={"dagster"},
    description="A record a night: what was planned, what it was expected to cost and what it did cost, what failed "
    "and what was left out. Written when the night's last run has ended.",
)


@dg.sensor(
    jobs=[fleet_batch, after_night],
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Does nothing where no night was planned. Else: cancels what has not started once the budget of "
    "`configs/night.yaml` is used up, tries once again what failed for the first time, and runs `after_night` once all "
    "runs of the night have ended.",
)
def night_watch(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One look; the cursor is the night that has ended."""
    instance, night = context.instance, stored(context.instance)
    if night is None:
        return dg.SkipReason("no night was planned yet")
    if context.cursor == night.night:
        return dg.SkipReason(f"night {night.night} has ended")
    records = history.night_runs(instance, night.night, fleet_batch.name)
    spent = _spent(records)
    runs = [history.as_night_run(record) for record in records]
    # What is broken is read only where it matters: while all goes well a look costs one query.
    fleet = look(instance) if any(run.state == "failed" for run in runs) else None
    broken, sources = (fleet.broken_videos(), fleet.records) if fleet else ({}, {})
    steps = next_steps(night.videos, runs, spent, NIGHT.budget, broken, time.time() - night.made_at_sec)
    cancelled = [run_id for run_id in steps.cancel if _cancel(instance, run_id)]
    if cancelled:
        why = "the budget is used up" if steps.used_up else "asked for twice"
        context.log.warning(f"night {night.night}: {len(cancelled)} runs cancelled ({why})")
    if not steps.ended or len(cancelled) < len(steps.cancel):
        return dg.SensorResult(run_requests=[_retry(night, key, sources.get(key)) for key in steps.retry])
    also_left_out(instance, night, steps.left_out)
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{night.night}/after", job_name=after_night.name, tags={NIGHT_TAG: night.night})
        ],
        asset_events=[_record(night, steps, spent, records, broken)],
        cursor=night.night,
    )


def _cancel(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Take a run out of the queue; False where it has left it meanwhile: what runs finishes."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.status != dg.DagsterRunStatus.QUEUED:
        return False
    instance.report_run_canceled(run, "taken out of the queue by night_watch")
    return True


def _spent(records: Sequence[dg.RunRecord]) -> Cost:
    now_sec = time.time()
    return sum((history.cost_of(record, now_sec) for record in records), Cost())


def _retry(night: StoredNight, key: str, source: SourceRecord | None) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{night.night}/{key}/retry",
        job_name=fleet_batch.name,
        partition_key=key,
        tags={
            NIGHT_TAG: night.night,
            "dagster/priority": RETRY_PRIORITY,
            **({PROFILE_TAG: source.profile} if source else {}),
        },
    )


def _record(
    night: StoredNight, steps: Steps, spent: Cost, records: Sequence[dg.RunRecord], broken: Collection[str]
) -> dg.AssetMaterialization:
    failed = [key for key in night.videos if key in broken]
    left_out = list(dict.fromkeys([*night.left_out, *steps.left_out]))
    expected = night.estimate.machine_sec
    return dg.AssetMaterialization(
        "fleet_night",
        metadata={
            **({"expected_machine_sec": expected.value} if expected else {}),
            "night": night.night,
            "planned": len(night.videos),
            "runs": len(records),
            "made": len(night.videos) - len(failed) - len(steps.left_out),
            "failed": len(failed),
            "left_out": len(left_out),
            "left_out_first": left_out[:100],
            "too_large": list(night.too_large),
            "budget_used_up": steps.used_up,
            "estimate": in_words(night.estimate),
            "machine_sec": spent.machine_sec,
            "gpu_sec": spent.gpu_sec,
            "tokens": spent.tokens,
        },
    )


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Tells what is broken, once a cause: to the webhook that {delivery.WEBHOOK} names and by the e-mail "
    "of `configs/night.yaml`. Does nothing where neither is set. While a night goes on it waits for its end.",
)
def failure_alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason | dg.SensorResult:
    """One look; the cursor is what was told, and what waits to be sent."""
    send = delivery.channels(NIGHT.alerts)
    if not send:
        return dg.SkipReason(f"no alert is configured: set {delivery.WEBHOOK}, or alerts.email in configs/night.yaml")
    instance = context.instance
    before = json.loads(context.cursor) if context.cursor else {"seen": None, "state": None}
    state, seen = alerts.AlertState.from_json(before["state"]), before["seen"]
    night, newest = stored(instance), history.newest_failure(instance)
    name = night.night if night else ""
    if [newest, name] != seen and (night is None or _has_ended(instance, night)):
        seen = [newest, name]
        state = alerts.decide(state, by_cause(look(instance).broken), name, newest, send)
    waiting = state.waiting
    state = alerts.deliver(state, send, time.time())
    refused = [message for message in state.waiting if message not in waiting]  # tried just now, not only waiting
    if refused:
        context.log.warning(f"{len(refused)} of {len(waiting)} messages could not be sent yet; tried again later")
    return dg.SensorResult(
        cursor=json.dumps({"seen": seen, "state": state.to_json()}),
        skip_reason=f"{len(waiting) - len(state.waiting)} sent, {len(state.waiting)} wait to be sent",
    )


def _has_ended(instance: dg.DagsterInstance, night: StoredNight) -> bool:
    if time.time() - night.made_at_sec > LONGEST_NIGHT_SEC:  # nobody told its end: the watch was switched off
        return True
    newest = instance.get_latest_materialization_event(fleet_night.key)
    made = newest.asset_materialization if newest else None
    return made is not None and made.metadata["night"].value == night.night
