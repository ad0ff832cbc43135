"""Mining: the moments worth a look, cut out as clips."""

from typing import Any

import dagster as dg
import polars as pl

from assets.placement import CPU
from assets.tabulate import (
    OWNERS,
    TABLE,
    animation,
    code_version,
    failure,
    media_links,
    picture,
    schema_check,
    table_result,
)
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.partitions import videos
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles
from resources.progress import Progress


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="mining",
    op_tags=CPU,
    kinds={"video", "polars"},
    owners=OWNERS,
    code_version=code_version(4, "mining"),
    check_specs=[
        schema_check("mined_clips"),
        dg.AssetCheckSpec(
            "no_clip_outside_the_video", asset="mined_clips", blocking=True, description="0 <= start < end <= duration."
        ),
        dg.AssetCheckSpec("clips_have_frames", asset="mined_clips", blocking=True, description="No empty clip file."),
    ],
)
def mined_clips(
    context: dg.AssetExecutionContext,
    source_video: pl.DataFrame,
    frame_signals: pl.DataFrame,
    media: MediaStore,
    profiles: Profiles,
    progress: Progress,
) -> dg.MaterializeResult:
    """Candidates from the fused signals, with the signal that raised each, and their clips with sound.

    Beside each clip lies a small animation of its peak, for lists and this page.
    """
    from autorisk_dagster.mining.candidates import find_candidates
    from autorisk_dagster.mining.fusion import score_windows
    from autorisk_dagster.reporting.clip_preview import clip_preview, preview_path
    from autorisk_dagster.reporting.contact_sheet import contact_sheet
    from autorisk_dagster.reporting.plots import signal_png
    from autorisk_dagster.reporting.words import clock
    from autorisk_dagster.video.stream_copy import write_clip

    key = context.partition_key
    facts = source_video.row(0, named=True)
    try:
        settings = profiles.get(facts["profile"]).mining
        scores = score_windows(frame_signals, settings)
        candidates = find_candidates(scores, settings, facts["duration_sec"])
        source = media.source(key)
        rows: list[dict[str, Any]] = []
        with progress.over(context.log, "clips", sum(c.end_sec - c.start_sec for c in candidates)) as report:
            done_sec = 0.0
            for number, found in enumerate(candidates, start=1):
                relative = f"{key}/clips/{round(found.start_sec * 1000):09d}-{round(found.end_sec * 1000):09d}.mp4"
                with media.writing(relative) as target:
                    clip = write_clip(source, found.start_sec, found.end_sec, target)
                if clip.encoded_because is not None:
                    context.log.info(f"{relative} is encoded, not copied: {clip.encoded_because}")
                rows.append(
                    {
                        "clip_id": f"{key}-c{number:02d}",
                        "mining_rank": number,
                        "start_sec": clip.start_sec,  # of what the file shows: its time 0
                        "end_sec": clip.end_sec,
                        "peak_sec": found.peak_sec,
                        "fused_score": found.fused_score,
                        "fused_score_seed": found.fused_score_seed,
                        "audio_score": found.audio_score,
                        "motion_score": found.motion_score,
                        "proximity_score": found.proximity_score,
                        "raised_by": found.raised_by,
                        "raised_by_share": found.raised_by_share,
                        "has_audio": clip.has_audio,
                        "frame_count": clip.frame_count,
                        "clip_written_by": clip.written_by,
                        "clip_path": relative,
                        "clip_sha256": sha256_of(media.path(relative)),
                    }
                )
                with media.writing(preview_path(relative)) as target:
                    target.write_bytes(clip_preview(media.path(relative), rows[-1]))
                done_sec += found.end_sec - found.start_sec
                report(done_sec)
    except AutoRiskError as error:
        raise failure(error) from error
    table = tables.frame(rows, tables.MINED_CLIPS)
    media.keep_only(f"{key}/clips", set(table["clip_path"]))
    media.keep_only(f"{key}/clips/previews", {preview_path(path) for path in table["clip_path"]})
    outside = table.filter(
        (pl.col("start_sec") < 0)
        | (pl.col("end_sec") <= pl.col("start_sec"))
        | (pl.col("end_sec") > facts["duration_sec"] + 1e-6)
    )
    pictures = {"signals": picture("signals", signal_png(scores, table, tables.empty(tables.NEAR_MISS_EVENTS)))}
    if rows:
        sheet = contact_sheet([media.path(row["clip_path"]) for row in rows], table)
        pictures["contact_sheet"] = picture("contact sheet", sheet, photograph=True)
    return table_result(
        "mined_clips",
        table,
        {
            "clips": table.height,
            "clip_seconds": float((table["end_sec"] - table["start_sec"]).sum()),
            "settings_hash": settings.digest(),
            **pictures,
            "best_clip": animation(rows[0]["clip_id"], preview_path(rows[0]["clip_path"])) if rows else "no clip",
            "play": media_links(
                (f"{row['clip_id']}, {clock(row['start_sec'])} to {clock(row['end_sec'])}", row["clip_path"])
                for row in rows
            ),
        },
        [
            dg.AssetCheckResult(
                check_name="no_clip_outside_the_video",
                passed=outside.is_empty(),
                metadata={"outside": outside["clip_id"].to_list()},
            ),
            dg.AssetCheckResult(check_name="clips_have_frames", passed=bool((table["frame_count"] > 0).all())),
        ],
        preview=[
            "clip_id",
            "start_sec",
            "end_sec",
            "peak_sec",
            "fused_score",
            "raised_by",
            "raised_by_share",
            "clip_written_by",
        ],
    )
