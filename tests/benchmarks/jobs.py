"""What a measured child process can be asked to do. Every job gets its order and the laps it must call.

Detector threads: as many as the process has cores. Everything else is left as the product sets it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.laps import Laps, Timers

Order = dict[str, Any]
Facts = dict[str, Any]


def decode(order: Order, laps: Laps) -> Facts:
    """The floor: PyAV decodes the file's video and sound once, and nothing else."""
    laps.lap("start")
    frames = _decode_once(order["video"])
    laps.lap("decode")
    return {"frames": frames}


def over_floor(order: Order, laps: Laps) -> Facts:
    """The floor and the product but its detector and clips, in turn; the detector's answers are remembered."""
    from autorisk_dagster.kinematics.clip_ttc import clip_ttc
    from autorisk_dagster.kinematics.events import find_near_misses, processed_rate_hz
    from autorisk_dagster.mining.candidates import find_candidates
    from autorisk_dagster.mining.fusion import score_windows
    from autorisk_dagster.mining.one_pass import perceive
    from autorisk_dagster.profile import Profile
    from autorisk_dagster.video.probe import probe

    profile, video = Profile(name="benchmark"), Path(order["video"])
    facts = probe(video)
    detector = _Remembers(_detector(profile))
    seen = perceive(video, facts.duration_sec, detector, profile.perception)
    _decode_once(order["video"])
    laps.lap("start")
    for _ in range(order["times"]):
        _decode_once(order["video"])
        laps.lap("floor")
        facts = probe(video)
        laps.lap("probe")
        detector.again()
        found = perceive(video, facts.duration_sec, detector, profile.perception)
        laps.lap("pass")
        scores = score_windows(found.signals, profile.mining)
        own = [(c.start_sec, c.end_sec) for c in find_candidates(scores, profile.mining, facts.duration_sec)]
        clip_ttc(found.tracks, _clip_table(own), (facts.width_px, facts.height_px), profile.ttc)
        rate_hz = processed_rate_hz(profile.perception.detection_rate_hz, facts.mean_fps or 0.0)
        find_near_misses(found.tracks, profile.near_miss, rate_hz)
        laps.lap("after")
    return {"picture": _picture(facts), "identical": found.tracks.equals(seen.tracks)}


def ours(order: Order, laps: Laps) -> Facts:
    """The product from file to near misses, then its clips and their TTC again for the reference's windows."""
    import supervision  # noqa: F401  what the pass imports on first use, half a second, is not the pass
    import trackers  # noqa: F401

    from autorisk_dagster.kinematics.clip_ttc import clip_ttc
    from autorisk_dagster.kinematics.events import find_near_misses, processed_rate_hz
    from autorisk_dagster.mining.candidates import find_candidates
    from autorisk_dagster.mining.fusion import score_windows
    from autorisk_dagster.mining.one_pass import perceive
    from autorisk_dagster.profile import Profile
    from autorisk_dagster.video.probe import probe

    profile, video = Profile(name="benchmark"), Path(order["video"])
    detector = _detector(profile)
    timers = _stage_timers()
    laps.lap("start")
    facts = probe(video)
    laps.lap("probe")
    found = perceive(video, facts.duration_sec, detector, profile.perception)
    laps.lap("perceive")
    scores = score_windows(found.signals, profile.mining)
    own = [(c.start_sec, c.end_sec) for c in find_candidates(scores, profile.mining, facts.duration_sec)]
    laps.lap("candidates")
    with tempfile.TemporaryDirectory() as folder:
        _cut(video, own, Path(folder))
        laps.lap("clips")
    size = (facts.width_px, facts.height_px)
    clip_ttc(found.tracks, _clip_table(own), size, profile.ttc)
    laps.lap("clip_ttc")
    rate_hz = processed_rate_hz(profile.perception.detection_rate_hz, facts.mean_fps or 0.0)
    find_near_misses(found.tracks, profile.near_miss, rate_hz)
    laps.lap("near_miss")
    theirs = [(start, end) for start, end in order["windows"]]
    with tempfile.TemporaryDirectory() as folder:
        copied = _cut(video, theirs, Path(folder))
        laps.lap("clips of the reference's windows")
    clip_ttc(found.tracks, _clip_table(theirs), size, profile.ttc)
    laps.lap("clip_ttc of the reference's windows")
    return {
        "duration_sec": facts.duration_sec,
        "picture": _picture(facts),
        "sound": facts.audio_source != "none",
        "frames": found.frames_decoded,
        "detector_frames": found.frames_processed,
        "clips": len(own),
        "copied": copied,
        "clip_sec": sum(end - start for start, end in own),
        "stages": timers.cpu_sec,
    }


def theirs(order: Order, laps: Laps) -> Facts:
    """The reference, from file to the TTC of its clips."""
    from autorisk_dagster.profile import Profile
    from autorisk_dagster.video.probe import probe
    from tests.benchmarks.reference import mine

    video = Path(order["video"])
    duration_sec = probe(video).duration_sec
    detector = _detector(Profile(name="benchmark"))
    laps.lap("start")
    with tempfile.TemporaryDirectory() as folder:
        windows, _ = mine(video, duration_sec, detector, Path(folder), laps.lap)
    return {"windows": windows, "clips": len(windows), "clip_sec": sum(end - start for start, end in windows)}


