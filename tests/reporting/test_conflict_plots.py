"""Pictures of own motion and conflicts: they show what is in the tables, and say where nothing is known."""

from __future__ import annotations

import io

import numpy as np
import polars as pl
from PIL import Image

from autorisk_dagster import tables
from autorisk_dagster.reporting.conflict_plots import conflict_png, nearest_approaches, own_motion_png
from tests.kinematics.test_conflict_measures import measured
from tests.kinematics.test_own_path import ego_motion
from tests.reasoning.scene import RoadUser

BLUE, GREEN = (59, 130, 246), (22, 145, 90)


def pixels_of(png: bytes, color: tuple[int, int, int]) -> int:
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return int((np.abs(picture - color).sum(axis=2) < 120).sum())


def traffic() -> pl.DataFrame:
    return measured(
        [
            RoadUser(1, lambda t: (0.0, 60 - 9 * t)),
            RoadUser(2, lambda t: (0.0, 45 - 10 * t)),
            RoadUser(3, lambda t: (5.0, 45 - 10 * t)),
        ],
        3.5,
    )


def test_turning_and_speed_are_drawn_where_they_are_told() -> None:
    both, turning_only = (own_motion_png(ego_motion(4.0, 0.2, speed)) for speed in (9.0, None))
    assert pixels_of(both, BLUE) > 300 and pixels_of(both, GREEN) > 300
    assert pixels_of(turning_only, BLUE) > 300 and pixels_of(turning_only, GREEN) == 0


def test_an_empty_video_gives_empty_pictures() -> None:
    for png in (own_motion_png(tables.empty(tables.EGO_MOTION)), conflict_png(tables.empty(tables.CONFLICT_MEASURES))):
        assert Image.open(io.BytesIO(png)).size[0] == 900


def test_the_nearest_approach_stands_first_and_who_passes_aside_is_not_among_them() -> None:
    """Contact of car 2 is at 4.5 s, of car 1 at 6.7 s; car 3 passes 3.2 m aside."""
    table = nearest_approaches(traffic())
    assert table["track_id"].to_list() == [2, 1]
    assert table["on_collision_course"].all()
    assert (table["timestamp_sec"] >= 3.0).all()


def test_conflicts_are_drawn() -> None:
    drawn, nothing = (conflict_png(table) for table in (traffic(), traffic().clear()))
    assert len(drawn) > len(nothing) + 2000
