"""The ground-truth benchmark measures what it says: camera, truth and scores by hand, the simulation on a short run."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from autorisk_dagster import tables
from autorisk_dagster.profile import load_profile
from tests.benchmarks import sumo_roads
from tests.benchmarks.sumo_benchmark import seen_conflicts
from tests.benchmarks.sumo_dashcam import (
    HARSH,
    NONE,
    NORMAL,
    Camera,
    Drive,
    Sight,
    drive,
    film,
    project,
    visible_share,
)
from tests.benchmarks.sumo_measures import MEASURES, Estimates, compare
from tests.benchmarks.sumo_methods import METHODS, TrueActors, alarms, case
from tests.benchmarks.sumo_roads import STEP_SEC
from tests.benchmarks.sumo_scoring import (
    Alarm,
    DriveScore,
    average_precision,
    curve,
    episodes,
    false_alarms_per_hour,
    lead_sec,
    precision,
    recall,
    score_drive,
    with_interval,
)
from tests.benchmarks.sumo_truth import Conflict, Following, Grade
from tests.benchmarks.sumo_world import RoadUser, World, cut_ins, simulate, time_to_touch_sec

CAMERA = Camera()
ROOT = Path(__file__).parents[2]
CAR = [4.4, 1.8, 1.5]


def boxes_of(ahead_m: float, right_m: float, turned_deg: float, size_m: list[float]) -> np.ndarray:
    box, _ = project(np.array([ahead_m]), np.array([right_m]), np.radians([turned_deg]), np.array([size_m]), CAMERA)
    return box[0]


def still_world(users: list[RoadUser], x: list[float], y: list[float], deg: list[float], speed: list[float]) -> World:
    """One step with everybody in it."""
    count = len(users)
    return World(
        name="hand-made",
        road_users=tuple(users),
        egos=(0,),
        first_row=np.array([0, count]),
        who=np.arange(count),
        x_m=np.array(x),
        y_m=np.array(y),
        heading_rad=np.radians(deg),
        speed_mps=np.array(speed),
        conflicts=(),
        following=(),
        collisions=0,
        lanes_m=(),
    )


CARS = [RoadUser(name, "car", 4.4, 1.8, 1.5) for name in ("own", "other")]


class TestCamera:
    def test_a_car_straight_ahead(self) -> None:
        """Its rear is 20 m away (front 24.4 m, 4.4 m long): 1000 * 0.9 / 20 = 45 px to both sides; foot 1000 * 1.3 / 20
        = 65 px under the horizon at 360; the roof at 1.5 m is 0.2 m over the camera, 10 px at the rear."""
        np.testing.assert_allclose(boxes_of(24.4, 0.0, 0.0, CAR), [595, 350, 685, 425])

    def test_a_car_across_to_the_right(self) -> None:
        """Heading left, its front at 3 m to the right, it reaches from 3 to 7.4 m; its near side is 10 m
        away, its far side 11.8 m: left edge 640 + 1000 * 3 / 11.8, right edge 640 + 740 = 1380, cut at 1280."""
        box = boxes_of(10.9, 3.0, 90.0, CAR)
        np.testing.assert_allclose(box, [640 + 3000 / 11.8, 340, 1280, 490])

    def test_an_oncoming_car_shows_its_front_first(self) -> None:
        """Its front is 20 m away, its rear 24.4 m."""
        np.testing.assert_allclose(boxes_of(20.0, 0.0, 180.0, CAR), [595, 350, 685, 425])

    def test_a_car_half_behind_the_camera_is_cut_and_not_turned_over(self) -> None:
        """Its front's inner corner, 2.1 m to the right at 4 m, is its leftmost point; its rear is 0.4 m behind."""
        np.testing.assert_allclose(boxes_of(4.0, 3.0, 0.0, CAR), [640 + 1000 * 2.1 / 4.0, 0, 1280, 720])

    def test_what_is_behind_is_nowhere(self) -> None:
        assert not boxes_of(-1.0, 0.0, 0.0, CAR).any()

    def test_a_bus_hides_the_car_behind_it_and_not_the_other_way_round(self) -> None:
        bus, car = [100.0, 100.0, 200.0, 300.0], [120.0, 200.0, 160.0, 240.0]
        np.testing.assert_allclose(visible_share(np.array([bus, car])), [1, 0])
        # the car before the bus: 40 x 40 of 100 x 200 px, 8 %
        np.testing.assert_allclose(visible_share(np.array([car, bus])), [1, 0.92], atol=0.05)

    def test_sides_and_distance_follow_the_ego_s_heading(self) -> None:
        """The own car drives north; 18.5 m before its camera, 2 m to the east (right), is the other's rear."""
        world = still_world(CARS, [0, 2], [0, 18.5 + 4.4 - 1.5], [90, 90], [10, 10])
        seen = drive(world, 0, CAMERA)
        (sight,) = seen.sights
        assert sight.who.tolist() == [1]
        assert sight.distance_m[0] == pytest.approx(18.5)
        left, _, right, bottom = sight.boxes_px[0]
        assert left == pytest.approx(640 + 1000 * 1.1 / 22.9)  # the inner edge is its far end
        assert right == pytest.approx(640 + 1000 * 2.9 / 18.5)
        assert bottom == pytest.approx(360 + 1300 / 18.5)


