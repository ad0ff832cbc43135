"""From sampled grey frames to tables.EGO_MOTION, in px of the full frame."""

from __future__ import annotations

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.mining.motion import MotionSignals
from autorisk_dagster.mining.own_motion import OwnMotion
from autorisk_dagster.profile import CameraSettings
from tests.kinematics.road_view import CAMERA_M, FOCAL_SHARE, view

FULL = (1281, 720)  # three times the drawn road's frame


def drive(settings: CameraSettings) -> pl.DataFrame:
    """0.8 s at 5 m/s, turning left at 0.2 rad/s; a cut at 0.4 s."""
    motion, own = MotionSignals(0.5), OwnMotion(settings)
    for index in range(9):
        time_sec = index / 10
        field = motion.add(time_sec, view(0.5 * index, left_rad=0.02 * index), is_cut=index == 4)
        if field is not None:
            own.add(time_sec, field, FULL)
    return own.finish()


def test_one_row_a_pair_in_px_of_the_full_frame() -> None:
    focal_px = FOCAL_SHARE * FULL[0]
    table = drive(CameraSettings(focal_px=focal_px, horizon_share=0.5))
    tables.check(table, tables.EGO_MOTION)
    assert table["timestamp_sec"].to_list() == pytest.approx([0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8])  # none over the cut
    assert table["gap_sec"].to_list() == pytest.approx([0.1] * 7)
    assert table["pan_px_per_sec"].median() == pytest.approx(0.2 * focal_px, rel=0.1)
    assert table["road_flow_per_px_sec"].median() == pytest.approx(5.0 / (CAMERA_M * focal_px), rel=0.15)


def test_without_a_known_horizon_the_speed_is_null_and_the_turning_told() -> None:
    table = drive(CameraSettings())
    assert table["road_flow_per_px_sec"].null_count() == table.height
    assert table["pan_px_per_sec"].median() == pytest.approx(0.2 * 0.65 * FULL[0], rel=0.1)


def test_no_pair_gives_an_empty_table() -> None:
    tables.check(OwnMotion(CameraSettings()).finish(), tables.EGO_MOTION)
