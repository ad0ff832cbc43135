"""Near misses v1.0: each step of the document by hand, and the whole against an independent reference."""

import math
from collections import OrderedDict, deque

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster.kinematics.near_miss import NearMissDetector, risk_level, speed_and_heading
from tests.kinematics.near_miss_reference import ReferenceDetector
from tests.kinematics.near_miss_world import PARAMETER_SETS, events_of, golden

INSTANT = {"confirm_frames": 1}


def car(x, y, vx=0.0, vy=0.0, *, points=5, half=10.0, **changed):
    """A car at (x, y) that moved (vx, vy) px per frame for its last `points` points."""
    state = {
        "id": 99,
        "class": "vehicle",
        "label": "car",
        "bbox": [x - half, y - half, x + half, y + half],
        "confidence": 0.9,
        "center": (x, y),
        "trajectory": [(i, x - vx * (points - 1 - i), y - vy * (points - 1 - i)) for i in range(points)],
    }
    return state | changed


def head_on(distance=60.0, speed=10.0, **changed):
    """Two cars, ids 1 and 2, each driving `speed` px per frame at the other: closing speed 2 * speed."""
    return OrderedDict({1: car(0, 0, speed), 2: car(distance, 0, -speed, **changed)})


def emitted(scene, **parameters):
    return NearMissDetector(**(INSTANT | parameters)).process_frame(0, scene)


def test_a_head_on_pair_has_the_documents_numbers():
    # distance 60; closing 20 px/frame: 3 frames, at 15 fps 0.2 s
    # score (1 - 0.6) 0.4 + (1 - 0.2 / 2) 0.4 + (10 / 30) 0.2 = 0.16 + 0.36 + 0.0667 = 0.5867
    (event,) = NearMissDetector(confirm_frames=1).process_frame(30, head_on())
    assert event["timestamp_sec"] == 2.0
    assert event["distance_px"] == 60.0
    assert event["ttc_sec"] == pytest.approx(0.2)
    assert event["risk_score"] == pytest.approx(0.16 + 0.36 + 0.2 / 3)
    assert event["risk_level"] == "Medium"
    assert list(event) == [
        *("frame_index", "timestamp_sec", "object_id_1", "object_id_2", "class_1", "class_2", "label_1", "label_2"),
        *("distance_px", "ttc_sec", "risk_score", "risk_level", "conf_1", "conf_2"),
    ]


def test_ids_come_from_the_mapping_and_the_smaller_one_is_first():
    scene = OrderedDict({7: car(60, 0, -10, label="bus"), 3: car(0, 0, 10)})  # inner ids are 99
    (event,) = emitted(scene)
    assert (event["object_id_1"], event["object_id_2"]) == (3, 7)
    assert (event["label_1"], event["label_2"]) == ("car", "bus")


@pytest.mark.parametrize(
    ("distance", "half", "found"),
    [
        (99.9, 1.0, True),  # near
        (100.0, 1.0, False),  # not under 100, boxes apart: fails the gate although TTC and motion are met
        (150.0, 76.0, True),  # boxes overlap by 2 px; TTC (0.5 s) and motion are met
        (150.0, 75.0, False),  # boxes touch without overlap
    ],
)
def test_the_proximity_gate_takes_distance_or_overlap(distance, half, found):
    scene = {1: car(0, 0, 10, half=half), 2: car(distance, 0, -10, half=half)}
    assert bool(emitted(scene)) is found


def test_an_inverted_box_overlaps_nothing():
    inverted = car(150, 0, -10) | {"bbox": [226.0, 76.0, 74.0, -76.0]}
    assert emitted({1: car(0, 0, 10, half=76), 2: inverted}) == []


@pytest.mark.parametrize(
    ("speed", "distance", "half", "found"),
    [
        (0.0, 50, 10, False),  # parked side by side: proximity alone
        (6.0, 99, 10, True),  # proximity and motion; TTC 99 / 12 / 2 fps = 4.1 s is not met
        (5.0, 99, 10, False),  # speed 5.0 is not over 5.0: proximity alone (TTC 4.95 s)
        (5.0, 30, 10, True),  # proximity and TTC 1.5 s
        (6.0, 200, 110, False),  # overlapping, 8.3 s away, distance over the gate: motion alone
    ],
)
def test_two_of_three_criteria_are_needed(speed, distance, half, found):
    scene = {1: car(0, 0, speed, half=half), 2: car(distance, 0, -speed, half=half)}
    assert bool(emitted(scene, fps=2, stationary_speed_px=0.1)) is found


