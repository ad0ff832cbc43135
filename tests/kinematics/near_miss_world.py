"""A fixed world for the golden test of near miss 1.0: road users that wander through a picture for 300 frames.

Only Python's own `random` (the same numbers in every version) and plain arithmetic are used, so that the frames never
change; `near_miss_golden.json` holds the events of `tests.kinematics.near_miss_reference` on them.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from random import Random
from typing import Any

GOLDEN = Path(__file__).with_name("near_miss_golden.json")
FRAMES = 300
PARAMETER_SETS: dict[str, dict[str, Any]] = {
    "document": {},
    "filters off": {"filters_enabled": False},
    "ten a second": {"fps": 10.0, "proximity_px": 140.0, "debounce_frames": 25, "confirm_frames": 3},
}


def world() -> list[OrderedDict[int, dict[str, Any]]]:
    """The scene of each frame, as `NearMissDetector.process_frame` takes it: ids 3 to 11, now and then one missing."""
    random = Random(20240611)
    state = {i: [random.uniform(0, 640), random.uniform(0, 360)] for i in range(3, 12)}
    speed = {i: [random.uniform(-9, 9), random.uniform(-4, 4)] for i in state}
    trails: dict[int, list[tuple[int, float, float]]] = {i: [] for i in state}
    scenes = []
    for frame in range(FRAMES):
        scene: OrderedDict[int, dict[str, Any]] = OrderedDict()
        for i in sorted(state, key=lambda _: random.random()):
            if random.random() < 0.04:
                speed[i] = [random.uniform(-9, 9), random.uniform(-4, 4)]
            for axis, size in ((0, 640.0), (1, 360.0)):
                if not 0 <= state[i][axis] + speed[i][axis] <= size:
                    speed[i][axis] = -speed[i][axis]
                state[i][axis] += speed[i][axis]
            x, y = (value + random.uniform(-0.5, 0.5) for value in state[i])
            half = random.uniform(12, 30)
            if random.random() < 0.03:
                continue
            trails[i].append((frame, x, y))
            scene[i] = {
                "id": i,
                "class": "pedestrian" if i % 4 == 0 else "vehicle",
                "label": "person" if i % 4 == 0 else "car",
                "bbox": [x - half, y - half, x + half, y + half],
                "confidence": random.uniform(0.42, 0.95),
                "center": (x, y),
                "trajectory": list(trails[i]),
            }
        scenes.append(scene)
    return scenes


def events_of(detector: Any) -> list[dict[str, Any]]:
    """All events of a fresh detector over the world."""
    return [event for frame, scene in enumerate(world()) for event in detector.process_frame(frame, scene)]


def golden() -> dict[str, list[dict[str, Any]]]:
    """The stored events by name of the parameter set; JSON keeps every digit of a float."""
    stored: dict[str, list[dict[str, Any]]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return stored
