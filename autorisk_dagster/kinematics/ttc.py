"""Time to contact of one tracked road user, from the growth of its box (monocular expansion).

Something of fixed size that comes nearer grows in the image as size ~ 1 / (time left), so that
time to contact = size / (d size / dt) = 2 A / (dA / dt) for its area A (Lee 1976; DESIGN.md, "TTC from boxes").
Neither the camera's calibration nor the object's true size is needed.

How it is measured, at every sample from that sample and earlier ones only:

- The history is what follows the last gap, jump in size or jump in position (another object under the same id).
- A box cut by the left or right frame border says nothing of width, one cut at the top or bottom nothing of height.
- size ** -POWER is fitted by a robust straight line, for height and width apart, and read at the newest sample. POWER 1
  is exact for a flat target at constant speed; towards 0 it becomes a log-size fit, which answers for the middle of its
  window. Real objects have depth and their box follows the nearest face, so that POWER 1 is 9 % low against the middle
  of the object on KITTI; 2/3 lies between.
- A window of 0.5 s counts where its noise lets it, one of 1.2 s elsewhere, by inverse variance.
- Height leads, because it is nearly blind to an object's turning; width joins by inverse variance, its own systematic
  error included.
- The 90 % interval is Student's t on the residuals of the fit, plus the systematic error of the model.

Not covered: an object whose real size in view changes (a cyclist who turns, a door that opens) and one that grows in
view as it comes out from behind another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from autorisk_dagster.errors import InputError

# Measured on KITTI tracking (six sequences, 10 Hz, 0 / 1 / 2 px of box noise), truth z / -(dz / dt) of the middle.
# Median relative error with POWER 2/3: 0.061 / 0.102 / 0.140 (plain 0.8 s log-height fit: 0.076 / 0.120 / 0.172).
# POWER 1, exact for a flat target, has 0.10 / 0.15 / 0.20, all of it low: the near face is 2 m before the middle.
# POWER 2/3 is 4 % high for a flat target 3 s away without noise, 5 % at 2 s.
POWER = 2 / 3
WINDOW_SEC = 1.2  # of the fit where there is noise
SHORT_WINDOW_SEC = 0.5  # of the fit where there is little
SLOW_WINDOW_SEC = 1.6  # how far to go for MIN_SAMPLES + 1 samples at a low rate
MIN_SAMPLES = 4
MIN_SPAN_SEC = 0.25  # a shorter history is mostly the detector's jitter
MAX_GAP_SEC = 0.65  # a track that was away longer starts anew: two missed samples at 4 a second

# Errors that no amount of samples removes, as shares of the rate; set so that the interval covers 90 % on KITTI
SYSTEMATIC = 0.08  # depth of the object, a speed that changes within the window
LAG_SYSTEMATIC = 0.06  # of the long window against the short one
WIDTH_SYSTEMATIC = 0.3  # width changes with the angle of view
EDGE_NOISE_PX = 0.3  # least error of a box edge: rounding to pixels
INDEPENDENT_HZ = 10.0  # box errors of neighbouring frames are alike: more samples a second add no certainty
CONFIDENCE = 0.90
STILL_RATE_HZ = 1e-3  # growth under 0.1 % a second is not an approach

BORDER_PX, BORDER_SHARE = 3.0, 0.005  # a box edge this near the frame border counts as cut
CHANGES_BEFORE = 8  # changes of size that say what is usual on this track
JUMP, JUMP_RATE_HZ = 0.08, 1.0  # change of log size that is never a jump: JUMP + JUMP_RATE_HZ * elapsed time
ROBUST_STEPS = 3
TUKEY = 4.685  # 95 % efficiency on normal errors

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class TtcEstimates:
    """Time to contact at every sample, arrays of one length, in seconds.

    Attributes:
        ttc_sec: inf = not approaching, NaN = cannot say
        low_sec: lower end of the 90 % interval; NaN where `ttc_sec` is NaN
        high_sec: upper end; inf where standing still is within the interval
    """

    ttc_sec: Array
    low_sec: Array
    high_sec: Array


def estimate_ttc(
    timestamps_sec: ArrayLike, boxes_xyxy: ArrayLike, frame_size: tuple[float, float] | None = None
) -> TtcEstimates:
    """Time to contact of one track at each of its samples.

    Args:
        timestamps_sec: (n,) strictly increasing, s; the spacing may vary, 4 to 60 samples a second
        boxes_xyxy: (n, 4) left, top, right, bottom, px; a box that is inverted or not finite is a missing sample
        frame_size: (width, height), px; without it, boxes cut by the border cannot be told and are used as they are

    Raises:
        InputError: shapes that do not fit, or timestamps that do not increase.
    """
    times = np.asarray(timestamps_sec, dtype=np.float64).reshape(-1)
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    if boxes.size == 0:
        boxes = boxes.reshape(0, 4)
    if boxes.shape != (len(times), 4):
        raise InputError(f"boxes_xyxy must have shape ({len(times)}, 4) like the timestamps, got {boxes.shape}")
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise InputError("timestamps_sec must be finite and strictly increasing")

    answer = np.full((3, len(times)), np.nan)
    width_seen, height_seen = _trusted(boxes, frame_size)
    usable = np.flatnonzero(width_seen | height_seen)
    if len(usable) < MIN_SAMPLES:
        return TtcEstimates(*answer)
    times, boxes = times[usable], boxes[usable]
    width_seen, height_seen = width_seen[usable], height_seen[usable]

    segment = _segments(times, boxes, width_seen, height_seen)
    long, short = (_history(times, segment, window_sec) for window_sec in (WINDOW_SEC, SHORT_WINDOW_SEC))
    width_px, height_px = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    width = _blended(_growth(times, width_px, width_seen, short), _growth(times, width_px, width_seen, long))
    height = _blended(_growth(times, height_px, height_seen, short), _growth(times, height_px, height_seen, long))
    answer[:, usable] = _as_time(*_combined(width, height))
    return TtcEstimates(*answer)


def _trusted(boxes: Array, frame_size: tuple[float, float] | None) -> tuple[Mask, Mask]:
    """Samples whose width, and whose height, is that of the whole object."""
    left, top, right, bottom = boxes.T
    valid = np.isfinite(boxes).all(axis=1) & (right > left) & (bottom > top)
    if frame_size is None:
        return valid, valid
    margin_x, margin_y = (max(BORDER_PX, BORDER_SHARE * edge) for edge in frame_size)
    width_seen = valid & (left > margin_x) & (right < frame_size[0] - margin_x)
    height_seen = valid & (top > margin_y) & (bottom < frame_size[1] - margin_y)
    return width_seen, height_seen


def _segments(times: Array, boxes: Array, width_seen: Mask, height_seen: Mask) -> NDArray[np.int64]:
    """Number of the unbroken stretch each sample belongs to: a gap or a jump starts a new one.

    A jump is a change of size that neither an approach nor the box noise so far explains, or a move of more than half
    the object's size and 4 sizes a second. Size is the height, because a walker's width swings; the width only of
    objects whose height is cut.
    """
    elapsed = np.diff(times)
    size = np.stack([boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]])
    center = np.stack([boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]]) / 2
    seen = np.stack([width_seen, height_seen])
    seen = seen[:, 1:] & seen[:, :-1]
    reach = np.sqrt(size[0] * size[1])
    reach = np.minimum(reach[1:], reach[:-1])

    of_width, of_height = np.abs(np.diff(np.log(size), axis=1))
    change = np.where(seen[1], of_height, of_width)
    measured = seen.any(axis=0)
    before = sliding_window_view(np.concatenate([np.full(CHANGES_BEFORE, np.nan), change[:-1]]), CHANGES_BEFORE)
    known = np.isfinite(before).sum(axis=1) >= MIN_SAMPLES
    usual = np.full(len(change), np.nan)
    usual[known] = np.nanmedian(before[known], axis=1)
    allowed = JUMP + JUMP_RATE_HZ * elapsed + np.where(known, 5.0 * usual, 8.0 / reach)
    moved = (np.abs(np.diff(center, axis=1)) > (0.5 + 4.0 * elapsed) * reach + 8.0) & seen
    jump = (measured & (change > allowed)) | moved.any(axis=0)
    return np.concatenate([[0], np.cumsum(jump | (elapsed > MAX_GAP_SEC))])


@dataclass(frozen=True)
class _History:
    """For each of n samples, the k samples up to and including it that may be fitted."""

    index: NDArray[np.int64]  # (n, k)
    usable: Mask  # (n, k)


def _history(times: Array, segment: NDArray[np.int64], window_sec: float) -> _History:
    count = len(times)
    present = np.arange(count)
    first = np.searchsorted(times, times - window_sec - 1e-6)
    enough = np.maximum(np.searchsorted(times, times - SLOW_WINDOW_SEC - 1e-6), present - MIN_SAMPLES)
    first = np.maximum(np.minimum(first, enough), np.searchsorted(segment, segment))
    longest = int((present - first).max()) + 1
    index = present[:, None] - np.arange(longest)[::-1]
    return _History(np.maximum(index, 0), index >= first[:, None])


@dataclass(frozen=True)
class _Growth:
    """Relative growth of one dimension, (d size / dt) / size, at each sample; NaN where it cannot be measured."""

    rate_hz: Array
    variance: Array
    freedom: Array  # degrees of freedom of the variance


def _growth(times: Array, size: Array, seen: Mask, history: _History) -> _Growth:
    """Robust line through size ** -POWER over each sample's history, read at that sample."""
    usable = history.usable & seen[history.index] & seen[:, None]
    x = np.where(usable, times[history.index] - times[:, None], 0.0)
    ratio = size[history.index] / size[:, None]
    y = np.where(usable, ratio**-POWER, 0.0)
    # error of y from an error of both edges: d(ratio ** -p) = p ratio ** -p d(size) / size
    floor = POWER * y * EDGE_NOISE_PX * np.sqrt(2.0) / size[history.index]
    count = usable.sum(axis=1)
    span = -np.where(usable, x, 0.0).min(axis=1)
    enough = (count >= MIN_SAMPLES) & (span >= MIN_SPAN_SEC)

    with np.errstate(all="ignore"):
        weight = usable.astype(np.float64)
        for _ in range(ROBUST_STEPS):
            line = _line(x, y, weight)
            residual = np.abs(line.residual)
            scale = np.maximum(1.4826 * _median(residual, usable), floor.max(axis=1))
            weight = np.where(usable, np.clip(1 - (residual / (TUKEY * scale[:, None])) ** 2, 0, None) ** 2, 0.0)
        line = _line(x, y, weight)
        total = weight.sum(axis=1)
        freedom = np.maximum(total - 2.0, 1.0)
        noise = np.maximum((weight * line.residual**2).sum(axis=1) / freedom, (weight * floor**2).sum(axis=1) / total)
        noise *= np.maximum(count / (span * INDEPENDENT_HZ + 1.0), 1.0)
        relative = line.slope / line.now
        rate = -relative / POWER
        # delta method for slope / now: the two share the error of the slope, `middle` away from the mean
        variance = (1 + relative * line.middle) ** 2 / line.spread + relative**2 / total
        variance *= noise / (POWER * line.now) ** 2
    enough &= np.isfinite(rate) & np.isfinite(variance) & (line.now > 0)
    return _Growth(np.where(enough, rate, np.nan), np.where(enough, variance, np.nan), freedom)