def test_the_motion_criterion_is_not_the_stationary_setting():
    # 4 px/frame each, TTC met by nobody (diverging): proximity alone, whatever stationary_speed_px says
    scene = {1: car(0, 0, -4), 2: car(50, 0, 4)}
    assert emitted(scene, stationary_speed_px=1.0) == []
    assert len(emitted({1: car(0, 0, -6), 2: car(50, 0, 6)}, stationary_speed_px=1.0)) == 1


def test_a_ttc_at_the_threshold_does_not_count():
    # 20 px at 10 px/frame and 1 fps: exactly 2.0 s; speed 5 is no motion, so proximity is alone
    scene = {1: car(0, 0, 5), 2: car(20, 0, -5)}
    assert emitted(scene, fps=1, stationary_speed_px=1.0, ttc_threshold=2.0) == []
    assert len(emitted(scene, fps=1, stationary_speed_px=1.0, ttc_threshold=2.001)) == 1


def test_a_diverging_pair_has_no_ttc_and_gets_no_score_for_it():
    # proximity and motion: (1 - 0.5) 0.4 + 0 + (15 / 30) 0.2 = 0.3
    (event,) = emitted({1: car(0, 0, -15), 2: car(50, 0, 15)})
    assert event["ttc_sec"] is None
    assert event["risk_score"] == pytest.approx(0.3)
    assert event["risk_level"] == "Low"


def test_at_distance_zero_ttc_is_zero_and_the_direction_filter_is_skipped():
    # same way, same speed 15: elsewhere the direction filter would discard it; 0.4 + 0.4 + 0.1 = 0.9
    (event,) = emitted({1: car(5, 5, 15), 2: car(5, 5, 15)})
    assert event["ttc_sec"] == 0.0
    assert event["risk_score"] == pytest.approx(0.9)
    assert event["risk_level"] == "High"


@pytest.mark.parametrize(
    ("score", "level"),
    [(0.7, "High"), (0.69996, "High"), (0.69994, "Medium"), (0.4, "Medium"), (0.39996, "Medium"), (0.39994, "Low")],
)
def test_levels_are_decided_on_four_digits(score, level):
    assert risk_level(score) == level


def test_speed_is_the_mean_step_and_heading_the_net_direction_of_the_last_five_points():
    # the first point is sixth from the end and is not looked at; steps 3, 4, 3, 4 make 3.5; net (6, 8)
    trajectory = [(0, 500, 500), (1, 0, 0), (2, 3, 0), (9, 3, 4), (10, 6, 4), (11, 6, 8)]
    assert speed_and_heading(trajectory) == (3.5, pytest.approx(math.degrees(math.atan2(8, 6))))
    assert speed_and_heading(deque(trajectory)) == speed_and_heading(np.array(trajectory, dtype=float))
    assert speed_and_heading([(0, 1.0, 1.0)]) == speed_and_heading([]) == speed_and_heading(None) == (0.0, 0.0)


def test_a_trajectory_point_that_is_not_finite_is_left_out():
    assert speed_and_heading([(0, 0, 0), (1, math.nan, 0), (2, 6, 0)]) == (6.0, 0.0)


def test_a_missing_trajectory_is_a_standing_object():
    scene = head_on(speed=10.0)
    del scene[2]["trajectory"]
    (event,) = emitted(scene)  # only object 1 moves: 60 / 10 / 15 = 0.4 s
    assert event["ttc_sec"] == pytest.approx(0.4)


def test_filter_1_discards_only_pairs_that_both_stand():
    scene = head_on(distance=20, speed=4.9)  # TTC 20 / 9.8 / 15 = 0.14 s
    assert emitted(scene) == []
    assert len(emitted(scene, filters_enabled=False)) == 1
    assert len(emitted(scene | {1: car(0, 0, 5.0)})) == 1  # 5.0 is not under 5.0


