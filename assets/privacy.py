"""Privacy: clips as they may leave the system."""

from pathlib import Path

import dagster as dg
import polars as pl

from assets.placement import CPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.partitions import videos
from resources.hiders import Hiders
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles
from resources.progress import Progress


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="reporting",
    op_tags=CPU,
    kinds={"python", "opencv"},
    owners=OWNERS,
    code_version=code_version(2, "privacy"),
    check_specs=[
        schema_check("shareable_clips"),
        dg.AssetCheckSpec(
            "hidden_where_asked",
            asset="shareable_clips",
            blocking=True,
            description="Where the profile asks for it, no shareable clip is the evidence clip itself.",
        ),
    ],
)
def shareable_clips(
    context: dg.AssetExecutionContext,
    source_video: pl.DataFrame,
    tracks: pl.DataFrame,
    mined_clips: pl.DataFrame,
    media: MediaStore,
    profiles: Profiles,
    hiders: Hiders,
    progress: Progress,
) -> dg.MaterializeResult:
    """The clips that report, dashboard and audit pack show: the evidence clips themselves or, where the profile says
    `privacy.hide`, copies in which faces and number plates are a mosaic. The evidence is never changed."""
    from autorisk_dagster.reporting.clip_preview import clip_preview, preview_path

    key = context.partition_key
    facts = source_video.row(0, named=True)
    rows = []
    try:
        profile = profiles.get(facts["profile"])
        source = media.source(key)
        with progress.over(context.log, "hiding", float(mined_clips.height)) as report:
            for number, clip in enumerate(mined_clips.iter_rows(named=True), start=1):
                row = {
                    "clip_id": clip["clip_id"],
                    "clip_path": clip["clip_path"],
                    "clip_sha256": clip["clip_sha256"],
                    "evidence_sha256": clip["clip_sha256"],
                    "hidden_by": None,
                    "hidden_boxes": None,
                }
                hider = hiders.of_video(profile, tracks, (facts["width_px"], facts["height_px"]))
                if hider is not None:
                    relative = f"{key}/shareable/{Path(clip['clip_path']).name}"
                    with media.writing(relative) as target:
                        hider.clip(source, clip["start_sec"], clip["end_sec"], target)
                    with media.writing(preview_path(relative)) as target:
                        target.write_bytes(clip_preview(media.path(relative), clip))
                    row |= {
                        "clip_path": relative,
                        "clip_sha256": sha256_of(media.path(relative)),
                        "hidden_by": profile.privacy.faces,
                        "hidden_boxes": hider.boxes,
                    }
                rows.append(row)
                report(float(number))
    except AutoRiskError as error:
        raise failure(error) from error
    table = tables.frame(rows, tables.SHAREABLE_CLIPS)
    own = {row["clip_path"] for row in rows if row["hidden_by"]}
    media.keep_only(f"{key}/shareable", own)
    media.keep_only(f"{key}/shareable/previews", {preview_path(path) for path in own})
    hidden = not profile.privacy.hide or len(own) == mined_clips.height
    return table_result(
        "shareable_clips",
        table,
        {
            "hidden": profile.privacy.hide,
            "clips": table.height,
            "settings_hash": profile.privacy.digest(),
        },
        [dg.AssetCheckResult(check_name="hidden_where_asked", passed=hidden)],
        preview=["clip_id", "clip_path", "hidden_by", "hidden_boxes"],
    )
