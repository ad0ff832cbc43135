"""Recognises boxes on what is fixed to the camera: bonnet, mirror, dashboard mount, burnt-in overlay.

Works on the finished table of a video. The idea: while the background moves, nothing on the road keeps its place in the
picture; what does is fixed to the camera. A box place is *still* when all of these hold:

1. The camera moves (`moving`) in half the frames at least, `MIN_MOVING_SEC` in all; only those frames are evidence. So
   a parked car before a fixed camera, or one beside us at a red light, is never marked.
2. The place touches the frame's border or covers over 40 % of it. So a car ahead at constant distance is never marked.
3. The place is occupied in at least `share` of ten equal parts of the moving time, the first and the last third
   included. Parts, not frames, because a detector that half believes in a bonnet fires in every third frame.
4. The boxes counted do not belong to a track that ever is elsewhere. So cars that one after another pass the same spot
   at the border are never marked.

The first and biggest cases, a whole-windscreen box and a bonnet across the frame, are told by
`detections.is_own_vehicle` in each frame and marked before anything is tracked. Not covered: several cameras cut into
one video, each with its own bonnet, when none of them fills `share` of it.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError
from autorisk_dagster.perception.detections import box_iou

# Mean flow (px of a 240 px frame per 0.1 s) over which a window counts as driving. Windows of the test videos: fixed
# camera 0.3-0.84 and once, while a crash fills the view, 1.18; driving 1.15-7.4, slow motorway traffic 0.64 upwards.
MOVING_FLOW_PX = 1.0
# Shorter than this, a neighbour in the next lane can keep its place too: at 0.5 m/s of difference it drifts by 4 m.
MIN_MOVING_SEC = 8.0
MIN_MOVING_SHARE = 0.5
PARTS = 10
# Own-vehicle boxes jitter by 1-3 % an edge. At 0.6 the place of the SUV that merges in `merge_near_miss_horn` would
# count as occupied in 5 parts of 10, by different cars; at 0.8 in 2.
SAME_PLACE_IOU = 0.8
BORDER_SHARE = 0.02
BIG_SHARE = 0.4
TRACK_AT_PLACE_SHARE = 0.8
GRID = 20  # cells along the frame's width and height
MAX_PLACES = 200
NO_TRACK = -1
STANDING = -1  # the "part of the moving time" of a frame in which the camera stands
BOXES = ["x1_px", "y1_px", "x2_px", "y2_px"]


def frames_moving(signals: pl.DataFrame, timestamps_sec: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the background moved at each processed frame.

    Args:
        signals: `tables.FRAME_SIGNALS`
        timestamps_sec: (n,) times of the processed frames

    Returns:
        (n,) bool; False where no window covers the frame or its flow was not measured.
    """
    drives = pl.col("flow_mean_px").is_finite() & (pl.col("flow_mean_px") >= MOVING_FLOW_PX)
    windows = signals.filter(drives).sort("start_sec")
    start, end = windows["start_sec"].to_numpy(), windows["end_sec"].to_numpy()
    times = np.asarray(timestamps_sec, np.float64)
    if not len(start):
        return np.zeros(len(times), dtype=np.bool_)
    # Windows do not overlap: the last one that starts at or before a frame is the only one that can hold it.
    before = np.searchsorted(start, times, side="right") - 1
    return np.asarray((before >= 0) & (times < end[before]), dtype=np.bool_)


