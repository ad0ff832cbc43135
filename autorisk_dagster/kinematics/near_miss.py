"""Near misses between pairs of road users, version 1.0: risk from distance, closing speed and motion in the image.

Source: "Near-Miss Detection Algorithm v1.0" (seed 002), steps 1 to 8, with the readings fixed in DESIGN.md ("Near
miss v1.0"). All lengths are pixels, all speeds px per processed frame; `fps` is the rate of processed frames. Nothing
is in metres, and nothing is improved: another formula is another profile, beside this one.

Every pair is looked at with NumPy; only the few pairs that pass every gate reach Python code. What the document and the
rulings leave open is settled so: a trajectory point that is not finite is left out before the last five are taken, and
a confidence that is not a number fails the confidence gate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import islice, pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError

TRAJECTORY_POINTS = 5  # step 2: points that speed and heading are taken from
MOTION_PX = 5.0  # step 4: the motion criterion; fixed, not `stationary_speed_px`
REFERENCE_SPEED_PX = 30.0  # step 5: speed that scores 1
MERGING_SPEED_PX = 2.0  # step 6: closing speed from which the direction filter lets a pair pass
HIGH_SCORE, MEDIUM_SCORE = 0.7, 0.4

EVENT_COLUMNS: dict[str, Any] = {
    "frame_index": pl.Int64,
    "timestamp_sec": pl.Float64,
    "object_id_1": pl.Int64,
    "object_id_2": pl.Int64,
    "class_1": pl.String,
    "class_2": pl.String,
    "label_1": pl.String,
    "label_2": pl.String,
    "distance_px": pl.Float64,
    "ttc_sec": pl.Float64,
    "risk_score": pl.Float64,
    "risk_level": pl.String,
    "conf_1": pl.Float64,
    "conf_2": pl.Float64,
}

Pair = tuple[int, int]
Array = NDArray[Any]


class NearMissParameterError(InputError, ValueError):
    """A parameter of the detector that is not a positive, finite number."""


class NearMissDetector:
    """Evaluates every unordered pair of tracked objects, once per processed frame.

    Args:
        proximity_px: distance of two centroids under which they are near, px
        ttc_threshold: time to collision under which a pair is at risk, s
        fps: processed frames per second
        debounce_frames: processed frames between two events of one pair
        filters_enabled: apply the four false-positive filters, the confirmation buffer among them
        stationary_speed_px: a pair with both speeds under this is discarded, px per frame
        confirm_frames: consecutive frames that a pair must pass every gate before its first event
        same_direction_deg: difference of headings under which two objects go the same way, degrees
        min_confidence: detection confidence that both objects need

    Raises:
        NearMissParameterError: (a `ValueError`) a parameter is not a positive, finite number.
    """

    def __init__(
        self,
        proximity_px: float = 100,
        ttc_threshold: float = 2.0,
        fps: float = 15,
        debounce_frames: int = 30,
        filters_enabled: bool = True,
        stationary_speed_px: float = 5.0,
        confirm_frames: int = 5,
        same_direction_deg: float = 30.0,
        min_confidence: float = 0.5,
    ) -> None:
        numbers = {
            "proximity_px": proximity_px,
            "ttc_threshold": ttc_threshold,
            "fps": fps,
            "debounce_frames": debounce_frames,
            "stationary_speed_px": stationary_speed_px,
            "confirm_frames": confirm_frames,
            "same_direction_deg": same_direction_deg,
            "min_confidence": min_confidence,
        }
        for name, value in numbers.items():
            if not (math.isfinite(value) and value > 0):
                raise NearMissParameterError(f"{name} must be a positive, finite number, got {value!r}")
        self.proximity_px = float(proximity_px)
        self.ttc_threshold = float(ttc_threshold)
        self.fps = float(fps)
        self.debounce_frames = debounce_frames
        self.filters_enabled = filters_enabled
        self.stationary_speed_px = float(stationary_speed_px)
        self.confirm_frames = confirm_frames
        self.same_direction_deg = float(same_direction_deg)
        self.min_confidence = float(min_confidence)
        self._confirmation: dict[Pair, int] = {}  # a pair that is not in here stands at 0
        self._last_event_frame: dict[Pair, int] = {}
        self._events: list[dict[str, Any]] = []

    def process_frame(self, frame_idx: int, tracked_objects: Mapping[int, Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Evaluate one processed frame; frames without objects must be passed too, they break a run.

        Args:
            frame_idx: number of the processed frame
            tracked_objects: track id -> `bbox` (x1, y1, x2, y2) and `center` (cx, cy) in px, `class`, `label`,
                `confidence`, and `trajectory`, a sequence of (frame, cx, cy), oldest first (missing or None: empty).
                An object whose box or centre is not finite is left out of this frame.

        Returns:
            The events of this frame in order of ids, as the document's schema has them.
        """
        objects = _Objects(tracked_objects)
        with np.errstate(all="ignore"):  # a distance of 0 and huge coordinates have their own meaning below
            pairs = _measured(objects, *self._proximate(objects), self.fps)
            pairs = pairs[self._criteria_met(pairs)]
            risk = self._risk(pairs)  # before the filters, as written; they do not read it
            if self.filters_enabled:
                passes = self._passes_filters(pairs)
                pairs, risk = pairs[passes], risk[passes]
        return self._confirm_and_emit(int(frame_idx), objects, pairs, risk)

    def get_events_dataframe(self) -> pl.DataFrame:
        """All events so far, ordered by frame and ids; columns `EVENT_COLUMNS`, `ttc_sec` null where diverging."""
        return pl.DataFrame(self._events, schema=EVENT_COLUMNS).sort(
            "frame_index", "object_id_1", "object_id_2", maintain_order=True
        )

    def active_pairs(self, frame_idx: int) -> list[Pair]:
        """Pairs (smaller id first, sorted) with an event whose age at `frame_idx` is 0 <= age < `debounce_frames`."""
        return sorted(
            {
                (event["object_id_1"], event["object_id_2"])
                for event in self._events
                if 0 <= frame_idx - event["frame_index"] < self.debounce_frames
            }
        )

    def _proximate(self, objects: _Objects) -> tuple[Array, Array, Array]:
        """Step 1: positions (first, second) of the pairs that are near or overlap, and their distance, by ids."""
        x, y = objects.center_px.T
        left, top, right, bottom = objects.bbox_px.T
        # IoU > 0 is an overlap of positive width and height; an inverted or empty box cannot have one
        overlap = (np.minimum(right[:, None], right) > np.maximum(left[:, None], left)) & (
            np.minimum(bottom[:, None], bottom) > np.maximum(top[:, None], top)
        )
        square = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2
        perhaps_near = square < self.proximity_px**2 * (1 + 1e-9)
        first, second = np.nonzero(np.triu(overlap | perhaps_near, k=1))
        # the hypot of the document, to the last digit: NumPy's may differ there, which decides at the threshold
        distance_px = np.array(list(map(math.hypot, (x[second] - x[first]).tolist(), (y[second] - y[first]).tolist())))
        proximate = overlap[first, second] | (distance_px < self.proximity_px)
        return first[proximate], second[proximate], distance_px[proximate]

    def _criteria_met(self, pairs: _Pairs) -> Array:
        """Step 4: at least two of proximity, TTC and motion."""
        near = pairs.distance_px < self.proximity_px
        imminent = pairs.ttc_sec < self.ttc_threshold
        moving = pairs.top_speed_px > MOTION_PX
        met: Array = (near & imminent) | (near & moving) | (imminent & moving)
        return met

    def _risk(self, pairs: _Pairs) -> Array:
        """Step 5: the composite score, in [0, 1]."""
        distance = np.minimum(pairs.distance_px / self.proximity_px, 1.0)
        ttc = np.minimum(pairs.ttc_sec / self.ttc_threshold, 1.0)
        speed = np.minimum(pairs.top_speed_px / REFERENCE_SPEED_PX, 1.0)
        risk: Array = (1 - distance) * 0.4 + (1 - ttc) * 0.4 + speed * 0.2
        return risk

    def _passes_filters(self, pairs: _Pairs) -> Array:
        """Step 6, filters 1 to 3. Each one only discards and resets, so that their order cannot be seen."""
        stationary = pairs.top_speed_px < self.stationary_speed_px
        alongside = (
            (pairs.heading_apart_deg < self.same_direction_deg)
            & (pairs.closing_px < MERGING_SPEED_PX)
            & (pairs.distance_px > 0)
        )
        confident = pairs.low_confidence >= self.min_confidence  # false for NaN
        passes: Array = ~stationary & ~alongside & confident
        return passes

    def _confirm_and_emit(self, frame_idx: int, objects: _Objects, pairs: _Pairs, risk: Array) -> list[dict[str, Any]]:
        """Filter 4 and steps 7 and 8, for the pairs that passed everything before."""
        keys = [(objects.ids[i], objects.ids[j]) for i, j in zip(pairs.first, pairs.second, strict=True)]
        # every pair that is not here failed a gate or was not seen: its count is 0
        self._confirmation = {key: self._confirmation.get(key, 0) + 1 for key in keys}
        emitted = []
        for position, key in enumerate(keys):
            if self.filters_enabled and self._confirmation[key] < self.confirm_frames:
                continue
            last_frame = self._last_event_frame.get(key, -self.debounce_frames - 1)
            if frame_idx - last_frame < self.debounce_frames:
                continue
            self._last_event_frame[key] = frame_idx
            one, two = (objects.states[i] for i in (pairs.first[position], pairs.second[position]))
            ttc_sec, score = float(pairs.ttc_sec[position]), float(risk[position])
            emitted.append(
                {
                    "frame_index": frame_idx,
                    "timestamp_sec": frame_idx / self.fps,
                    "object_id_1": key[0],
                    "object_id_2": key[1],
                    "class_1": one["class"],
                    "class_2": two["class"],
                    "label_1": one["label"],
                    "label_2": two["label"],
                    "distance_px": float(pairs.distance_px[position]),
                    "ttc_sec": ttc_sec if math.isfinite(ttc_sec) else None,
                    "risk_score": score,
                    "risk_level": risk_level(score),
                    "conf_1": float(one["confidence"]),
                    "conf_2": float(two["confidence"]),
                }
            )
        self._events.extend(emitted)
        return [dict(event) for event in emitted]  # copies: what a caller does to them must not change the log


