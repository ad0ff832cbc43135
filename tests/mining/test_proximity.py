"""Proximity: by hand from boxes."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.mining.proximity import proximity_windows

FRAME = (800, 600)  # half diagonal 500 px


def box(time_sec: float, x1: float, y1: float, x2: float, y2: float, *, still: bool = False) -> dict[str, Any]:
    return {
        "frame_index": round(time_sec * 10),
        "source_frame": round(time_sec * 30),
        "timestamp_sec": time_sec,
        "scene_index": 0,
        "track_id": None,
        "road_user": "vehicle",
        "label": "car",
        "confidence": 0.6,
        "x1_px": x1,
        "y1_px": y1,
        "x2_px": x2,
        "y2_px": y2,
        "still": still,
    }


def windows(rows: list[dict[str, Any]], count: int = 2) -> list[dict[str, Any]]:
    return proximity_windows(tables.frame(rows, tables.TRACKS), FRAME, count, 0.5).to_dicts()


def test_by_hand() -> None:
    found = windows(
        [
            # centre (400, 300): distance 0; 120 x 160 of 480000 px is 0.04: sqrt 0.2 -> 0.2
            box(0.1, 340, 220, 460, 380),
            # centre (100, 300): 300 / 500 = 0.6; 200 x 216 / 480000 = 0.09: sqrt 0.3 * (1 - 0.3) -> 0.21
            box(0.4, 0, 192, 200, 408),
            # centre (700, 300): 0.6; 0.0225: sqrt 0.15 * 0.7 -> 0.105
            box(0.5, 640, 210, 760, 300 + 0.0, still=False),
        ]
    )
    assert found[0] == {
        "detections": 2,
        "nearest_area_share": pytest.approx(0.09),
        "nearest_center_distance": pytest.approx(0.6),
        "proximity": pytest.approx(0.21),
    }
    # The third box: 120 x 90 = 0.0225; centre (700, 255): hypot(300, 45) / 500 = 0.60671
    assert found[1]["proximity"] == pytest.approx(0.15 * (1 - 0.60671 / 2), abs=1e-5)


def test_the_nearest_need_not_be_the_one_with_the_highest_proximity() -> None:
    # centre: 0.0576 -> 0.24 * 1; corner (100, 75): 200 x 150 / 480000 = 0.0625 -> 0.25 * (1 - 0.75 / 2) = 0.156
    found = windows([box(0.0, 304, 228, 496, 372), box(0.0, 0, 0, 200, 150)])[0]
    assert found["proximity"] == pytest.approx(0.24)
    assert found["nearest_area_share"] == pytest.approx(0.0625)
    assert found["nearest_center_distance"] == pytest.approx(0.75)


def test_nobody_seen_is_proximity_0_and_no_nearest() -> None:
    assert windows([], 1) == [
        {"detections": 0, "nearest_area_share": None, "nearest_center_distance": None, "proximity": 0.0}
    ]


def test_a_box_over_half_of_the_picture_is_not_a_road_user() -> None:
    assert windows([box(0.0, 0, 100, 800, 600)], 1)[0]["proximity"] == 0.0  # 5/6 of the picture


def test_only_the_part_inside_the_frame_counts() -> None:
    inside, beyond = (windows([box(0.0, x1, 200, 200, 400)], 1) for x1 in (0, -5000))
    assert inside == beyond


def test_rows_after_the_last_window_count_in_it() -> None:
    assert [row["detections"] for row in windows([box(0.5, 0, 0, 80, 60), box(1.0, 0, 0, 80, 60)])] == [0, 2]


def test_still_boxes_and_an_empty_frame_are_refused() -> None:
    table = tables.frame([box(0.0, 0, 0, 80, 60, still=True)], tables.TRACKS)
    with pytest.raises(InputError, match="still boxes"):
        proximity_windows(table, FRAME, 1, 0.5)
    with pytest.raises(InputError, match=r"got \(0, 600\)"):
        proximity_windows(table.filter(~pl.col("still")), (0, 600), 1, 0.5)