class TestTruth:
    def test_time_to_touch_a_person(self) -> None:
        """10 m/s towards somebody who stands 20.3 m ahead: the front meets a radius of 0.3 m after 2 s. Somebody 1.3 m
        beside the middle line is passed (0.9 + 0.3 = 1.2 m), and somebody who walks in at 0.55 m/s from 2.3 m is met
        when 1.1 m are walked, after 2 s, within the 20.6 to 24.7 m that the car fills then."""
        walker = RoadUser("walker", "person", 0.4, 0.5, 1.7)
        world = still_world(
            [CARS[0], walker, walker, walker], [0, 20.3, 20.3, 19.0], [0, 0, 1.3, 2.3], [0, 0, 0, -90], [10, 0, 0, 0.55]
        )
        ttc = time_to_touch_sec(world, np.array([0]), np.array([1, 2, 3]))
        assert ttc[0, 0] == pytest.approx(2.0)
        assert ttc[0, 1] == math.inf
        assert ttc[0, 2] == pytest.approx(2.0)

    def test_who_comes_close_ahead_into_the_path_cuts_in(self) -> None:
        """The own car does 20 m/s, so that half a second is 10 m. The other, as fast, drifts in from 3 m to the left at
        1 m/s; its flank meets the path when 1.8 m are left, after 1.2 s. Its rear is 8 m or 12 m before the bumper."""
        for gap, expected in ((8.0, 1), (12.0, 0)):
            steps = 40
            ahead = 2.0 * np.arange(steps)
            world = dataclasses.replace(
                still_world(CARS, [0, 0], [0, 0], [0, 0], [0, 0]),
                first_row=np.arange(steps + 1) * 2,
                who=np.tile([0, 1], steps),
                x_m=np.stack([ahead, ahead + gap + 4.4], axis=1).ravel(),
                y_m=np.stack([np.zeros(steps), 3.0 - 0.1 * np.arange(steps)], axis=1).ravel(),
                heading_rad=np.zeros(2 * steps),
                speed_mps=np.full(2 * steps, 20.0),
            )
            found = cut_ins(world, 0)
            assert len(found) == expected
            assert all(1.2 < one.start_sec < 1.5 for one in found)
        assert not cut_ins(dataclasses.replace(world, y_m=np.zeros(2 * steps)), 0)  # it was always there

    def test_a_conflict_counts_only_when_seen_before_its_worst_moment(self) -> None:
        conflict = Conflict((0, 1), 2.0, 4.0, 3.0, 1.0, 4.0, math.nan, "conflict")
        for first, expected in ((20, 1), (26, 1), (27, 0)):  # seen from step 26 on: 2.6, 2.7, 2.8, 2.9 and 3.0 s
            world = dataclasses.replace(still_world(CARS, [0, 9], [0, 0], [0, 0], [9, 9]), conflicts=(conflict,))
            sights = [
                Sight(step, np.array([1] if step >= first else []), np.zeros((0, 4)), np.zeros(0), np.zeros(0))
                for step in range(60)
            ]
            seen = Drive(world, 0, tuple(sights), np.zeros(60), np.zeros(60))
            assert len(seen_conflicts(seen)) == expected


