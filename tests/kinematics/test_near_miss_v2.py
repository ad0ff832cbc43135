"""Near-miss profile v2: scenes with a known truth in metres, seen by a pinhole camera, and what must not change them.

Two kinds of camera: 1.4 m over the road like a dashcam, and 5.5 m like a mast at a junction.
"""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.kinematics.conflict_measures import conflict_measures
from autorisk_dagster.kinematics.near_miss_v2 import find_near_misses_v2, risk_level
from autorisk_dagster.profile import CameraSettings, NearMissV2Settings
from tests.kinematics.road_world import FRAME, User, film, straight
from tests.reasoning.scene import FRAME_SIZE as SCENE_FRAME
from tests.reasoning.scene import RoadUser, tracks_of

SETTINGS = NearMissV2Settings()
NO_CONFLICTS = tables.empty(tables.CONFLICT_MEASURES)
DASHCAM = {"height_m": 1.4, "horizon_px": 330.0}
MAST = {"height_m": 5.5, "horizon_px": 60.0}
PARKED = [
    User(90, straight(9, 30)),
    User(91, straight(-14, 31)),
    User(92, straight(-9, 45)),
    User(93, straight(12, 60)),
]

# Car 1 comes from the left at 10 m/s, car 2 towards the camera at 8 m/s. Their middles would be at (0, 20) at 2.0 s;
# car 1 reaches 2.2 m ahead and car 2 is 0.9 m wide to each side: they touch at about 1.7 s and stand.
CRASH = [User(1, straight(-20, 20, 10, 0, until_sec=1.75)), User(2, straight(0, 36, 0, -8, until_sec=1.75))]


def found(tracks, rate_hz=10.0, conflicts=NO_CONFLICTS, frame=FRAME, settings=SETTINGS):
    events = find_near_misses_v2(tracks, conflicts, frame, rate_hz, settings)
    return tables.check(events, tables.NEAR_MISS_EVENTS).to_dicts()


@pytest.mark.parametrize("camera", [DASHCAM, MAST])
@pytest.mark.parametrize("noise_px", [0.0, 0.5, 1.0])
def test_a_collision_at_a_crossing_is_one_event_at_its_moment(camera, noise_px):
    (event,) = found(film([*CRASH, *PARKED], **camera, noise_px=noise_px))
    assert (event["version"], event["actors"], event["event_id"]) == ("v2", "car 1 and car 2", "v2-0001")
    assert (event["object_id_1"], event["object_id_2"]) == (1, 2)
    assert event["timestamp_sec"] == pytest.approx(1.7, abs=0.25)
    assert event["start_sec"] < event["timestamp_sec"] <= event["end_sec"]
    assert event["risk_level"] == "High"
    assert event["closing_mps"] == pytest.approx(9.0, abs=3.0)  # 10 across or 8 ahead, whichever closes last
    assert "closing at" in event["evidence"]


@pytest.mark.parametrize("camera", [DASHCAM, MAST])
def test_a_rear_end_collision_is_found(camera):
    # a car that stands 25 m ahead, beside us, and one that runs into it from 30 m behind it at 12 m/s
    users = [User(1, straight(-3, 25)), User(2, straight(-3, 55, 0, -12, until_sec=2.1)), *PARKED]
    (event,) = found(film(users, **camera))
    assert event["actors"] == "car 1 and car 2"
    assert event["timestamp_sec"] == pytest.approx(2.1, abs=0.2)


def test_a_collision_after_which_nothing_is_seen_is_low():
    """They may have passed each other at another depth."""
    tracks = film([*CRASH, *PARKED], **MAST)
    (event,) = found(tracks.filter(pl.col("timestamp_sec") < 1.85))
    assert (event["actors"], event["risk_level"]) == ("car 1 and car 2", "Low")
    assert "what came after was not seen" in event["evidence"]


@pytest.mark.parametrize("camera", [DASHCAM, MAST])
def test_a_driver_who_brakes_in_the_last_second_is_a_near_miss_without_contact(camera):
    # car 1 at 10 m/s aims at car 2, which stands across its way, and stops 2.3 m short of it
    users = [User(1, straight(-18, 20, 10, 0, until_sec=1.1)), User(2, straight(0, 19.5)), *PARKED]
    (event,) = found(film(users, **camera))
    assert event["actors"] == "car 1 and car 2"
    assert 0 < event["ttc_sec"] < 1.0
    assert event["gap_m"] > 1


