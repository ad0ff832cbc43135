"""Optical flow, window by window: mean and variance of its magnitude.

Seed 000, stage 1, with two differences. The flow is DIS's (Kroeger et al. 2016, OpenCV's preset "ultrafast") of a
picture of 240 px short edge instead of Farneback's at 480: 0.8 ms a pair for 43-80. On frames of the test videos moved
by a known shift and zoom, with noise, it reads 0.91 to 1.10 of the true length, half of the textured px to 0.27 px;
Farneback (240 px, window 9) reads 0.55 to 0.62. How it ranks windows beside the seed's setting: docs/performance.md.
And displacement is divided by the true time between the two frames: per pair, as the seed counts it, a 4 fps recording
looks two and a half times as fast as a 10 fps one.

Unit: px of a frame whose short edge is 240 px, per 0.1 s.
A pair across a scene cut, or more than half a second apart, shows no motion and is left out.
Not covered: the car's own motion is part of the flow (`mining.own_motion` tells it); it is not taken out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.mining.windows import window_count, window_of
from autorisk_dagster.video.frames import reduced

SHORT_EDGE_PX = 240
UNIT_SEC = 0.1
HALVINGS = 2  # of the grey picture before the flow: DIS's preset looks no closer than that (its finest scale)
MIN_EDGE_PX = 12  # of the halved picture: less than DIS takes
# Farther apart than this, a car at town speed has moved on by more than its own length: nothing to match.
MAX_GAP_SEC = 0.5

# OpenCV's vector code leaves differences of 1e-14 between two runs on the same frames. Rounded away, the same video
# gives the same table, and nothing that depends on it becomes stale for noise.
_DECIMALS = 6

_COLUMNS = ("flow_mean_px", "flow_variance_px2")


@dataclass(frozen=True)
class _Frame:
    timestamp_sec: float
    gray: NDArray[np.uint8]
    halved: NDArray[np.uint8]


@dataclass(frozen=True)
class FlowField:
    """Flow from `before`, (h, w) grey, to the frame `gap_sec` later: px of `before`.

    `flow` is (rows, columns, 2), x right and y down, over the whole picture but coarser than it.
    """

    flow: NDArray[np.float32]
    before: NDArray[np.uint8]
    gap_sec: float


class MotionSignals:
    """Takes the sampled grey frames in order; holds the last one and three sums a window."""

    def __init__(self, window_sec: float) -> None:
        self._window_sec = window_sec
        self._last: _Frame | None = None
        self._dis = _dis()  # keeps its buffers from pair to pair
        self._sums: dict[int, tuple[float, float, float]] = {}  # seconds, mean * seconds, variance * seconds

    def add(self, timestamp_sec: float, gray: NDArray[np.uint8], is_cut: bool = False) -> FlowField | None:
        """Add one sampled frame; return the flow from the one before, None where there is none.

        Args:
            timestamp_sec: presentation time; a frame not later than the one before is skipped
            gray: (h, w) uint8; a change of size (the stream changed) counts as a cut
            is_cut: a scene began after the sampled frame before this one, at this frame or at one not sampled
        """
        last = self._last
        if last is not None and timestamp_sec <= last.timestamp_sec:
            return None
        now = self._last = _Frame(timestamp_sec, gray, _halved(gray))
        if last is None or is_cut or last.gray.shape != gray.shape:
            return None
        gap_sec = timestamp_sec - last.timestamp_sec
        if gap_sec > MAX_GAP_SEC:
            return None
        flow = coarse_flow(self._dis, last.halved, now.halved, len(gray))
        mean, variance = flow_statistics(flow, gap_sec, min(gray.shape))
        window = window_of(timestamp_sec - gap_sec / 2, self._window_sec)
        seconds, mean_sum, variance_sum = self._sums.get(window, (0.0, 0.0, 0.0))
        # Weighted by time, a frame repeated to fill a frame rate (no motion, then a jump) leaves the mean as it was.
        self._sums[window] = (seconds + gap_sec, mean_sum + mean * gap_sec, variance_sum + variance * gap_sec)
        return FlowField(flow, last.gray, gap_sec)

    def finish(self, duration_sec: float) -> pl.DataFrame:
        """One row a window of the video: `flow_mean_px`, `flow_variance_px2`; null where no pair was measured."""
        means: list[float | None] = []
        variances: list[float | None] = []
        for window in range(window_count(duration_sec, self._window_sec)):
            seconds, mean_sum, variance_sum = self._sums.get(window, (0.0, 0.0, 0.0))
            means.append(round(mean_sum / seconds, _DECIMALS) if seconds else None)
            variances.append(round(variance_sum / seconds, _DECIMALS) if seconds else None)
        return pl.DataFrame(
            dict(zip(_COLUMNS, (means, variances), strict=True)), schema={c: tables.FRAME_SIGNALS[c] for c in _COLUMNS}
        )


def dense_flow(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Displacement of every pixel of `before`, (h, w, 2) px."""
    height, width = before.shape
    flow = coarse_flow(_dis(), _halved(before), _halved(after), height)
    return cast("NDArray[np.float32]", cv2.resize(flow, (width, height), interpolation=cv2.INTER_LINEAR))


def flow_statistics(flow: NDArray[np.float32], gap_sec: float, short_edge_px: int) -> tuple[float, float]:
    """Mean (px) and variance (px^2) of the flow's magnitude over the picture, in the unit of the module.

    Args:
        flow: (rows, columns, 2) px of a picture with the short edge `short_edge_px`
        gap_sec: time it took
        short_edge_px: of the picture whose px the flow counts
    """
    mean, deviation = cv2.meanStdDev(cv2.magnitude(flow[..., 0], flow[..., 1]))
    scale = (UNIT_SEC / gap_sec) * (SHORT_EDGE_PX / short_edge_px)
    return float(mean[0, 0]) * scale, (float(deviation[0, 0]) * scale) ** 2


def _dis() -> cv2.DISOpticalFlow:
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    dis.setFinestScale(0)  # the pictures come at the scale at which the preset ends
    return dis


def _halved(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture at a quarter of its size: made once a frame, where DIS would make it anew for both of its pairs."""
    times = HALVINGS
    while times and min(gray.shape) >> times < MIN_EDGE_PX:
        times -= 1
    return reduced(gray, gray.shape[1] >> times, gray.shape[0] >> times)


def coarse_flow(
    dis: cv2.DISOpticalFlow, before: NDArray[np.uint8], after: NDArray[np.uint8], height_px: int
) -> NDArray[np.float32]:
    """Flow between two halved pictures, (rows, columns, 2), in px of the picture that was `height_px` high."""
    flow: NDArray[np.float32] = dis.calc(before, after, None)  # type: ignore[call-overload]
    flow *= height_px // len(before)
    return flow