def conflict(pair: tuple[int, int], start: float, peak: float, grade: Grade = "conflict") -> Conflict:
    return Conflict(pair, start, peak + 1.0, peak, 1.0, 5.0, math.nan, grade)


def alarm(pair: tuple[int, int], at_sec: float, score: float, level: int) -> Alarm:
    return Alarm(pair, at_sec, at_sec, score, level)


class TestScores:
    """Half an hour with two conflicts, (0, 1) at 10 s and (0, 2) at 30 s, a mild one (0, 3) and a cut-in (0, 7)."""

    TRUTH = (
        conflict((0, 1), 8, 10),
        conflict((0, 2), 29, 30),
        conflict((0, 3), 48, 50, "mild"),
        conflict((0, 7), 60, 61, "cut-in"),
    )

    def scored(self, *told: Alarm) -> list[DriveScore]:
        return [score_drive(told, self.TRUTH, 0.5)]

    def test_average_precision_by_hand(self) -> None:
        """Ranked: hit, false, hit, false. Recall rises by 1/2 at precision 1 and at 2/3: (1 + 2/3) / 2 = 5/6."""
        drives = self.scored(
            alarm((0, 1), 9.0, 0.9, 2),
            alarm((0, 4), 9.0, 0.8, 1),
            alarm((0, 2), 30.0, 0.7, 1),
            alarm((0, 3), 50.0, 0.1, 1),
        )
        assert curve(drives) == [(0.5, 1.0), (0.5, 0.5), (1.0, 2 / 3), (1.0, 0.5)]
        assert average_precision(drives) == pytest.approx(5 / 6)
        assert precision(drives, level=1) == 0.5
        assert precision(drives, level=2) == 1.0
        assert (recall(drives, level=1), recall(drives, level=2)) == (1.0, 0.5)
        assert false_alarms_per_hour(drives, level=1) == 4.0  # two in half an hour
        assert false_alarms_per_hour(drives, level=1, not_even_mild=True) == 2.0
        assert lead_sec(drives, level=1) == pytest.approx((1.0 + 0.0) / 2)

    def test_equal_scores_are_one_threshold(self) -> None:
        """Three alarms of one score, one of them a hit of two conflicts: one point, recall 1/2 at precision 1/3."""
        drives = self.scored(*(alarm((0, n), 9.0, 0.5, 0) for n in (1, 5, 6)))
        assert curve(drives) == [(0.5, 1 / 3)]
        assert average_precision(drives) == pytest.approx(1 / 6)

    def test_a_second_alarm_of_one_conflict_is_neither_hit_nor_false(self) -> None:
        drives = self.scored(alarm((0, 1), 7.0, 0.4, 0), alarm((0, 1), 11.0, 0.9, 1))
        assert len(episodes([alarm((0, 1), 7.0, 0.4, 0), alarm((0, 1), 11.0, 0.9, 1)])) == 2
        assert average_precision(drives) == 0.5
        assert false_alarms_per_hour(drives, level=0) == 0.0
        assert lead_sec(drives, level=0) == pytest.approx(3.0)  # from the first, although the second scores more
        assert lead_sec(drives, level=1) == pytest.approx(-1.0)

    def test_alarms_within_three_seconds_are_one(self) -> None:
        found = episodes([alarm((4, 5), 1.0, 0.2, 0), alarm((4, 5), 3.5, 0.6, 1), alarm((4, 5), 7.0, 0.3, 0)])
        assert [(one.score, one.level, len(one.alarms)) for one in found] == [(0.6, 1, 2), (0.3, 0, 1)]

    def test_an_alarm_of_a_close_cut_in_counts_neither_way(self) -> None:
        drives = self.scored(alarm((0, 1), 9.0, 0.5, 1), alarm((0, 7), 60.0, 0.9, 2))
        assert average_precision(drives) == 0.5
        assert false_alarms_per_hour(drives, level=0) == 0.0
        assert (drives[0].cut_ins, drives[0].cut_ins_named) == (1, 1)

    def test_the_right_time_with_the_wrong_road_user_is_false(self) -> None:
        assert average_precision(self.scored(alarm((1, 2), 9.0, 0.9, 2))) == 0.0

    def test_the_right_road_user_two_seconds_early_is_false(self) -> None:
        assert average_precision(self.scored(alarm((0, 1), 6.9, 0.9, 2))) == 0.0
        assert average_precision(self.scored(alarm((0, 1), 7.0, 0.9, 2))) == 0.5

    def test_an_alarm_lasts_from_when_it_is_raised_to_its_moment(self) -> None:
        """Raised at 5 s about 7.5 s: it reaches into the interval, and leads by 5 s."""
        drives = self.scored(Alarm((0, 1), 5.0, 7.5, 0.9, 2))
        assert average_precision(drives) == 0.5
        assert lead_sec(drives, level=2) == pytest.approx(5.0)

    def test_nothing_said_is_zero_and_nothing_to_find_is_nan(self) -> None:
        assert average_precision(self.scored()) == 0.0
        assert math.isnan(average_precision([score_drive([alarm((0, 1), 9.0, 0.9, 2)], (), 1.0)]))

    def test_the_interval_of_equal_drives_is_a_point(self) -> None:
        drives = self.scored(alarm((0, 1), 9.0, 0.9, 2)) * 5
        value = with_interval(drives, average_precision, 5)
        assert (value.low, value.value, value.high) == (0.5, 0.5, 0.5)