class _Objects:
    """The usable objects of one frame, in order of id, as arrays."""

    def __init__(self, tracked_objects: Mapping[int, Mapping[str, Any]]) -> None:
        ids = sorted(int(object_id) for object_id in tracked_objects)  # the mapping's key wins over an inner id
        boxes = np.array([tracked_objects[i]["bbox"] for i in ids], dtype=float).reshape(-1, 4)
        centers = np.array([tracked_objects[i]["center"] for i in ids], dtype=float).reshape(-1, 2)
        usable = np.isfinite(boxes).all(axis=1) & np.isfinite(centers).all(axis=1)
        self.ids: list[int] = [i for i, ok in zip(ids, usable, strict=True) if ok]
        self.states = [tracked_objects[i] for i in self.ids]
        self.bbox_px, self.center_px = boxes[usable], centers[usable]


@dataclass(frozen=True)
class _Pairs:
    """Pairs of objects of one frame: steps 2 and 3 as arrays of one length, in order of ids."""

    first: Array  # positions in `_Objects`
    second: Array
    low_confidence: Array
    top_speed_px: Array
    heading_apart_deg: Array  # 0 to 180
    distance_px: Array
    closing_px: Array  # px per frame; meaningless at distance 0
    ttc_sec: Array

    def __getitem__(self, mask: Array) -> _Pairs:
        """The pairs where `mask` is true."""
        return _Pairs(**{field.name: getattr(self, field.name)[mask] for field in fields(self)})