@pytest.mark.parametrize(
    ("heading_deg", "closing", "found"),
    [(0, 1.9, False), (0, 2.1, True), (29, 1.9, False), (31, 1.9, True), (-29, 1.9, False), (-31, 1.9, True)],
)
def test_filter_2_discards_pairs_that_go_the_same_way_without_closing(heading_deg, closing, found):
    # object 1 drives along x at 12; object 2, 50 px ahead, drives so that it is `closing` px/frame slower along x
    vx = 12 - closing
    vy = vx * math.tan(math.radians(heading_deg))
    assert bool(emitted({1: car(0, 0, 12), 2: car(50, 0, vx, vy)})) is found


def test_headings_apart_are_measured_around_the_circle():
    # headings 170 and -170 are 20 degrees apart, not 340: the same way, and not closing
    vx, vy = 12 * math.cos(math.radians(170)), 12 * math.sin(math.radians(170))
    assert emitted({1: car(0, 0, vx, vy), 2: car(50, 0, vx, -vy)}) == []


def test_filter_3_needs_confidence_in_both():
    assert emitted(head_on(confidence=0.49)) == []
    assert len(emitted(head_on(confidence=0.5))) == 1
    assert emitted(head_on(confidence=math.nan)) == []
    assert len(emitted(head_on(confidence=0.1), filters_enabled=False)) == 1


def frames_of_events(detector, scenes):
    return [event["frame_index"] for i, scene in enumerate(scenes) for event in detector.process_frame(i, scene)]


def test_an_event_needs_five_frames_in_a_row():
    assert frames_of_events(NearMissDetector(), [head_on()] * 8) == [4]


@pytest.mark.parametrize(
    "breaks",
    [
        {},  # nobody in the frame
        {1: car(0, 0, 10)},  # one of them unseen
        head_on(distance=300),  # proximity gate
        {1: car(0, 0), 2: car(60, 0)},  # criteria
        {1: car(0, 0, 10), 2: car(60, 0, 10)},  # direction filter
        head_on(confidence=0.2),  # confidence gate
        head_on(center=(math.nan, 0.0)),
        head_on(bbox=[50.0, -10.0, math.inf, 10.0]),
    ],
)
def test_whatever_a_pair_fails_resets_its_confirmation(breaks):
    # frames 0-2 count to 3, frame 3 resets, frames 4-8 count to 5
    scenes = [head_on()] * 3 + [breaks] + [head_on()] * 6
    assert frames_of_events(NearMissDetector(), scenes) == [8]


def test_emission_does_not_reset_the_confirmation():
    # confirmed at 4; the debounce ends at 4 + 10 and the pair is still confirmed then
    assert frames_of_events(NearMissDetector(debounce_frames=10), [head_on()] * 26) == [4, 14, 24]


def test_filters_off_skips_confirmation_but_not_debounce():
    assert frames_of_events(NearMissDetector(filters_enabled=False), [head_on()] * 61) == [0, 30, 60]


def test_pairs_are_debounced_apart():
    scene = head_on() | {3: car(30, 20, 0, -10)}
    detector = NearMissDetector(confirm_frames=1, debounce_frames=5)
    first = [(e["object_id_1"], e["object_id_2"]) for e in detector.process_frame(0, scene)]
    assert first == [(1, 2), (1, 3), (2, 3)]
    assert detector.process_frame(4, scene) == []
    assert len(detector.process_frame(5, head_on())) == 1


def test_active_pairs_are_those_younger_than_the_debounce():
    detector = NearMissDetector(confirm_frames=1, debounce_frames=3)
    detector.process_frame(10, head_on())
    assert [detector.active_pairs(i) for i in (9, 10, 12, 13)] == [[], [(1, 2)], [(1, 2)], []]


def test_the_frame_of_events_is_ordered_and_typed_even_when_empty():
    detector = NearMissDetector(confirm_frames=1)
    assert detector.get_events_dataframe().is_empty()
    assert "risk_level" in detector.get_events_dataframe().columns
    detector.process_frame(9, {5: car(0, 0, 10), 4: car(60, 0, -10)})
    detector.process_frame(2, {1: car(0, 0, -15), 8: car(50, 0, 15)})
    events = detector.get_events_dataframe()
    assert events.select("frame_index", "object_id_1", "object_id_2").rows() == [(2, 1, 8), (9, 4, 5)]
    assert events["ttc_sec"].to_list() == [None, pytest.approx(0.2)]
    assert events.schema["ttc_sec"] == pl.Float64