class TestMeasures:
    def test_a_constant_approach_is_measured_as_sumo_and_the_lens_say(self) -> None:
        """Behind a standing car at 10 m/s, gap 30 m at first. SUMO's time is gap / 10; the lens is 1.5 m farther."""
        steps = 25
        gap, speed = 30.0 - np.arange(steps), np.tile([10.0, 0.0], steps)
        place = np.stack([-4.4 - gap, np.zeros(steps)], axis=1).ravel()  # own front, the other's front at 0
        world = dataclasses.replace(
            still_world(CARS, [0, 0], [0, 0], [0, 0], [0, 0]),
            first_row=np.arange(steps + 1) * 2,
            who=np.tile([0, 1], steps),
            x_m=place,
            y_m=np.zeros(2 * steps),
            heading_rad=np.zeros(2 * steps),
            speed_mps=speed,
            following=(Following((0, 1), np.arange(steps) * STEP_SEC, gap / 10, 100 / (2 * gap)),),
        )
        seen = drive(world, 0, CAMERA)
        footage = film(seen, CAMERA, NONE, 1)
        profile = load_profile("default", ROOT / "configs")
        estimates = MEASURES["time to contact, by expansion"](case(footage, CAMERA, profile))
        found = compare(seen, footage, estimates)
        assert len(found.truth) == steps
        np.testing.assert_allclose(found.from_lens, (gap + 1.5) / 10)
        assert found.median_error(found.from_lens) < 0.15
        perfect = compare(seen, footage, Estimates("ttc", gap / 10))
        assert perfect.median_error(perfect.truth) == 0
        assert footage.ego_motion["road_flow_per_px_sec"].to_list() == pytest.approx([10 / (1.3 * 1000)] * (steps - 1))


