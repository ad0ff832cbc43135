"""Kinematics: time to collision and near misses, from the tracks alone."""

import math

import dagster as dg
import polars as pl

from assets.placement import CPU
from assets.tabulate import (
    OWNERS,
    TABLE,
    code_version,
    failure,
    markdown_table,
    picture,
    schema_check,
    table_result,
)
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.partitions import videos
from resources.profiles import Profiles


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="kinematics",
    op_tags=CPU,
    kinds={"numpy", "polars"},
    owners=OWNERS,
    code_version=code_version(4, "ttc"),
    check_specs=[
        schema_check("clip_ttc"),
        dg.AssetCheckSpec("every_clip_measured", asset="clip_ttc", blocking=True, description="One row per clip."),
    ],
)
def clip_ttc(
    context: dg.AssetExecutionContext,
    source_video: pl.DataFrame,
    mined_clips: pl.DataFrame,
    tracks: pl.DataFrame,
    profiles: Profiles,
) -> dg.MaterializeResult:
    """Time to collision by expansion: significant minimum, critical tracks and timeline of each clip."""
    from autorisk_dagster.kinematics.clip_ttc import clip_ttc as measure
    from autorisk_dagster.reporting.measured_plots import ttc_png

    facts = source_video.row(0, named=True)
    try:
        settings = profiles.get(facts["profile"]).ttc
        table = measure(tracks, mined_clips, (facts["width_px"], facts["height_px"]), settings)
    except AutoRiskError as error:
        raise failure(error) from error
    shortest = min((value for value in table["min_ttc_sec"] if value is not None), default=math.inf)
    context.log.info(f"shortest significant time to collision: {shortest:.2f} s in {table.height} clips")
    png = ttc_png(table)
    return table_result(
        "clip_ttc",
        table,
        {
            "clips": table.height,
            "min_ttc_sec": shortest if math.isfinite(shortest) else "nothing approaches",
            "critical_tracks": int(table["critical_tracks"].sum() or 0),
            "timelines": picture("time to contact", png) if png else "nothing approaches",
            "settings_hash": settings.digest(),
        },
        [
            dg.AssetCheckResult(
                check_name="every_clip_measured", passed=set(table["clip_id"]) == set(mined_clips["clip_id"])
            )
        ],
        preview=["clip_id", "min_ttc_sec", "min_ttc_low_sec", "min_ttc_high_sec", "min_ttc_label", "critical_tracks"],
    )


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="kinematics",
    op_tags=CPU,
    kinds={"numpy", "polars"},
    owners=OWNERS,
    code_version=code_version(3, "near_miss", "near_miss_v2", "perception"),
    check_specs=[schema_check("near_miss_events")],
)
def near_miss_events(
    source_video: pl.DataFrame, tracks: pl.DataFrame, conflict_measures: pl.DataFrame, profiles: Profiles
) -> dg.MaterializeResult:
    """Near misses of both versions: 1.0 exactly as the document says, and v2 in metres and seconds.

    Metadata shows what the filters of 1.0 removed and how its count depends on `proximity_px`.
    """
    from autorisk_dagster.kinematics.events import find_near_misses, processed_rate_hz
    from autorisk_dagster.kinematics.near_miss_report import SWEEP_PX, filter_comparison, pair_frames, threshold_sweep
    from autorisk_dagster.kinematics.near_miss_v2 import find_near_misses_v2
    from autorisk_dagster.reporting.near_miss_plots import filter_png, sweep_png

    facts = source_video.row(0, named=True)
    try:
        profile = profiles.get(facts["profile"])
        rate_hz = processed_rate_hz(profile.perception.detection_rate_hz, facts["mean_fps"])
        table = pl.concat(
            [
                find_near_misses(tracks, profile.near_miss, rate_hz),
                find_near_misses_v2(
                    tracks,
                    conflict_measures,
                    (facts["width_px"], facts["height_px"]),
                    rate_hz,
                    profile.near_miss_v2,
                ),
            ]
        )
        pairs = pair_frames(tracks, rate_hz, max(*SWEEP_PX, profile.near_miss.proximity_px))
    except AutoRiskError as error:
        raise failure(error) from error
    filters = filter_comparison(pairs, profile.near_miss)
    sweep = threshold_sweep(pairs, profile.near_miss)
    found = {
        f"{level} ({version})": table.filter((pl.col("version") == version) & (pl.col("risk_level") == level)).height
        for version in tables.NEAR_MISS_VERSIONS
        for level in ("High", "Medium", "Low")
    }
    return table_result(
        "near_miss_events",
        table,
        {
            "events": table.height,
            **found,
            "rate_hz": rate_hz,
            "settings_hash": profile.near_miss.digest(),
            "settings_hash_v2": profile.near_miss_v2.digest(),
            "filters_of_1.0": dg.MetadataValue.md(markdown_table(filters)),
            "filters_of_1.0_plot": picture("events after each filter", filter_png(filters)),
            "threshold_sweep_of_1.0": dg.MetadataValue.md(markdown_table(sweep, rows=sweep.height)),
            "threshold_sweep_of_1.0_plot": picture(
                "events against proximity_px", sweep_png(sweep, profile.near_miss.proximity_px)
            ),
        },
        preview=["event_id", "version", "timestamp_sec", "actors", "ttc_sec", "risk_level", "evidence"],
    )
