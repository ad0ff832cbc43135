import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.reporting.overlay import BoxTimeline, TtcReadout
from tests.reporting.example import track_rows, ttc_sample


def test_between_two_processed_frames_a_box_is_interpolated() -> None:
    # x1 is 100 at 0.0 s and 101 at 0.1 s: at 0.05 s it is 100.5
    frame, boxes = BoxTimeline(track_rows(range(3))).at(0.05)
    assert frame == 0
    assert boxes[0].xyxy_px == pytest.approx((100.5, 60, 160.5, 120))


def test_a_box_is_held_for_one_detection_interval_and_no_longer() -> None:
    timeline = BoxTimeline(track_rows(range(3)))  # the last processed frame with a box is at 0.2 s
    assert timeline.at(0.299)[1][0].xyxy_px[0] == 102
    assert timeline.at(0.3) == (None, ())


def test_a_processed_frame_without_boxes_ends_the_hold() -> None:
    """Frame 1 saw nothing and left no row: between 0.1 and 0.2 s there is no box, and none is interpolated before."""
    timeline = BoxTimeline(pl.concat([track_rows(range(1)), track_rows(range(2, 5))]))
    assert timeline.interval_sec == pytest.approx(0.1)  # 0.2 s over two frames, then 0.1 s over one
    assert timeline.at(0.05)[1][0].xyxy_px[0] == 100
    assert timeline.at(0.15) == (None, ())
    assert timeline.at(0.2)[0] == 2


def test_nothing_moves_across_a_scene_cut() -> None:
    timeline = BoxTimeline(pl.concat([track_rows(range(2)), track_rows(range(2, 4), scene_index=1)]))
    assert timeline.at(0.15)[1][0].xyxy_px[0] == 101  # held, not on its way to frame 2


def test_before_the_first_processed_frame_there_is_nothing() -> None:
    assert BoxTimeline(track_rows(range(5, 8))).at(0.4) == (None, ())
    assert BoxTimeline(track_rows(range(0))).at(1.0) == (None, ())


def test_unfollowed_boxes_stay_where_they_were_seen() -> None:
    timeline = BoxTimeline(track_rows(range(3), track_id=None))
    assert timeline.at(0.05)[1][0].xyxy_px[0] == 100


@given(st.floats(0.0, 0.999))
def test_an_interpolated_box_lies_between_its_neighbours(time_sec: float) -> None:
    (_, boxes) = BoxTimeline(track_rows(range(11))).at(time_sec)
    assert boxes[0].xyxy_px[0] == pytest.approx(100 + 10 * time_sec, abs=1e-6)


def test_the_last_fresh_time_to_contact_is_read() -> None:
    readout = TtcReadout([ttc_sample(1.1, 1.4, 1, 2), ttc_sample(1.0, 1.6, 1, 2)], fresh_sec=0.1)
    assert readout.at(3, 0.99) is None
    assert readout.at(3, 1.0) == 1.6
    assert readout.at(3, 1.15) == 1.4
    assert readout.at(3, 1.25) is None  # 0.15 s old
    assert readout.at(4, 1.1) is None
    assert readout.at(None, 1.1) is None


@pytest.mark.parametrize("value", [math.inf, math.nan, None, 10.5])
def test_no_number_is_shown_for_what_does_not_close_in(value: float | None) -> None:
    assert TtcReadout([ttc_sample(1.0, value, None, None)], fresh_sec=1).at(3, 1.0) is None
