"""A saliency map as people see it: laid over the frames as an animation, and its course over time as a curve."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SMOOTH_SHARE = 0.03  # of the width: single pixels flicker, what is looked at is larger
FULL_QUANTILE = 0.995  # of all maps of the clip: the brightest half per cent is full colour
OPACITY = 0.55
_SHOWN_WIDTH_PX = 640


def overlay(rgb: NDArray[np.uint8], maps: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """The frames, grey, with the map over them, from clear (nothing) to yellow (most).

    One scale for the whole clip, so that a frame that matters little looks so.

    Args:
        rgb: (n, h, w, 3) uint8
        maps: (n, h', w') non-negative, of the same view in any resolution

    Returns:
        n pictures (h, w, 3) uint8, RGB
    """
    height, width = rgb.shape[1:3]
    sigma = max(1.0, SMOOTH_SHARE * width)
    smooth = [cv2.GaussianBlur(cv2.resize(one, (width, height)), (0, 0), sigma) for one in maps]
    full = float(np.quantile(np.stack(smooth), FULL_QUANTILE)) or 1.0
    return [_laid_over(picture, np.clip(one / full, 0, 1)) for picture, one in zip(rgb, smooth, strict=True)]


def _laid_over(picture: NDArray[np.uint8], strength: NDArray[np.float32]) -> NDArray[np.uint8]:
    gray = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    colour = cv2.applyColorMap((strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = (OPACITY * strength)[..., None] + 0.0
    return cast("NDArray[np.uint8]", (gray * (1 - share) + colour * share).astype(np.uint8))


def animation(pictures: list[NDArray[np.uint8]], frame_sec: float, target: Path | io.BytesIO) -> None:
    """Write an animated WebP that repeats for ever; Dagster's UI and every browser show it."""
    frames = [_shown(picture) for picture in pictures]
    duration_ms = max(20, round(frame_sec * 1000))
    frames[0].save(
        target, "WEBP", save_all=True, append_images=frames[1:], duration=duration_ms, loop=0, quality=75, method=2
    )


def _shown(picture: NDArray[np.uint8]) -> Image.Image:
    height, width = picture.shape[:2]
    image = Image.fromarray(picture)
    if width > _SHOWN_WIDTH_PX:
        image = image.resize((_SHOWN_WIDTH_PX, round(height * _SHOWN_WIDTH_PX / width)))
    return image


def curve_png(times_sec: NDArray[np.float64], share: NDArray[np.float64], title: str) -> bytes:
    """The share of the sensitivity that each frame has, over the clip's time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2.2), layout="constrained")
    axes = figure.subplots()
    axes.step(times_sec, 100 * share, where="post", color="#c2700c")
    axes.axhline(100 / len(share), color="#71808f", linewidth=0.8, linestyle=":")
    axes.set(xlabel="time in the clip (s)", ylabel="sensitivity (%)", title=title, ylim=(0, None))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