@pytest.mark.parametrize("camera", [DASHCAM, MAST])
@pytest.mark.parametrize("noise_px", [0.0, 2.0])
@pytest.mark.parametrize(
    "users",
    [
        pytest.param(
            [User(1, straight(-20, 20, 12)), User(2, straight(20, 23.5, -12))], id="opposite lanes, from the side"
        ),
        pytest.param(
            [User(1, straight(-3.5, 60, 0, -12)), User(2, straight(0, 10, 0, 12))], id="opposite lanes, along"
        ),
        pytest.param([User(1, straight(-1.7, 20, 0, 6)), User(2, straight(1.7, 8, 0, 14))], id="overtaking"),
        pytest.param([User(1, straight(-20, 18, 10)), User(2, straight(3, 34))], id="passing before one 14 m behind"),
        pytest.param([User(1, straight(0, 15)), User(2, straight(2.2, 15)), User(3, straight(-2.2, 15))], id="parked"),
        pytest.param(
            [User(1, straight(-5, 12, 1.4), "person"), User(2, straight(5, 12, -1.4), "person")], id="walkers"
        ),
    ],
)
def test_traffic_without_conflict_has_no_event(users, noise_px, camera):
    assert found(film([*users, *PARKED], **camera, noise_px=noise_px)) == []


@pytest.mark.parametrize("noise_px", [0.0, 1.0, 2.0])
@pytest.mark.parametrize(
    "camera",
    [straight(0, 0, 0, 12), straight(0, 0, 0, 4), lambda t: (0.4 * t * t, 5 * t, 8 * t)],
    ids=["fast", "slow", "in a curve"],
)
def test_driving_past_parked_cars_makes_them_approach_nobody(camera, noise_px):
    sides = [User(i, straight((-1) ** i * (3 + i % 3), 10 + 7 * i)) for i in range(1, 12)]
    assert found(film(sides, camera=camera, noise_px=noise_px)) == []


def test_boxes_that_jitter_by_a_twentieth_of_their_size_are_no_motion():
    users = [User(i, straight(-4.0 + 2.3 * i, 14 + i % 2)) for i in range(4)]
    for seed in range(5):
        assert found(film(users, seconds=20, noise_px=4.0, seed=seed)) == []


def renumbered(tracks, from_sec, old, new):
    changes = (pl.col("timestamp_sec") >= from_sec) & (pl.col("track_id") == old)
    return tracks.with_columns(track_id=pl.when(changes).then(new).otherwise("track_id"))


def without(tracks, track_id, from_sec, to_sec):
    gone = (pl.col("track_id") == track_id) & pl.col("timestamp_sec").is_between(from_sec, to_sec)
    return tracks.filter(~gone)


@pytest.mark.parametrize("lost_sec", [0.0, 0.25])
def test_a_new_number_in_the_middle_of_an_encounter_is_the_same_encounter(lost_sec):
    tracks = film([*CRASH, *PARKED], **MAST)
    tracks = without(tracks, 2, 1.2, 1.15 + lost_sec)
    (event,) = found(renumbered(tracks, 1.2, 2, 40))
    assert event["start_sec"] < 1.2 < event["end_sec"]


def test_two_numbers_that_change_places_are_not_speed():
    # two cars stand 9 m apart for 2 s, then the tracker swaps their numbers: each seems to jump over to the other
    tracks = film([User(1, straight(-4.5, 20)), User(2, straight(4.5, 20))], **MAST)
    swapped = renumbered(renumbered(renumbered(tracks, 2.0, 1, 70), 2.0, 2, 1), 2.0, 70, 2)
    assert found(swapped) == []


def test_a_box_that_swallows_its_neighbour_is_no_approach():
    # from 1.5 s on the detector sees two parked cars as one wide box, beside a third
    tracks = film([User(1, straight(-4, 20)), User(2, straight(3, 20))], **MAST)
    wide = (pl.col("track_id") == 1) & (pl.col("timestamp_sec") >= 1.5)
    assert found(tracks.with_columns(x2_px=pl.when(wide).then(pl.col("x2_px") + 90).otherwise("x2_px"))) == []


def test_an_encounter_does_not_go_across_a_scene_cut():
    before, after = film([*CRASH, *PARKED], **MAST), film([*CRASH, *PARKED], seconds=1.0, **MAST)
    cut_sec = 1.2
    kept = before.filter(pl.col("timestamp_sec") < cut_sec)
    later = after.with_columns(
        scene_index=pl.lit(1, pl.Int64),
        timestamp_sec=pl.col("timestamp_sec") + cut_sec,
        frame_index=pl.col("frame_index") + 12,
        track_id=pl.col("track_id") + 100,
    )
    for event in found(pl.concat([kept, later])):
        assert event["end_sec"] < cut_sec
    assert found(later) == []  # 1 s of it: TTC is still over 0.7 s, but it was not seen for long enough


