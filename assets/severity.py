"""Severity: the reasoner's word, corrected by the measured signals, and the order in which to look."""

from urllib.parse import quote

import dagster as dg
import polars as pl

from assets.placement import CPU
from assets.tabulate import (
    OWNERS,
    TABLE,
    animation,
    code_version,
    failure,
    markdown_table,
    media_links,
    schema_check,
    table_result,
)
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.io import FrameStoreIOManager
from autorisk_dagster.partitions import videos
from resources.profiles import Profiles


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="severity",
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    deps=["correction_parameters"],  # may not be there: then the profile's thresholds stand
    code_version=code_version(2, "correction"),
    check_specs=[
        schema_check("corrected_severities"),
        dg.AssetCheckSpec(
            "nothing_safe_by_default",
            asset="corrected_severities",
            blocking=True,
            description="No severity comes out where none went in.",
        ),
    ],
)
def corrected_severities(
    source_video: pl.DataFrame,
    reason_outputs: pl.DataFrame,
    clip_ttc: pl.DataFrame,
    mined_clips: pl.DataFrame,
    profiles: Profiles,
    io_manager: dg.ResourceParam[FrameStoreIOManager],
) -> dg.MaterializeResult:
    """Rules R1 to R6 on the raw severity, with the rule that fired and the quantities it read.

    Thresholds are the profile's, unless `correction_parameters` found others better for this judge; `rule_set` says
    which.
    """
    from autorisk_dagster.severity.correction import correct
    from autorisk_dagster.severity.parameters import adopted_by_clip, learned

    parameters = io_manager.read("correction_parameters")
    try:
        settings = profiles.get(source_video.item(0, "profile")).correction
        adopted = adopted_by_clip(reason_outputs, learned(parameters), settings)
        table = correct(reason_outputs, clip_ttc, mined_clips, settings, adopted)
    except AutoRiskError as error:
        raise failure(error) from error
    same = table["raw_severity"].is_null() == table["severity"].is_null()
    return table_result(
        "corrected_severities",
        table,
        {
            "rule_sets": sorted(set(table["rule_set"])) or [settings.rule_set],
            "by_adopted_thresholds": _adopted(len(adopted), table, made=parameters is not None),
            "settings_hash": settings.digest(),
            "changes": dg.MetadataValue.md(markdown_table(_changes(table))),
            "rules_fired": {str(name): count for name, count in table["rule"].drop_nulls().value_counts().iter_rows()},
        },
        [dg.AssetCheckResult(check_name="nothing_safe_by_default", passed=bool(same.all()))],
        preview=["clip_id", "raw_severity", "severity", "rule", "ttc_read_sec", "fused_read", "critical_tracks"],
    )


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="severity",
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(2),
    check_specs=[
        schema_check("severity_ranking"),
        dg.AssetCheckSpec("every_clip_ranked", asset="severity_ranking", blocking=True),
    ],
)
def severity_ranking(
    corrected_severities: pl.DataFrame,
    mined_clips: pl.DataFrame,
    clip_ttc: pl.DataFrame,
    near_miss_events: pl.DataFrame,
) -> dg.MaterializeResult:
    """The clips in the order in which an analyst should look at them."""
    from autorisk_dagster.reporting.clip_preview import preview_path
    from autorisk_dagster.severity.ranking import rank, worst_severity

    table = rank(corrected_severities, mined_clips, clip_ttc, near_miss_events)
    paths = dict(mined_clips.select("clip_id", "clip_path").iter_rows())
    preview = preview_path(paths[table["clip_id"][0]]) if table.height else None
    return table_result(
        "severity_ranking",
        table,
        {
            "clips": table.height,
            "worst_severity": worst_severity(table) or "none judged",
            "lineage": _lineage(table),
            "worst_clip": animation(table["clip_id"][0], preview) if preview else "no clip",
            "play": media_links(
                (f"{row['rank']}. {row['severity'] or 'NOT JUDGED'}: {row['clip_id']}", paths[row["clip_id"]])
                for row in table.iter_rows(named=True)
            ),
        },
        [
            dg.AssetCheckResult(
                check_name="every_clip_ranked", passed=set(table["clip_id"]) == set(mined_clips["clip_id"])
            )
        ],
        preview=["rank", "severity", "clip_id", "start_sec", "end_sec", "min_ttc_sec", "near_miss_events"],
    )


def _changes(table: pl.DataFrame) -> pl.DataFrame:
    """How many clips each way from the reasoner's word to the severity has, worst first."""
    counted = table.group_by("raw_severity", "severity", "rule").agg(pl.len().alias("clips"))
    order = [pl.col(name).to_physical() for name in ("severity", "raw_severity", "rule")]
    return counted.sort(order, descending=[True, True, False], nulls_last=True)


def _adopted(clips: int, table: pl.DataFrame, *, made: bool) -> str:
    return f"{clips} of {table.height} clips" if made else "none: correction_parameters was never made"


def _lineage(ranking: pl.DataFrame, shown: int = 12) -> dg.MarkdownMetadataValue:
    """Links to the pages that lead each severity back to its frames, where `autorisk ui` serves the UI."""
    links = [
        f"- [{row['severity'] or 'NOT JUDGED'}: {row['clip_id']}](/lineage/{quote(row['clip_id'])})"
        for row in ranking.head(shown).iter_rows(named=True)
    ]
    graph = "- [the graph](/assets/severity_ranking?view=lineage&lineageScope=upstream&lineageDepth=8)"
    return dg.MetadataValue.md("\n".join([*links, graph]))
