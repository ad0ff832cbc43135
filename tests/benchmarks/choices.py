"""What the pass saves by looking less, and what that costs: flow at other sizes and rates, detections likewise.

Flow is judged by how it ranks the windows of all videos together (Spearman), beside Farneback at 480 px short edge on
every third frame, as seed 000 reads it: chained (1st with 4th) or each third frame with its neighbour. Detections are
judged by the results: least time to contact, near misses of both versions.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import spearmanr

from autorisk_dagster.kinematics.clip_ttc import clip_ttc
from autorisk_dagster.kinematics.conflict_measures import conflict_measures
from autorisk_dagster.kinematics.events import find_near_misses, processed_rate_hz
from autorisk_dagster.kinematics.near_miss_v2 import find_near_misses_v2
from autorisk_dagster.mining.motion import MAX_GAP_SEC, MotionSignals
from autorisk_dagster.mining.one_pass import SampleClock, perceive
from autorisk_dagster.mining.windows import window_of
from autorisk_dagster.perception.detections import Detections, Detector
from autorisk_dagster.perception.nanodet import NanoDetDetector
from autorisk_dagster.profile import Profile
from autorisk_dagster.video.frames import reduced
from autorisk_dagster.video.probe import VideoFacts, probe
from autorisk_dagster.video.reader import VideoFrame, VideoReader

Gray = NDArray[np.uint8]
Means = dict[tuple[str, int], float]  # by video and window

FIXED_CAMERA = ("intersection_crash",)
SEED_PX, SEED_EVERY = 480, 3
SEED_READINGS = ("chained", "neighbours")
FLOW_VARIANTS = {  # short edge px, of how many pairs one is taken
    "240 px, ten pairs a second (the product)": (240, 1),
    "240 px, every second pair": (240, 2),
    "240 px, every third pair": (240, 3),
    "160 px": (160, 1),
}
RATE_DIVISORS = (1, 2, 3)
STILL_LEVELS = (4.0, 8.0, 16.0, 24.0)
_LOOK_PX = (104, 58)  # of the pictures whose change is measured
_PATCH = 8  # px of those


def flow_choices(videos: list[Path]) -> list[dict[str, Any]]:
    """Of each variant its cost and its four rank correlations."""
    window_sec = Profile(name="benchmark").perception.window_sec
    found: dict[str, Means] = defaultdict(dict)
    cpu_sec, pairs = Counter[str](), Counter[str]()
    for video in videos:
        frames = _frames(video)
        for reading in SEED_READINGS:
            begun = time.process_time()
            found[reading] |= _as_the_seed(video.stem, frames, reading, window_sec)
            cpu_sec[reading] += time.process_time() - begun
            pairs[reading] += len(frames) // SEED_EVERY
        for name, (edge_px, every) in FLOW_VARIANTS.items():
            begun = time.process_time()
            means, counted = _as_ours(video.stem, frames, edge_px, every, window_sec)
            cpu_sec[name] += time.process_time() - begun
            pairs[name] += counted
            found[name] |= means
    rows = []
    for name in (*FLOW_VARIANTS, *SEED_READINGS):
        row: dict[str, Any] = {"variant": name, "ms_a_pair": 1000 * cpu_sec[name] / pairs[name]}
        for where in ("all", "driving"):
            for reading in SEED_READINGS:
                row[f"{where} {reading}"] = _rank_agreement(found[name], found[reading], where == "driving")
        rows.append(row)
    return rows


def detection_choices(videos: list[Path]) -> list[dict[str, Any]]:
    """Of each variant the frames that the detector saw, and by video what was found."""
    profile = Profile(name="benchmark")
    limits = profile.perception
    facts = {video: probe(video) for video in videos}
    seen: dict[Path, _Records] = {}
    for video in videos:
        seen[video] = _Records(NanoDetDetector(limits.min_confidence, limits.nms_iou))
        perceive(video, facts[video].duration_sec, seen[video], limits)
    rows = []
    for divisor in RATE_DIVISORS:
        rate_hz = limits.detection_rate_hz / divisor
        rows.append(_row(f"{rate_hz:.3g} a second", rate_hz, facts, {v: _Replays(seen[v]) for v in videos}))
    for levels in STILL_LEVELS:
        still: dict[Path, _Replays] = {v: _SkipsStill(seen[v], levels) for v in videos}
        name = f"10 a second, none where no patch changed by {levels:g} grey levels"
        rows.append(_row(name, limits.detection_rate_hz, facts, still))
    return rows


@dataclass(frozen=True)
class _Seen:
    timestamp_sec: float
    gray: dict[int, Gray]  # by short edge


class _Records:
    """The true detector, whose answers are kept."""

    def __init__(self, inner: Detector) -> None:
        self._inner = inner
        self.model_id, self.model_revision = inner.model_id, inner.model_revision
        self.input_long_edge_px = inner.input_long_edge_px
        self.found: dict[bytes, Detections] = {}  # by picture

    def detect(self, frames_bgr: list[NDArray[np.uint8]]) -> list[Detections]:
        found = self._inner.detect(frames_bgr)
        self.found |= {frame.tobytes(): each for frame, each in zip(frames_bgr, found, strict=True)}
        return found


class _Replays:
    """The recorded answers: the frames of a lower rate are among those of the higher."""

    def __init__(self, seen: _Records) -> None:
        self.model_id, self.model_revision = seen.model_id, seen.model_revision
        self.input_long_edge_px = seen.input_long_edge_px
        self._found = seen.found
        self.looked = 0

    def detect(self, frames_bgr: list[NDArray[np.uint8]]) -> list[Detections]:
        self.looked += len(frames_bgr)
        return [self._found[frame.tobytes()] for frame in frames_bgr]


class _SkipsStill(_Replays):
    """Says again what it said, until some patch of the picture has changed by so many grey levels since it looked."""

    def __init__(self, seen: _Records, levels: float) -> None:
        super().__init__(seen)
        self._levels = levels
        self._last: tuple[NDArray[np.float32], Detections] | None = None

    def detect(self, frames_bgr: list[NDArray[np.uint8]]) -> list[Detections]:
        return [self._answer(frame) for frame in frames_bgr]

    def _answer(self, frame_bgr: NDArray[np.uint8]) -> Detections:
        gray: Any = cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2GRAY)
        small = reduced(gray, *_LOOK_PX).astype(np.float32)
        if self._last is not None:
            changed = cv2.blur(cv2.absdiff(small, self._last[0]), (_PATCH, _PATCH))
            if float(np.max(changed)) < self._levels:
                return self._last[1]
        (found,) = super().detect([frame_bgr])
        self._last = small, found
        return found


def _row(name: str, rate_hz: float, facts: dict[Path, VideoFacts], detectors: dict[Path, _Replays]) -> dict[str, Any]:
    profile = Profile(name="benchmark")
    settings = profile.perception.model_copy(update={"detection_rate_hz": rate_hz})
    results = {}
    for video, fact in facts.items():
        found = perceive(video, fact.duration_sec, detectors[video], settings)
        size = fact.width_px, fact.height_px
        whole = pl.DataFrame({"clip_id": ["all"], "start_sec": [0.0], "end_sec": [fact.duration_sec + 1]})
        true_rate_hz = processed_rate_hz(rate_hz, fact.mean_fps)
        conflicts = conflict_measures(found.tracks, found.ego_motion, size, profile.camera)
        first = find_near_misses(found.tracks, profile.near_miss, true_rate_hz)
        second = find_near_misses_v2(found.tracks, conflicts, size, true_rate_hz, profile.near_miss_v2)
        results[video.stem] = {
            "min_ttc_sec": clip_ttc(found.tracks, whole, size, profile.ttc)["min_ttc_sec"][0],
            "near_misses": first.height,
            "near_misses_v2": dict(Counter(second["risk_level"].to_list())),
        }
    return {"variant": name, "looked": sum(d.looked for d in detectors.values()), "videos": results}


def _frames(video: Path) -> list[_Seen]:
    with VideoReader(video, audio=False) as reader:
        edges = {SEED_PX, *(edge for edge, _ in FLOW_VARIANTS.values())}
        return [
            _Seen(item.timestamp_sec, {edge: item.gray(edge) for edge in edges})
            for item in reader
            if isinstance(item, VideoFrame)
        ]


def _as_the_seed(name: str, frames: list[_Seen], reading: str, window_sec: float) -> Means:
    firsts = range(0, len(frames) - 1, SEED_EVERY)
    step = SEED_EVERY if reading == "chained" else 1
    values: dict[int, list[float]] = defaultdict(list)
    for first in firsts:
        if first + step >= len(frames):
            break
        one, two = frames[first], frames[first + step]
        gap_sec = two.timestamp_sec - one.timestamp_sec
        if gap_sec > MAX_GAP_SEC:
            continue
        before, after = one.gray[SEED_PX], two.gray[SEED_PX]
        flow = cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
        length_px = float(cv2.magnitude(flow[..., 0], flow[..., 1]).mean()) / min(before.shape)
        values[window_of((one.timestamp_sec + two.timestamp_sec) / 2, window_sec)].append(length_px / gap_sec)
    return {(name, window): float(np.mean(each)) for window, each in values.items()}


def _as_ours(name: str, frames: list[_Seen], edge_px: int, every: int, window_sec: float) -> tuple[Means, int]:
    """The means of the windows, and of how many pairs."""
    signals, clock = MotionSignals(window_sec), SampleClock(Profile(name="benchmark").perception.flow_rate_hz)
    taken = pairs = 0
    for frame in frames:
        if clock.due(frame.timestamp_sec):
            left_out = taken % every != 1 % every  # the pair that ends here is not measured
            pairs += signals.add(frame.timestamp_sec, frame.gray[edge_px], left_out) is not None
            taken += 1
    table = signals.finish(frames[-1].timestamp_sec + 0.01)
    means = {(name, window): value for window, value in enumerate(table["flow_mean_px"]) if value is not None}
    return means, pairs


def _rank_agreement(ours: Means, theirs: Means, driving: bool) -> float:
    both = [key for key in ours if key in theirs and not (driving and key[0] in FIXED_CAMERA)]
    return float(spearmanr([ours[key] for key in both], [theirs[key] for key in both]).statistic)
