"""Ingest: what a video file is, before anything is made of it."""

import dagster as dg

from assets.placement import CPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
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
    code_version=code_version(1),
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
    row = {"video_id": context.partition_key, "profile": profile.name, **facts.row()}
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
            "settings_hash": profile.digest(),
        },
        [
            dg.AssetCheckResult(
                check_name="decodable", passed=facts.frame_count > 0, metadata={"frames": facts.frame_count}
            )
        ],
        preview=["video_id", "file_name", "duration_sec", "width_px", "height_px", "profile"],
    )
