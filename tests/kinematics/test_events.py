"""Near-miss events from the track table: which rows count, frames without objects, times."""

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.kinematics.events import find_near_misses
from autorisk_dagster.profile import NearMissSettings

SETTINGS = NearMissSettings(confirm_frames=3, debounce_frames=4, proximity_px=100)


def row(frame, track_id, x):
    return {
        "frame_index": frame,
        "source_frame": frame * 3,
        "timestamp_sec": 0.4 + frame * 0.11,  # not frame / rate: true presentation time
        "scene_index": 0,
        "track_id": track_id,
        "road_user": "vehicle",
        "label": "car",
        "confidence": 0.8,
        "x1_px": x - 20.0,
        "y1_px": 80.0,
        "x2_px": x + 20.0,
        "y2_px": 120.0,
        "still": False,
    }


def head_on(frames, changed=None):
    """Tracks 2 and 5 drive at each other at 6 px per frame each, 90 px apart in frame 0; `changed` is about track 2."""
    rows = []
    for frame in frames:
        rows += [row(frame, 5, 100 + 6 * frame), row(frame, 2, 190 - 6 * frame) | (changed or {})]
    return tables.frame(rows, tables.TRACKS)


def test_an_event_carries_its_source_frame_and_true_time():
    # Motion needs two points: frame 1 is the first of the run (near, 6 px/frame), frame 3 the third.
    # Distance 90 - 3 * 12 = 54 px; at 12 px/frame and 10 frames a second 0.45 s.
    events = find_near_misses(head_on(range(5)), SETTINGS, 10.0)
    tables.check(events, tables.NEAR_MISS_EVENTS)
    (event,) = events.to_dicts()
    assert (event["event_id"], event["frame_index"], event["source_frame"]) == ("e0001", 3, 9)
    assert event["timestamp_sec"] == pytest.approx(0.4 + 3 * 0.11)
    assert (event["object_id_1"], event["object_id_2"]) == (2, 5)
    assert (event["version"], event["actors"]) == ("1.0", "car 2 and car 5")
    assert event["start_sec"] == event["end_sec"] == event["timestamp_sec"]  # 1.0 knows one moment
    assert event["distance_px"] == pytest.approx(54)
    assert event["ttc_sec"] == pytest.approx(0.45)


def test_the_rate_turns_frames_into_seconds():
    (event,) = find_near_misses(head_on(range(4)), SETTINGS, 5.0).to_dicts()
    assert event["ttc_sec"] == pytest.approx(0.9)


def test_a_processed_frame_without_objects_breaks_the_run():
    # frames 0-2 count to 2; 3 is empty; 4 and 5 count to 2, 6 confirms
    events = find_near_misses(head_on([0, 1, 2, 4, 5, 6]), SETTINGS, 10.0)
    assert events["frame_index"].to_list() == [6]


@pytest.mark.parametrize("changed", [{"still": True}, {"track_id": None}])
def test_still_and_unfollowed_rows_are_no_road_users(changed):
    assert find_near_misses(head_on(range(5), changed), SETTINGS, 10.0).is_empty()


def test_rows_may_come_in_any_order():
    tracks = head_on(range(8))
    shuffled = tracks.sample(fraction=1.0, shuffle=True, seed=4)
    assert find_near_misses(shuffled, SETTINGS, 10.0).equals(find_near_misses(tracks, SETTINGS, 10.0))


def test_events_are_numbered_and_debounced():
    # the event of frame 3 holds for 3, 4, 5 and 6; frame 7 emits the next
    longer = find_near_misses(head_on(range(8)), SETTINGS, 10.0)
    assert longer["event_id"].to_list() == ["e0001", "e0002"]
    assert longer["frame_index"].to_list() == [3, 7]


def test_no_tracks_no_events():
    for tracks in (tables.empty(tables.TRACKS), head_on(range(3)).filter(pl.lit(False))):
        events = find_near_misses(tracks, SETTINGS, 10.0)
        assert events.schema == pl.Schema(tables.NEAR_MISS_EVENTS)
        assert events.is_empty()
