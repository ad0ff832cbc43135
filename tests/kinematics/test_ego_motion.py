"""The own motion from the background, on a drawn road whose motion is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from autorisk_dagster.kinematics.ego_motion import BackgroundMotion, background_motion
from autorisk_dagster.mining.motion import dense_flow
from tests.kinematics.road_view import CAMERA_M, FOCAL_SHARE, HEIGHT, WIDTH, Gray, view

GAP_SEC = 0.1


def seen(before: Gray, after: Gray, horizon_share: float | None = 0.5) -> BackgroundMotion:
    return background_motion(dense_flow(before, after), before, GAP_SEC, FOCAL_SHARE, horizon_share)


@pytest.mark.parametrize(
    ("left", "up", "roll"), [(0.25, 0, 0), (-0.25, 0, 0), (0, 0.1, 0), (0, 0, 0.1), (0.1, -0.05, 0.05)]
)
def test_turning_is_told_while_driving(left: float, up: float, roll: float) -> None:
    """Rates in rad/s, driving 6 m/s: a far point goes right as the car turns left, and down as it looks up."""
    after = view(6.0 * GAP_SEC, left_rad=left * GAP_SEC, up_rad=up * GAP_SEC, roll_rad=roll * GAP_SEC)
    found = seen(view(), after)
    assert (found.pan, found.tilt, found.roll) == pytest.approx((left, up, roll), abs=0.02)
    assert found.support > 0.8


@pytest.mark.parametrize("speed_mps", [3.0, 6.0, 8.0])
def test_speed_over_camera_height_is_told_where_the_horizon_is_known(speed_mps: float) -> None:
    found = seen(view(), view(speed_mps * GAP_SEC))
    assert found.road_hz == pytest.approx(speed_mps / CAMERA_M, rel=0.12)
    assert math.isnan(seen(view(), view(speed_mps * GAP_SEC), None).road_hz)


def test_what_stands_still_stands_still() -> None:
    found = seen(view(), view())
    assert (found.pan, found.tilt, found.roll, found.road_hz) == pytest.approx((0, 0, 0, 0), abs=1e-3)


def test_a_camera_that_does_not_move_is_told_by_what_stands_above_and_below_the_horizon() -> None:
    """Drawn still, but for a lorry that hides a quarter; driving 6 m/s; turning on the spot; a picture of one grey."""
    before, after = view(), view()
    before[60:170, 80:280] = after[60:170, 86:286] = np.random.default_rng(1).integers(40, 200, (110, 200), np.uint8)
    assert seen(before, after).still > 0.5
    assert seen(view(), view(6.0 * GAP_SEC)).still < 0.2
    assert seen(view(), view(0.0, left_rad=0.01)).still < 0.2
    grey = np.full_like(view(), 90)
    assert math.isnan(seen(grey, grey).still)


def test_a_lorry_that_crosses_before_a_standing_camera_is_not_the_own_turning() -> None:
    """It fills a quarter of the picture and moves by 6 px."""
    before, after = view(), view()
    lorry = np.random.default_rng(1).integers(40, 200, (110, 200), dtype=np.uint8)
    before[60:170, 80:280] = lorry
    after[60:170, 86:286] = lorry
    found = seen(before, after)
    assert found.pan == pytest.approx(0.0, abs=0.02)


def test_the_own_bonnet_does_not_hold_the_picture_still() -> None:
    """A patterned bonnet over the lower third, still in the picture, while the car turns left at 0.2 rad/s."""
    bonnet = np.random.default_rng(2).integers(60, 120, (80, WIDTH), dtype=np.uint8)
    before, after = view(), view(0.8, left_rad=0.02)
    before[HEIGHT - 80 :], after[HEIGHT - 80 :] = bonnet, bonnet
    assert seen(before, after).pan == pytest.approx(0.2, abs=0.02)


def test_without_texture_above_the_road_nothing_is_said() -> None:
    """A clear sky down to the horizon: zero flow there is no sign of driving straight."""
    found = seen(view(sky=False), view(0.6, left_rad=0.02, sky=False))
    assert math.isnan(found.pan) and math.isnan(found.road_hz)


def test_a_road_without_texture_tells_no_speed() -> None:
    before, after = view(), view(0.6, left_rad=0.01)
    before[HEIGHT // 2 :], after[HEIGHT // 2 :] = 110, 110
    found = seen(before, after)
    assert found.pan == pytest.approx(0.1, abs=0.02)
    assert math.isnan(found.road_hz)


def test_a_mirrored_picture_turns_the_other_way() -> None:
    before, after = view(), view(0.6, left_rad=0.02, roll_rad=0.005)
    one = seen(before, after)
    other = seen(np.ascontiguousarray(before[:, ::-1]), np.ascontiguousarray(after[:, ::-1]))
    assert (other.pan, other.tilt, other.roll) == pytest.approx((-one.pan, one.tilt, -one.roll), abs=0.02)


def test_half_the_time_is_twice_the_rate() -> None:
    flow = dense_flow(view(), view(0.5, left_rad=0.02))
    slow, fast = (background_motion(flow, view(), gap_sec, FOCAL_SHARE, 0.5) for gap_sec in (0.1, 0.05))
    assert (fast.pan, fast.road_hz) == pytest.approx((2 * slow.pan, 2 * slow.road_hz), rel=1e-6)
