"""Making parts of a picture unreadable: a mosaic so coarse that neither a face nor a plate is left in it.

A mosaic of averages throws the detail away; a light Gaussian blur only spreads it and can be sharpened again. The
cells have hard edges, so that a viewer sees at once that something was hidden, and where.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.privacy.faces import FaceFinder
from autorisk_dagster.privacy.regions import Boxes, HiddenRegions
from autorisk_dagster.video.clips import ClipFile, cut_clip

CELLS: Final = 8
"""Cells along the longer edge of a hidden box: a plate is a quarter of a car's width, two cells; a face is four."""

MIN_CELL_PX: Final = 4

Image = NDArray[np.uint8]


def hide(bgr: Image, boxes: Boxes) -> Image:
    """A copy of a picture (h, w, 3) with every box (n, 4), px, turned into a mosaic; boxes may reach past the edge."""
    height, width = bgr.shape[:2]
    hidden = bgr.copy()
    for box in boxes:
        x1, y1 = (max(0, int(np.floor(value))) for value in box[:2])
        x2, y2 = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
        if x2 <= x1 or y2 <= y1:
            continue
        cell = max(MIN_CELL_PX, -(-max(x2 - x1, y2 - y1) // CELLS))
        # From the original, not from what is hidden already: where two boxes overlap, the later one is no finer.
        part = bgr[y1:y2, x1:x2]
        small = (max(1, round((x2 - x1) / cell)), max(1, round((y2 - y1) / cell)))
        coarse = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
        hidden[y1:y2, x1:x2] = cv2.resize(coarse, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST)
    return hidden


class Hider:
    """Hides what is to be hidden in the pictures of one video.

    Args:
        regions: by the road users that were detected
        faces: also looks for faces in each picture; None: does not
    """

    def __init__(self, regions: HiddenRegions, faces: FaceFinder | None = None) -> None:
        self._regions = regions
        self._faces = faces
        self.pictures = self.boxes = 0

    def picture(self, bgr: Image, timestamp_sec: float) -> Image:
        """The picture (h, w, 3) of that time with its hidden parts; it may be smaller than the video's frame."""
        full_width, full_height = self._regions.frame_size
        across, down = bgr.shape[1] / full_width, bgr.shape[0] / full_height
        boxes = self._regions.at(timestamp_sec) * (across, down, across, down)
        if self._faces is not None:
            boxes = np.vstack((boxes, self._faces.find(bgr)))
        self.pictures += 1
        self.boxes += len(boxes)
        return hide(bgr, boxes)

    def clip(self, source: Path, start_sec: float, end_sec: float, target: Path) -> ClipFile:
        """Write a clip of `source` with everything hidden, encoded anew: no packet of the original is in it.

        Raises:
            VideoError, InputError: as `video.clips.cut_clip`.
        """
        return cut_clip(source, start_sec, end_sec, target, repaint=self.picture)
