"""How each followed road user moves beside the own path, with the own car's turning taken out.

Edges beside the camera's axis (`reasoning.geometry`) are fitted robustly over the last `FIT_SEC`, so that a value
uses past and present samples only and one wrong box moves nothing.

While the own car turns at w rad/s (left positive), everything at distance z drifts by w * z m/s to the right; along a
road that bends, parked cars seem to come in and oncoming ones to aim at the camera. What most others do in proportion
to their distance is therefore taken as the own turning: w is the median of drift / distance over the others seen in the
last `TURN_SEC`. Over a time to contact t the drift that turning causes brings a road user only half as far as a
straight line would, because its distance shrinks meanwhile: the integral of w * z * (1 - s / t) over s from 0 to t is
w * z * t / 2.

With fewer than `MIN_OTHERS` others the turning is unknown and nothing is taken out: then a parked car on the inside of
a bend can look like one on a collision course. A stream of crossing traffic looks like turning, and a road user in it
loses half of its drift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from autorisk_dagster.reasoning.geometry import (
    Array,
    cut_at_side,
    distance_m,
    lateral_edges_m,
    robust_line,
)

FIT_SEC: Final = 0.8  # long enough for eight samples at 10 Hz, short enough for a cut-in, which takes 2-4 s
TURN_SEC: Final = 1.0  # a turn lasts for seconds: what the others showed in the last one still holds
MIN_OTHERS: Final = 3
MIN_SAMPLES: Final = 3  # a road user seen fewer times is not judged


@dataclass(frozen=True)
class Path:
    """One followed road user, arrays over its n samples; NaN is "cannot say".

    Attributes:
        times_sec: (n,)
        boxes_px: (n, 4) left, top, right, bottom
        distance_m: (n,) ahead of the camera
        cut: (n,) reaches out of the frame at a side
        edges_m: (n, 2) flanks beside the camera's axis, right positive, fitted
        drift_mps: (n, 2) their speed, right positive, as seen
        drift_error_mps: (n, 2) its standard error
        late_drift_mps: (n, 2) the same speed over the later half of the fit alone: who swerves back shows it here first
    """

    track_id: int
    label: str
    road_user: str
    times_sec: Array
    boxes_px: Array
    distance_m: Array
    cut: np.ndarray[tuple[int], np.dtype[np.bool_]]
    edges_m: Array
    drift_mps: Array
    drift_error_mps: Array
    late_drift_mps: Array


def paths(followed: pl.DataFrame, frame_size: tuple[int, int]) -> list[Path]:
    """Every road user of tables.TRACKS (without nulls in `track_id`) with at least `MIN_SAMPLES` samples, by id."""
    tracks = followed.sort("track_id", "timestamp_sec").partition_by("track_id", maintain_order=True)
    return [_path(track, frame_size) for track in tracks if track.height >= MIN_SAMPLES]


def turning_rad_per_sec(found: Sequence[Path]) -> dict[int, Array]:
    """The own turning as each road user's others show it: track id -> (n,) rad/s, left positive; 0 where unknown."""
    if not found:
        return {}
    rates = np.concatenate([path.drift_mps.mean(axis=1) / path.distance_m for path in found])
    times_sec = np.concatenate([path.times_sec for path in found])
    owners = np.concatenate([np.full(len(path.times_sec), path.track_id) for path in found])
    usable = np.isfinite(rates)
    rates, times_sec, owners = rates[usable], times_sec[usable], owners[usable]
    turning: dict[int, Array] = {}
    for path in found:
        turning[path.track_id] = np.zeros(len(path.times_sec))
        for index, time_sec in enumerate(path.times_sec):
            others = (times_sec > time_sec - TURN_SEC) & (times_sec <= time_sec) & (owners != path.track_id)
            if len(np.unique(owners[others])) >= MIN_OTHERS:
                turning[path.track_id][index] = np.median(rates[others])
    return turning


def _path(track: pl.DataFrame, frame_size: tuple[int, int]) -> Path:
    label = str(track["label"].mode().sort()[0])
    times = track["timestamp_sec"].to_numpy().astype(np.float64)
    boxes = track.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy().astype(np.float64)
    raw = lateral_edges_m(boxes, label, frame_size)
    lines, late_lines = (_lines(times, raw, window_sec) for window_sec in (FIT_SEC, FIT_SEC / 2))
    return Path(
        track_id=int(track["track_id"][0]),
        label=label,
        road_user=str(track["road_user"][0]),
        times_sec=times,
        boxes_px=boxes,
        distance_m=distance_m(boxes, label, frame_size),
        cut=cut_at_side(boxes, frame_size),
        edges_m=lines[:, :, 0],
        drift_mps=lines[:, :, 1],
        drift_error_mps=lines[:, :, 2],
        late_drift_mps=late_lines[:, :, 1],
    )


def _lines(times_sec: Array, edges_m: Array, window_sec: float) -> Array:
    """Robust line through each edge over the window that ends at each sample: (n, 2, 3) value, slope, its error."""
    lines = np.full((len(times_sec), 2, 3), np.nan)
    for index, time_sec in enumerate(times_sec):
        recent = (times_sec > time_sec - window_sec) & (times_sec <= time_sec)
        for edge in (0, 1):
            lines[index, edge] = robust_line(times_sec[recent], edges_m[recent, edge])
    return lines
