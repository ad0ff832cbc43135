"""The fleet's dashboard: a static site in the media store."""

import datetime as dt

import dagster as dg

from assets.tabulate import OWNERS, code_version, failure
from autorisk_dagster.errors import AutoRiskError, ProfileError
from autorisk_dagster.io import FleetTable, FrameStoreIOManager
from resources.media_store import MediaStore
from resources.profiles import Profiles

READ = (
    *("source_video", "mined_clips", "clip_ttc", "tracks", "near_miss_events", "verified_events", "reason_outputs"),
    *("saliency_maps", "corrected_severities", "safety_report"),
)


@dg.asset(
    deps=READ,
    group_name="reporting",
    kinds={"plotly", "html"},
    owners=OWNERS,
    code_version=code_version(1, "correction"),
    check_specs=[
        dg.AssetCheckSpec(
            "every_ranked_clip_is_in_it", asset="fleet_dashboard", description="Each ranked clip of the fleet is listed."
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
) -> dg.MaterializeResult:
    """Seven pages over all videos: overview, clip explorer, search, evaluation, signals, technical depth, comparison.

    Open `fleet/dashboard/index.html` in the media folder, or `/media/fleet/dashboard/index.html` of `autorisk ui`.
    Tables are read video by video, so that memory does not grow with the footage; what was not made yet is named.
    """
    from autorisk_dagster.reporting.dashboard import FleetData, write_dashboard
    from autorisk_dagster.reporting.dashboard.site_files import FOLDERS, ROOT

    registered = sorted(record.video_id for record in media.ledger.all())
    rules = {}
    for name in {record.profile for record in media.ledger.all()}:
        try:
            rules[name] = profiles.get(name).correction
        except ProfileError as error:  # the clips keep their rule; its thresholds are then not put in words
            context.log.warning(f"profile {name} cannot be read: {error}")
    try:
        written = write_dashboard(
            FleetData(
                video_ids=registered,
                store=io_manager,
                media_exists=lambda relative: media.path(relative).is_file(),
                pipeline=(),
                rules=rules,
                generated_at=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            ),
            media.writing,
        )
    except AutoRiskError as error:
        raise failure(error) from error
    for folder in FOLDERS:
        media.keep_only(folder, {name for name in written.files if name.rpartition("/")[0] == folder})
    ranked = severity_ranking.rows.select("clip_id").collect().height
    index = f"{ROOT}/index.html"
    return dg.MaterializeResult(
        metadata={
            "dashboard": dg.MetadataValue.path(str(media.path(index))),
            "open": dg.MetadataValue.md(f"[the dashboard](/media/{index}) (where the UI was started by `autorisk ui`)"),
            "clips": written.clips,
            "size_mb": written.size_bytes / 1e6,
            "indexed_words": written.indexed_words,
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
