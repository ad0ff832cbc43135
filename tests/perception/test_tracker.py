"""Road users get numbers that last, and that nobody else gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.perception.detections import Detections
from autorisk_dagster.perception.tracker import RoadUserTracker, settle_labels

KITTI = Path(__file__).parents[2].parent / "shared" / "data" / "kitti_tracking"


def boxes(*found: tuple[str, float, list[float]]) -> Detections:
    """(label, confidence, box) each."""
    return Detections(
        np.array([box for _, _, box in found], float).reshape(-1, 4),
        np.array([confidence for _, confidence, _ in found], float),
        tuple(label for label, _, _ in found),
    )


def car(x: float, confidence: float = 0.6, label: str = "car") -> tuple[str, float, list[float]]:
    return (label, confidence, [x, 100, x + 100, 180])


def follow(tracker: RoadUserTracker, frames: list[Detections], rate_hz: float = 10.0, start: int = 0, scene: int = 0):
    """Feed frames at a steady rate; the rows of each."""
    return [
        tracker.update(n, n * 3, n / rate_hz, scene, detections) for n, detections in enumerate(frames, start=start)
    ]


def ids(rows: list[list[dict[str, Any]]]) -> list[list[int | None]]:
    return [[row["track_id"] for row in frame] for frame in rows]


def test_a_road_user_gets_its_number_in_the_second_frame() -> None:
    assert ids(follow(RoadUserTracker(10), [boxes(car(10 * n)) for n in range(4)])) == [[None], [1], [1], [1]]


def test_rows_are_rows_of_the_tracks_table() -> None:
    rows = follow(RoadUserTracker(10), [boxes(car(0), ("person", 0.5, [400, 50, 430, 130])) for _ in range(3)])
    table = tables.frame([row for frame in rows for row in frame], tables.TRACKS)
    tables.check(table, tables.TRACKS)
    last = table.row(-1, named=True)
    assert (last["frame_index"], last["source_frame"], last["timestamp_sec"]) == (2, 6, 0.2)
    assert (last["road_user"], last["label"], last["still"]) == ("pedestrian", "person", False)
    assert [last[c] for c in ("x1_px", "y1_px", "x2_px", "y2_px")] == [400, 50, 430, 130]


def test_rows_keep_the_order_and_the_boxes_of_the_detections() -> None:
    """ByteTrack sorts by confidence; each number must still end up on its own box."""
    a, b = ("car", 0.35, [0.0, 0, 50, 50]), ("car", 0.9, [500.0, 0, 560, 50])
    first = (("car", 0.8, [0.0, 0, 50, 50]), b)
    rows = follow(RoadUserTracker(10), [boxes(*first), boxes(*first), boxes(a, b), boxes(b, a)])
    assert [row["x1_px"] for row in rows[3]] == [500, 0]
    by_place = {row["x1_px"]: row["track_id"] for row in rows[2]}
    assert {row["x1_px"]: row["track_id"] for row in rows[3]} == by_place
    assert set(by_place.values()) == {1, 2}


def test_a_weak_box_starts_no_track_but_carries_one_on() -> None:
    assert ids(follow(RoadUserTracker(10), [boxes(car(0, 0.35)) for _ in range(4)])) == [[None]] * 4
    confidences = [0.6, 0.6, 0.35, 0.35]
    assert ids(follow(RoadUserTracker(10), [boxes(car(0, c)) for c in confidences])) == [[None], [1], [1], [1]]


def test_a_car_never_goes_on_as_a_person() -> None:
    as_car, as_person = boxes(("car", 0.8, [0, 0, 50, 100])), boxes(("person", 0.8, [0, 0, 50, 100]))
    found = ids(follow(RoadUserTracker(10), [as_car, as_car, as_person, as_person, as_car]))
    assert found == [[None], [1], [None], [2], [1]]


def test_numbers_are_never_used_again_after_a_scene_cut() -> None:
    tracker = RoadUserTracker(10)
    both = boxes(car(0), ("person", 0.8, [300, 0, 330, 90]))
    before = ids(follow(tracker, [both, both]))
    after = ids(follow(tracker, [both, both], start=2, scene=1))
    assert before == [[None, None], [1, 2]]
    assert after == [[None, None], [3, 4]]


def test_a_short_gap_keeps_the_number_a_long_one_does_not() -> None:
    nothing = boxes()
    short = ids(follow(RoadUserTracker(10), [boxes(car(0))] * 3 + [nothing] * 8 + [boxes(car(0))] * 2))
    assert short[-1] == [1]
    long = ids(follow(RoadUserTracker(10), [boxes(car(0))] * 3 + [nothing] * 12 + [boxes(car(0))] * 2))
    assert long[-1] == [2]


def test_gaps_are_measured_by_timestamp_not_by_frame_count() -> None:
    """20 px a frame at 10 Hz, then 0.3 s without a frame: the car is 60 px on, where its old box no longer reaches."""
    tracker = RoadUserTracker(10)
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 0.7, 1.0]
    # Width 40 px: after 0.3 s the box has moved 60 px, so without the forecast the overlap is 0.
    found = [
        tracker.update(n, n, t, 0, boxes(("car", 0.8, [200 * t, 100, 200 * t + 40, 140])))[0]["track_id"]
        for n, t in enumerate(times)
    ]
    assert found == [None, 1, 1, 1, 1, 1, 1]


def test_follows_at_four_frames_a_second() -> None:
    """Half a width a frame: IoU 50 / 150 = 0.33 before the motion is known."""
    assert ids(follow(RoadUserTracker(4), [boxes(car(50 * n)) for n in range(5)], rate_hz=4)) == [[None]] + [[1]] * 4


def test_a_track_has_one_label_and_near_boxes_say_more_than_far_ones() -> None:
    # Three times a truck at 10 x 8 px: 3 * 0.5 * 80 = 120. Once a bus at 100 x 80 px: 0.4 * 8000 = 3200.
    far = {"x1_px": 0.0, "y1_px": 0.0, "x2_px": 10.0, "y2_px": 8.0, "confidence": 0.5, "label": "truck", "track_id": 1}
    near = far | {"x2_px": 100.0, "y2_px": 80.0, "confidence": 0.4, "label": "bus"}
    other = far | {"track_id": 2, "label": "car"}
    alone = far | {"track_id": None, "label": "person"}
    settled = settle_labels(pl.DataFrame([far, other, far, alone, far, near]))
    assert settled["label"].to_list() == ["bus", "car", "bus", "person", "bus", "bus"]


def test_frames_without_boxes_give_no_rows() -> None:
    assert follow(RoadUserTracker(10), [boxes(), boxes()]) == [[], []]


@pytest.mark.parametrize("later", [0.5, 0.4, float("nan")])
def test_time_must_go_forward(later: float) -> None:
    tracker = RoadUserTracker(10)
    tracker.update(0, 0, 0.5, 0, boxes())
    with pytest.raises(InputError, match=r"frame 7: timestamp .* is not after the previous 0\.5 s"):
        tracker.update(1, 7, later, 0, boxes())


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, float("nan"), float("inf")])
def test_rate_must_be_positive(rate_hz: float) -> None:
    with pytest.raises(InputError, match="rate_hz must be a positive number"):
        RoadUserTracker(rate_hz)


@pytest.mark.parametrize(("every", "least_idf1"), [(1, 0.9), (2, 0.8)])
def test_identities_on_real_traffic(every: int, least_idf1: float) -> None:
    """KITTI 0001's own boxes as detections, IDF1 by `trackers.eval`: our row order, ids and gates lose no identity."""
    path = KITTI / "0001.txt"
    if not path.exists():
        pytest.skip("KITTI tracking labels are not on this machine")
    from trackers.eval import compute_identity_metrics

    from autorisk_dagster.perception.detections import box_iou

    truth: dict[int, list[tuple[int, list[float]]]] = {}
    for line in path.read_text().splitlines():
        part = line.split()
        if part[2] in ("Car", "Van") and float(part[9]) - float(part[7]) >= 25:
            truth.setdefault(int(part[0]), []).append((int(part[1]), [float(v) for v in part[6:10]]))
    tracker = RoadUserTracker(10 / every)
    true_ids, found_ids, overlap = [], [], []
    for frame in range(0, max(truth) + 1, every):
        here = truth.get(frame, [])
        detections = boxes(*[("car", 0.6, box) for _, box in here])
        rows = [r for r in tracker.update(frame, frame, frame / 10, 0, detections) if r["track_id"] is not None]
        found = np.array([[r["x1_px"], r["y1_px"], r["x2_px"], r["y2_px"]] for r in rows]).reshape(-1, 4)
        true_ids.append(np.array([number for number, _ in here], int))
        found_ids.append(np.array([r["track_id"] for r in rows], int))
        overlap.append(box_iou(detections.xyxy_px, found))
    assert compute_identity_metrics(true_ids, found_ids, overlap)["IDF1"] >= least_idf1


def test_the_own_bonnet_is_marked_and_never_followed() -> None:
    tracker = RoadUserTracker(10)
    seen = boxes(car(0), car(300, label="truck"))
    rows = [tracker.update(i, i, i / 10, 0, seen, np.array([True, False])) for i in range(4)]
    assert [(row["still"], row["track_id"]) for row in rows[-1]] == [(True, None), (False, 1)]
