"""Filter comparison and threshold sweep of near miss 1.0: the same counts as running the detector for each setting."""

import pytest

from autorisk_dagster import tables
from autorisk_dagster.kinematics.events import find_near_misses
from autorisk_dagster.kinematics.near_miss_report import (
    FILTERS,
    SWEEP_PX,
    filter_comparison,
    pair_frames,
    threshold_sweep,
)
from autorisk_dagster.profile import NearMissSettings
from tests.kinematics.near_miss_world import world

RATE_HZ = 15.0
SETTINGS = NearMissSettings()


def as_tracks(scenes):
    rows = [
        {
            "frame_index": frame,
            "source_frame": frame,
            "timestamp_sec": frame / RATE_HZ,
            "scene_index": 0,
            "track_id": track_id,
            "road_user": one["class"],
            "label": one["label"],
            "confidence": one["confidence"],
            **dict(zip(("x1_px", "y1_px", "x2_px", "y2_px"), one["bbox"], strict=True)),
            "still": False,
        }
        for frame, scene in enumerate(scenes)
        for track_id, one in sorted(scene.items())
    ]
    return tables.frame(rows, tables.TRACKS)


TRACKS = as_tracks(world())
PAIRS = pair_frames(TRACKS, RATE_HZ, max(SWEEP_PX))


def events_with(**changed):
    return find_near_misses(TRACKS, SETTINGS.model_copy(update=changed), RATE_HZ).height


def test_the_sweep_counts_what_the_detector_finds_at_every_threshold():
    sweep = threshold_sweep(PAIRS, SETTINGS)
    assert sweep["proximity_px"].to_list() == list(SWEEP_PX)
    assert {60, 80, 100, 120, 150, 180, 220} <= set(SWEEP_PX)  # the document's own
    for threshold_px, on, off in sweep.iter_rows():
        if threshold_px % 40:
            continue  # the detector's own run is slow
        assert on == events_with(proximity_px=threshold_px)
        assert off == events_with(proximity_px=threshold_px, filters_enabled=False)
    assert sweep["events_off"].n_unique() > 5


def test_the_comparison_starts_without_filters_and_ends_with_all():
    table = filter_comparison(PAIRS, SETTINGS)
    assert table["step"].to_list() == ["filters off", *FILTERS]
    assert table["events"][0] == events_with(filters_enabled=False)
    assert table["events"][-1] == events_with()
    assert table["events_removed"].sum() == table["events"][0] - table["events"][-1]
    assert (table["frames_removed"] >= 0).all()
    # a filter that lets everything pass removes nothing
    lenient = SETTINGS.model_copy(update={"min_confidence": 0.01, "confirm_frames": 1})
    assert filter_comparison(PAIRS, lenient)["frames_removed"].to_list()[-2:] == [0, 0]


def car(x, confidence):
    box = [x - 10.0, 80.0, x + 10.0, 100.0]
    return {"class": "vehicle", "label": "car", "confidence": confidence, "bbox": box}


@pytest.mark.parametrize(
    ("gap_px", "speeds", "confidence", "removed"),
    [
        (20, (1.0, 0.0), 0.9, {"stationary": 9}),  # both under 5 px a frame; 20 px at 1 px a frame: TTC 1.3 s
        (95, (8.0, 8.0), 0.9, {"direction": 9}),  # the same way, not closing; near and moving
        (95, (8.0, -2.0), 0.3, {"confidence": 9}),
        (95, (8.0, -2.0), 0.9, {"confirmation": 4}),  # 9 frames in a row, the first four only count up
    ],
)
def test_each_filter_is_charged_with_what_it_took(gap_px, speeds, confidence, removed):
    # 10 frames; nobody has a speed in the first, so that 9 meet the criteria
    scenes = [
        {1: car(100 + speeds[0] * frame, confidence), 2: car(100 + gap_px + speeds[1] * frame, confidence)}
        for frame in range(10)
    ]
    table = filter_comparison(pair_frames(as_tracks(scenes), RATE_HZ, 220), SETTINGS)
    found = {name: count for name, count in zip(table["step"], table["frames_removed"], strict=True) if count}
    assert found == removed


def test_no_pairs_no_events():
    pairs = pair_frames(tables.empty(tables.TRACKS), RATE_HZ, 220)
    assert threshold_sweep(pairs, SETTINGS)["events_off"].sum() == 0
    assert filter_comparison(pairs, SETTINGS)["events"].to_list() == [0] * 5
