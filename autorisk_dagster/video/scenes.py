"""Hard cuts, found while the frames stream by, from the structure of small grey pictures.

A picture is reduced to 64 x 36 px and laid over the one before it where both fit best, within 3 px (5 % of the width,
8 % of the height), so that a shaking camera is no change. Then the two are compared by their normalised correlation, as
a whole and as the mean over 4 x 4 blocks (the structure term of SSIM, Wang et al. 2004, equation 10): brightness and
contrast cancel, so an exposure step is no change either. The distance is 1 - correlation, 0 (same) to 1 (unrelated).

A cut is a jump of that distance over what the frames before it were doing (median of the last 8 distances), so that a
truck that fills the picture, or fast driving at a low frame rate, raises its own bar. Block histograms were tried
first: at 10 frames a second the weakest cut reached 0.39 and a passing truck 0.42.

Measured at 10 frames a second on 10 s of city footage with five cuts, a passing van and taxi, on five dashcam clips,
and on every pair of those joined: cuts 0.50 to 0.9; no cut over 0.38 (a taxi or a grey box that fills the picture;
driving 0.20, random shaking by 4 % 0.18). So 0.43 parts them. At 4 frames a second the two overlap. A white flash is
one cut. Fades and dissolves are not covered.
"""

from __future__ import annotations

from collections import deque
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from autorisk_dagster.errors import InputError
from autorisk_dagster.video.frames import reduced

_WIDTH_PX, _HEIGHT_PX = 64, 36
_BLOCKS = 4
_SHAKE_PX = 3
_NOISE_VARIANCE = 9.0  # grey levels squared: sensor noise of 3 levels; flat pictures that differ by noise are alike
_HISTORY = 8  # frames, under a second: long enough for a median, short enough to follow the traffic
_LOOK_BACK = 2  # frames compared with: after a flash of one frame the old picture is back, which is no cut


class SceneCutDetector:
    """Says of each frame whether a new scene begins with it. Feed every frame of one video in order.

    Args:
        threshold: jump of the structural distance, 0..1, at which a cut is declared; lower finds more.
    """

    def __init__(self, threshold: float) -> None:
        if not 0 < threshold <= 1:
            raise InputError(f"scene cut threshold must be over 0 and at most 1, got {threshold}")
        self.threshold = threshold
        self._before: deque[NDArray[np.float32]] = deque(maxlen=_LOOK_BACK)
        self._distances: deque[float] = deque(maxlen=_HISTORY)

    def is_cut(self, gray: NDArray[np.uint8]) -> bool:
        """True where `gray`, uint8 (h, w) of any size, begins a new scene. The first frame never does."""
        picture = reduced(gray, _WIDTH_PX, _HEIGHT_PX).astype(np.float32)
        if not self._before:
            self._before.append(picture)
            return False
        distance = structural_distance(picture, self._before[-1])
        cut = distance >= self.threshold  # most frames end here
        if cut:
            usual = float(np.median(self._distances)) if self._distances else 0.0
            if distance - usual >= self.threshold:
                distance = min(structural_distance(picture, before) for before in self._before)
            cut = distance - usual >= self.threshold
        if not cut:
            self._distances.append(distance)
        self._before.append(picture)
        return cut


def structural_distance(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """1 - correlation of two pictures of one shape, best overlap within 3 px, mean of the whole and of its blocks.

    A negative correlation counts as 0, so the distance is 0 to 1.
    """
    second = second[_SHAKE_PX:-_SHAKE_PX, _SHAKE_PX:-_SHAKE_PX]
    height, width = second.shape
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(first, second, cv2.TM_CCOEFF_NORMED))
    first = first[y : y + height, x : x + width]
    pair = np.stack([first, second])
    whole = _correlation(pair.reshape(2, 1, -1))
    blocks = np.maximum(_correlation(_in_blocks(pair)), 0.0)
    return 1.0 - (max(0.0, float(whole[0])) + float(blocks.mean())) / 2


def _in_blocks(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2, h, w) as (2, blocks, px of a block)"""
    height, width = pictures.shape[1] // _BLOCKS, pictures.shape[2] // _BLOCKS
    cut = pictures[:, : height * _BLOCKS, : width * _BLOCKS].reshape(2, _BLOCKS, height, _BLOCKS, width)
    return cut.transpose(0, 1, 3, 2, 4).reshape(2, _BLOCKS * _BLOCKS, height * width)


def _correlation(pairs: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n,) correlation of n pairs of pictures, (2, n, px); (cov + c) / sqrt((var1 + c) (var2 + c))."""
    noise = _NOISE_VARIANCE * pairs.shape[2]
    a, b = pairs - pairs.mean(axis=2, keepdims=True)
    covariance, spread_a, spread_b = (np.einsum("ij,ij->i", p, q) + noise for p, q in ((a, b), (a, a), (b, b)))
    return cast("NDArray[np.float32]", covariance / np.sqrt(spread_a * spread_b))
