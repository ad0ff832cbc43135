"""Conflict measures on two real drives, so that a change that spoils them is seen without the whole benchmark.

The whole of it: `python -m tests.benchmarks.kitti_measures`. Bounds are the figures measured, with room.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from autorisk_dagster import tables
from tests.benchmarks.kitti_drive import FOLDER, ego_motion_table, read_drive
from tests.benchmarks.kitti_measures import KNOWN_CAMERA, CameraSettings, score, scored

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs ../shared/data/kitti_tracking")


def test_parked_cars_give_the_own_motion() -> None:
    """0014: standing for a second, then a right turn of 30 degrees a second, then up to 10 m/s."""
    drive = read_drive("0014")
    assert np.nanmedian(np.abs(drive.step_m[:10, 1])) < 0.05
    assert np.degrees(np.nanmin(drive.turn_rad[50:70])) * 10 == pytest.approx(-30, abs=12)
    assert np.nanmedian(drive.step_m[-10:, 1]) * 10 == pytest.approx(10, abs=2)


@pytest.mark.parametrize(
    ("settings", "error", "least_inside"), [(KNOWN_CAMERA, 0.10, 0.75), (CameraSettings(), 0.16, 0.9)]
)
def test_distances_and_their_interval(settings: CameraSettings, error: float, least_inside: float) -> None:
    rows = pl.concat(
        [scored(sequence, settings, 1.0, tables.empty(tables.EGO_MOTION)) for sequence in ("0000", "0014")]
    )
    near = rows["near_m"]
    assert ((rows["distance_m"] / near - 1).abs()).median() < error
    inside = (rows["distance_low_m"] <= near) & (near <= rows["distance_high_m"])
    assert inside.mean() >= least_inside


def test_the_own_turning_tells_the_path() -> None:
    """With it, what is in the own path is told twice as well as without, on a drive that turns."""
    none = tables.empty(tables.EGO_MOTION)
    drive = read_drive("0000")
    told = score(scored("0000", CameraSettings(), 0.0, ego_motion_table(drive)), "in_own_path", "true_in_path")
    untold = score(scored("0000", CameraSettings(), 0.0, none), "in_own_path", "true_in_path")
    assert told.recall > untold.recall
    assert told.precision > 0.6
