"""The signals on real footage, read in place: what a viewer hears and sees is what scores.

Detections are left out (no road user), so that these tests need no weights: sound and flow alone must find the dangers.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.mining.audio import AudioSignals
from autorisk_dagster.mining.candidates import Candidate, find_candidates
from autorisk_dagster.mining.fusion import score_windows
from autorisk_dagster.mining.motion import MotionSignals
from autorisk_dagster.mining.proximity import proximity_windows
from autorisk_dagster.mining.windows import FrameCounts, assemble, window_count
from autorisk_dagster.profile import MiningSettings
from autorisk_dagster.video.reader import AudioBlock, VideoReader

FOOTAGE = Path(__file__).parents[2].parent / "shared" / "data" / "video"
WINDOW_SEC = 0.5
SETTINGS = MiningSettings(flow_full_px=20.0, flow_variance_full_px2=300.0, min_score=0.2)


def mine(name: str, duration_sec: float) -> tuple[pl.DataFrame, list[Candidate]]:
    path = FOOTAGE / name
    if not path.is_file():
        pytest.skip(f"test footage {name} is not on this machine")
    counts, audio, motion = FrameCounts(WINDOW_SEC), AudioSignals(WINDOW_SEC), MotionSignals(WINDOW_SEC)
    next_sec = 0.0
    with VideoReader(path) as reader:
        for item in reader:
            if isinstance(item, AudioBlock):
                audio.add(item.start_sec, item.samples)
                continue
            counts.add(item.timestamp_sec)
            if item.timestamp_sec >= next_sec - 1e-6:
                next_sec = item.timestamp_sec + 0.1
                motion.add(item.timestamp_sec, item.gray(240))
    windows = window_count(duration_sec, WINDOW_SEC)
    signals = assemble(
        duration_sec,
        WINDOW_SEC,
        counts=counts.finish(duration_sec),
        audio=audio.finish(duration_sec),
        motion=motion.finish(duration_sec),
        proximity=proximity_windows(tables.empty(tables.TRACKS), (640, 360), windows, WINDOW_SEC),
    )
    scores = score_windows(tables.check(signals, tables.FRAME_SIGNALS), SETTINGS)
    return scores, find_candidates(scores, SETTINGS, duration_sec)


def test_the_horn_leads_the_sound_and_a_clip_shows_the_merge() -> None:
    scores, found = mine("merge_near_miss_horn.mp4", 17.167)
    loudest = scores.sort("audio_score", descending=True)
    # The horn sounds at 7.6-7.9 and 8.1-8.25 s.
    assert sorted(loudest["start_sec"].head(2).to_list()) == [7.5, 8.0]
    assert loudest["audio_score"][1] > 1.8 * loudest["audio_score"][2]
    # The car merges at 5.0-8.2 s.
    assert any(clip.start_sec <= 5.0 and clip.end_sec >= 8.2 for clip in found)


def test_steady_motorway_driving_without_a_conflict_is_no_candidate() -> None:
    scores, found = mine("highway_day_negative.mp4", 8.84)
    assert scores["audio_score"].to_list() == [0.0] * 18  # a silent track is silence, not null
    assert found == []


def test_a_recording_without_sound_has_null_audio_scores() -> None:
    scores, _ = mine("residential_parked.mp4", 2.5)
    assert scores["audio_score"].null_count() == scores.height == 5
