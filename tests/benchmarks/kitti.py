"""KITTI tracking labels as a test of time to contact: true times, box noise, and the formulas to compare with.

Labels: frame, id, type, truncation, occlusion, alpha, left, top, right, bottom, height, width, length, x, y, z, yaw
(px and m, camera frame, z ahead; 10 frames a second). They are read from `../shared/data/kitti_tracking`, licence
CC BY-NC-SA 3.0, and never copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "kitti_tracking"
FRAME_SIZE = (1242.0, 375.0)
RATE_HZ = 10.0
KINDS = {
    **dict.fromkeys(("Car", "Van", "Truck"), "cars"),
    **dict.fromkeys(("Pedestrian", "Cyclist", "Person_sitting", "Person"), "people"),
}
TRUTH_HALF_WINDOW_SEC = 0.4  # of the line through the labelled distances, before and after
LEAST_HEIGHT_PX = 25.0  # KITTI's own limit for its "moderate" class
BORDER_PX = 4.0

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Noise = Callable[["Track", np.random.Generator], "Track"]


@dataclass(frozen=True)
class Track:
    """One labelled object. Arrays of one length n.

    Attributes:
        sequence: KITTI's number, "0000"
        kind: "cars" or "people"
        times_sec: (n,)
        boxes_px: (n, 4) left, top, right, bottom
        middle_sec: true time until the object's middle is level with the camera, z / -(dz / dt); inf: not approaching,
            NaN: too few labels around
        near_sec: the same for the corner of its 3D box that is nearest in z
        scored: whole boxes of 25 px height or more, not occluded by the frame's border
    """

    sequence: str
    kind: str
    times_sec: Array
    boxes_px: Array
    middle_sec: Array
    near_sec: Array
    scored: Mask

    def take(self, index: NDArray[np.int64] | Mask) -> Track:
        """The samples at `index` only."""
        arrays = ("times_sec", "boxes_px", "middle_sec", "near_sec", "scored")
        return replace(self, **{name: getattr(self, name)[index] for name in arrays})


def read_tracks(folder: Path = FOLDER) -> list[Track]:
    """Every car and person of the sequences in `folder`, by sequence and id."""
    tracks = []
    for path in sorted(folder.glob("*.txt")):
        rows: dict[str, list[list[str]]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            part = line.split()
            if part[2] in KINDS:
                rows.setdefault(part[1], []).append(part)
        tracks += [_track(path.stem, rows[track_id]) for track_id in sorted(rows, key=int)]
    return tracks


def _track(sequence: str, rows: list[list[str]]) -> Track:
    values = np.array(sorted([float(row[0]), *map(float, row[3:17])] for row in rows))
    frame, truncated, boxes = values[:, 0], values[:, 1], values[:, 4:8]
    width_m, length_m, depth_m, yaw = values[:, 9], values[:, 10], values[:, 13], values[:, 14]
    reach_m = np.abs(np.sin(yaw)) * length_m / 2 + np.abs(np.cos(yaw)) * width_m / 2  # yaw 0: along x
    times = frame / RATE_HZ
    inside = (boxes[:, :2] > BORDER_PX).all(axis=1) & (boxes[:, 2:] < np.array(FRAME_SIZE) - BORDER_PX).all(axis=1)
    return Track(
        sequence=sequence,
        kind=KINDS[rows[0][2]],
        times_sec=times,
        boxes_px=boxes,
        middle_sec=_time_left(times, depth_m),
        near_sec=_time_left(times, depth_m - reach_m),
        scored=inside & (truncated == 0) & (boxes[:, 3] - boxes[:, 1] >= LEAST_HEIGHT_PX),
    )


def _time_left(times: Array, depth_m: Array) -> Array:
    """-depth / (its slope) from a line through the labels before and after; five of nine at least."""
    left = np.full(len(times), np.nan)
    for i, now in enumerate(times):
        around = np.abs(times - now) < TRUTH_HALF_WINDOW_SEC + 1e-3
        if around.sum() >= 5:
            speed, here = np.polyfit(times[around] - now, depth_m[around], 1)
            left[i] = -here / speed if speed < 0 else np.inf
    return left


# ------------------------------------------------------------------------------------------------- noise, sampling


def independent(sigma_px: float) -> Noise:
    """Every edge errs by itself, normally distributed."""

    def noisy(track: Track, rng: np.random.Generator) -> Track:
        return _with_errors(track, rng.normal(0, sigma_px, track.boxes_px.shape))

    return noisy


def detector_like(
    share: float = 0.015, sigma_px: float = 0.5, correlated_sec: float = 0.1, lost: float = 0.05
) -> Noise:
    """Errors of an edge that decay like exp(-t / correlated_sec) and grow with the box, and samples that are lost.

    NanoDet at 30 samples a second on the road videos: second differences of log height over 0.03, 0.07, 0.1, 0.17 and
    0.27 s have 1.7, 2.4, 2.7, 3.5 and 4.2 % (divided by the root of 6; boxes of 20 to 70 px), which fits an error of
    3.5 % with a correlation time of 0.1 s: 1.5 % of the size and 0.5 px at each edge.
    """

    def noisy(track: Track, rng: np.random.Generator) -> Track:
        track = track.take(rng.random(len(track.times_sec)) >= lost)
        errors = rng.normal(size=track.boxes_px.shape)
        for i, gap in enumerate(np.diff(track.times_sec), start=1):
            kept = np.exp(-gap / correlated_sec)
            errors[i] = kept * errors[i - 1] + np.sqrt(1 - kept**2) * errors[i]
        size = np.sqrt(np.prod(track.boxes_px[:, 2:] - track.boxes_px[:, :2], axis=1))
        return _with_errors(track, errors * (sigma_px + share * size)[:, None])

    return noisy


def _with_errors(track: Track, errors: Array) -> Track:
    boxes = track.boxes_px + errors
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    return replace(track, boxes_px=boxes)


def sampled_at(track: Track, rate_hz: float) -> Track:
    """The track at another rate: the nearest labels of a lower one (uneven), interpolated for a higher one."""
    times = track.times_sec
    due = np.arange(times[0], times[-1] + 1e-9, 1 / rate_hz)
    if rate_hz <= RATE_HZ:
        return track.take(np.unique(np.abs(times[None, :] - due[:, None]).argmin(axis=1)))
    before = np.searchsorted(times, due + 1e-9) - 1
    after = np.minimum(before + 1, len(times) - 1)
    whole = times[after] - times[before] < 1.5 / RATE_HZ  # nothing is invented where labels are missing
    due, before, after = due[whole], before[whole], after[whole]

    def between(values: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.stack([np.interp(due, times, column) for column in np.atleast_2d(values.T)], axis=-1)

    return replace(
        track,
        times_sec=due,
        boxes_px=between(track.boxes_px),
        middle_sec=between(track.middle_sec)[:, 0],
        near_sec=between(track.near_sec)[:, 0],
        scored=track.scored[before] & track.scored[after],
    )


# ------------------------------------------------------------------------------------------------------- comparisons


def plain_log_height_fit(times_sec: Array, boxes_px: Array, window_sec: float = 0.8) -> Array:
    """Least squares of log height over the window, four samples or more; 1 / slope, inf where it does not grow."""
    height = np.log(boxes_px[:, 3] - boxes_px[:, 1])
    result = np.full(len(times_sec), np.nan)
    for i, now in enumerate(times_sec):
        past = slice(int(np.searchsorted(times_sec, now - window_sec - 1e-3)), i + 1)
        x = times_sec[past] - times_sec[past].mean()
        if len(x) >= 4:
            slope = (x @ height[past]) / (x @ x)
            result[i] = 1 / slope if slope > 0 else np.inf
    return result


def reference_formula(times_sec: Array, boxes_px: Array) -> Array:
    """The seed's A / (dA / dt) from the raw difference to the sample before; inf where it does not grow."""
    area = np.prod(boxes_px[:, 2:] - boxes_px[:, :2], axis=1)
    result = np.full(len(times_sec), np.nan)
    growth = np.diff(area) / np.diff(times_sec)
    with np.errstate(divide="ignore"):
        result[1:] = np.where(growth > 0, area[1:] / growth, np.inf)
    return result
