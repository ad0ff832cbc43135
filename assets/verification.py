"""Verification: what a vision-language model says of proposed near misses and gestures."""

import os
from typing import Any

import dagster as dg
import polars as pl

from assets.placement import CPU, GPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, markdown_table, picture, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.io import FleetTable
from autorisk_dagster.partitions import videos
from resources.media_store import MediaStore
from resources.verifiers import Verifiers


def _version(number: int) -> str:
    """A code version that an endpoint's coming, going or other model changes: what it did not judge is stale then."""
    endpoint = os.environ.get("COSMOS_NIM_MODEL", "default") if os.environ.get("COSMOS_NIM_URL") else "none"
    return f"{code_version(number)}-{endpoint}"


def _checks(asset: str) -> list[dg.AssetCheckSpec]:
    return [
        schema_check(asset),
        dg.AssetCheckSpec(
            "nothing_confirmed_unheard",
            asset=asset,
            blocking=True,
            description="What no model was heard on has no reason, and is neither confirmed nor rejected.",
        ),
        dg.AssetCheckSpec("heard", asset=asset, description="At most 1 in 10 proposals failed to be verified."),
    ]


def _results(table: pl.DataFrame) -> list[dg.AssetCheckResult]:
    heard = table["outcome"].is_in(["confirmed", "rejected"])
    failed = table.filter(pl.col("outcome") == "failed")
    return [
        dg.AssetCheckResult(
            check_name="nothing_confirmed_unheard",
            passed=bool((table["reason_category"].is_not_null() == heard).all()),
        ),
        dg.AssetCheckResult(
            check_name="heard",
            passed=failed.height * 10 <= table.height,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "failed": failed.height,
                "proposals": table.height,
                "failures": dg.MetadataValue.md(markdown_table(failed.select("event_id", "error"))),
            },
        ),
    ]


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="reasoning",
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=_version(1),
    pool="gpu",
    op_tags=GPU,
    check_specs=_checks("verified_events"),
)
def verified_events(
    context: dg.AssetExecutionContext,
    source_video: pl.DataFrame,
    tracks: pl.DataFrame,
    near_miss_events: pl.DataFrame,
    media: MediaStore,
    verifiers: Verifiers,
) -> dg.MaterializeResult:
    """Each near miss of profile v2 as a vision-language model sees it: confirmed, rejected with a reason, or not heard.

    A rejected event stays in `near_miss_events`; without an endpoint every outcome is "not_run".
    """
    from autorisk_dagster.reporting.judgement_plots import events_plot
    from autorisk_dagster.verification import near_miss
    from autorisk_dagster.verification.verified_events import alarm_figures, verify_events

    facts = source_video.row(0, named=True)
    try:
        verifier = verifiers.get(near_miss.CONTRACT)
        table = verify_events(
            context.partition_key,
            near_miss_events,
            tracks,
            media.source(context.partition_key),
            (facts["width_px"], facts["height_px"]),
            verifier,
            verifiers.concurrency,
        )
    except AutoRiskError as error:
        raise failure(error) from error
    found = alarm_figures(table)
    hours = facts["duration_sec"] / 3600
    return table_result(
        "verified_events",
        table,
        {
            "verifier": verifier.model,
            "contract_hash": verifier.contract.hash,
            **{name: found.row()[name] for name in ("confirmed", "rejected", "failed", "not_run")},
            "alarms_without_verifier": found.proposals,
            "alarms_with_verifier": found.passing,
            "alarms_an_hour_without_verifier": found.proposals / hours if hours else 0.0,
            "alarms_an_hour_with_verifier": found.passing / hours if hours else 0.0,
            "reasons": _counts(table),
            **_pictures(outcomes=events_plot(table, facts["duration_sec"])),
        },
        _results(table),
        preview=["event_id", "timestamp_sec", "actors", "outcome", "reason_category", "rationale", "error"],
    )


