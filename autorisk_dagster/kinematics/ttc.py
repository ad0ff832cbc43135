"""Time to contact of one tracked road user, from the growth of its box (monocular expansion).

Something of fixed size that comes nearer grows in the image as size ~ 1 / distance. So 1 / size falls as the distance
does, along a straight line at constant speed, and time to contact = size / (d size / dt) = 2 A / (dA / dt) for its
area A (Lee 1976; DESIGN.md, "TTC from boxes"). Neither the camera's calibration nor the object's true size is needed.

How it is measured, at every sample from that sample and earlier ones only:

- The history is what follows the last gap, jump in size or jump in position (another object under the same id), up to
  1.2 s of it. A box cut by the left or right frame border says nothing of width, one cut at the top or bottom nothing
  of height.
- 1 / size is taken to be a straight line, plus a speed that drifts at random, plus box errors that are alike in
  neighbouring frames. The slope at the newest sample is the best linear unbiased one under these (generalized least
  squares, Rasmussen and Williams 2006, eq. 2.41-2.42); the size of the box errors is what makes the misfit as large as
  its degrees of freedom (method of moments). So few samples count where boxes are exact, many where they are not.
  Samples far off a robust line (Tukey's biweight) are as good as left out.
- For how long box errors stay alike depends on who drew the boxes, and how much a speed drifts on who drives. Six
  suppositions (ALIKE_SEC, DRIFT_SHARES) are fitted and averaged, each by its evidence in the same history (Hoeting et
  al. 1999, "Bayesian Model Averaging", eq. 1-3, equal priors); what they disagree by is part of the variance.
- How much speeds drift: cars keep a distance that is worth a time, so that speeds, and what they change by, grow with
  the distance, and the slope of 1 / size drifts alike for near and far ones. People are met near at any speed, and
  where the own car turns: theirs drifts in inverse proportion to the distance, which a usual size in a usual camera
  says. A box that would be under a metre wide is a person's.
- Height leads, because it is nearly blind to an object's turning; width joins by inverse variance, its own systematic
  error included.
- The interval is Student's t on the variance of the fit. Only the share of it that is by box errors, whose size is
  estimated, for width and for height apart, counts for the degrees of freedom (Welch 1947, Satterthwaite 1946).

Contact with what: a box follows the face of the object that is nearest, labels measure its middle. The answer lies
halfway, and the interval allows for both (HALFWAY_SEC). The own car's front, ahead of the camera by an unknown 1 to
2 m, is reached earlier than either.

Not covered: an object whose real size in view changes (a cyclist who turns, a door that opens) and one that grows in
view as it comes out from behind another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from autorisk_dagster.errors import InputError
from autorisk_dagster.kinematics.camera import FOCAL_SHARE

WINDOW_SEC = 1.2  # of the history; 1.6 s reads the onset of an approach late (3 % missed instead of 1)
SLOW_WINDOW_SEC = 1.6  # how far to go for MIN_SAMPLES samples at a low rate
MIN_SAMPLES = 4
MIN_SPAN_SEC = 0.25  # a shorter history is mostly the detector's jitter
MAX_GAP_SEC = 0.65  # a track that was away longer starts anew: two missed samples at 4 a second

# The middle of a car arrives after its near face, on KITTI by 0.16 to 0.33 s (five sequences, mean of medians 0.23),
# that of a person by 0.05 s. Half of that.
HALFWAY_SEC, PERSON_HALFWAY_SEC = 0.12, 0.03

# What a closing speed changes by in 1 s, standard deviation: 2 m/s for each of two (hard braking is 8, comfortable 3)
SPEED_DRIFT_MPS = 2.0 * np.sqrt(2.0)
DRIFT = 0.08  # the same of a car, as a slope of relative distance, 1/s: at 35 m

HEIGHT_M = 1.6  # of cars and people alike
NARROW_M = 1.0  # people are not so wide, cars are
USUAL_DISTANCE_M = 10.0  # of a person, where the frame's size is not given
PRIOR_RATE_HZ = 0.5  # of growth before anything is seen: few road users are less than 2 s away
# What cannot be known before a track is seen, and is judged on each history: for how long box errors stay alike (labels
# drawn by people: not at all; NanoDet on the road videos: 0.1 s, with slower wander), and drift against the usual one.
ALIKE_SEC = (0.0, 0.1, 0.4)
DRIFT_SHARES = (0.5, 2.0)
EDGE_NOISE_PX = 0.2  # least error of a box edge: rounding to pixels is 0.29
WIDTH_SYSTEMATIC = 0.5  # of the rate, because width changes with the angle of view
CONFIDENCE = 0.90
STILL_RATE_HZ = 1e-3  # growth under 0.1 % a second is not an approach

BORDER_PX, BORDER_SHARE = 3.0, 0.005  # a box edge this near the frame border counts as cut
CHANGES_BEFORE = 8  # changes of size that say what is usual on this track
JUMP, JUMP_RATE_HZ = 0.08, 1.0  # change of log size that is never a jump: JUMP + JUMP_RATE_HZ * elapsed time
ROBUST_STEPS = 3
TUKEY = 4.685  # 95 % efficiency on normal errors
NOISE_STEPS = 2
NO_WEIGHT = 1e-6  # a sample with less is left out
ROWS_AT_ONCE = 512  # samples fitted in one batch: bounds the memory of long tracks

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

    history = _history(times, _segments(times, boxes, width_seen, height_seen))
    wide, high = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    person = width_seen & height_seen & (HEIGHT_M * wide < NARROW_M * high)
    drift_hz = np.where(person, SPEED_DRIFT_MPS / _usual_distance_m(high, frame_size), DRIFT)
    halfway_sec = np.where(person, PERSON_HALFWAY_SEC, HALFWAY_SEC)
    width = _growth(times, wide, width_seen, history, drift_hz)
    height = _growth(times, high, height_seen, history, drift_hz)
    answer[:, usable] = _as_time(_combined(width, height), halfway_sec)
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


def _usual_distance_m(high_px: Array, frame_size: tuple[float, float] | None) -> Array:
    """Of something as high as people and cars are, in a usual camera: (n,)."""
    if frame_size is None:
        return np.full(len(high_px), USUAL_DISTANCE_M)
    return FOCAL_SHARE * frame_size[0] * HEIGHT_M / high_px


def _segments(times: Array, boxes: Array, width_seen: Mask, height_seen: Mask) -> NDArray[np.int64]:
    """Number of the unbroken stretch each sample belongs to: a gap or a jump starts a new one.

    A jump is a change of size that neither an approach nor the box noise so far explains, or a move of more than half
    the object's size and 4 sizes a second that its last move does not lead to expect either (the own car may turn).
    Size is the height, because a walker's width swings; the width only of objects whose height is cut.
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

    move = np.diff(center, axis=1)
    expected = np.zeros_like(move)
    expected[:, 1:] = move[:, :-1] * (elapsed[1:] / elapsed[:-1])
    surprise = np.minimum(np.abs(move), np.abs(move - expected))
    moved = (surprise > (0.5 + 4.0 * elapsed) * reach + 8.0) & seen
    jump = (measured & (change > allowed)) | moved.any(axis=0)
    return np.concatenate([[0], np.cumsum(jump | (elapsed > MAX_GAP_SEC))])


