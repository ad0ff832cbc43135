"""Time to contact of clips: minimum, critical tracks, null against inf, noise that must not count."""

import math

import numpy as np
import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.kinematics.clip_ttc import clip_ttc, lasting
from autorisk_dagster.profile import TtcSettings

FRAME = (1280, 720)
TIMES = np.arange(0, 6, 0.1)


def track(track_id, height_px, *, times=TIMES, labels=("car",), noise_px=0.0, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for i, (time, height) in enumerate(zip(times, np.broadcast_to(height_px, len(times)), strict=True)):
        x1, y1, x2, y2 = np.array(
            [600 - height / 2, 350 - height / 2, 600 + height / 2, 350 + height / 2]
        ) + rng.normal(0, noise_px, 4)
        rows.append(
            {
                "frame_index": i,
                "source_frame": i,
                "timestamp_sec": float(time),
                "scene_index": 0,
                "track_id": track_id,
                "road_user": "vehicle",
                "label": labels[i % len(labels)],
                "confidence": 0.8,
                "x1_px": x1,
                "y1_px": y1,
                "x2_px": x2,
                "y2_px": y2,
                "still": False,
            }
        )
    return tables.frame(rows, tables.TRACKS)


def approach(contact_sec, last_height_px=200.0):
    """Heights of a flat target that arrives at `contact_sec`."""
    return last_height_px * (contact_sec - TIMES[-1]) / (contact_sec - TIMES)


def measured(tracks, *spans, **settings):
    clips = pl.DataFrame(
        {
            "clip_id": [f"c{i}" for i in range(len(spans))],
            "start_sec": [span[0] for span in spans],
            "end_sec": [span[1] for span in spans],
        },
        schema={"clip_id": pl.String, "start_sec": pl.Float64, "end_sec": pl.Float64},
    )
    table = clip_ttc(tracks, clips, FRAME, TtcSettings(**settings))
    tables.check(table, tables.CLIP_TTC)
    return table.to_dicts()


def test_the_minimum_is_that_of_the_clip_not_of_the_track():
    # contact at 8 s; the last sample before 4 s is 3.9 s: 4.1 s left; before 6 s it is 5.9 s: 2.1 s left
    tracks = track(3, approach(8.0), labels=("car", "car", "truck"))
    early, late = measured(tracks, (2, 4), (4, 6))
    assert early["min_ttc_sec"] == pytest.approx(4.1, rel=0.05)
    assert late["min_ttc_sec"] == pytest.approx(2.1, rel=0.07)
    assert late["min_ttc_low_sec"] < 2.1 < late["min_ttc_high_sec"]
    assert late["min_ttc_at_sec"] == pytest.approx(5.9)
    assert late["min_ttc_track_id"] == 3
    assert late["min_ttc_label"] == "car"
    assert late["min_area_tau_sec"] == pytest.approx(late["min_ttc_sec"] / 2)
    # [4, 6) at 10 Hz: 20 samples, all answered because the track is known before
    assert (late["tracks"], late["samples"], len(late["timeline"])) == (1, 20, 20)


def test_critical_is_the_area_form_significantly_under_its_limit():
    # time left down to 2.1 s and 6.1 s: half of it 1.05 s and 3.05 s, upper bounds near 1.3 s and 3.7 s
    tracks = pl.concat([track(1, approach(8.0)), track(2, approach(12.0)), track(9, 80.0)])
    (row,) = measured(tracks, (0, 6))
    assert row["critical_tracks"] == 1
    assert row["min_ttc_track_id"] == 1
    assert measured(tracks, (0, 6), critical_area_tau_sec=0.9)[0]["critical_tracks"] == 0
    assert measured(tracks, (0, 6), critical_area_tau_sec=4.5)[0]["critical_tracks"] == 2


def test_nothing_approaching_is_inf_and_nothing_measured_is_null():
    away = track(1, approach(8.0)[::-1])
    few = track(2, 90.0, times=TIMES[:3])
    for tracks in (away, track(1, 90.0)):
        (row,) = measured(tracks, (0, 6))
        assert row["min_ttc_sec"] == row["min_area_tau_sec"] == math.inf
        assert row["critical_tracks"] == 0
        assert row["min_ttc_at_sec"] is row["min_ttc_track_id"] is row["min_ttc_label"] is None
    for tracks, count in ((few, 1), (tables.empty(tables.TRACKS), 0)):
        (row,) = measured(tracks, (0, 6))
        assert row["min_ttc_sec"] is row["min_area_tau_sec"] is row["critical_tracks"] is None
        assert (row["tracks"], row["samples"]) == (count, 0)


@pytest.mark.parametrize("changed", [{"still": True}, {"track_id": None}])
def test_still_and_unfollowed_boxes_are_not_measured(changed):
    tracks = track(1, approach(8.0)).with_columns(
        pl.lit(value, dtype=tables.TRACKS[name]).alias(name) for name, value in changed.items()
    )
    (row,) = measured(tracks, (0, 6))
    assert row["tracks"] == 0
    assert row["min_ttc_sec"] is None


def test_a_parked_box_with_detector_noise_never_approaches():
    for seed in range(60):
        (row,) = measured(track(1, 60.0, noise_px=2.0, seed=seed), (0, 6))
        assert row["min_ttc_sec"] == math.inf, seed
        assert row["critical_tracks"] == 0


def test_a_real_approach_is_found_through_the_same_noise():
    found = [measured(track(1, approach(9.0), noise_px=2.0, seed=seed), (0, 6))[0]["min_ttc_sec"] for seed in range(20)]
    assert np.isfinite(found).all()
    assert np.median(found) == pytest.approx(3.1, rel=0.15)  # 9.0 - 5.9; a minimum leans to the low side


def test_the_timeline_is_in_order_and_says_where_it_cannot():
    tracks = pl.concat([track(4, approach(9.0)), track(2, 60.0)])
    (row,) = measured(tracks, (0, 1))
    keys = [(sample["timestamp_sec"], sample["track_id"]) for sample in row["timeline"]]
    assert keys == sorted(keys)
    # of each track the first 3 of 10 samples are too few to say
    assert [sample["ttc_sec"] is None for sample in row["timeline"]] == [True] * 6 + [False] * 14
    assert row["samples"] == 14


def test_a_clip_ends_before_its_end():
    (row,) = measured(track(1, 80.0), (1.0, 2.0))
    times = [sample["timestamp_sec"] for sample in row["timeline"]]
    assert (times[0], times[-1], len(times)) == (pytest.approx(1.0), pytest.approx(1.9), 10)


def test_no_clips_no_rows():
    assert measured(track(1, 80.0)) == []


@pytest.mark.parametrize(
    ("rate_hz", "pattern", "expected"),
    [
        (10, "0111110", "0111110"),  # five samples over 0.4 s
        (10, "0111100", "0000000"),  # 0.3 s
        (10, "1111011", "0000000"),
        (4, "0111000", "0111000"),  # three samples over 0.5 s
        (4, "0110000", "0000000"),  # two samples
        (30, "1111111", "0000000"),  # 0.2 s
    ],
)
def test_an_approach_lasts(rate_hz, pattern, expected):
    holds = np.array([mark == "1" for mark in pattern])
    found = lasting(np.arange(len(holds)) / rate_hz, holds)
    assert "".join("01"[value] for value in found.astype(int)) == expected


def test_ids_are_only_names():
    one = pl.concat([track(1, approach(8.0)), track(2, approach(12.0)), track(3, 80.0, noise_px=1.0)])
    other = one.with_columns(pl.col("track_id").replace({1: 30, 2: 10, 3: 20}))
    (first,), (second,) = measured(one, (0, 6)), measured(other, (0, 6))
    assert (first["min_ttc_track_id"], second["min_ttc_track_id"]) == (1, 30)
    for name in ("tracks", "samples", "min_ttc_sec", "min_ttc_low_sec", "min_ttc_high_sec", "critical_tracks"):
        assert first[name] == second[name], name

    def by_time(row, names):
        return sorted(
            (sample["timestamp_sec"], names.get(sample["track_id"], sample["track_id"]), sample["ttc_sec"] or -1.0)
            for sample in row["timeline"]
        )

    assert by_time(first, {1: 30, 2: 10, 3: 20}) == by_time(second, {})


def test_the_minimum_is_sure_not_lowest():
    # a parked, badly seen box reads lower than the real approach now and then, never for sure
    lower = 0
    for seed in range(20):
        (row,) = measured(pl.concat([track(1, approach(9.0)), track(2, 30.0, noise_px=3.0, seed=seed)]), (0, 6))
        of_parked = [s["ttc_sec"] for s in row["timeline"] if s["track_id"] == 2 and s["ttc_sec"] is not None]
        lower += min(of_parked) < row["min_ttc_sec"]
        assert row["min_ttc_track_id"] == 1, seed
    assert lower > 0
