"""Boxes fixed to the camera are told from road users that keep their place for a while."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.perception.still_boxes import frames_moving, mark_still

FRAME = (1000, 600)
RATE_HZ = 10.0
COUNT = 200  # 20 s
ALL = range(COUNT)
DRIVING = np.ones(COUNT, bool)
RNG = np.random.default_rng(7)

MOUNT = (780.0, 250.0, 1000.0, 420.0)  # at the right border
NEIGHBOUR = (0.0, 220.0, 280.0, 560.0)  # next lane, cut by the left border


def rows(frames, box, track_id=None, jitter=0.01):
    """A box in each of `frames`, every edge jittering by `jitter` of the frame's size, inside the frame."""
    found = []
    for frame in frames:
        where = box(frame) if callable(box) else box
        noisy = np.array(where) + RNG.normal(0, jitter, 4) * [60, 60, 60, 60]
        x1, y1, x2, y2 = np.clip(noisy, 0, [*FRAME, *FRAME])
        if where[2] >= FRAME[0]:
            x2 = FRAME[0]
        if where[0] <= 0:
            x1 = 0.0
        found.append(
            {
                "frame_index": frame,
                "source_frame": 3 * frame,
                "timestamp_sec": frame / RATE_HZ,
                "scene_index": 0,
                "track_id": track_id,
                "road_user": "vehicle",
                "label": "car",
                "confidence": 0.4,
                "x1_px": float(x1),
                "y1_px": float(y1),
                "x2_px": float(x2),
                "y2_px": float(y2),
                "still": False,
            }
        )
    return found


def mark(found, moving=DRIVING, share=0.5, rate_hz=RATE_HZ) -> pl.DataFrame:
    table = tables.frame(found, tables.TRACKS)
    marked = mark_still(
        table, frame_size=FRAME, timestamps_sec=np.arange(len(moving)) / rate_hz, moving=moving, share=share
    )
    tables.check(marked, tables.TRACKS)
    kept = [name for name in tables.TRACKS if name not in ("still", "track_id")]
    assert marked.select(kept).equals(table.select(kept))
    return marked


def test_a_mount_that_is_seen_now_and_then_is_marked_and_loses_its_number() -> None:
    flicker = [frame for frame in ALL if RNG.random() < 0.3]
    marked = mark(rows(flicker, MOUNT, track_id=4) + rows(ALL, (450, 250, 550, 330), track_id=5))
    assert marked.filter(pl.col("x2_px") == 1000)["still"].all()
    assert marked.filter("still").height == len(flicker)
    assert set(marked["track_id"].drop_nulls()) == {5}


def test_before_a_fixed_camera_a_parked_car_stays_a_road_user() -> None:
    standing = np.zeros(COUNT, bool)
    assert not mark(rows(ALL, MOUNT, track_id=1), standing)["still"].any()


def test_traffic_that_fills_the_view_of_a_fixed_camera_is_no_driving() -> None:
    """Flow over the threshold in 9 s of 20 s: long enough, but under half of the video."""
    assert not mark(rows(ALL, MOUNT, track_id=1), np.arange(COUNT) < 90)["still"].any()


def test_a_neighbour_at_a_red_light_stays_a_road_user() -> None:
    """Beside us for 12 s of 20 s, gone when we drive: of the moving time (8 s) it has nothing."""
    moving = np.arange(COUNT) >= 100
    assert not mark(rows(range(100), NEIGHBOUR, track_id=1), moving)["still"].any()


def test_a_car_ahead_at_a_constant_distance_stays_a_road_user() -> None:
    assert not mark(rows(ALL, (420, 260, 560, 370), track_id=1))["still"].any()


def test_cars_that_pass_the_same_place_one_after_another_stay_road_users() -> None:
    """Every second a new car comes in at the left border and draws ahead; one of ten boxes of each lies at the spot."""

    def passing(frame: int) -> tuple[float, float, float, float]:
        step = frame % 10
        return (30.0 * step, 220.0, 280.0 + 30 * step, 560.0 - 20 * step)

    found = [row for start in range(0, COUNT, 10) for row in rows(range(start, start + 10), passing, track_id=start)]
    assert not mark(found)["still"].any()


def test_a_neighbour_beside_us_for_a_part_of_the_drive_stays_a_road_user() -> None:
    """Half of the 20 s: five parts of ten, but none of the last third."""
    assert not mark(rows(range(100), NEIGHBOUR, track_id=1))["still"].any()


def test_a_short_drive_cannot_say() -> None:
    assert not mark(rows(range(79), MOUNT), np.ones(79, bool))["still"].any()
    assert mark(rows(range(81), MOUNT), np.ones(81, bool))["still"].all()


def test_time_counts_not_frames() -> None:
    """40 frames at 4 Hz are 10 s of driving: enough."""
    assert mark(rows(range(40), MOUNT), np.ones(40, bool), rate_hz=4.0)["still"].all()


def test_the_share_is_a_setting() -> None:
    """Seen in parts 0, 1 and 9 of ten: 30 %."""
    found = rows([*range(40), *range(180, 200)], MOUNT)
    assert mark(found, share=0.3)["still"].all()
    assert not mark(found, share=0.35)["still"].any()


def test_a_box_over_most_of_the_frame_needs_no_border() -> None:
    # 760 x 380 of 1000 x 600: 48 %.
    assert mark(rows(ALL, (120, 180, 880, 560)))["still"].all()


def test_no_boxes_no_marks() -> None:
    empty = tables.empty(tables.TRACKS)
    times = np.arange(COUNT) / RATE_HZ
    assert mark_still(empty, frame_size=FRAME, timestamps_sec=times, moving=DRIVING, share=0.5).equals(empty)


def test_wrong_lengths_are_refused() -> None:
    table = tables.frame(rows([5], MOUNT), tables.TRACKS)
    with pytest.raises(InputError, match=r"one length, got \(3,\) and \(4,\)"):
        mark_still(table, frame_size=FRAME, timestamps_sec=np.arange(3.0), moving=np.ones(4, bool), share=0.5)
    with pytest.raises(InputError, match=r"frame_index 5\.\.5 lies outside the 3 processed frames"):
        mark_still(table, frame_size=FRAME, timestamps_sec=np.arange(3.0), moving=np.ones(3, bool), share=0.5)


def test_frames_move_where_their_window_does() -> None:
    """Windows [0, 0.5) still, [0.5, 1) moving, [1, 1.5) not measured, [1.5, 2) not a number; none from 2 s on."""
    flow = [0.9, 1.0, None, float("nan")]
    windows = pl.DataFrame(
        [
            dict.fromkeys(tables.FRAME_SIGNALS)
            | {"window_index": n, "start_sec": n / 2, "end_sec": n / 2 + 0.5, "flow_mean_px": value}
            for n, value in enumerate(flow)
        ],
        schema=tables.FRAME_SIGNALS,
    )
    times = np.array([0.0, 0.49, 0.5, 0.99, 1.0, 1.6, 2.0])
    assert frames_moving(windows, times).tolist() == [False, False, True, True, False, False, False]
