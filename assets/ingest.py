"""Ingest: what a video file is, before anything is made of it."""

import dagster as dg

from assets.freshness import EACH_WEEK
from assets.placement import CPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.intake.sources import SourceRecord
from autorisk_dagster.partitions import videos
from resources.media_store import MediaStore
from resources.profiles import Profiles


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="ingest",
    op_tags=CPU,
    kinds={"video", "polars"},
    owners=OWNERS,
    code_version=code_version(2),
    freshness_policy=EACH_WEEK,
    check_specs=[
        schema_check("source_video"),
        dg.AssetCheckSpec("decodable", asset="source_video", blocking=True, description="At least one frame decodes."),
    ],
)
def source_video(context: dg.AssetExecutionContext, media: MediaStore, profiles: Profiles) -> dg.MaterializeResult:
    """Facts of the file: true duration and timestamps, codec, geometry, sound, SHA-256 and profile."""
    from autorisk_dagster.video.probe import probe

    try:
        record = media.ledger.get(context.partition_key)
        profile = profiles.get(record.profile)
        facts = probe(media.source(context.partition_key))
    except AutoRiskError as error:
        raise failure(error) from error
    row = {"video_id": context.partition_key, "profile": profile.name, **facts.row(), **_origin(record)}
    table = tables.frame([{name: row[name] for name in tables.SOURCE_VIDEO}], tables.SOURCE_VIDEO)
    rate = "variable" if facts.variable_frame_rate else "constant"
    return table_result(
        "source_video",
        table,
        {
            "file": facts.file_name,
            "sha256": facts.sha256,
            "duration_sec": facts.duration_sec,
            "frames": facts.frame_count,
            "picture": f"{facts.width_px}x{facts.height_px}, {facts.mean_fps or 0:.2f} frames/s ({rate} rate)",
            "sound": facts.audio_source + (" (silent)" if facts.audio_silent else ""),
            "profile": profile.name,
            **{name: value for name, value in _origin(record).items() if value is not None},
            "settings_hash": profile.digest(),
        },
        [
            dg.AssetCheckResult(
                check_name="decodable", passed=facts.frame_count > 0, metadata={"frames": facts.frame_count}
            )
        ],
        preview=["video_id", "file_name", "duration_sec", "width_px", "height_px", "profile"],
    )


def _origin(record: SourceRecord) -> dict[str, str | None]:
    """Where the footage lies for every worker, and where it was fetched from by what right."""
    origin = record.origin
    return {
        "footage_url": record.path if "://" in record.path else None,
        "origin_url": origin.url if origin else None,
        "licence": origin.licence if origin else None,
        "licence_from": origin.licence_from if origin else None,
        "fetched_at": origin.fetched_at if origin else None,
        "rights_acknowledged_by": origin.acknowledged_by if origin else None,
    }
