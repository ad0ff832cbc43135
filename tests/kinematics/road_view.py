"""A drawn road whose own motion is known: waves of brightness on the ground and on a far backdrop, seen by a pinhole.

Each pixel's ray is traced; waves too short for the pixel are left out, so that nothing flickers. x right, y down, z
ahead; the camera stands 1.3 m above a flat road with the horizon in the middle and turns about its own axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 240, 427
FOCAL_SHARE = 0.65
FOCAL_PX = FOCAL_SHARE * WIDTH
CAMERA_M = 1.3

Gray = NDArray[np.uint8]


def view(
    driven_m: float = 0.0, *, left_rad: float = 0.0, up_rad: float = 0.0, roll_rad: float = 0.0, sky: bool = True
) -> Gray:
    """What the camera sees after it has driven, turned left, up, and rolled so that the picture turns clockwise."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    x, y = (x + 0.5 - WIDTH / 2) / FOCAL_PX, (y + 0.5 - HEIGHT / 2) / FOCAL_PX
    c, s = np.cos(roll_rad), np.sin(roll_rad)
    x, y = c * x + s * y, c * y - s * x
    c, s = np.cos(up_rad), np.sin(up_rad)
    y, z = c * y - s, c + s * y
    c, s = np.cos(left_rad), np.sin(left_rad)
    x, z = c * x - s * z, c * z + s * x
    waves = np.random.default_rng(7)
    picture = np.full((HEIGHT, WIDTH), 110.0)
    ground = y > 0.004
    depth = CAMERA_M * z / np.where(ground, y, 1.0)
    right, ahead = CAMERA_M * x / np.where(ground, y, 1.0), depth + driven_m
    pixel_m = depth / FOCAL_PX * np.maximum(depth / CAMERA_M, 1.0)  # its longer side on the ground
    for length_m in np.geomspace(0.15, 12, 40):
        angle, phase = waves.uniform(0, np.pi), waves.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi / length_m * (right * np.cos(angle) + ahead * np.sin(angle)) + phase)
        picture += np.where(ground, 9.0 * wave * np.clip(length_m / (4 * pixel_m) - 0.5, 0, 1), 0.0)
    if sky:
        across, up = np.arctan2(x, z), y / np.hypot(x, z)
        for length_rad in np.geomspace(0.03, 0.5, 30):
            angle, phase = waves.uniform(0, np.pi), waves.uniform(0, 2 * np.pi)
            wave = np.sin(2 * np.pi / length_rad * (across * np.cos(angle) + up * np.sin(angle)) + phase)
            picture += np.where(ground, 0.0, 9.0 * wave)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)
