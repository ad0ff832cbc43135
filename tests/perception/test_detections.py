"""Boxes of road users: what is kept, what is suppressed, what is the own vehicle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.errors import InputError
from autorisk_dagster.perception.detections import (
    Detections,
    box_iou,
    is_own_vehicle,
    select_road_users,
    suppress_doubles,
)

FRAME = (1000, 600)


def select(boxes: list[list[float]], confidence: list[float], label: list[str]) -> Detections:
    return select_road_users(
        np.array(boxes, float), np.array(confidence), label, frame_size=FRAME, min_confidence=0.3, nms_iou=0.5
    )


def test_one_lorry_named_car_and_truck_is_one_vehicle() -> None:
    # The boxes share 90 x 100 of 110 x 100: IoU 0.82, over 0.5.
    found = select([[100, 100, 200, 200], [110, 100, 210, 200]], [0.5, 0.6], ["car", "truck"])
    assert found.label == ("truck",)
    assert found.xyxy_px.tolist() == [[110, 100, 210, 200]]


def test_a_cyclist_keeps_the_bicycle_and_the_rider() -> None:
    found = select([[100, 100, 200, 300], [100, 100, 200, 300]], [0.5, 0.6], ["bicycle", "person"])
    assert found.label == ("person", "bicycle")
    assert found.road_user == ("pedestrian", "vehicle")


def test_only_road_users_over_the_confidence_stay_most_confident_first() -> None:
    boxes = [[x, 100, x + 50, 150] for x in (0, 100, 200, 300, 400)]
    found = select(boxes, [0.3, 0.29, 0.9, 0.8, 0.5], ["car", "car", "traffic light", "person", "bus"])
    assert found.label == ("person", "bus", "car")
    assert found.confidence.tolist() == [0.8, 0.5, 0.3]


def test_boxes_are_cut_at_the_frame_and_dropped_when_nothing_is_left() -> None:
    found = select([[-20, 500, 80, 640], [1010, 100, 1100, 200], [300, 200, 250, 260]], [0.9, 0.9, 0.9], ["car"] * 3)
    assert found.xyxy_px.tolist() == [[0, 500, 80, 600]]


def test_no_box_at_all_is_empty_not_an_error() -> None:
    found = select_road_users(np.empty((0, 4)), np.empty(0), [], frame_size=FRAME, min_confidence=0.3, nms_iou=0.5)
    assert len(found) == 0
    assert found.xyxy_px.shape == (0, 4)


@pytest.mark.parametrize(
    ("what", "box", "own"),
    [
        ("view through the windscreen", [10, 200, 990, 595], True),
        ("the same, ending before the right border", [5, 20, 940, 590], True),
        ("bonnet across the frame", [110, 480, 860, 590], True),  # 750 x 110: 6.8 : 1
        ("bus at the least distance seen whole", [200, 0, 760, 600], False),  # 56 % of the width
        ("lorry across the road, its wheels in view", [0, 100, 1000, 520], False),
        ("car in the next lane, cut by the corner", [0, 220, 290, 600], False),
        ("roof of a car leaving below a camera on a mast", [320, 520, 650, 600], False),  # 330 x 80: a third wide
    ],
)
def test_own_vehicle(what: str, box: list[float], own: bool) -> None:
    assert is_own_vehicle(np.array([box], float), FRAME).tolist() == [own], what


def test_the_view_through_the_windscreen_does_not_suppress_the_lorry_in_it() -> None:
    # IoU of the two: 900 * 330 / (980 * 395 + 900 * 330 - 900 * 330) = 0.77
    found = select([[10, 200, 990, 595], [50, 230, 950, 560]], [0.9, 0.6], ["car", "truck"])
    assert found.label == ("car", "truck")


def test_a_person_filling_the_frame_is_never_the_own_vehicle() -> None:
    assert select([[0, 0, 1000, 600]], [0.9], ["person"]).label == ("person",)


def test_suppression_is_against_kept_boxes_only() -> None:
    # b overlaps a (IoU 60/140 = 0.43) and c overlaps b alike, a and c share 20/180 = 0.11:
    # at 0.4 b goes for a, and c stays because b, its better neighbour, is gone.
    boxes = np.array([[0, 0, 100, 10], [40, 0, 140, 10], [80, 0, 180, 10]], float)
    assert suppress_doubles(boxes, np.array([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]


def test_iou_by_hand() -> None:
    # 10 x 10 and 10 x 10 shifted by 5: 50 / 150; an inverted box overlaps nothing, itself included.
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 10, 0, 0]], float)
    assert box_iou(boxes, boxes) == pytest.approx(np.array([[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]]))


corner = st.floats(0, 500)
side = st.floats(1, 400)
box = st.tuples(corner, corner, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])


@given(st.lists(st.tuples(box, st.floats(0.3, 1)), max_size=12), st.floats(0.1, 0.9))
def test_kept_boxes_do_not_overlap_and_every_lost_one_has_a_better_neighbour(
    found: list[tuple[list[float], float]], threshold: float
) -> None:
    boxes = np.array([b for b, _ in found], float).reshape(-1, 4)
    scores = np.array([s for _, s in found])
    kept = suppress_doubles(boxes, scores, threshold)
    overlap = box_iou(boxes, boxes)
    among_kept = overlap[np.ix_(kept, kept)] - np.eye(len(kept))
    assert (among_kept <= threshold).all()
    for lost in set(range(len(boxes))) - set(kept.tolist()):
        assert any(overlap[lost, k] > threshold and scores[k] >= scores[lost] for k in kept)


def test_detections_reject_unequal_lengths_and_strange_labels() -> None:
    with pytest.raises(InputError, match=r"boxes \(n, 4\)"):
        Detections(np.zeros((2, 4)), np.zeros(2), ("car",))
    with pytest.raises(InputError, match=r"'dog'.*known: person"):
        Detections(np.zeros((1, 4)), np.zeros(1), ("dog",))
