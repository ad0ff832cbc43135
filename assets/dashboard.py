"""The fleet's dashboard: a static site in the media store."""

import datetime as dt
from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl

from assets.freshness import EACH_NIGHT
from assets.placement import CPU
from assets.tabulate import OWNERS, code_version, failure, markdown_table
from autorisk_dagster.errors import AutoRiskError, ProfileError
from autorisk_dagster.io import FleetTable, FrameStoreIOManager
from resources.embedders import Embedders
from resources.media_store import MediaStore
from resources.profiles import Profiles

if TYPE_CHECKING:
    from autorisk_dagster.reporting.dashboard import PipelineNode

READ = (
    # of each video
    *("source_video", "mined_clips", "clip_ttc", "tracks", "near_miss_events", "verified_events", "reason_outputs"),
    *("explanation_checklist", "saliency_maps", "corrected_severities", "shareable_clips", "safety_report"),
    *("safety_narrative", "review_queue"),
    *("predict_videos", "counterfactuals"),
    # of the fleet
    *(
        "ground_truth",
        "correction_parameters",
        "eval_metrics",
        "error_analysis",
        "calibration",
        "grounding_metrics",
        "signal_metrics",
        "ablation",
    ),
)


@dg.asset(
    deps=READ,
    group_name="reporting",
    op_tags=CPU,
    kinds={"plotly", "html"},
    owners=OWNERS,
    code_version=code_version(2, "correction", "review"),
    freshness_policy=EACH_NIGHT,
    check_specs=[
        dg.AssetCheckSpec(
            "every_ranked_clip_is_in_it",
            asset="fleet_dashboard",
            description="Each ranked clip is listed.",
        ),
        dg.AssetCheckSpec(
            "nothing_left_out", asset="fleet_dashboard", description="No table is of another version than this code's."
        ),
    ],
)
def fleet_dashboard(
    context: dg.AssetExecutionContext,
    severity_ranking: FleetTable,
    io_manager: dg.ResourceParam[FrameStoreIOManager],
    media: MediaStore,
    profiles: Profiles,
    embedders: Embedders,
) -> dg.MaterializeResult:
    """Seven pages over all videos: overview, clip explorer, search, evaluation, signals, technical depth, comparison.

    Open `fleet/dashboard/index.html` in the media folder, or `/media/fleet/dashboard/index.html` of `autorisk ui`.
    Tables are read video by video, so that memory does not grow with the footage; what was not made yet is named.
    """
    from autorisk_dagster.reporting.dashboard import FleetData, write_dashboard
    from autorisk_dagster.reporting.dashboard.site_files import FOLDERS, ROOT
    from autorisk_dagster.review.log import review_log
    from autorisk_dagster.review.verdicts import verdicts

    registered = sorted(record.video_id for record in media.ledger.all())
    rules, coverages = {}, {}
    for name in {record.profile for record in media.ledger.all()}:
        try:
            profile = profiles.get(name)
        except ProfileError as error:  # the clips keep their rule; its thresholds are then not put in words
            context.log.warning(f"profile {name} cannot be read: {error}")
            continue
        rules[name], coverages[name] = profile.correction, profile.review.coverage
    files_of = lru_cache(maxsize=1)(media.files)  # tables are read video by video
    try:
        embedder = embedders.model()
        written = write_dashboard(
            FleetData(
                video_ids=registered,
                store=io_manager,
                media_exists=lambda relative: relative in files_of(relative.partition("/")[0]),
                pipeline=_pipeline(context.instance, registered),
                rules=rules,
                set_coverage=coverages,
                verdicts=verdicts(review_log(media.data.pull("review")).records()),
                embedder=embedder,
                generated_at=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            ),
            media.writing,
        )
    except AutoRiskError as error:
        raise failure(error) from error
    for folder in FOLDERS:
        media.keep_only(folder, {name for name in written.files if name.rpartition("/")[0] == folder})
    ranking = severity_ranking.rows.collect()
    ranked = ranking.height
    index = f"{ROOT}/index.html"
    return dg.MaterializeResult(
        metadata={
            "dashboard": dg.MetadataValue.path(media.url(index)),
            "open": dg.MetadataValue.md(f"[the dashboard](/media/{index}) (where the UI was started by `autorisk ui`)"),
            "clips": written.clips,
            "severities": dg.MetadataValue.md(markdown_table(_severities(ranking))),
            "worst": dg.MetadataValue.md(markdown_table(_worst(ranking))),
            "size_mb": written.size_bytes / 1e6,
            "indexed_words": written.indexed_words,
            "search_by_meaning": embedder.name if embedder else "no embedding model is configured",
            **severity_ranking.coverage(),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="every_ranked_clip_is_in_it",
                passed=ranked <= written.clips,
                metadata={"ranked": ranked, "listed": written.clips},
            ),
            dg.AssetCheckResult(
                check_name="nothing_left_out",
                passed=not written.stale,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"left_out": list(written.stale)},
            ),
        ],
    )


def _severities(ranking: pl.DataFrame) -> pl.DataFrame:
    """Clips and videos by severity, worst first; null: not judged."""
    counted = ranking.group_by("severity").agg(pl.len().alias("clips"), pl.col("video_id").n_unique().alias("videos"))
    return counted.sort(pl.col("severity").to_physical(), descending=True, nulls_last=True)


def _worst(ranking: pl.DataFrame) -> pl.DataFrame:
    """The clips to look at first, over all videos."""
    order = [pl.col("severity").to_physical(), -pl.col("min_ttc_sec"), pl.col("fused_score")]
    shown = ranking.sort(order, descending=True, nulls_last=True)
    return shown.select("severity", "clip_id", "start_sec", "end_sec", "min_ttc_sec", "near_miss_events").head(12)


def _pipeline(instance: dg.DagsterInstance, registered: Collection[str]) -> list["PipelineNode"]:
    """Every asset with what was made of it. The run's own graph holds only what the run makes, hence all are loaded."""
    import assets
    from autorisk_dagster.reporting.dashboard import PipelineNode

    known = set(registered)
    nodes = []
    for definition in dg.load_assets_from_package_module(assets):
        for spec in definition.specs if isinstance(definition, dg.AssetsDefinition) else ():
            per_video = spec.partitions_def is not None
            made = (
                len(instance.get_materialized_partitions(spec.key) & known)
                if per_video
                else int(instance.get_latest_materialization_event(spec.key) is not None)
            )
            nodes.append(
                PipelineNode(
                    name=spec.key.to_user_string(),
                    group=spec.group_name or "default",
                    parents=tuple(sorted(dep.asset_key.to_user_string() for dep in spec.deps)),
                    made=made,
                    of=len(known) if per_video else 1,
                    per_video=per_video,
                )
            )
    return nodes
