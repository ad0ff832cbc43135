"""Conflicts of the own vehicle: course, distance and surrogate safety measures against every followed road user."""

import dagster as dg
import polars as pl

from assets.tabulate import OWNERS, TABLE, code_version, failure, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.partitions import videos
from resources.profiles import Profiles


@dg.asset(
    partitions_def=videos,
    dagster_type=TABLE,
    group_name="kinematics",
    kinds={"numpy", "polars"},
    owners=OWNERS,
    code_version=code_version(1, "camera"),
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
def conflict_measures(source_video: pl.DataFrame, tracks: pl.DataFrame, profiles: Profiles) -> dg.MaterializeResult:
    """The own vehicle against every followed road user, sample by sample: whether it is in the own path or on a
    collision course (bearing, expansion, own turning taken out), and in metres its distance with 90 % interval, closing
    speed, time to contact in space and in the plane, headway, deceleration to avoid a crash, post-encroachment time."""
    from autorisk_dagster.kinematics.conflict_measures import conflict_measures as measure
    from autorisk_dagster.kinematics.own_path import MIN_SAMPLES

    facts = source_video.row(0, named=True)
    try:
        settings = profiles.get(facts["profile"]).camera
        table = measure(tracks, tables.empty(tables.EGO_MOTION), (facts["width_px"], facts["height_px"]), settings)
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