def _measured(objects: _Objects, first: Array, second: Array, distance_px: Array, fps: float) -> _Pairs:
    """Steps 2 and 3: speed, heading, closing speed and time to collision of the pairs (first, second)."""
    speed_px, heading_deg, cos, sin = np.zeros((4, len(objects.ids)))
    for i in {*first.tolist(), *second.tolist()}:
        speed_px[i], heading_deg[i] = speed_and_heading(objects.states[i].get("trajectory"))
        heading_rad = math.radians(heading_deg[i])
        cos[i], sin[i] = math.cos(heading_rad), math.sin(heading_rad)
    confidence = np.array([state["confidence"] for state in objects.states], dtype=float)
    heading_apart = np.abs(heading_deg[first] - heading_deg[second])

    dx, dy = (objects.center_px[second] - objects.center_px[first]).T
    velocity_x, velocity_y = speed_px * cos, speed_px * sin
    closing_px = -(
        (velocity_x[second] - velocity_x[first]) * (dx / distance_px)
        + (velocity_y[second] - velocity_y[first]) * (dy / distance_px)
    )
    ttc_sec = np.where(closing_px > 0, distance_px / closing_px / fps, np.inf)
    return _Pairs(
        first=first,
        second=second,
        low_confidence=np.minimum(confidence[first], confidence[second]),
        top_speed_px=np.maximum(speed_px[first], speed_px[second]),
        heading_apart_deg=np.where(heading_apart > 180.0, 360.0 - heading_apart, heading_apart),
        distance_px=distance_px,
        closing_px=closing_px,
        ttc_sec=np.where(distance_px == 0, 0.0, ttc_sec),  # no axis to close along: they have met
    )


def risk_level(score: float) -> str:
    """Level of a score, decided on the score rounded to 4 digits: High from 0.7, Medium from 0.4, else Low."""
    rounded = round(score, 4)
    if rounded >= HIGH_SCORE:
        return "High"
    return "Medium" if rounded >= MEDIUM_SCORE else "Low"


def speed_and_heading(trajectory: Sequence[Sequence[float]] | None) -> tuple[float, float]:
    """Step 2: speed (px per frame) and heading (degrees, -180 to 180) over the last five points.

    Speed is the plain mean of the step lengths, whatever the frame gaps between them; heading is the direction from the
    first of the points to the last. Both are 0 with fewer than two points.
    """
    if trajectory is None or len(trajectory) < 2:
        return 0.0, 0.0
    points = _last_points(reversed(trajectory))
    if not all(math.isfinite(x) and math.isfinite(y) for x, y in points):
        points = _last_points(p for p in reversed(trajectory) if math.isfinite(p[1]) and math.isfinite(p[2]))
        if len(points) < 2:
            return 0.0, 0.0
    steps = [math.hypot(x2 - x1, y2 - y1) for (x1, y1), (x2, y2) in pairwise(points)]
    (first_x, first_y), (last_x, last_y) = points[0], points[-1]
    return sum(steps) / len(steps), math.degrees(math.atan2(last_y - first_y, last_x - first_x))


def _last_points(newest_first: Iterable[Sequence[float]]) -> list[tuple[float, float]]:
    return [(float(p[1]), float(p[2])) for p in islice(newest_first, TRAJECTORY_POINTS)][::-1]
