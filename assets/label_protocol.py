"""The check that refuses late labels, for every asset that judges outputs by labels."""

from datetime import UTC, datetime

import dagster as dg
import polars as pl

from assets.tabulate import markdown_table
from autorisk_dagster.io import FleetTable
from autorisk_dagster.review.protocol import OUTPUT_FIELDS, labels_frozen_before_outputs, output_digests

CHECK = "labels_frozen_before_outputs"
DIGESTS = "output_digests"  # metadata of `reason_outputs`: each clip's output, by the clip's SHA-256


def labels_frozen_spec(asset: str) -> dg.AssetCheckSpec:
    """The check's specification on `asset`."""
    return dg.AssetCheckSpec(
        CHECK,
        asset=asset,
        blocking=True,
        description="Every label that judges an output was frozen before that output was first made (seed 000, "
        "Ground Truth Protocol). Labels from review saw an output: they are left out of evaluation and counted here.",
    )


def labels_frozen_result(
    asset: str, ground_truth: pl.DataFrame, first_made: dict[str, datetime | None]
) -> dg.AssetCheckResult:
    """Hold `ground_truth` (tables.GROUND_TRUTH) against the outputs' times (`outputs_first_made`)."""
    found = labels_frozen_before_outputs(ground_truth, first_made)
    return dg.AssetCheckResult(
        asset_key=asset,
        check_name=CHECK,
        passed=found.passed,
        metadata={
            **{f"labels_{name}": count for name, count in found.counts.items()},
            "late_labels": dg.MetadataValue.md(markdown_table(found.late)),
        },
    )


def outputs_first_made(
    instance: dg.DagsterInstance, reason_outputs: FleetTable, ground_truth: pl.DataFrame
) -> dict[str, datetime | None]:
    """When the output that each clip has now was first stored, by the clip's SHA-256; None where nothing tells.

    A materialisation whose metadata do not say which outputs it held is taken to have held the ones that exist now:
    nothing shows that they are newer.

    Args:
        reason_outputs: of all videos
        ground_truth: tables.GROUND_TRUTH; only videos with labels are looked up, each with a query of its own
    """
    found: dict[str, datetime | None] = {}
    judged = reason_outputs.of(ground_truth["video_id"]).select("video_id", *OUTPUT_FIELDS).collect()
    for (video_id,), outputs in judged.group_by("video_id", maintain_order=True):
        filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey("reason_outputs"), asset_partitions=[str(video_id)])
        history = [(_digests(record), record.timestamp) for record in _all_materializations(instance, filters)]
        for clip, digest in output_digests(outputs).items():
            times = [time for digests, time in history if digests is None or digests.get(clip) == digest]
            first = datetime.fromtimestamp(min(times), UTC) if times else None
            known = found.get(clip)
            found[clip] = min(known, first) if known and first else known or first
    return found


def _digests(record: dg.EventLogRecord) -> dict[str, str] | None:
    made = record.asset_materialization
    entry = made.metadata.get(DIGESTS) if made else None
    return dict(entry.value) if isinstance(entry, dg.JsonMetadataValue) else None  # type: ignore[arg-type]


def _all_materializations(instance: dg.DagsterInstance, filters: dg.AssetRecordsFilter) -> "list[dg.EventLogRecord]":
    records: list[dg.EventLogRecord] = []
    cursor = None
    while True:
        page = instance.fetch_materializations(filters, limit=500, cursor=cursor)
        records += page.records
        if not page.has_more:
            return records
        cursor = page.cursor
