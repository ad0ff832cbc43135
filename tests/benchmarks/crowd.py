"""A made-up crowd for near misses and tracking: road users that drive straight through one another's way."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.perception.detections import Detections

WIDTH_PX, HEIGHT_PX = 1920.0, 1080.0
HALF_PX = 30.0


def centres_px(objects: int, frames: int) -> NDArray[np.float64]:
    """(frames, objects, 2): straight lines at 2 to 15 px a frame, thrown back by the picture's borders."""
    rng = np.random.default_rng(0)
    start = rng.uniform([0, 0], [WIDTH_PX, HEIGHT_PX], (objects, 2))
    angle, speed = rng.uniform(0, 2 * np.pi, objects), rng.uniform(2, 15, objects)
    step = np.stack([np.cos(angle), np.sin(angle)], axis=1) * speed[:, None]
    travelled = start + step * np.arange(frames)[:, None, None]
    size = np.array([WIDTH_PX, HEIGHT_PX])
    folded: NDArray[np.float64] = size - np.abs(travelled % (2 * size) - size)
    return folded


def crowd(objects: int, frames: int) -> list[OrderedDict[int, dict[str, Any]]]:
    """The near-miss detector's input, frame by frame."""
    trails: list[deque[tuple[int, float, float]]] = [deque(maxlen=5) for _ in range(objects)]
    scenes = []
    for frame, centres in enumerate(centres_px(objects, frames).tolist()):
        scene: OrderedDict[int, dict[str, Any]] = OrderedDict()
        for index, (x, y) in enumerate(centres):
            trails[index].append((frame, x, y))
            scene[index] = {
                "id": index,
                "class": "vehicle",
                "label": "car",
                "bbox": [x - HALF_PX, y - HALF_PX, x + HALF_PX, y + HALF_PX],
                "confidence": 0.8,
                "center": (x, y),
                "trajectory": list(trails[index]),
            }
        scenes.append(scene)
    return scenes


def detections_of_crowd(objects: int, frames: int) -> list[Detections]:
    """The tracker's input, frame by frame: all vehicles, boxes off by 1 px."""
    rng = np.random.default_rng(1)
    half = np.array([-HALF_PX, -HALF_PX, HALF_PX, HALF_PX])
    return [
        Detections(
            np.tile(centres, 2) + half + rng.normal(0, 1, (objects, 4)), np.full(objects, 0.7), ("car",) * objects
        )
        for centres in centres_px(objects, frames)
    ]