class TestSimulation:
    @pytest.fixture(scope="class")
    @classmethod
    def world(cls) -> World:
        pytest.importorskip("libsumo", reason="the extra `sumo` is not installed")
        return simulate(sumo_roads.motorway, 1, 45.0)

    def test_provoked_drivers_have_conflicts_that_the_camera_sees(self, world: World) -> None:
        assert len(world.egos) >= 3
        seen = [one for ego in world.egos for one in seen_conflicts(drive(world, ego, CAMERA))]
        assert any(one.grade == "conflict" for one in seen)
        for one in world.conflicts:
            assert one.start_sec <= one.peak_sec <= one.end_sec
            assert one.grade != "conflict" or one.min_ttc_sec < 1.5 or one.max_drac_mps2 > 3.4 or one.pet_sec < 1.0

    def test_sumo_s_gap_is_the_gap_between_the_recorded_places(self, world: World) -> None:
        """SUMO's time to collision times closing speed is its gap; on a straight, so are the recorded positions."""
        errors = []
        for following in world.following:
            own, other = following.pair
            for at, ttc, drac in zip(following.times_sec, following.ttc_sec, following.drac_mps2, strict=True):
                step = round(at / STEP_SEC)
                rows = slice(world.first_row[step], world.first_row[step + 1])
                place = dict(
                    zip(world.who[rows].tolist(), zip(world.x_m[rows], world.y_m[rows], strict=True), strict=True)
                )
                if np.isfinite(ttc) and drac > 0 and own in place and other in place:
                    apart = math.dist(place[own], place[other]) - world.road_users[other].length_m
                    errors.append(abs(apart - 2 * drac * ttc * ttc))
        assert len(errors) > 50
        assert np.median(errors) < 0.2

    def test_lane_changes_are_drawn_out(self, world: World) -> None:
        order = np.argsort(world.who, kind="stable")
        same = np.diff(world.who[order]) == 0
        place = world.x_m[order] + 1j * world.y_m[order]
        sideways = np.abs((np.diff(place) * np.exp(-1j * world.heading_rad[order][1:])).imag[same])
        assert sideways.max() < 0.5  # m in a tenth of a second; a lane is 3.2 m

    def test_the_same_seed_gives_the_same_tables(self, world: World) -> None:
        again = simulate(sumo_roads.motorway, 1, 45.0)
        np.testing.assert_array_equal(again.x_m, world.x_m)
        assert repr(again.conflicts) == repr(world.conflicts)  # NaN is not equal to itself
        seen = drive(world, world.egos[0], CAMERA)
        assert film(seen, CAMERA, NORMAL, 1).tracks.equals(film(seen, CAMERA, NORMAL, 1).tracks)
        assert not film(seen, CAMERA, NORMAL, 1).tracks.equals(film(seen, CAMERA, NORMAL, 2).tracks)

    def test_footage_keeps_the_product_s_schemas_and_gets_worse_with_noise(self, world: World) -> None:
        seen = drive(world, world.egos[1], CAMERA)
        followed = []
        for noise in (NONE, NORMAL, HARSH):
            footage = film(seen, CAMERA, noise, 1)
            tables.check(footage.tracks, tables.TRACKS)
            tables.check(footage.ego_motion, tables.EGO_MOTION)
            assert len(footage.who) == footage.tracks.height
            followed.append(footage.tracks["track_id"].count())
        assert followed[0] > followed[1] > followed[2] > 0

    def test_every_method_reports_road_users_of_the_world(self, world: World) -> None:
        profile = load_profile("default", ROOT / "configs")
        seen = drive(world, world.egos[0], CAMERA)
        footage = film(seen, CAMERA, NONE, 1)
        tables_of_drive = case(footage, CAMERA, profile)
        for name, method in METHODS.items():
            found = alarms(method(tables_of_drive), TrueActors(footage, seen.ego), seen.start_sec)
            assert all(
                -1 <= low < high < len(world.road_users) or low == high == -1 for low, high in (a.pair for a in found)
            ), name
            assert all(seen.start_sec <= one.time_sec <= seen.start_sec + seen.duration_sec for one in found), name