def rules(order: Order, laps: Laps) -> Facts:
    """The rule search of the product and the seed's loops on the same draws and clips, and whether they agree."""
    import numpy as np

    from autorisk_dagster.severity.search import draw_rules, leave_one_out, search_rules
    from tests.benchmarks import reference_rules as plain

    clips, draws = plain.labelled_clips(order["clips"]), order["draws"]
    settings = draw_rules(draws, np.random.default_rng(0))
    each = [vars(settings.rules(draw)) for draw in range(len(settings))]
    rows, records = plain.rows_of(clips), plain.records_of(clips)
    search_rules(clips, settings)  # Polars starts its threads
    laps.lap("start")
    for _ in range(_AGAIN):
        found = search_rules(clips, draw_rules(draws, np.random.default_rng(0)))
    laps.lap("search, ours")
    for _ in range(_AGAIN):
        left_out = leave_one_out(clips, settings)
    laps.lap("leave one out, ours")
    scores = plain.search_plainly(rows, each, plain.tight)
    laps.lap("search, tight loop")
    folds = plain.leave_one_out_plainly(rows, each, plain.tight)
    laps.lap("leave one out, tight loop")
    again = plain.search_plainly(records, each, plain.records)
    laps.lap("search, records")
    if order["records"]:
        folds_again = plain.leave_one_out_plainly(records, each, plain.records)
        laps.lap("leave one out, records")
        plain.search_plainly(records, each, plain.published)
        laps.lap("search, published")
        plain.leave_one_out_plainly(records, each, plain.published)
        laps.lap("leave one out, published")
        again += folds_again
    _divide(laps, ("search, ours", "leave one out, ours"))
    by_draw = found.sort("draw")
    best = [plain.accuracy_without(clips, scores[draw], clip) for clip, draw in enumerate(left_out.draw)]
    return {
        "identical": bool(
            np.array_equal(by_draw["accuracy"].to_numpy(), [s.accuracy for s in scores])
            and np.allclose(by_draw["macro_f1"].to_numpy(), [s.macro_f1 for s in scores], rtol=0, atol=1e-12)
            and [fold.accuracy for fold in folds] == best
            and [s.accuracy for s in again] == [s.accuracy for s in (scores + folds)[: len(again)]]
        )
    }


def near_miss(order: Order, laps: Laps) -> Facts:
    """`NearMissDetector` and the plain pair loop on the same crowd, and whether their events agree."""
    from autorisk_dagster.kinematics.near_miss import NearMissDetector
    from tests.benchmarks.crowd import crowd
    from tests.kinematics.near_miss_reference import ReferenceDetector

    frames = crowd(order["objects"], order["frames"])
    laps.lap("start")
    ours = NearMissDetector()
    mine = [event for index, objects in enumerate(frames) for event in ours.process_frame(index, objects)]
    laps.lap("near misses, ours")
    plain = ReferenceDetector()
    theirs = [event for index, objects in enumerate(frames) for event in plain.process_frame(index, objects)]
    laps.lap("near misses, reference")
    return {"events": len(mine), "identical": mine == theirs}


def tracker(order: Order, laps: Laps) -> Facts:
    """`RoadUserTracker` and a bare ByteTrack of the same package on the same boxes."""
    import supervision
    from trackers import ByteTrackTracker

    from autorisk_dagster.perception.tracker import RoadUserTracker
    from tests.benchmarks.crowd import detections_of_crowd

    frames = detections_of_crowd(order["objects"], order["frames"])
    ours = RoadUserTracker(10.0)
    ours.update(0, 0, 0.0, 0, frames[0])  # imports
    laps.lap("start")
    for index, found in enumerate(frames, start=1):
        ours.update(index, index, index / 10, 0, found)
    laps.lap("tracker, ours")
    bare = ByteTrackTracker(frame_rate=10.0)
    for index, found in enumerate(frames):
        bare.update(supervision.Detections(xyxy=found.xyxy_px, confidence=found.confidence), timestamp=index / 10)
    laps.lap("tracker, bare")
    return {}


def memory(order: Order, laps: Laps) -> Facts:
    """Highest memory of one pass. The detector looks at the first minute, and then repeats what it saw."""
    from itertools import cycle

    from autorisk_dagster.mining.one_pass import perceive
    from autorisk_dagster.profile import Profile
    from autorisk_dagster.video.probe import probe

    profile, video = Profile(name="benchmark"), Path(order["video"])
    detector = _detector(profile)
    limit = round(60 * profile.perception.detection_rate_hz)
    seen: list[Any] = []

    class Repeats:
        model_id, model_revision = detector.model_id, detector.model_revision
        input_long_edge_px = detector.input_long_edge_px
        again = None

        def detect(self, frames_bgr: list[Any]) -> list[Any]:
            if len(seen) < limit:
                found = detector.detect(frames_bgr)
                seen.extend(found)
                return found
            self.again = self.again or cycle(seen)
            return [next(self.again) for _ in frames_bgr]

    laps.lap("start")
    facts = probe(video)
    laps.lap("probe")
    found = perceive(video, facts.duration_sec, Repeats(), profile.perception)
    laps.lap("perceive")
    tables = (found.signals, found.tracks, found.ego_motion)
    return {
        "minutes": facts.duration_sec / 60,
        "boxes": found.tracks.height,
        "tables_mb": sum(table.estimated_size("mb") for table in tables),
    }