def test_the_same_two_again_within_the_debounce_are_one_encounter():
    # car 1 drives at car 2, stops short, backs off, and comes again two seconds later
    def again(t):
        towards = straight(-18, 20, 10, 0, until_sec=1.1)(t)[0]
        x = towards if t < 1.8 else max(-18.0, towards - 5 * (t - 1.8)) if t < 3.2 else -14 + 10 * min(t - 3.2, 0.75)
        return (x, 20.0, 90.0)

    tracks = film([User(1, again), User(2, straight(0, 19.5)), *PARKED], seconds=5.5, **MAST)
    (event,) = found(tracks)
    assert event["end_sec"] - event["start_sec"] > 2
    apart = found(tracks, settings=SETTINGS.model_copy(update={"debounce_sec": 0.6}))
    assert len(apart) == 2


def test_unfollowed_and_still_boxes_and_doubtful_ones_make_no_event():
    tracks = film([*CRASH, *PARKED], **MAST)
    of_2 = pl.col("track_id") == 2
    assert found(tracks.with_columns(still=of_2)) == []
    assert found(tracks.with_columns(track_id=pl.when(of_2).then(None).otherwise("track_id"))) == []
    assert found(tracks.with_columns(confidence=pl.when(of_2).then(0.35).otherwise("confidence"))) == []
    assert found(tracks.clear()) == []


def test_a_rate_that_is_no_rate_is_refused():
    with pytest.raises(InputError, match="rate_hz must be a positive number of frames a second, got 0"):
        find_near_misses_v2(film(CRASH), NO_CONFLICTS, FRAME, 0, SETTINGS)


WHAT = (
    "actors",
    "timestamp_sec",
    "start_sec",
    "end_sec",
    "ttc_sec",
    "closing_mps",
    "gap_m",
    "risk_score",
    "risk_level",
)
BOX = ("x1_px", "y1_px", "x2_px", "y2_px")


def alike(one, two, *, shift_sec=0.0):
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        for name in WHAT:
            if isinstance(a[name], float):
                shifted = shift_sec if name in ("timestamp_sec", "start_sec", "end_sec") else 0.0
                assert a[name] + shifted == pytest.approx(b[name], rel=1e-6, abs=1e-6), name
            elif name != "actors":
                assert a[name] == b[name]


scenes = st.fixed_dictionaries(
    {"noise_px": st.sampled_from([0.0, 0.5]), "seed": st.integers(0, 100), "camera": st.sampled_from([DASHCAM, MAST])}
).map(lambda s: film([*CRASH, *PARKED], seconds=3.0, noise_px=s["noise_px"], seed=s["seed"], **s["camera"]))


@settings(max_examples=15, deadline=None)
@given(tracks=scenes, factor=st.sampled_from([0.5, 2.0, 3.0]))
def test_resolution_does_not_matter(tracks, factor):
    scaled = tracks.with_columns(*(pl.col(name) * factor for name in BOX))
    border = 20 * factor  # so that the border, 3 px at least, cuts the same boxes in both
    inside = (pl.col("x1_px") > 20) & (pl.col("x2_px") < FRAME[0] - 20) & (pl.col("y2_px") < FRAME[1] - 20)
    inside_scaled = (
        (pl.col("x1_px") > border)
        & (pl.col("x2_px") < FRAME[0] * factor - border)
        & (pl.col("y2_px") < FRAME[1] * factor - border)
    )
    frame = (int(FRAME[0] * factor), int(FRAME[1] * factor))
    alike(found(tracks.filter(inside)), found(scaled.filter(inside_scaled), frame=frame))


@settings(max_examples=10, deadline=None)
@given(tracks=scenes, shift_sec=st.floats(0.0, 3000.0))
def test_when_it_happens_does_not_matter(tracks, shift_sec):
    later = tracks.with_columns(pl.col("timestamp_sec") + shift_sec, pl.col("frame_index") + 700)
    alike(found(tracks), found(later), shift_sec=shift_sec)


@settings(max_examples=10, deadline=None)
@given(tracks=scenes)
def test_left_and_right_do_not_matter(tracks):
    mirrored = tracks.with_columns(x1_px=FRAME[0] - pl.col("x2_px"), x2_px=FRAME[0] - pl.col("x1_px"))
    alike(found(tracks), found(mirrored))


