"""A small world for whole-graph tests: painted rectangles on a noisy road, and a detector that finds their colours.

The detector is a test double: it stands where NanoDet would, so that the graph can be tested on traffic whose truth is
known, in seconds and without weights.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.perception.detections import Detections
from autorisk_dagster.video.clips import Mp4Writer

WIDTH, HEIGHT = 480, 180
_COLOURS = {"car": (40, 40, 230), "bus": (230, 60, 40), "person": (60, 220, 40)}  # BGR


class ColourDetector:
    """Finds rectangles of the colours above; confident, because it cannot be wrong about them."""

    model_id = "colour-test-double"
    model_revision = "0" * 64
    input_long_edge_px = WIDTH

    def __init__(self) -> None:
        self.frames = 0

    def detect(self, frames_bgr: list[NDArray[np.uint8]]) -> list[Detections]:
        return [self._one(frame) for frame in frames_bgr]

    def _one(self, frame: NDArray[np.uint8]) -> Detections:
        self.frames += 1
        boxes, labels = [], []
        for label, colour in _COLOURS.items():
            near = (np.abs(frame.astype(int) - colour) < 45).all(-1).astype(np.uint8)
            count, _, stats, _ = cv2.connectedComponentsWithStats(near)
            for left, top, width, height, area in stats[1:count]:
                if area >= 40:
                    boxes.append([left, top, left + width, top + height])
                    labels.append(label)
        confidence = np.full(len(boxes), 0.9)
        return Detections(np.array(boxes, float).reshape(-1, 4), confidence, tuple(labels))


def film_crossing(target: Path, seconds: float = 6.0, rate_hz: float = 10.0, horn: bool = True) -> Path:
    """Two cars drive at each other on a fixed camera's picture and meet in the middle, with a horn there."""
    noise = np.random.default_rng(7)
    road = cv2.GaussianBlur(noise.integers(90, 140, (HEIGHT, WIDTH, 1), np.uint8).repeat(3, 2), (5, 5), 0)
    with Mp4Writer(target, WIDTH, HEIGHT, audio_rate_hz=16_000 if horn else None) as writer:
        for index in range(round(seconds * rate_hz)):
            at = index / rate_hz
            frame = road.copy()
            reach = round(14 + abs(seconds / 2 - at) * 65)
            for label, centre in (("car", WIDTH // 2 - reach), ("bus", WIDTH // 2 + reach)):
                cv2.rectangle(frame, (centre - 14, 80), (centre + 14, 104), _COLOURS[label], -1)
            writer.write(frame, at)
            if horn:
                time = at + np.arange(round(16_000 / rate_hz)) / 16_000
                loud = 0.4 if abs(at - seconds / 2) < 0.5 else 0.0
                sound = loud * np.sin(2 * np.pi * 425 * time) + 0.005 * noise.standard_normal(len(time))
                writer.write_audio(sound.astype(np.float32))
    return target
