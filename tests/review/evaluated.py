"""Ground truth and evaluation as Dagster makes them, over the tables of a data folder."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

import dagster as dg
import polars as pl

from assets.label_protocol import DIGESTS
from autorisk_dagster.definitions import defs
from autorisk_dagster.review.protocol import output_digests
from tests.review.fleet import VIDEO, read_table


def report_outputs(instance: dg.DagsterInstance, data: Path, *, digests: bool = True) -> None:
    """Record that the `reason_outputs` that lie in the folder were made, now."""
    told = {DIGESTS: dg.MetadataValue.json(output_digests(read_table(data, "reason_outputs")))} if digests else {}
    made = dg.AssetMaterialization("reason_outputs", partition=VIDEO, metadata=told)
    instance.report_runless_asset_event(made)


def evaluate(instance: dg.DagsterInstance, data: Path) -> tuple[dg.ExecuteInProcessResult, pl.DataFrame]:
    """Make `ground_truth` and `eval_metrics`; the run, and the labels that count."""
    instance.add_dynamic_partitions("videos", [VIDEO])
    with mock.patch.dict(os.environ, {"AUTORISK_DATA": str(data)}):
        found = defs()
        assets = [each for each in found.assets or () if isinstance(each, dg.AssetsDefinition)]
        result = dg.materialize(
            assets,
            selection=["ground_truth", "eval_metrics"],
            instance=instance,
            resources=found.resources,
            raise_on_error=False,
        )
    return result, pl.read_parquet(data / "tables" / "ground_truth.parquet")


def check_of(result: dg.ExecuteInProcessResult, name: str) -> dg.AssetCheckEvaluation:
    """One check's evaluation."""
    (found,) = (each for each in result.get_asset_check_evaluations() if each.check_name == name)
    return found
