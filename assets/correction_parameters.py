"""What labels say of the correction: thresholds, adopted or not, and the scores of the severity sets."""

import dagster as dg
import polars as pl

from assets.label_protocol import outputs_first_made
from assets.placement import CPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, markdown_table, picture, schema_check, table_result
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.io import FleetTable
from resources.profiles import Profiles

DEFAULT_PROFILE = "default"  # whose thresholds searched ones are compared with


@dg.asset(
    dagster_type=TABLE,
    group_name="severity",
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1, "correction"),
    check_specs=[
        schema_check("correction_parameters"),
        dg.AssetCheckSpec(
            "adopted_only_if_better",
            asset="correction_parameters",
            blocking=True,
            description="Thresholds are adopted only where, on left-out groups, the interval of their gain over the "
            "default and over the commonest label lies over 0.",
        ),
        dg.AssetCheckSpec(
            "every_label_meets_its_clip",
            asset="correction_parameters",
            description="No label is set aside because its clip is another file now, or was not judged.",
        ),
    ],
)
def correction_parameters(
    context: dg.AssetExecutionContext,
    ground_truth: pl.DataFrame,
    reason_outputs: FleetTable,
    clip_ttc: FleetTable,
    mined_clips: FleetTable,
    profiles: Profiles,
) -> dg.MaterializeResult:
    """Random search for the thresholds of R1 to R6 for each judge, its worth on left-out groups, nested, against the
    defaults and the commonest label; adopted only where it is better there, and the reason in words.

    Only labels count that were frozen before the outputs they judge. Without labels the table has no row and every
    profile's thresholds stand.
    """
    from autorisk_dagster.reporting.severity_plots import accuracy_picture
    from autorisk_dagster.review.protocol import labels_for_evaluation, labels_frozen_before_outputs
    from autorisk_dagster.severity.labelled import judged_clips
    from autorisk_dagster.severity.parameters import learn

    first_made = outputs_first_made(context.instance, reason_outputs, ground_truth)
    try:
        usable = labels_for_evaluation(ground_truth, first_made)
        judged = judged_clips(
            usable, *(table.of(usable["video_id"]) for table in (reason_outputs, clip_ttc, mined_clips))
        )
        table = learn(judged.table, profiles.get(DEFAULT_PROFILE).correction)
    except AutoRiskError as error:
        raise failure(error) from error
    decisions = {row["judge"]: row["reason"] for row in table.iter_rows(named=True)}
    shown = {
        f"accuracies: {row['judge']}": picture("accuracies", accuracy_picture(row))
        for row in table.iter_rows(named=True)
    }
    return table_result(
        "correction_parameters",
        table,
        {
            **reason_outputs.coverage(),
            "labels": labels_frozen_before_outputs(ground_truth, first_made).counts,
            "labels_used": judged.table.height,
            "decisions": decisions or {"none": "no label that was frozen before the output it judges"},
            "set_aside": dg.MetadataValue.md(markdown_table(judged.set_aside)),
            "figures": dg.MetadataValue.md(markdown_table(_figures(table), rows=40)),
            **shown,
        },
        [
            dg.AssetCheckResult(check_name="adopted_only_if_better", passed=_better(table)),
            dg.AssetCheckResult(
                check_name="every_label_meets_its_clip",
                passed=judged.set_aside.is_empty(),
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"reasons": dict(judged.set_aside["reason"].value_counts().iter_rows())},
            ),
        ],
        preview=["judge", "clips", "groups", "adopted", "rule_set", "reason"],
    )


def _figures(table: pl.DataFrame) -> pl.DataFrame:
    each = table.select("judge", "figures").explode("figures").unnest("figures")
    return each.select("judge", "metric", "stage", "value", "low", "high", "n", "groups", "note")


def _better(table: pl.DataFrame) -> bool:
    bars = _figures(table.filter("adopted")).filter(
        (pl.col("metric") == "accuracy_difference")
        & (pl.col("stage") == "searched_group_out")
        & pl.col("note").str.contains("default|always_commonest")
    )
    return bars.height == 2 * int(table["adopted"].sum()) and bool((bars["low"] > 0).all())