@dg.asset(
    dagster_type=TABLE,
    group_name="cabin",
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=_version(1),
    pool="gpu",
    op_tags=GPU,
    check_specs=_checks("gesture_verdicts"),
)
def gesture_verdicts(media: MediaStore, verifiers: Verifiers) -> dg.MaterializeResult:
    """Recorded gesture proposals (`gestures/*.json` in the data folder) as the strict verifier sees them.

    Where a person labelled them, the metadata count the false alarms that pass with and without the verifier, and the
    commands it costs. What the model said is written out as training rows for the local detector.
    """
    from autorisk_dagster.reporting.judgement_plots import outcomes_plot
    from autorisk_dagster.verification import gesture
    from autorisk_dagster.verification.event_log import disagreement_counts, read_log, write_training_rows
    from autorisk_dagster.verification.recorded_gestures import gate_figures, verify_gestures

    try:
        verifier = verifiers.get(gesture.CONTRACT)
        table = verify_gestures(media.data.pull("gestures") / "gestures", verifier, verifiers.concurrency)
    except AutoRiskError as error:
        raise failure(error) from error
    log = verifiers.log_path(gesture.CONTRACT.name)
    records = read_log(log).records if log.exists() else ()
    rows = log.with_name("gesture_training.jsonl")
    return table_result(
        "gesture_verdicts",
        table,
        {
            "verifier": verifier.model,
            "contract_hash": verifier.contract.hash,
            **gate_figures(table).row(),
            "reasons": _counts(table),
            "disagreements_in_log": disagreement_counts(records),
            "training_rows": write_training_rows(records, rows) if records else 0,
            **_pictures(outcomes=outcomes_plot(table, "proposed_intent", gesture.INTENTS)),
        },
        _results(table),
        preview=["event_id", "proposed_intent", "outcome", "reason_category", "rationale", "error"],
    )


@dg.asset(
    dagster_type=TABLE,
    group_name="evaluation",
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1),
    check_specs=[schema_check("alarm_metrics")],
)
def alarm_metrics(ground_truth: pl.DataFrame, verified_events: FleetTable) -> dg.MaterializeResult:
    """Near-miss alarms with and without the verifier, by what people labelled: how many are false (in clips labelled
    NONE or LOW), how many of these a model rejects, and in how many clips with a danger (MEDIUM or HIGH) an alarm
    still stands.

    Where no model was heard the figures with the verifier are null: an alarm that nobody looked at is not a good one.
    """
    from autorisk_dagster.evaluation import alarms
    from autorisk_dagster.reporting.judgement_plots import outcomes_plot

    events = verified_events.rows.collect()
    try:
        table = alarms.alarm_metrics(ground_truth, events)
        found = alarms.labelled_alarms(ground_truth, events)
    except AutoRiskError as error:
        raise failure(error) from error
    blind = found.filter(pl.col("origin") == "label_file")
    reasons = found.drop_nulls("reason_category").group_by("origin", "reason_category", "severity").len("alarms")
    return table_result(
        "alarm_metrics",
        table,
        {
            **verified_events.coverage(),
            "alarms": events.height,
            "alarms_labelled": blind.height,
            "outcomes": {name: events.filter(pl.col("outcome") == name).height for name in tables.VERIFICATIONS},
            "verifiers": {str(name): count for name, count in events["verifier"].value_counts(sort=True).iter_rows()},
            "reasons_by_label": dg.MetadataValue.md(
                markdown_table(reasons.sort("origin", "alarms", "reason_category", descending=[False, True, False]), 40)
            ),
            **_pictures(by_label=outcomes_plot(blind, "severity", tables.SEVERITIES)),
        },
        preview=["label_origin", "metric", "stage", "value", "low", "high", "n", "groups", "note"],
    )


def _pictures(**found: bytes | None) -> dict[str, Any]:
    return {name: picture(name, png) for name, png in found.items() if png is not None}


def _counts(table: pl.DataFrame) -> dict[str, int]:
    return {str(name): count for name, count in table["reason_category"].drop_nulls().value_counts().iter_rows()}
