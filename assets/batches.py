"""A run over several videos that loads a model once: success, failure and checks are each video's own.

Dagster's own result of a batch covers all its partitions alike. So a batch writes each video's table and reports it as
soon as it is there; what failed is told at the end, and a rerun of the failed partitions touches nothing else. A batch
that is begun again because its process was killed goes on behind what it reported. A run over one video goes the
ordinary way.
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from assets.tabulate import failure
from autorisk_dagster.errors import AutoRiskError, InputError
from autorisk_dagster.fleet_history import FAILED_VIDEOS
from autorisk_dagster.io import FrameStoreIOManager

# In a job with the others, an asset that takes batches takes one video a run: that is what is meant.
warnings.filterwarnings("ignore", message="Asset job .* materializes assets with varying BackfillPolicies")
warnings.filterwarnings("ignore", message="Parameter `backfill_policy` .* is currently in beta")

# Handed to `AssetIn`: a video whose upstream failed must not take the others of its batch with it.
PARTITIONED = {"allow_missing_partitions": True}

# Dagster's own version of what lies outside of the graph until it is observed.
NEVER_OBSERVED = "INITIAL"

Compute = Callable[[str, Mapping[str, pl.DataFrame]], dg.MaterializeResult]


def one_by_one(
    context: dg.AssetExecutionContext,
    store: FrameStoreIOManager,
    asset: str,
    given: Mapping[str, Any],
    compute: Compute,
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Yield the result of a single video; of a batch, store and report each video's and yield what its checks say
    together.

    Args:
        context: of the asset's run
        store: where the tables of a batch are written
        asset: its name
        given: the inputs as Dagster hands them over: a table, or of a batch a table a partition
        compute: makes one video's result

    Raises:
        dg.Failure: the video, or at least one of the batch, failed; the message names each with its cause.
    """
    keys = list(context.partition_keys)
    if len(keys) == 1:
        try:
            yield compute(keys[0], _of(keys[0], given, single=True))
        except AutoRiskError as error:
            raise failure(error) from error
        return
    failed: dict[str, str] = {}
    passed: dict[str, bool] = {}
    recorded = _recorded(context, asset)
    for number, key in enumerate(keys, start=1):
        if key in recorded:
            for name, fine in recorded[key].items():
                passed[name] = passed.get(name, True) and fine
            context.log.info(f"{key} ({number} of {len(keys)}) was done before this batch was broken off")
            continue
        try:
            result = compute(key, _of(key, given, single=False))
        except AutoRiskError as error:
            failed[key] = str(error)
            context.log.error(f"{key} ({number} of {len(keys)}): {error}")
            continue
        refused = [check.check_name for check in result.check_results or [] if not check.passed and _blocks(check)]
        _report(context, store, asset, key, result)
        for check in result.check_results or []:
            passed[str(check.check_name)] = passed.get(str(check.check_name), True) and check.passed
        if refused:
            failed[key] = f"check {', '.join(str(name) for name in refused)} failed"
        context.log.info(f"{key} ({number} of {len(keys)}) done")
    if failed:
        told = "; ".join(f"{key}: {why}" for key, why in failed.items())
        raise dg.Failure(
            f"{len(failed)} of {len(keys)} videos failed: {told}",
            metadata={FAILED_VIDEOS: dg.MetadataValue.json(failed)},
            allow_retries=False,
        )
    for name, fine in passed.items():  # Dagster wants a word on each check; each video's own is recorded above
        yield dg.AssetCheckResult(asset_key=asset, check_name=name, passed=fine)


def _recorded(context: dg.AssetExecutionContext, asset: str) -> dict[str, dict[str, bool]]:
    """Videos that this step has reported in full before it was begun again, in this run or the one in whose place it
    goes on, with what their checks said; one that failed a check that blocks is none of them."""
    checks = {spec.name for spec in context.assets_def.check_specs}
    runs = [context.run]
    while runs[-1].parent_run_id and runs[-1].tags.get("dagster/is_resume_retry") == "true":
        before = context.instance.get_run_by_id(runs[-1].parent_run_id)
        if before is None:
            break
        runs.append(before)
    made: set[str] = set()
    told: dict[str, dict[str, dg.AssetCheckEvaluation]] = defaultdict(dict)
    kinds = {dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_CHECK_EVALUATION}
    for run in reversed(runs):
        for entry in context.instance.all_logs(run.run_id, of_type=kinds):
            event = entry.get_dagster_event()
            if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                check = event.asset_check_evaluation_data
                if check.asset_key == dg.AssetKey(asset) and check.partition:
                    told[check.partition][check.check_name] = check
            elif event.asset_key == dg.AssetKey(asset) and event.partition:
                made.add(event.partition)
    return {
        key: {name: check.passed for name, check in told[key].items()}
        for key in made
        if told[key].keys() >= checks and all(check.passed or not _blocks(check) for check in told[key].values())
    }


def _blocks(check: dg.AssetCheckResult | dg.AssetCheckEvaluation) -> bool:
    return check.severity == dg.AssetCheckSeverity.ERROR


def _of(key: str, given: Mapping[str, Any], *, single: bool) -> dict[str, pl.DataFrame]:
    found: dict[str, Any] = {name: value if single else (value or {}).get(key) for name, value in given.items()}
    missing = [name for name, table in found.items() if table is None]
    if missing:
        raise InputError(f"{key}: {', '.join(missing)} is missing; materialise it first")
    return found


def _report(
    context: dg.AssetExecutionContext, store: FrameStoreIOManager, asset: str, key: str, result: dg.MaterializeResult
) -> None:
    store.write(asset, key, result.value)
    version = result.data_version
    # Written to the event log at once, not when the step ends: a batch that is killed keeps what it has done.
    context.log_event(
        dg.AssetMaterialization(
            asset,
            partition=key,
            metadata={**(result.metadata or {}), "dagster/row_count": result.value.height},
            tags={
                "dagster/code_version": context.assets_def.code_versions_by_key[dg.AssetKey(asset)] or "",
                **(
                    {"dagster/data_version": version.value, "dagster/data_version_is_user_provided": "true"}
                    if version
                    else {}
                ),
                **_inputs(context, asset, key),
            },
        )
    )
    for check in result.check_results or []:
        context.log_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(asset),
                check_name=str(check.check_name),
                passed=check.passed,
                partition=key,
                metadata=dict(check.metadata or {}),
                severity=check.severity,
            )
        )


def _inputs(context: dg.AssetExecutionContext, asset: str, key: str) -> dict[str, str]:
    """What the table was made from, as Dagster tags it, so that a change upstream marks it stale."""
    tags: dict[str, str] = {}
    graph = context.job_def.asset_layer.asset_graph
    for parent in context.assets_def.asset_deps[dg.AssetKey(asset)]:
        if graph.get(parent).partitions_def is None:  # a record outside of the graph: only observed
            seen = context.instance.fetch_observations(parent, limit=1).records
            observed = seen[0].asset_observation if seen else None
            version = ((observed.tags or {}) if observed else {}).get("dagster/data_version", NEVER_OBSERVED)
            tags[f"dagster/input_data_version/{parent.to_user_string()}"] = version
            continue
        records = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=parent, asset_partitions=[key]), limit=1
        ).records
        made = records[0].asset_materialization if records else None
        if made is None:
            continue
        name = parent.to_user_string()
        tags[f"dagster/input_event_pointer/{name}"] = str(records[0].storage_id)
        version = (made.tags or {}).get("dagster/data_version")
        if version:
            tags[f"dagster/input_data_version/{name}"] = version
    return tags
