"""What the filters and the proximity threshold of near miss 1.0 do on one video, from its tracks alone.

Source: seed 002, "Notebook Validation": the comparison of events with and without filters (section 6) and the sweep of
`proximity_px` over 60 to 220 (section 8). The measures of a pair do not depend on any threshold, so the table of all
pairs in all frames is made once and every setting only counts in it. The counts are those of `NearMissDetector`, to the
event: the same arithmetic, in the same order.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster.kinematics.near_miss import MERGING_SPEED_PX, MOTION_PX, TRAJECTORY_POINTS
from autorisk_dagster.profile import NearMissSettings

SWEEP_PX: Final = tuple(range(60, 221, 10))  # holds the document's 60, 80, 100, 120, 150, 180, 220
FILTERS: Final = ("stationary", "direction", "confidence", "confirmation")  # as ordered in step 6
ALL: Final = "filters off"

Mask = NDArray[np.bool_]


def pair_frames(tracks: pl.DataFrame, rate_hz: float, max_proximity_px: float) -> pl.DataFrame:
    """Every pair of followed road users in every frame in which they overlap or are within `max_proximity_px`.

    Args:
        tracks: `tables.TRACKS`
        rate_hz: processed frames per second
        max_proximity_px: largest `proximity_px` that will be asked for

    Returns:
        One row a pair and frame, by pair and frame: `id_1`, `id_2`, `frame_index`, `distance_px`, `overlap`, `ttc_sec`
        (inf: diverging), `top_speed_px`, `heading_apart_deg`, `closing_px`, `low_confidence`; steps 1 to 3.
    """
    users = _moving(tracks)
    one, two = (users.rename({name: f"{name}_{i}" for name in users.columns if name != "frame_index"}) for i in (1, 2))
    near = (pl.col("x_2") - pl.col("x_1")) ** 2 + (pl.col("y_2") - pl.col("y_1")) ** 2 < max_proximity_px**2 * 1.000001
    overlap = _overlap("x") & _overlap("y")
    pairs = (
        one.join(two, on="frame_index")
        .filter(pl.col("id_1") < pl.col("id_2"))
        .with_columns(overlap=overlap)
        .filter(near | pl.col("overlap"))
        .sort("id_1", "id_2", "frame_index")
    )
    column = {name: pairs[name].to_numpy() for name in pairs.columns}
    dx, dy = column["x_2"] - column["x_1"], column["y_2"] - column["y_1"]
    # math.hypot and its like, as in the detector: NumPy's may differ in the last digit
    distance = _mapped(math.hypot, dx, dy)
    apart = np.abs(column["heading_1"] - column["heading_2"])
    with np.errstate(all="ignore"):
        velocity_x = column["speed_2"] * column["cos_2"] - column["speed_1"] * column["cos_1"]
        velocity_y = column["speed_2"] * column["sin_2"] - column["speed_1"] * column["sin_1"]
        closing = -(velocity_x * (dx / distance) + velocity_y * (dy / distance))
        ttc = np.where(closing > 0, distance / closing / rate_hz, np.inf)
    return pairs.select("id_1", "id_2", "frame_index", "overlap").with_columns(
        distance_px=pl.Series(distance, dtype=pl.Float64),
        ttc_sec=pl.Series(np.where(distance == 0, 0.0, ttc), dtype=pl.Float64),
        top_speed_px=pl.Series(np.maximum(column["speed_1"], column["speed_2"]), dtype=pl.Float64),
        heading_apart_deg=pl.Series(np.where(apart > 180.0, 360.0 - apart, apart), dtype=pl.Float64),
        closing_px=pl.Series(closing, dtype=pl.Float64),
        low_confidence=pl.Series(np.minimum(column["confidence_1"], column["confidence_2"]), dtype=pl.Float64),
    )


def filter_comparison(pairs: pl.DataFrame, settings: NearMissSettings) -> pl.DataFrame:
    """Events with filters off, and after each filter in the document's order; the last row is "filters on".

    Args:
        pairs: of `pair_frames`, with `max_proximity_px` of at least `settings.proximity_px`

    Returns:
        One row a step: `step`; `events` with the filters up to this one; `events_removed` by this one;
        `frames_removed`, the pair-frames that it alone took away. A filter can remove frames and no event, or even add
        one: an encounter cut in two, or begun later, meets the debounce elsewhere.
    """
    frames = _Frames(pairs)
    kept = frames.criteria(settings, settings.proximity_px)
    rows: list[dict[str, Any]] = [
        {"step": ALL, "events": frames.events(kept, settings), "events_removed": 0, "frames_removed": 0}
    ]
    for name in FILTERS:
        passed = kept & (frames.confirmed(kept, settings) if name == "confirmation" else frames.passes(name, settings))
        events = frames.events(passed, settings)
        rows.append(
            {
                "step": name,
                "events": events,
                "events_removed": rows[-1]["events"] - events,
                "frames_removed": int(kept.sum() - passed.sum()),
            }
        )
        kept = passed
    return pl.DataFrame(rows)


def threshold_sweep(
    pairs: pl.DataFrame, settings: NearMissSettings, thresholds_px: tuple[int, ...] = SWEEP_PX
) -> pl.DataFrame:
    """Events against `proximity_px`, all other settings kept: `proximity_px`, `events_on`, `events_off` (filters)."""
    frames = _Frames(pairs)
    fits = np.logical_and.reduce([frames.passes(name, settings) for name in FILTERS[:-1]])
    rows = []
    for threshold_px in thresholds_px:
        met = frames.criteria(settings, threshold_px)
        confirmed = frames.confirmed(met & fits, settings)
        rows.append((threshold_px, frames.events(confirmed, settings), frames.events(met, settings)))
    return pl.DataFrame(rows, schema=["proximity_px", "events_on", "events_off"], orient="row")


class _Frames:
    """The table of `pair_frames` as arrays; masks over it are what a setting lets through."""

    def __init__(self, pairs: pl.DataFrame) -> None:
        self._column = {name: pairs[name].to_numpy() for name in pairs.columns}
        self._frame = self._column["frame_index"]
        same = (np.diff(self._column["id_1"]) == 0) & (np.diff(self._column["id_2"]) == 0)
        self._pair = np.concatenate([[0], np.cumsum(~same)]) if len(self._frame) else np.zeros(0, np.int64)

    def criteria(self, settings: NearMissSettings, proximity_px: float) -> Mask:
        """Steps 1 and 4."""
        near = self._column["distance_px"] < proximity_px
        imminent = self._column["ttc_sec"] < settings.ttc_threshold
        moving = self._column["top_speed_px"] > MOTION_PX
        met: Mask = (near | self._column["overlap"]) & ((near & imminent) | (near & moving) | (imminent & moving))
        return met

    def passes(self, name: str, settings: NearMissSettings) -> Mask:
        """One of the filters 1 to 3 of step 6."""
        keeps: Mask
        if name == "stationary":
            keeps = ~(self._column["top_speed_px"] < settings.stationary_speed_px)
        elif name == "direction":
            same_way = self._column["heading_apart_deg"] < settings.same_direction_deg
            slow = self._column["closing_px"] < MERGING_SPEED_PX
            keeps = ~(same_way & slow & (self._column["distance_px"] > 0))
        else:
            keeps = self._column["low_confidence"] >= settings.min_confidence
        return keeps

    def confirmed(self, kept: Mask, settings: NearMissSettings) -> Mask:
        """Filter 4: pair-frames that are at least the `confirm_frames`-th in an unbroken run."""
        rows = np.flatnonzero(kept)
        begins = np.ones(len(rows), bool)
        begins[1:] = (np.diff(self._pair[rows]) != 0) | (np.diff(self._frame[rows]) != 1)
        position = np.arange(len(rows))
        in_run = position - np.maximum.accumulate(np.where(begins, position, 0)) + 1
        mask = np.zeros(len(kept), bool)
        mask[rows[in_run >= settings.confirm_frames]] = True
        return mask

    def events(self, kept: Mask, settings: NearMissSettings) -> int:
        """Step 7: how many events are left after the debounce."""
        rows = np.flatnonzero(kept)
        pair, frame = self._pair[rows], self._frame[rows]
        if not len(rows):
            return 0
        # pairs laid end to end on one axis, far enough apart for the debounce not to reach over
        reach = int(frame.max() - frame.min()) + settings.debounce_frames + 1
        at = pair * reach + (frame - frame.min())
        count = position = 0
        while position < len(at):
            count += 1
            position = int(np.searchsorted(at, at[position] + settings.debounce_frames))
        return count


def _moving(tracks: pl.DataFrame) -> pl.DataFrame:
    """Followed, not still road users with centre, speed and heading (step 2), one row an object and frame."""
    rows = (
        tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still").fill_null(False))
        .sort("track_id", "frame_index")
        .select(
            "frame_index",
            "confidence",
            "x1_px",
            "x2_px",
            "y1_px",
            "y2_px",
            id="track_id",
            x=(pl.col("x1_px") + pl.col("x2_px")) / 2,
            y=(pl.col("y1_px") + pl.col("y2_px")) / 2,
        )
    )
    ids, x, y = (rows[name].to_numpy() for name in ("id", "x", "y"))
    position = np.arange(len(ids))
    begins = np.ones(len(ids), bool)
    begins[1:] = np.diff(ids) != 0
    first = np.maximum.accumulate(np.where(begins, position, 0)) if len(ids) else position
    first = np.maximum(first, position - (TRAJECTORY_POINTS - 1))
    step = np.concatenate([[0.0], _mapped(math.hypot, np.diff(x), np.diff(y))]) if len(ids) else np.zeros(0)
    total = np.zeros(len(ids))
    for back in range(TRAJECTORY_POINTS - 2, -1, -1):  # oldest step first, as the detector adds them
        total += np.where(position - back > first, step[np.maximum(position - back, 0)], 0.0)
    speed = total / np.maximum(position - first, 1)
    heading = _mapped(math.degrees, _mapped(math.atan2, y - y[first], x - x[first]))
    radians = _mapped(math.radians, heading)
    return rows.with_columns(
        speed=pl.Series(speed, dtype=pl.Float64),
        heading=pl.Series(heading, dtype=pl.Float64),
        cos=pl.Series(_mapped(math.cos, radians), dtype=pl.Float64),
        sin=pl.Series(_mapped(math.sin, radians), dtype=pl.Float64),
    )


def _overlap(axis: str) -> pl.Expr:
    low = pl.max_horizontal(f"{axis}1_px_1", f"{axis}1_px_2")
    return pl.min_horizontal(f"{axis}2_px_1", f"{axis}2_px_2") > low


def _mapped(function: Any, *values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.fromiter(map(function, *(v.tolist() for v in values)), np.float64, len(values[0]))
