"""What a video goes on from, and under which key it is kept: what it shows decides, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.prediction.kinematic_world import KinematicWorld, own_speed_mps
from autorisk_dagster.prediction.made_video import Wanted, finished_key, order_of
from autorisk_dagster.prediction.moment import Moment, Seen, moment_of
from autorisk_dagster.privacy.hide import Hider
from autorisk_dagster.privacy.regions import HiddenRegions
from autorisk_dagster.profile import PredictionSettings
from tests.prediction.world import conflict_row, conflicts
from tests.reporting.example import clip_row, reason_row, track_rows
from tests.video_factory import steady, write_video

SIZE = (320, 180)
SETTINGS = PredictionSettings()
WANTED = Wanted(clip_row(1, 0.0, 1.5, 1.0, "ab" * 32), reason_row("example-c01", "HIGH"), "HIGH", "predict")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("drive") / "drive.mp4"
    return write_video(path, steady(20, 10.0), pictures=[noise] * 20, size=SIZE)


def moment(source: Path, tracks: pl.DataFrame, *, hide: bool = False, **more: pl.DataFrame) -> Moment:
    names = ("conflict_measures", "ego_motion", "near_miss_events", "clip_ttc")
    seen = Seen(tracks, **({name: tables.empty(getattr(tables, name.upper())) for name in names} | more))
    return moment_of(source, WANTED.clip, seen, "clip_end", Hider(HiddenRegions(tracks, SIZE)) if hide else None)


def key(wanted: Wanted, at: Moment) -> str:
    return finished_key(wanted, order_of(wanted, at, SETTINGS), KinematicWorld(SETTINGS))


def test_a_video_made_before_is_not_kept_where_something_else_has_to_be_hidden(noisy: Path) -> None:
    tracks = track_rows(range(16))
    hidden = replace(WANTED, hidden_by="road_users")
    keys = [
        key(WANTED, moment(noisy, tracks, hide=False)),
        key(hidden, moment(noisy, tracks, hide=True)),
        key(replace(WANTED, hidden_by="centerface"), moment(noisy, tracks, hide=True)),
        # the detector was changed, and finds the car further left
        key(hidden, moment(noisy, tracks.with_columns(x1_px=pl.col("x1_px") - 30), hide=True)),
    ]
    assert len(set(keys)) == 4
    assert key(hidden, moment(noisy, tracks, hide=True)) == keys[1]


def test_the_frame_that_a_video_goes_on_from_has_no_plate_any_more(noisy: Path) -> None:
    """The car's box is 60 x 60 px at 115, 60; its lower 60 % and a margin are hidden, all else stays."""
    tracks = track_rows(range(16))
    shown, hidden = (moment(noisy, tracks, hide=hide).condition.frame_bgr for hide in (False, True))
    assert not (shown[90:118, 116:174] == hidden[90:118, 116:174]).all(axis=2).any()
    assert (shown[:70] == hidden[:70]).all() and (shown[:, 200:] == hidden[:, 200:]).all()


def test_the_own_speed_is_that_of_the_fastest_that_comes_nearer_but_for_a_car_that_stands(noisy: Path) -> None:
    """Still until 1.0 s, then half a second of driving: at 1.5 s, where the clip ends, the own car drives."""
    tracks = track_rows(range(16))
    closing = conflicts(conflict_row(at_sec=1.5, closing_mps=7.0), conflict_row(4, at_sec=1.5, closing_mps=9.0))
    times = [number / 10 for number in range(1, 16)]
    for still, speed_mps in (([0.6] * 15, 0.0), ([0.02] * 15, 9.0), ([0.6] * 10 + [0.02] * 5, 9.0)):
        rows = [
            dict.fromkeys(tables.EGO_MOTION) | {"timestamp_sec": time_sec, "gap_sec": 0.1, "still_share": share}
            for time_sec, share in zip(times, still, strict=True)
        ]
        ego_motion = tables.frame(rows, tables.EGO_MOTION)
        at = moment(noisy, tracks, conflict_measures=closing, ego_motion=ego_motion)
        assert at.condition.at_sec == pytest.approx(1.5)
        assert own_speed_mps(at) == speed_mps
