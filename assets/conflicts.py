"""Conflicts of the own vehicle: course, distance and surrogate safety measures against every followed road user."""

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
    code_version=code_version(7, "camera"),
    check_specs=[
        schema_check("conflict_measures"),
        dg.AssetCheckSpec(
            "every_followed_road_user_measured",
            asset="conflict_measures",
            blocking=True,
            description="One row for each sample of each road user that was followed for three samples or more.",
        ),
    ],
)
def conflict_measures(
    source_video: pl.DataFrame, tracks: pl.DataFrame, ego_motion: pl.DataFrame, profiles: Profiles
) -> dg.MaterializeResult:
    """The own vehicle against every followed road user, sample by sample: whether it is in the own path or on a
    collision course (bearing, expansion, own turning taken out), and in metres its distance with 90 % interval, closing
    speed, time to contact in space and in the plane, headway, deceleration to avoid a crash, post-encroachment time."""
    from autorisk_dagster.kinematics.camera import calibrate
    from autorisk_dagster.kinematics.conflict_measures import conflict_measures as measure
    from autorisk_dagster.kinematics.own_motion import camera_stays
    from autorisk_dagster.kinematics.own_path import MIN_SAMPLES
    from autorisk_dagster.reporting.conflict_plots import conflict_png, nearest_approaches

    facts = source_video.row(0, named=True)
    try:
        settings = profiles.get(facts["profile"]).camera
        frame_size = (facts["width_px"], facts["height_px"])
        camera = calibrate(tracks, frame_size, settings)
        table = measure(tracks, ego_motion, frame_size, settings)
    except AutoRiskError as error:
        raise failure(error) from error
    followed = tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still"))
    expected = followed.filter(pl.len().over("track_id") >= MIN_SAMPLES).height
    return table_result(
        "conflict_measures",
        table,
        {
            "road_users": table["track_id"].n_unique(),
            "in_own_path": table.filter("in_own_path")["track_id"].n_unique(),
            "on_collision_course": table.filter("on_collision_course")["track_id"].n_unique(),
            "camera_stays": camera_stays(ego_motion),
            "camera": {
                "focal_px": round(camera.focal_px, 1),
                "focal_spread": round(camera.focal_spread, 3),
                "horizon_px": round(camera.horizon_px, 1),
                "horizon_spread_px": round(camera.horizon_spread_px, 1),
                "height_m": round(camera.height_m, 2),
                "height_spread": round(camera.height_spread, 3),
                "from_road_users": camera.road_users,
            },
            "nearest_approaches": dg.MetadataValue.md(markdown_table(nearest_approaches(table))),
            "ttc_and_drac": picture("TTC and DRAC", conflict_png(table)),
            "settings_hash": settings.digest(),
        },
        [
            dg.AssetCheckResult(
                check_name="every_followed_road_user_measured",
                passed=table.height == expected,
                metadata={"rows": table.height, "expected": expected},
            )
        ],
    )