@dataclass(frozen=True)
class _Line:
    """Weighted straight lines, one a row of x and y."""

    slope: Array
    now: Array  # value at x = 0
    middle: Array  # weighted mean of x
    spread: Array  # weighted sum of squares of x about it
    residual: Array  # (n, k)


def _line(x: Array, y: Array, weight: Array) -> _Line:
    total = weight.sum(axis=1)
    middle = (weight * x).sum(axis=1) / total
    mean = (weight * y).sum(axis=1) / total
    about = x - middle[:, None]
    spread = (weight * about**2).sum(axis=1)
    slope = (weight * about * y).sum(axis=1) / spread
    now = mean - slope * middle
    return _Line(slope, now, middle, spread, y - now[:, None] - slope[:, None] * x)


def _median(values: Array, counted: Mask) -> Array:
    """Median of each row's counted values; 0 where there are none."""
    ordered = np.sort(np.where(counted, values, np.inf), axis=1)
    count = np.maximum(counted.sum(axis=1), 1)
    rows = np.arange(len(values))
    median = (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / 2
    return np.where(np.isfinite(median), median, 0.0)


def _blended(short: _Growth, long: _Growth) -> _Growth:
    """The short window where its noise lets it, the long one elsewhere; a change between them is gradual."""
    with np.errstate(all="ignore"):
        of_short = 1.0 / short.variance
        of_long = 1.0 / (long.variance + (LAG_SYSTEMATIC * long.rate_hz) ** 2)
        share = np.nan_to_num(of_short / (of_short + of_long))  # 0 where the short one has too few samples
        rate = share * np.nan_to_num(short.rate_hz) + (1 - share) * long.rate_hz
        # both read the same samples: their errors add up like one
        error = share * np.sqrt(np.nan_to_num(short.variance)) + (1 - share) * np.sqrt(long.variance)
    return _Growth(rate, error**2, share * short.freedom + (1 - share) * long.freedom)


def _combined(width: _Growth, height: _Growth) -> tuple[Array, Array, Array]:
    """Rate, its variance and degrees of freedom: mean of width and height by inverse variance."""
    reference = np.where(np.isnan(height.rate_hz), width.rate_hz, height.rate_hz)
    of_width = 1.0 / (width.variance + (WIDTH_SYSTEMATIC * reference) ** 2)
    of_height = 1.0 / height.variance
    with np.errstate(all="ignore"):
        of_width, of_height = np.nan_to_num(of_width), np.nan_to_num(of_height)
        total = of_width + of_height
        rate = (np.nan_to_num(width.rate_hz) * of_width + np.nan_to_num(height.rate_hz) * of_height) / total
        variance = 1.0 / total + (SYSTEMATIC * rate) ** 2
        freedom = (of_width * width.freedom + of_height * height.freedom) / total
    return rate, variance, freedom


def _as_time(rate_hz: Array, variance: Array, freedom: Array) -> tuple[Array, Array, Array]:
    """(ttc, low, high) in s from the rate of growth and its error."""
    from scipy.special import stdtrit  # costs 0.2 s to import

    half = stdtrit(freedom, (1 + CONFIDENCE) / 2) * np.sqrt(variance)
    ttc, low, high = (_inverse(rate) for rate in (rate_hz, rate_hz + half, rate_hz - half))
    return ttc, low, high


def _inverse(rate_hz: Array) -> Array:
    with np.errstate(divide="ignore"):
        time_sec: Array = np.where(rate_hz > STILL_RATE_HZ, 1.0 / rate_hz, np.inf)
    return np.where(np.isnan(rate_hz), np.nan, time_sec)