def choices(order: Order, laps: Laps) -> Facts:
    """How flow ranks windows beside the seed's, and what other detection rates do to the results."""
    from tests.benchmarks.choices import detection_choices, flow_choices

    videos = [Path(path) for path in order["videos"]]
    laps.lap("start")
    flow = flow_choices(videos)
    laps.lap("flow")
    detections = detection_choices(videos)
    laps.lap("detections")
    return {"flow": flow, "detections": detections}


JOBS: dict[str, Callable[[Order, Laps], Facts]] = {
    "decode": decode,
    "over_floor": over_floor,
    "ours": ours,
    "reference": theirs,
    "rules": rules,
    "near_miss": near_miss,
    "tracker": tracker,
    "memory": memory,
    "choices": choices,
}

_AGAIN = 20  # a search takes milliseconds: one alone is too short to measure


def _divide(laps: Laps, names: tuple[str, ...]) -> None:
    for step in laps.steps:
        if step["name"] in names:
            step["cpu_sec"] /= _AGAIN
            step["wall_sec"] /= _AGAIN


def _decode_once(video: str) -> int:
    """How many frames PyAV gives."""
    import av

    from tests.benchmarks.reference import threaded

    frames = 0
    with av.open(video) as container:
        for packet in container.demux(threaded(container), *container.streams.audio[:1]):
            decoded = packet.decode()
            frames += len(decoded) if packet.stream.type == "video" else 0
    return frames


def _picture(facts: Any) -> str:
    return f"{facts.width_px}x{facts.height_px}, {facts.mean_fps or 0:.4g} frames/s"


class _Remembers:
    """A detector that looks the first time, and after `again` says what it said then, frame by frame."""

    def __init__(self, detector: Any) -> None:
        self.model_id, self.model_revision = detector.model_id, detector.model_revision
        self.input_long_edge_px = detector.input_long_edge_px
        self._detector, self._seen, self._next = detector, [], None

    def again(self) -> None:
        self._next = iter(self._seen)

    def detect(self, frames_bgr: list[Any]) -> list[Any]:
        if self._next is not None:
            return [next(self._next) for _ in frames_bgr]
        found = self._detector.detect(frames_bgr)
        self._seen.extend(found)
        return found


def _detector(profile: Any) -> Any:
    from autorisk_dagster.perception.nanodet import NanoDetDetector

    limits = profile.perception
    return NanoDetDetector(limits.min_confidence, limits.nms_iou, threads=len(os.sched_getaffinity(0)))


def _stage_timers() -> Timers:
    """Timers on the public pieces that the one pass is made of; what none of them sees is reading and decoding."""
    from autorisk_dagster.mining.audio import AudioSignals
    from autorisk_dagster.mining.motion import MotionSignals
    from autorisk_dagster.mining.own_motion import OwnMotion
    from autorisk_dagster.perception.nanodet import NanoDetDetector
    from autorisk_dagster.perception.tracker import RoadUserTracker
    from autorisk_dagster.video.frames import VideoFrame
    from autorisk_dagster.video.scenes import SceneCutDetector

    timers = Timers()
    timers.watch("sound", AudioSignals, "add")
    timers.watch("sound", AudioSignals, "finish")
    timers.watch("grey", VideoFrame, "gray")
    timers.watch("scene cuts", SceneCutDetector, "is_cut")
    timers.watch("flow", MotionSignals, "add")
    timers.watch("own motion", OwnMotion, "add")
    timers.watch("detector frames", VideoFrame, "bgr")
    timers.watch("detector", NanoDetDetector, "detect")
    timers.watch("tracking", RoadUserTracker, "update")
    return timers


def _cut(video: Path, windows: list[tuple[float, float]], folder: Path) -> int:
    """Write the clips; how many of them were copied, not encoded."""
    from autorisk_dagster.video.stream_copy import write_clip

    clips = [write_clip(video, *window, folder / f"{rank:02d}.mp4") for rank, window in enumerate(windows)]
    return sum(clip.written_by == "stream_copy" for clip in clips)


def _clip_table(windows: list[tuple[float, float]]) -> Any:
    import polars as pl

    names = [f"c{rank:02d}" for rank in range(len(windows))]
    starts, ends = [start for start, _ in windows], [end for _, end in windows]
    schema = {"clip_id": pl.String, "start_sec": pl.Float64, "end_sec": pl.Float64}
    return pl.DataFrame({"clip_id": names, "start_sec": starts, "end_sec": ends}, schema=schema)
