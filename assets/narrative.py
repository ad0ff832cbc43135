"""The safety narrative: one page in plain language a video."""

import dagster as dg
import polars as pl

from assets.placement import CPU
from assets.tabulate import OWNERS, code_version, failure
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.partitions import videos
from resources.media_store import MediaStore


@dg.asset(
    partitions_def=videos,
    group_name="reporting",
    op_tags=CPU,
    kinds={"python", "markdown"},
    owners=OWNERS,
    code_version=code_version(1),
    check_specs=[
        dg.AssetCheckSpec(
            "figures_come_from_tables",
            asset="safety_narrative",
            blocking=True,
            description="Every number in the text was taken from a table; none was written by a model.",
        )
    ],
)
def safety_narrative(
    context: dg.AssetExecutionContext,
    source_video: pl.DataFrame,
    mined_clips: pl.DataFrame,
    clip_ttc: pl.DataFrame,
    conflict_measures: pl.DataFrame,
    near_miss_events: pl.DataFrame,
    verified_events: pl.DataFrame,
    reason_outputs: pl.DataFrame,
    corrected_severities: pl.DataFrame,
    severity_ranking: pl.DataFrame,
    media: MediaStore,
) -> dg.MaterializeResult:
    """What happened, why it matters, what to do and how sure it is, for a safety manager; points to talk about with the
    driver, and what speaks for the driver."""
    from autorisk_dagster.reporting.narrative import NarrativeTables, narrate

    found = narrate(
        NarrativeTables(
            source_video.row(0, named=True),
            mined_clips,
            clip_ttc,
            conflict_measures,
            near_miss_events,
            verified_events,
            reason_outputs,
            corrected_severities,
            severity_ranking,
        )
    )
    relative = f"{context.partition_key}/narrative.md"
    try:
        with media.writing(relative) as target:
            target.write_text(found.text, encoding="utf-8")
    except AutoRiskError as error:
        raise failure(error) from error
    untold = found.figures.untold(found.text)
    return dg.MaterializeResult(
        metadata={
            "narrative": dg.MetadataValue.md(found.text),
            "file": dg.MetadataValue.path(media.url(relative)),
            "figures": len(found.figures.told),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="figures_come_from_tables", passed=not untold, metadata={"unfounded": untold}
            )
        ],
    )
