"""Follows road users from frame to frame and gives each its number.

ByteTrack (Zhang et al. 2022, ECCV; the `trackers` package), one instance for vehicles and one for people, so that a
car never goes on as a person. Every frame's boxes come back as rows of `tables.TRACKS`, those without a track too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError
from autorisk_dagster.perception.detections import Detections, RoadUser

if TYPE_CHECKING:
    from trackers import ByteTrackTracker

# ByteTrack's own thresholds, 0.6 for the first association and 0.7 to start a track, suit YOLOX, whose clear boxes
# score 0.8-0.95. NanoDet's score 0.4-0.8: on four of the five test videos 7-40 % of the boxes got a number with
# ByteTrack's, 67-91 % with 0.4; at 0.3 the numbers double (merge_near_miss_horn: 18 -> 37), mostly flicker.
START_CONFIDENCE = 0.4
# Where a score hovers, a split between strong and weak boxes lets the strong box of one car take the track of its
# neighbour, whose own box is weak in that frame. On KITTI's labels at 10 Hz (3 % box noise, 15 % dropped, scores random
# in 0.3-0.8) a split at 0.4 gives 100 identity switches, at 0.3 51.
FIRST_MATCH_CONFIDENCE = 0.3
# Least overlap of forecast and box. Same trial, 10 Hz: 0.1 gives 131 switches, 0.2 100, 0.3 70; but at 3.3 Hz, where
# boxes move far between frames, 0.3 loses more of the road users (recall 0.59, 0.2 has 0.63, 0.1 has 0.67). Enlarged or
# distance-aware overlaps (BIoU, DIoU) traded a little between the rates; plain IoU is kept.
MIN_IOU = 0.2
# A road user hidden for longer gets a new number: the camera moves, so an older forecast points elsewhere.
LOST_AFTER_SEC = 1.0
CONFIRM_FRAMES = 2


@dataclass
class _Following:
    """One ByteTrack instance and what its tracks are called outside."""

    byte_track: ByteTrackTracker
    id_of: dict[int, int] = field(default_factory=dict)


class RoadUserTracker:
    """Numbers road users through one video.

    Numbers start at 1 and are never used twice in a video: not after a scene cut, not by a vehicle and a person.
    Labels stay the detector's own until `settle_labels` has seen the whole track.

    Args:
        rate_hz: detector frames a second, the time unit of the motion model (gaps are measured by timestamp)
    """

    def __init__(self, rate_hz: float) -> None:
        if not (math.isfinite(rate_hz) and rate_hz > 0):
            raise InputError(f"rate_hz must be a positive number of frames a second, got {rate_hz!r}")
        self._rate_hz = rate_hz
        self._next_id = 1
        self._scene_index: int | None = None
        self._timestamp_sec = -math.inf
        self._following: dict[RoadUser, _Following] = {}

    def update(
        self,
        frame_index: int,
        source_frame: int,
        timestamp_sec: float,
        scene_index: int,
        detections: Detections,
        own_vehicle: NDArray[np.bool_] | None = None,
    ) -> list[dict[str, Any]]:
        """Take one frame's boxes; return them as rows of `tables.TRACKS`, in the order given.

        `own_vehicle`, (n,) bool, says which are the own bonnet or windscreen: they come back as `still` and are not
        followed; all others have `still` False. Call it for frames without boxes too. `track_id` is None until a road
        user was seen in two frames running. A new `scene_index` ends all tracks.

        Raises:
            InputError: `timestamp_sec` is not after the previous frame's.
        """
        if not timestamp_sec > self._timestamp_sec:
            raise InputError(
                f"frame {source_frame}: timestamp {timestamp_sec} s is not after the previous {self._timestamp_sec} s"
            )
        self._timestamp_sec = timestamp_sec
        if scene_index != self._scene_index:
            self._scene_index = scene_index
            self._following = {"vehicle": self._start(), "pedestrian": self._start()}

        own = np.zeros(len(detections), dtype=bool) if own_vehicle is None else own_vehicle
        rows: list[dict[str, Any]] = [
            {
                "frame_index": frame_index,
                "source_frame": source_frame,
                "timestamp_sec": timestamp_sec,
                "scene_index": scene_index,
                "track_id": None,
                "road_user": road_user,
                "label": label,
                "confidence": float(confidence),
                "x1_px": float(box[0]),
                "y1_px": float(box[1]),
                "x2_px": float(box[2]),
                "y2_px": float(box[3]),
                "still": bool(is_own),
            }
            for road_user, label, confidence, box, is_own in zip(
                detections.road_user, detections.label, detections.confidence, detections.xyxy_px, own, strict=True
            )
        ]
        for road_user, following in self._following.items():
            indices = [i for i, kind in enumerate(detections.road_user) if kind == road_user and not own[i]]
            for index, inner_id in self._associate(following, detections, indices, timestamp_sec):
                rows[index]["track_id"] = self._outer_id(following, inner_id)
        return rows

    def _start(self) -> _Following:
        from trackers import ByteTrackTracker

        return _Following(
            ByteTrackTracker(
                frame_rate=self._rate_hz,
                lost_track_buffer=round(LOST_AFTER_SEC * 30),  # counted in frames of 30 a second
                track_activation_threshold=START_CONFIDENCE,
                high_conf_det_threshold=FIRST_MATCH_CONFIDENCE,
                minimum_iou_threshold=MIN_IOU,
                minimum_consecutive_frames=CONFIRM_FRAMES,
            )
        )

    def _associate(
        self, following: _Following, detections: Detections, indices: list[int], timestamp_sec: float
    ) -> list[tuple[int, int]]:
        """(index in `detections`, ByteTrack's own number) of the boxes that belong to a confirmed track."""
        if not indices and not following.byte_track.tracks:
            return []  # nobody to follow: half of all calls, as most roads have vehicles or people, not both
        import supervision

        found = following.byte_track.update(
            supervision.Detections(
                xyxy=detections.xyxy_px[indices],
                confidence=detections.confidence[indices],
                class_id=np.zeros(len(indices), dtype=int),
                data={"index": np.array(indices, dtype=int)},
            ),
            timestamp=timestamp_sec,
        )
        if len(found) == 0:
            return []
        inner_ids = np.asarray(found.tracker_id)
        pairs = zip(found.data["index"], inner_ids, strict=True)
        return [(int(index), int(inner_id)) for index, inner_id in pairs if inner_id >= 0]

    def _outer_id(self, following: _Following, inner_id: int) -> int:
        if inner_id not in following.id_of:
            following.id_of[inner_id] = self._next_id
            self._next_id += 1
        return following.id_of[inner_id]


def settle_labels(tracks: pl.DataFrame) -> pl.DataFrame:
    """Give every track one label: that with the largest sum of confidence x box area over the whole track.

    A far vehicle is a few pixels, and a detector calls it car, truck or bus by turns; near, it has much to go by. So a
    vote weighs what the detector saw. Boxes without a track keep their own label; ties go by the alphabet.

    Args:
        tracks: `tables.TRACKS` of one video

    Returns:
        The same rows in the same order.
    """
    area = (pl.col("x2_px") - pl.col("x1_px")) * (pl.col("y2_px") - pl.col("y1_px"))
    settled = (
        tracks.select("track_id", "label", vote=pl.col("confidence") * area)
        .drop_nulls("track_id")
        .group_by("track_id", "label")
        .agg(pl.col("vote").sum())
        .sort("track_id", pl.col("vote").neg(), "label")
        .unique("track_id", keep="first", maintain_order=True)
    )
    # By position, not by a join: that takes 60 MB for an hour of traffic, the table itself has 13.
    at = settled["track_id"].search_sorted(tracks["track_id"].fill_null(0))
    own = pl.when(pl.col("track_id").is_null()).then("label")
    if settled.is_empty():
        return tracks
    return tracks.with_columns(label=own.otherwise(settled["label"].gather(at.clip(upper_bound=len(settled) - 1))))