def test_what_a_caller_does_to_an_event_stays_with_the_caller():
    detector = NearMissDetector(confirm_frames=1)
    detector.process_frame(0, head_on())[0]["risk_score"] = 5.0
    assert detector.get_events_dataframe()["risk_score"][0] < 1


@pytest.mark.parametrize(
    "name",
    [
        *("proximity_px", "ttc_threshold", "fps", "debounce_frames", "stationary_speed_px", "confirm_frames"),
        *("same_direction_deg", "min_confidence"),
    ],
)
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_parameters_must_be_positive(name, value):
    with pytest.raises(ValueError, match=name):
        NearMissDetector(**{name: value})


@st.composite
def journeys(draw):
    """Some objects that wander through a small picture for many frames, with gaps, bad boxes and odd trajectories.

    Quarters of a pixel are exact in floating point, so that distances and boxes meet their limits exactly now and then.
    """
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    count, frames = draw(st.integers(2, 7)), draw(st.integers(20, 150))
    position = rng.integers(-400, 400, (count, 2)) / 4
    speed = rng.integers(-40, 40, (count, 2)) / 4
    trails = {i: [] for i in range(count)}
    scenes = []
    for frame in range(frames):
        speed = np.where(rng.random((count, 1)) < 0.05, rng.integers(-40, 40, (count, 2)) / 4, speed)
        speed = np.where((np.abs(position) > 120) & (position * speed > 0), -speed, speed)
        position = position + speed
        scene = OrderedDict()
        for i in rng.permutation(count):
            if rng.random() < 0.02:
                continue
            x, y = (float(v) for v in position[i])
            trails[i].append((frame, x, y))
            half = rng.integers(0, 120, 2) / 4
            box = [x - half[0], y - half[1], x + half[0], y + half[1]]
            chance = rng.random()
            if chance < 0.01:
                box[rng.integers(4)] = math.nan
            elif chance < 0.03:
                box = [box[2], box[3], box[0], box[1]]
            scene[int(i) * 3 + 1] = {
                "id": -1,
                "class": "vehicle" if i % 2 else "pedestrian",
                "label": f"kind {i}",
                "bbox": box,
                "confidence": float(rng.choice([0.3, 0.5, 0.9], p=[0.05, 0.15, 0.8])),
                "center": (x, y) if rng.random() > 0.01 else (math.inf, y),
                "trajectory": trails[i] if rng.random() > 0.02 else None,
            }
        scenes.append(scene)
    return scenes


@settings(max_examples=40, deadline=None)
@given(
    scenes=journeys(),
    parameters=st.fixed_dictionaries(
        {
            "proximity_px": st.sampled_from([20, 60, 100]),
            "ttc_threshold": st.sampled_from([0.5, 2.0]),
            "fps": st.sampled_from([4, 10, 15]),
            "debounce_frames": st.sampled_from([1, 7, 30]),
            "filters_enabled": st.booleans(),
            "stationary_speed_px": st.sampled_from([1.0, 5.0]),
            "confirm_frames": st.sampled_from([1, 2, 5]),
            "same_direction_deg": st.sampled_from([30.0, 90.0]),
            "min_confidence": st.sampled_from([0.2, 0.5]),
        }
    ),
)
def test_every_event_is_that_of_the_document(scenes, parameters):
    detector, reference = NearMissDetector(**parameters), ReferenceDetector(**parameters)
    for frame, scene in enumerate(scenes):
        found, expected = detector.process_frame(frame, scene), reference.process_frame(frame, scene)
        assert found == expected
    assert detector.get_events_dataframe().to_dicts() == reference.events


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_version_1_gives_the_stored_events_to_the_last_digit(name):
    """Version 1.0 never changes: 300 frames, every field of every event, compared without any tolerance."""
    found = events_of(NearMissDetector(**PARAMETER_SETS[name]))
    assert found == golden()[name]
    assert len(found) > 20 and {"Low", "Medium"} <= {event["risk_level"] for event in found}


@pytest.mark.parametrize("name", PARAMETER_SETS)
def test_the_stored_events_are_those_of_the_document(name):
    assert events_of(ReferenceDetector(**PARAMETER_SETS[name])) == golden()[name]
