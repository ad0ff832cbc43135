"""Perception in one decode: a single pass over video and sound gives the signal windows and the tracks.

Every decoded frame is counted; flow and scene cuts look at `flow_rate_hz` of them, the detector at `detection_rate_hz`,
both placed by presentation timestamp. Pictures are scaled while they are converted. What is kept for the length of the
video are sums per window and the rows of the tracks table, so that memory hardly depends on how long the video is.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.mining.audio import AudioSignals
from autorisk_dagster.mining.motion import MotionSignals
from autorisk_dagster.mining.own_motion import OwnMotion
from autorisk_dagster.mining.proximity import proximity_windows
from autorisk_dagster.mining.windows import FrameCounts, assemble
from autorisk_dagster.perception.detections import Detections, Detector, is_own_vehicle
from autorisk_dagster.perception.still_boxes import frames_moving, mark_still
from autorisk_dagster.perception.tracker import RoadUserTracker, settle_labels
from autorisk_dagster.profile import CameraSettings, PerceptionSettings
from autorisk_dagster.threads import opencv_threads, thread_budget
from autorisk_dagster.video.reader import AudioBlock, VideoFrame, VideoReader
from autorisk_dagster.video.scenes import SceneCutDetector

# Frames handed to the detector at once: enough for a GPU, 6 MB of pictures.
_BATCH = 8
_ROWS_A_CHUNK = 4096


@dataclass(frozen=True)
class Perception:
    """What one pass over a video found.

    Attributes:
        signals: `tables.FRAME_SIGNALS`
        tracks: `tables.TRACKS`
        ego_motion: `tables.EGO_MOTION`
        frames_decoded: frames the decoder gave
        corrupt_frames: packets it could not decode
        frames_processed: frames the detector looked at
        moving_share: part of the processed frames in which the background moved
    """

    signals: pl.DataFrame
    tracks: pl.DataFrame
    ego_motion: pl.DataFrame
    frames_decoded: int
    corrupt_frames: int
    frames_processed: int
    moving_share: float


class SampleClock:
    """Says which frames to look at so that `rate_hz` of them a second are, whatever the frame rate is."""

    def __init__(self, rate_hz: float) -> None:
        self._period_sec = 1.0 / rate_hz
        self._next = 0

    def due(self, timestamp_sec: float) -> bool:
        """Whether a sample is due at this frame; at most one per period, none twice after a gap."""
        slot = int(timestamp_sec / self._period_sec + 1e-6)
        if slot < self._next:
            return False
        self._next = slot + 1
        return True


class _Follower:
    """Detects in batches and follows in order."""

    def __init__(self, detector: Detector, rate_hz: float) -> None:
        self._detector = detector
        self._tracker = RoadUserTracker(rate_hz)
        self._waiting: list[tuple[int, float, int]] = []  # source frame, time, scene
        self._pictures: list[NDArray[np.uint8]] = []
        self.frame_size = (1, 1)
        self._rows: list[dict[str, Any]] = []
        self._chunks: list[pl.DataFrame] = []
        self.timestamps_sec = array("d")  # of the processed frames

    def add(self, frame: VideoFrame, scene_index: int) -> None:
        self.frame_size = (frame.width_px, frame.height_px)
        self._waiting.append((frame.index, frame.timestamp_sec, scene_index))
        self._pictures.append(frame.bgr(self._detector.input_long_edge_px))
        if len(self._waiting) == _BATCH:
            self._detect()

    def finish(self) -> pl.DataFrame:
        self._detect()
        self._store()
        return pl.concat([tables.empty(tables.TRACKS), *self._chunks])

    def _detect(self) -> None:
        if not self._waiting:
            return
        height_px, width_px = self._pictures[0].shape[:2]  # one size: the reader scales later frames to the first
        scale = np.array([self.frame_size[0] / width_px, self.frame_size[1] / height_px] * 2)
        for (source_frame, time_sec, scene_index), found in zip(
            self._waiting, self._detector.detect(self._pictures), strict=True
        ):
            full_size = Detections(found.xyxy_px * scale, found.confidence, found.label)
            is_vehicle = np.array([kind == "vehicle" for kind in full_size.road_user], dtype=bool)
            own = is_vehicle & is_own_vehicle(full_size.xyxy_px, self.frame_size)
            index = len(self.timestamps_sec)
            self._rows += self._tracker.update(index, source_frame, time_sec, scene_index, full_size, own)
            self.timestamps_sec.append(time_sec)
        self._waiting, self._pictures = [], []
        if len(self._rows) >= _ROWS_A_CHUNK:
            self._store()

    def _store(self) -> None:
        # Rows as Python objects cost ten times what they cost in a table.
        self._chunks.append(tables.frame(self._rows, tables.TRACKS))
        self._rows = []


def perceive(
    path: Path,
    duration_sec: float,
    detector: Detector,
    settings: PerceptionSettings,
    progress: Callable[[float], None] | None = None,
    camera: CameraSettings | None = None,
) -> Perception:
    """Read `path` once and measure sound, motion, own motion, proximity, scene cuts and tracks.

    Args:
        path: the video; sound comes from it or from its sidecar
        duration_sec: of the video, as `probe` measured it: the windows cover it
        detector: the injected back end
        settings: rates, window and thresholds
        progress: called with the seconds of video that are done
        camera: what is known of it; None: nothing

    Raises:
        VideoError: the file cannot be decoded to a correct result.
    """
    counts = FrameCounts(settings.window_sec)
    audio = AudioSignals(settings.window_sec)
    motion = MotionSignals(settings.window_sec)
    own_motion = OwnMotion(camera or CameraSettings())
    cuts = SceneCutDetector(settings.scene_cut_threshold)
    follower = _Follower(detector, settings.detection_rate_hz)
    flow_clock, detection_clock = SampleClock(settings.flow_rate_hz), SampleClock(settings.detection_rate_hz)
    scene_index = 0
    with VideoReader(path) as reader, opencv_threads(thread_budget().pictures):
        for item in reader:
            if isinstance(item, AudioBlock):
                audio.add(item.start_sec, item.samples)
                continue
            time_sec = item.timestamp_sec
            is_cut = False
            if flow_clock.due(time_sec):
                gray = item.gray(settings.flow_height_px)
                is_cut = cuts.is_cut(gray)
                field = motion.add(time_sec, gray, is_cut)
                if field is not None:
                    own_motion.add(time_sec, field, (item.width_px, item.height_px))
                scene_index += is_cut
            if detection_clock.due(time_sec):
                follower.add(item, scene_index)
            counts.add(time_sec, is_cut)
            if progress is not None:
                progress(time_sec)
        decoded, corrupt = reader.frames_decoded, reader.corrupt_frames
        found = settle_labels(follower.finish())

    timestamps_sec = np.array(follower.timestamps_sec)
    flow = motion.finish(duration_sec)
    start_sec = pl.int_range(pl.len()) * settings.window_sec
    placed = flow.with_columns(start_sec=start_sec, end_sec=start_sec + settings.window_sec)
    moving = frames_moving(placed, timestamps_sec)
    tracks = mark_still(
        found,
        frame_size=follower.frame_size,
        timestamps_sec=timestamps_sec,
        moving=moving,
        share=settings.still_share,
    )
    windows = flow.height
    signals = assemble(
        duration_sec,
        settings.window_sec,
        counts=counts.finish(duration_sec),
        audio=audio.finish(duration_sec),
        motion=flow,
        proximity=proximity_windows(tracks.filter(~pl.col("still")), follower.frame_size, windows, settings.window_sec),
    )
    return Perception(signals, tracks, own_motion.finish(), decoded, corrupt, len(timestamps_sec), float(moving.mean()))
