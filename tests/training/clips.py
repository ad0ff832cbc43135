"""Clips that a model of one megabyte can learn: how bright they are says how severe they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.video_factory import steady, write_video

SEVERITIES = ("NONE", "LOW", "MEDIUM", "HIGH")
SIZE = (96, 64)
DURATION_SEC = 1.0


def bright_clip(path: Path, severity: str, seed: int) -> Path:
    """Four frames of noise around one of four brightnesses, the brightest HIGH."""
    noise = np.random.default_rng(seed)
    level = 40 + 55 * SEVERITIES.index(severity)
    pictures = (level + noise.integers(-12, 13, (4, SIZE[1], SIZE[0], 3))).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, steady(4, 4), pictures=list(pictures), size=SIZE)
