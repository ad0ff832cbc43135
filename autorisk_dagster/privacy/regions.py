"""Where in a picture a face or a number plate may be, from the road users that were detected.

The embedded detector knows neither faces nor plates, so this errs on the side of hiding: of a person the head, widely;
of who may ride, the upper half; of a vehicle everything under its windows, from edge to edge, because a plate may sit
anywhere there and a box says nothing of where the vehicle faces. Detections count whether or not anything follows them,
and each is held for HOLD_SEC before and after its moment, so that the frames between two looks of the detector, and
single misses, are covered. Only what can be nothing but the own vehicle is left as it is: on real footage its bonnet is
found as a car as wide as the picture, and would hide the whole road.

Not covered: people that the detector does not find, drivers behind a windscreen, faces on posters and in reflections,
names written on vehicles, house numbers. For faces there is a detector of its own (`privacy.faces`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster.perception.detections import is_own_vehicle

HOLD_SEC: Final = 0.35
HEAD_SHARE: Final = 0.32  # of a person's height, from the top: head and neck, and room for who bends or is cut off
RIDER_SHARE: Final = 0.5
PLATE_FROM_SHARE: Final = 0.4  # of a vehicle's height, from the top
MARGIN_SHARE: Final = 0.1  # of the box, on every side
RIDDEN: Final = ("bicycle", "motorcycle")

Boxes = NDArray[np.float64]


def hidden_boxes(xyxy_px: Boxes, labels: NDArray[np.str_]) -> Boxes:
    """(n, 4) boxes of what to hide, of (n, 4) boxes of road users and their (n,) labels; px, not cut to the picture."""
    x1, y1, x2, y2 = xyxy_px.T
    width, height = x2 - x1, y2 - y1
    person, ridden = labels == "person", np.isin(labels, RIDDEN)
    top = np.where(person | ridden, 0.0, PLATE_FROM_SHARE)
    bottom = np.where(person, HEAD_SHARE, np.where(ridden, RIDER_SHARE, 1.0))
    return np.column_stack(
        (
            x1 - MARGIN_SHARE * width,
            y1 + (top - MARGIN_SHARE) * height,
            x2 + MARGIN_SHARE * width,
            y1 + (bottom + MARGIN_SHARE) * height,
        )
    )


class HiddenRegions:
    """What to hide at any time of a video.

    Args:
        tracks: tables.TRACKS of the video; every detection counts
        frame_size: (width, height) of its frames, px
    """

    def __init__(self, tracks: pl.DataFrame, frame_size: tuple[int, int]) -> None:
        self.frame_size = frame_size
        ordered = tracks.filter(~pl.col("still").fill_null(False)).sort("timestamp_sec")
        xyxy = ordered.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy().astype(np.float64)
        other = ~(is_own_vehicle(xyxy, frame_size) & (ordered["road_user"] == "vehicle").to_numpy())
        self._times_sec = ordered["timestamp_sec"].to_numpy()[other]
        self._boxes = hidden_boxes(xyxy[other], ordered["label"].to_numpy().astype(np.str_)[other])

    def at(self, timestamp_sec: float) -> Boxes:
        """(n, 4) boxes, px of the full frame, of all detections within HOLD_SEC of `timestamp_sec`; they overlap."""
        first = np.searchsorted(self._times_sec, timestamp_sec - HOLD_SEC, side="left")
        last = np.searchsorted(self._times_sec, timestamp_sec + HOLD_SEC, side="right")
        return self._boxes[first:last]