def mark_still(
    tracks: pl.DataFrame,
    *,
    frame_size: tuple[int, int],
    timestamps_sec: NDArray[np.float64],
    moving: NDArray[np.bool_],
    share: float,
) -> pl.DataFrame:
    """The table with boxes on the own vehicle or an overlay marked: `still` True and `track_id` null.

    Args:
        tracks: `tables.TRACKS` of one video
        frame_size: (width, height) in px
        timestamps_sec: (n,) time of every processed frame, by `frame_index`, those without boxes too
        moving: (n,) whether the background moved then, see `frames_moving`
        share: part of the moving time, 0..1, that a still place is occupied in (`PerceptionSettings.still_share`)

    Returns:
        Same rows in the same order; unchanged where the video cannot say (too short, or the camera hardly moves).

    Raises:
        InputError: `timestamps_sec` and `moving` differ in length, or a `frame_index` lies outside them.
    """
    times, moves = np.asarray(timestamps_sec, np.float64), np.asarray(moving, bool)
    if times.shape != moves.shape or times.ndim != 1:
        raise InputError(f"timestamps_sec and moving must be of one length, got {times.shape} and {moves.shape}")
    if tracks.is_empty():
        return tracks
    frame = tracks["frame_index"].to_numpy()
    if frame.min() < 0 or frame.max() >= len(times):
        raise InputError(f"frame_index {frame.min()}..{frame.max()} lies outside the {len(times)} processed frames")
    if not _enough_motion(times, moves):
        return tracks

    boxes = tracks.select(BOXES).to_numpy()
    track_id = tracks["track_id"].fill_null(NO_TRACK).to_numpy()
    part_of_frame = np.where(moves, (np.cumsum(moves) - 1) * PARTS // moves.sum(), STANDING)
    part = part_of_frame[frame]
    candidates = np.flatnonzero(at_border_or_big(boxes, frame_size) & (part != STANDING))
    is_still = np.zeros(len(boxes), dtype=bool)
    for seed in _crowded_places(boxes[candidates], frame_size):
        near = candidates[_at_place(boxes[candidates], seed) & ~is_still[candidates]]
        if not _all_the_time(part[near], share):
            continue
        here = _at_place(boxes, np.median(boxes[near], axis=0))
        here &= ~_belongs_elsewhere(track_id, here)
        counted = candidates[here[candidates]]
        if _all_the_time(part[counted], share):
            is_still |= here
    marks = pl.Series(is_still)
    return tracks.with_columns(
        pl.when(marks).then(None).otherwise(pl.col("track_id")).alias("track_id"), pl.col("still") | marks
    )


def at_border_or_big(boxes: NDArray[np.float64], frame_size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which boxes (n, 4) in px touch the frame's border, or cover over 40 % of the frame: (n,) bool."""
    width_px, height_px = frame_size
    left, top, right, bottom = (boxes / np.array([width_px, height_px] * 2)).T
    at_border = (left <= BORDER_SHARE) | (top <= BORDER_SHARE)
    at_border |= (right >= 1 - BORDER_SHARE) | (bottom >= 1 - BORDER_SHARE)
    found: NDArray[np.bool_] = at_border | ((right - left) * (bottom - top) > BIG_SHARE)
    return found


def _enough_motion(times_sec: NDArray[np.float64], moving: NDArray[np.bool_]) -> bool:
    if len(times_sec) < 2:
        return False
    interval_sec = float(np.median(np.diff(times_sec)))
    return bool(moving.mean() >= MIN_MOVING_SHARE and moving.sum() * interval_sec >= MIN_MOVING_SEC)


def _crowded_places(boxes: NDArray[np.float64], frame_size: tuple[int, int]) -> NDArray[np.float64]:
    """Where to look: the middle boxes of the fullest cells of a grid over (left, top, right, bottom), fullest first.

    Looking at every box instead takes hours for an hour of video.
    """
    cell = np.floor(boxes / np.array(frame_size * 2) * GRID).astype(np.int64)
    _, cell_of_box, count = np.unique(cell, axis=0, return_inverse=True, return_counts=True)
    fullest = np.argsort(-count, kind="stable")[:MAX_PLACES]
    middle = [np.median(boxes[cell_of_box == index], axis=0) for index in fullest]
    return np.array(middle, dtype=np.float64).reshape(-1, 4)


def _at_place(boxes: NDArray[np.float64], place: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(box_iou(boxes, place[None])[:, 0] >= SAME_PLACE_IOU)


def _belongs_elsewhere(track_id: NDArray[np.int64], here: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows whose track has a fifth or more of its boxes at another place."""
    number = track_id - NO_TRACK  # 0 for rows without a track
    total = np.bincount(number)
    inside = np.bincount(number, weights=here)
    wanders = inside <= TRACK_AT_PLACE_SHARE * total
    wanders[0] = False
    return np.asarray(wanders[number])


def _all_the_time(parts: NDArray[np.int64], share: float) -> bool:
    """Whether the occupied `parts` (0..9) are enough, and reach from the first third to the last."""
    occupied = np.unique(parts)
    if len(occupied) < max(share * PARTS, 2):
        return False
    return bool(occupied[0] < PARTS / 3 and occupied[-1] >= PARTS - PARTS / 3)
