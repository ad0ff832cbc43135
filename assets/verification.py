"""Verification: what a vision-language model says of proposed near misses and gestures."""

import os

import dagster as dg
import polars as pl

from assets.placement import GPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, markdown_table, schema_check, table_result
from autorisk_dagster.errors import AutoRiskError
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
        },
        _results(table),
        preview=["event_id", "proposed_intent", "outcome", "reason_category", "rationale", "error"],
    )


def _counts(table: pl.DataFrame) -> dict[str, int]:
    return {str(name): count for name, count in table["reason_category"].drop_nulls().value_counts().iter_rows()}