@settings(max_examples=10, deadline=None)
@given(tracks=scenes, ids=st.permutations([1, 2, 90, 91, 92, 93]))
def test_numbers_do_not_matter(tracks, ids):
    new = dict(zip([1, 2, 90, 91, 92, 93], ids, strict=True))
    other = found(
        tracks.with_columns(pl.col("track_id").replace_strict(new, return_dtype=pl.Int64)).sample(
            fraction=1.0, shuffle=True, seed=3
        )
    )
    alike(found(tracks), other)
    assert {other[0]["object_id_1"], other[0]["object_id_2"]} == {new[1], new[2]}


@settings(max_examples=10, deadline=None)
@given(
    rate_hz=st.sampled_from([4.0, 5.0, 15.0, 30.0]),
    camera=st.sampled_from([DASHCAM, MAST]),
    speed=st.floats(7.0, 9.0),
)
def test_the_rate_does_not_matter(rate_hz, camera, speed):
    # both slow enough to be seen for 1.5 s and more before they meet
    users = [
        User(1, straight(-2.0 * speed, 20, speed, until_sec=1.75)),
        User(2, straight(0, 36, 0, -8, until_sec=1.75)),
        *PARKED,
    ]
    (slow,), (usual,) = (found(film(users, rate_hz=rate, **camera), rate_hz=rate) for rate in (rate_hz, 10.0))
    assert slow["actors"] == usual["actors"]
    assert slow["timestamp_sec"] == pytest.approx(usual["timestamp_sec"], abs=1.1 / min(rate_hz, 10))
    assert slow["risk_level"] == usual["risk_level"]


def conflict(
    track_id, frames, *, ttc=np.inf, course=True, in_path=True, drac=None, closing=None, headway=None, distance=None
):
    """Rows of CONFLICT_MEASURES at 10 a second; each argument is a number or a function of time."""

    def at(value, t):
        return value(t) if callable(value) else value

    return [
        dict.fromkeys(tables.CONFLICT_MEASURES)
        | {
            "frame_index": frame,
            "timestamp_sec": frame / 10,
            "track_id": track_id,
            "label": "car",
            "ttc_sec": at(ttc, frame / 10),
            "in_own_path": at(in_path, frame / 10),
            "on_collision_course": at(course, frame / 10),
            "distance_m": at(distance, frame / 10),
            "closing_mps": at(closing, frame / 10),
            "headway_sec": at(headway, frame / 10),
            "drac_mps2": at(drac, frame / 10),
        }
        for frame in frames
    ]


def with_us(track_id=1, frames=range(41), **measured):
    tracks = film([User(track_id, straight(0, 30))])
    tracks = tracks.filter(pl.col("frame_index").is_in(list(frames)))
    return tracks, tables.frame(conflict(track_id, frames, **measured), tables.CONFLICT_MEASURES)


def test_closing_on_a_lead_car_is_an_event_of_the_own_vehicle():
    # 20 m ahead at 0 s, closing at 6 m/s for 2.5 s, then held off: TTC 3.3 s falls to 0.83 s (5 m left)
    tracks, conflicts = with_us(
        ttc=lambda t: (20 - 6 * t) / 6 if t <= 2.5 else np.inf,
        course=lambda t: t <= 2.5,
        closing=lambda t: 6.0 if t <= 2.5 else 0.0,
        distance=lambda t: 20 - 6 * min(t, 2.5),
    )
    (event,) = found(tracks, conflicts=conflicts)
    assert event["actors"] == "own vehicle and car 1"
    assert (event["object_id_1"], event["object_id_2"], event["class_2"], event["distance_px"]) == (1, None, None, None)
    assert event["timestamp_sec"] == 2.5
    assert event["ttc_sec"] == pytest.approx(5 / 6)
    # TTC comes under 2.0 s after 1.33 s
    assert (event["start_sec"], event["end_sec"]) == (pytest.approx(1.4), 2.5)
    assert event["risk_score"] == pytest.approx(1 - 5 / 18)  # of 3 s; closing over 5 m/s counts fully
    assert event["risk_level"] == "High"


def test_hard_braking_needed_from_far_is_an_event_before_the_time_is_short():
    # 25 m/s faster, 75 m: TTC 3 s, DRAC 625 / 150 = 4.2 m/s2
    tracks, conflicts = with_us(ttc=3.0, closing=25.0, distance=75.0, drac=625 / 150)
    (event,) = found(tracks, conflicts=conflicts)
    assert event["evidence"].startswith("needs braking at 4.2 m/s2")
    assert event["risk_score"] == pytest.approx(625 / 150 / 8)