@dataclass(frozen=True)
class _History:
    """For each of n samples, the k samples up to and including it that may be fitted."""

    index: NDArray[np.int64]  # (n, k)
    usable: Mask  # (n, k)


def _history(times: Array, segment: NDArray[np.int64]) -> _History:
    present = np.arange(len(times))
    first, farthest = (np.searchsorted(times, times - sec - 1e-6) for sec in (WINDOW_SEC, SLOW_WINDOW_SEC))
    first = np.minimum(first, np.maximum(farthest, present - MIN_SAMPLES + 1))
    first = np.maximum(first, np.searchsorted(segment, segment))
    longest = int((present - first).max()) + 1
    index = present[:, None] - np.arange(longest)[::-1]
    return _History(np.maximum(index, 0), index >= first[:, None])


@dataclass(frozen=True)
class _Growth:
    """Relative growth of one dimension, (d size / dt) / size, at each sample; NaN where it cannot be measured."""

    rate_hz: Array
    variance: Array
    freedom: Array  # degrees of freedom of the variance


def _growth(times: Array, size: Array, seen: Mask, history: _History, drift_hz: Array) -> _Growth:
    """Growth of `size` at each sample from its history; shapes (n,)."""
    parts = []
    for start in range(0, len(times), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        index, now = history.index[rows], size[rows, None]
        usable = history.usable[rows] & seen[index] & seen[rows, None]
        ago = np.where(usable, times[rows, None] - times[index], 0.0)
        distance = np.where(usable, now / size[index], 0.0)  # in units of the distance now
        parts.append(_fit(ago, distance, usable, EDGE_NOISE_PX * np.sqrt(2.0) / now[:, 0], drift_hz[rows]))
    rate, variance, freedom = np.concatenate(parts, axis=1)
    return _Growth(rate, variance, freedom)


def _fit(ago: Array, distance: Array, usable: Mask, floor: Array, drift_hz: Array) -> Array:
    """(rate, its variance, degrees of freedom) of n histories of k samples.

    Args:
        ago: (n, k) time before the newest sample, s
        distance: (n, k) distance over the newest one, as 1 / size gives it
        usable: (n, k) the samples that count
        floor: (n,) least error of a distance
        drift_hz: (n,) standard deviation of what the slope of distance changes by in 1 s
    """
    count, span = usable.sum(axis=1), ago.max(axis=1)
    enough = (count >= MIN_SAMPLES) & (span >= MIN_SPAN_SEC)
    answer = np.full((3, len(ago)), np.nan)
    if not enough.any():
        return answer
    ago, distance, usable, floor, drift_hz = (part[enough] for part in (ago, distance, usable, floor, drift_hz))
    weight, noise = _robust_weights(-ago, distance, usable, floor)
    line = np.stack([usable, -ago], axis=2, dtype=np.float64)
    # speed as a random walk: covariance of where it has led to, seen from now (integrated Wiener process)
    near, far = (pick(ago[:, :, None], ago[:, None, :]) for pick in (np.minimum, np.maximum))
    walk = drift_hz[:, None, None] ** 2 * near**2 * (3 * far - near) / 6
    apart = np.where(usable[:, :, None] & usable[:, None, :], np.abs(ago[:, :, None] - ago[:, None, :]), np.inf)
    found = np.stack(
        [
            _supposing(line, distance, _errors(apart, weight, alike_sec), share**2 * walk, weight, noise, floor)
            for alike_sec in ALIKE_SEC
            for share in DRIFT_SHARES
        ]
    )
    rate, variance, freedom, evidence = found.swapaxes(0, 1)
    likely = np.exp(evidence - evidence.max(axis=0))
    likely /= likely.sum(axis=0)
    mean = (likely * rate).sum(axis=0)
    variance = (likely * (variance + (rate - mean) ** 2)).sum(axis=0)
    answer[:, enough] = mean, variance, 1.0 / (likely / freedom).sum(axis=0)
    return answer


def _errors(apart: Array, weight: Array, alike_sec: float) -> Array:
    """Covariance of box errors in units of their variance: (n, k, k); `apart` in s, inf where one does not count."""
    alike = np.exp(-apart / alike_sec) if alike_sec > 0 else np.zeros_like(apart)
    diagonal = np.arange(weight.shape[1])
    alike[:, diagonal, diagonal] = 1.0 / np.maximum(weight, NO_WEIGHT)
    return alike


def _supposing(
    line: Array, distance: Array, error: Array, walk: Array, weight: Array, noise: Array, floor: Array
) -> Array:
    """Rate, variance, its degrees of freedom and logarithm of the evidence: (4, n), box errors and drift being so.

    Args:
        line: (n, k, 2) the straight line's design
        distance: (n, k)
        error: (n, k, k) covariance of box errors, in units of their variance
        walk: (n, k, k) covariance by the drift of the speed
        weight: (n, k) of the samples
        noise: (n,) first guess of the variance of box errors
        floor: (n,) least error of a distance
    """
    prior = np.diag([0.0, PRIOR_RATE_HZ**-2])
    free = np.maximum(weight.sum(axis=1) - 2.0, 1.0)
    misfit = free
    for _ in range(NOISE_STEPS):
        noise = np.maximum(noise * misfit / free, floor**2)
        total = noise[:, None, None] * error + walk
        solved = np.linalg.solve(total, np.concatenate([line, distance[..., None]], 2))
        precision = line.swapaxes(1, 2) @ solved[..., :2] + prior
        covariance = np.linalg.inv(precision)
        fitted = covariance @ (line.swapaxes(1, 2) @ solved[..., 2:])
        residual = distance[..., None] - line @ fitted
        misfit = (residual * (solved[..., 2:] - solved[..., :2] @ fitted)).sum(axis=(1, 2))
    left_out = (weight <= NO_WEIGHT).sum(axis=1) * np.log(noise / NO_WEIGHT)
    spread = np.linalg.slogdet(total)[1] - left_out + np.linalg.slogdet(precision)[1]
    now, slope = fitted[:, 0, 0], fitted[:, 1, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(now > 0, -slope / now, np.nan)
        toward = np.stack([rate, np.ones_like(rate)], axis=1) / now[:, None]  # delta method for slope / now
    variance = np.einsum("ni,nij,nj->n", toward, covariance, toward)
    of_samples = (toward[:, None, :] @ covariance @ solved[..., :2].swapaxes(1, 2))[:, 0]
    by_noise = noise * np.einsum("nk,nkl,nl->n", of_samples, error, of_samples)
    # Welch and Satterthwaite: only the share that is by box errors is of an estimated size
    freedom = free * (variance / np.maximum(by_noise, 1e-3 * variance)) ** 2
    return np.stack([rate, variance, freedom, -0.5 * (spread + misfit)])


def _robust_weights(x: Array, y: Array, usable: Mask, floor: Array) -> tuple[Array, Array]:
    """Tukey's weights of (n, k) samples about straight lines, and the variance (n,) about them."""
    weight = usable.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        for _ in range(ROBUST_STEPS):
            total = weight.sum(axis=1, keepdims=True)
            about = x - (weight * x).sum(axis=1, keepdims=True) / total
            mean = (weight * y).sum(axis=1, keepdims=True) / total
            slope = (weight * about * y).sum(axis=1, keepdims=True) / (weight * about**2).sum(axis=1, keepdims=True)
            residual = np.where(usable, y - mean - slope * about, np.nan)
            scale = np.maximum(1.4826 * np.nanmedian(np.abs(residual), axis=1), floor)
            weight = np.clip(1 - (residual / (TUKEY * scale[:, None])) ** 2, 0, None) ** 2
            weight = np.where(usable, weight, 0.0)
    return weight, np.maximum(scale, floor) ** 2


def _combined(width: _Growth, height: _Growth) -> _Growth:
    """Mean of width and height by inverse variance."""
    reference = np.where(np.isnan(height.rate_hz), width.rate_hz, height.rate_hz)
    of_width = np.nan_to_num(1.0 / (width.variance + (WIDTH_SYSTEMATIC * reference) ** 2))
    of_height = np.nan_to_num(1.0 / height.variance)
    total = of_width + of_height
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = (np.nan_to_num(width.rate_hz) * of_width + np.nan_to_num(height.rate_hz) * of_height) / total
        # Welch and Satterthwaite: a mean of two estimated variances is known better than either of them
        unsure = [
            np.nan_to_num((of_one / total) ** 4 * one.variance**2 / one.freedom)
            for of_one, one in ((of_width, width), (of_height, height))
        ]
        return _Growth(rate, 1.0 / total, 1.0 / (total**2 * (unsure[0] + unsure[1])))


def _as_time(growth: _Growth, halfway_sec: Array) -> tuple[Array, Array, Array]:
    """(ttc, low, high) in s from the rate of growth and its error, halfway between near face and middle."""
    from scipy.special import stdtrit  # costs 0.2 s to import

    closing = np.maximum(growth.rate_hz, 0.0)
    further = 1.0 + halfway_sec * closing  # 1 / rate becomes 1 / rate + halfway_sec
    rate = growth.rate_hz / further
    depth_error_sec = 2 * halfway_sec / np.sqrt(12.0)  # if all of the depth is equally likely
    variance = growth.variance / further**4 + (depth_error_sec * (closing / further) ** 2) ** 2
    half = stdtrit(growth.freedom, (1 + CONFIDENCE) / 2) * np.sqrt(variance)
    ttc, low, high = (_inverse(bound) for bound in (rate, rate + half, rate - half))
    return ttc, low, high


def _inverse(rate_hz: Array) -> Array:
    with np.errstate(divide="ignore"):
        time_sec: Array = np.where(rate_hz > STILL_RATE_HZ, 1.0 / rate_hz, np.inf)
    return np.where(np.isnan(rate_hz), np.nan, time_sec)
