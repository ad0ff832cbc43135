"""Ground truth: what people say the clips show."""

from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from assets.placement import CPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, markdown_table, schema_check, table_result
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.io import FleetTable
from resources.media_store import MediaStore

if TYPE_CHECKING:
    from autorisk_dagster.review.log import ReviewLog

ONE_LABEL = "one_label_a_clip"


@dg.asset(
    dagster_type=TABLE,
    group_name="severity",
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1),
    check_specs=[
        schema_check("ground_truth"),
        dg.AssetCheckSpec(ONE_LABEL, asset="ground_truth", blocking=True),
        dg.AssetCheckSpec(
            "every_label_counts",
            asset="ground_truth",
            description="No label is left out: clips that are gone or cut anew, open sets, disagreements.",
        ),
    ],
)
def ground_truth(mined_clips: FleetTable, media: MediaStore) -> dg.MaterializeResult:
    """The labels that count, one a clip: frozen label files (`labels/` in the data folder), and verdicts of reviewers
    where there is no blind label.

    A label belongs to a clip and its file's hash. Labels from review saw an output (`judged_output_sha256`): they are
    for training and correction, not for evaluation. The metadata say which labels do not count, and why.
    """
    from autorisk_dagster.review.ground_truth import collect
    from autorisk_dagster.review.label_sets import freezings, read_set
    from autorisk_dagster.review.log import review_log
    from autorisk_dagster.review.verdicts import standings, verdicts

    try:
        folder = media.data.pull("labels", "review")
        sets = [read_set(path) for path in sorted((folder / "labels").glob("*.csv"))]
        log = review_log(folder)
        records = log.records()
        said = verdicts(records)
        named = {verdict.clip_id for verdict in said} | {clip for each in sets for clip in each.table["clip_id"]}
        clips = mined_clips.rows.filter(pl.col("clip_id").is_in(list(named))).collect(engine="streaming")
        # Which outputs there are now changes no label, only what must be looked at again; and they hang on this table.
        reviews = standings(said, dict(clips.select("clip_id", "clip_sha256").iter_rows()), outputs={})
        found = collect(sets, freezings(records), reviews.values(), clips)
    except AutoRiskError as error:
        raise failure(error) from error
    table = found.table
    origins = {str(name): count for name, count in table["origin"].value_counts().iter_rows()}
    return table_result(
        "ground_truth",
        table,
        {
            **mined_clips.coverage(),
            "labels": table.height,
            "clips": mined_clips.rows.select(pl.len()).collect().item(),
            "origins": origins,
            "severities": {str(name): count for name, count in table["severity"].value_counts().iter_rows()},
            "label_sets": {each.name: each.freezing.frozen_at if each.freezing else "open" for each in sets},
            "review_log": _head(log),
            "left_out": dg.MetadataValue.md(markdown_table(found.left_out, rows=50)),
            "labellers_agree": dg.MetadataValue.md(markdown_table(found.agreement)),
        },
        [
            dg.AssetCheckResult(check_name=ONE_LABEL, passed=table["clip_id"].is_unique().all()),
            dg.AssetCheckResult(
                check_name="every_label_counts",
                passed=found.left_out.filter(~pl.col("reason").str.starts_with("the blind label")).is_empty(),
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "reasons": {
                        str(reason): count for reason, count in found.left_out["reason"].value_counts().iter_rows()
                    }
                },
            ),
        ],
        preview=["clip_id", "severity", "origin", "labeller", "label_set", "frozen_at"],
    )


def _head(log: "ReviewLog") -> str:
    head = log.head()
    return f"{head.records} records, {head.sha256}"