@pytest.mark.parametrize(
    "measured",
    [
        {"ttc": 1.0, "course": False},  # passes beside
        {"ttc": 2.5},  # long enough
        {"ttc": np.inf},
        {"ttc": None},
        {"ttc": lambda t: 1.0 if t in (1.0, 1.1) else np.inf},  # two samples: noise
        {"ttc": lambda t: 1.9 if t == 1.0 else 2.5},  # one sample short enough to begin with, all others only to go on
        {"ttc": 3.0, "drac": 5.0, "closing": 25.0, "in_path": False},  # oncoming in a bend: it turns with its lane
        {"headway": 0.5},  # follows closely, but was always there
        {"headway": 1.5, "in_path": lambda t: t > 2},  # cuts in far ahead
        {"headway": 0.5, "in_path": False},  # beside
    ],
)
def test_what_is_no_conflict_with_the_own_vehicle(measured):
    tracks, conflicts = with_us(**({"ttc": np.inf} | measured))
    assert found(tracks, conflicts=conflicts) == []


def test_one_who_cuts_in_close_ahead_is_an_event_though_nobody_closes():
    tracks, conflicts = with_us(headway=0.4, in_path=lambda t: t >= 1.95, course=False, distance=6.0)
    (event,) = found(tracks, conflicts=conflicts)
    assert event["actors"] == "own vehicle and car 1"
    assert event["start_sec"] == 2.0
    assert event["evidence"].startswith("cuts in 0.4 s ahead")
    assert event["risk_score"] == pytest.approx(1 - 0.4 / 1.4)


def test_slow_closing_in_a_queue_counts_in_proportion():
    # 1 s left at 1 m/s: two thirds of the margin, times one fifth
    tracks, conflicts = with_us(ttc=1.0, closing=1.0, distance=1.0)
    (event,) = found(tracks, conflicts=conflicts)
    assert event["risk_score"] == pytest.approx(2 / 3 / 5)
    assert event["risk_level"] == "Low"


def test_own_events_follow_a_road_user_through_a_new_number():
    tracks, conflicts = with_us(ttc=1.2)
    tracks, conflicts = (renumbered(table, 2.0, 1, 9) for table in (tracks, conflicts))
    (event,) = found(tracks, conflicts=conflicts)
    assert (event["start_sec"], event["end_sec"]) == (0.0, 4.0)


@pytest.mark.parametrize(("score", "level"), [(2 / 3, "High"), (0.66, "Medium"), (0.5, "Medium"), (0.49, "Low")])
def test_levels(score, level):
    assert risk_level(score) == level


OWN_EVENT = ("timestamp_sec", "start_sec", "end_sec", "ttc_sec", "risk_score", "risk_level", "gap_m")
SCENE_MIRRORED = {"x1_px": SCENE_FRAME[0] - pl.col("x2_px"), "x2_px": SCENE_FRAME[0] - pl.col("x1_px")}


@settings(max_examples=8, deadline=None)
@given(
    speed=st.floats(6, 12),
    aside_m=st.floats(-0.6, 0.6),
    parked_m=st.floats(5, 8),
    shift_sec=st.sampled_from([0.0, 64.0, 1000.0]),
    ids=st.permutations([1, 2, 50]),
)
def test_an_event_of_the_own_vehicle_from_boxes_alone_knows_no_side_no_clock_and_no_number(
    speed, aside_m, parked_m, shift_sec, ids
):
    """Closing on a car ahead that stands, past a parked one: boxes, measures and event, the whole way."""
    users = [
        RoadUser(1, lambda t: (aside_m, 35 - speed * t)),
        RoadUser(2, lambda t: (parked_m, 40 - speed * t)),
    ]
    tracks = tracks_of(users, 2.5)

    def own_events(seen):
        conflicts = conflict_measures(seen, tables.empty(tables.EGO_MOTION), SCENE_FRAME, CameraSettings())
        return [event for event in found(seen, conflicts=conflicts, frame=SCENE_FRAME) if event["object_id_2"] is None]

    new = dict(zip((1, 2), ids, strict=False))
    renamed = tracks.with_columns(pl.col("track_id").replace_strict(new, return_dtype=pl.Int64))
    changed = renamed.with_columns(pl.col("timestamp_sec") + shift_sec, **SCENE_MIRRORED)
    one, other = own_events(tracks), own_events(changed)
    assert [new[event["object_id_1"]] for event in one] == [event["object_id_1"] for event in other]
    for a, b in zip(one, other, strict=True):
        for name in OWN_EVENT:
            shifted = shift_sec if name in ("timestamp_sec", "start_sec", "end_sec") else 0.0
            assert a[name] == b[name] if name == "risk_level" else a[name] + shifted == pytest.approx(b[name], rel=1e-5)
    if speed > 9:  # 35 m at over 9 m/s for 2.4 s: under 13.4 m and 1.5 s are left
        assert [event["object_id_1"] for event in one] == [1]
