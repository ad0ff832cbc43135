"""Reporting: one self-contained page a video."""

import datetime as dt
import platform
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import polars as pl

from assets.freshness import EACH_WEEK
from assets.placement import CPU
from assets.tabulate import OWNERS, animation, code_version, content_hash, failure, media_links
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.partitions import videos
from resources.hiders import Hiders
from resources.media_store import MediaStore
from resources.profiles import Profiles
from resources.progress import Progress

_PACKAGES = (
    "autorisk-dagster",
    "dagster",
    "av",
    "opencv-python",
    "onnxruntime",
    "trackers",
    "supervision",
    "numpy",
    "polars",
)


@dg.asset(
    partitions_def=videos,
    group_name="reporting",
    op_tags=CPU,
    kinds={"plotly", "html"},
    owners=OWNERS,
    code_version=code_version(3, "privacy"),
    freshness_policy=EACH_WEEK,
    check_specs=[
        dg.AssetCheckSpec(
            "every_clip_is_in_it", asset="safety_report", description="Each ranked clip has its media in the page."
        )
    ],
)
def safety_report(
    context: dg.AssetExecutionContext,
    source_video: pl.DataFrame,
    frame_signals: pl.DataFrame,
    tracks: pl.DataFrame,
    mined_clips: pl.DataFrame,
    shareable_clips: pl.DataFrame,
    clip_ttc: pl.DataFrame,
    near_miss_events: pl.DataFrame,
    reason_outputs: pl.DataFrame,
    corrected_severities: pl.DataFrame,
    severity_ranking: pl.DataFrame,
    media: MediaStore,
    profiles: Profiles,
    hiders: Hiders,
    progress: Progress,
) -> dg.MaterializeResult:
    """One HTML file: ranked clips that play, why each was mined, TTC, rules, near misses, provenance."""
    from autorisk_dagster.mining.fusion import score_windows
    from autorisk_dagster.reporting.annotate import annotate_clip
    from autorisk_dagster.reporting.clip_preview import preview_path
    from autorisk_dagster.reporting.contact_sheet import thumbnail_jpeg
    from autorisk_dagster.reporting.report import ClipMedia, ReportData, render_report

    key = context.partition_key
    facts = source_video.row(0, named=True)
    inputs = {
        "frame_signals": frame_signals,
        "tracks": tracks,
        "mined_clips": mined_clips,
        "clip_ttc": clip_ttc,
        "near_miss_events": near_miss_events,
        "reason_outputs": reason_outputs,
        "corrected_severities": corrected_severities,
        "severity_ranking": severity_ranking,
    }
    times = {row["clip_id"]: row["timeline"] for row in clip_ttc.iter_rows(named=True)}
    shown = dict(shareable_clips.select("clip_id", "clip_path").iter_rows())
    clip_media: dict[str, ClipMedia] = {}
    try:
        profile = profiles.get(facts["profile"])
        near_misses = near_miss_events.filter(pl.col("version") == tables.NEAR_MISS_SHOWN)
        source = media.source(key)
        hider = hiders.of_video(profile, tracks, (facts["width_px"], facts["height_px"]))
        with progress.over(context.log, "annotation", float(mined_clips.height)) as report:
            for number, clip in enumerate(mined_clips.iter_rows(named=True), start=1):
                original = media.path(shown[clip["clip_id"]])
                relative = f"{key}/annotated/{Path(clip['clip_path']).name}"
                with media.writing(relative) as target:
                    annotate_clip(source, clip, tracks, near_misses, times[clip["clip_id"]], target, hider)
                clip_media[clip["clip_id"]] = ClipMedia(
                    thumbnail_jpeg(original, clip["peak_sec"] - clip["start_sec"]), original, media.path(relative)
                )
                report(float(number))
        media.keep_only(f"{key}/annotated", {f"{key}/annotated/{Path(p).name}" for p in mined_clips["clip_path"]})
        data = ReportData(
            video=facts,
            profile=profile,
            scores=score_windows(frame_signals, profile.mining),
            **inputs,
            media=clip_media,
            provenance=_provenance(context, inputs),
            generated_at=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        )
        relative = f"{key}/report.html"
        with media.writing(relative) as target:
            size = render_report(data, target)
    except AutoRiskError as error:
        raise failure(error) from error
    ranked = severity_ranking["clip_id"].to_list()
    paths = dict(mined_clips.select("clip_id", "clip_path").iter_rows())
    preview = preview_path(paths[ranked[0]]) if ranked else None
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.path(media.url(relative)),
            "open": media_links(
                [
                    ("the report", relative),
                    *((f"annotated {name}", f"{key}/annotated/{Path(paths[name]).name}") for name in ranked),
                ]
            ),
            **({"worst_clip": animation(ranked[0], preview)} if preview else {}),
            "size_mb": size / 1e6,
            "clips": mined_clips.height,
        },
        check_results=[
            dg.AssetCheckResult(
                check_name="every_clip_is_in_it", passed=set(clip_media) == set(severity_ranking["clip_id"])
            )
        ],
    )


def _provenance(context: dg.AssetExecutionContext, inputs: dict[str, pl.DataFrame]) -> dict[str, str]:
    """What made the result: detector and reasoner, the hash of every table, software versions, the run."""
    filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey("tracks"), asset_partitions=[context.partition_key])
    latest = context.instance.fetch_materializations(filters, limit=1).records
    made = latest[0].asset_materialization if latest else None
    detector = {
        label: str(made.metadata[name].value)
        for label, name in (("Detector", "detector"), ("Detector weights (SHA-256)", "detector_revision"))
        if made is not None and name in made.metadata
    }
    hashes = {f"Table {name} (SHA-256)": content_hash(table) for name, table in inputs.items()}
    software = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return {
        **detector,
        "Dagster run": context.run.run_id,
        **hashes,
        "Software": f"Python {platform.python_version()}, {software}",
    }
