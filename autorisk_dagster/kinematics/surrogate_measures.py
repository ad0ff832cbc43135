"""Surrogate measures of safety: how near two road users came to a collision, one measure a function.

Distances are metres, speeds m/s, times s; arrays of one shape or numbers. Infinity says that there is no conflict, NaN
that the measure cannot be taken. Symbols as in Mahmud et al. 2017 ("Application of proximal surrogate indicators for
safety evaluation", IATSS Research 41) and SUMO's SSM device (sumo.dlr.de, Simulation/Output/SSM_Device).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def time_to_collision_sec(gap_m: ArrayLike, closing_mps: ArrayLike) -> Array:
    """TTC = gap / closing speed (Hayward 1972; SUMO: space gap / speed difference). inf where nothing closes.

    A gap of 0 or less is contact: 0, whatever the speed.
    """
    gap, closing = _arrays(gap_m, closing_mps)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ttc = np.where(closing > 0, gap / closing, np.inf)
    return _known(np.where(gap <= 0, 0.0, ttc), gap, closing)


def time_headway_sec(gap_m: ArrayLike, own_speed_mps: ArrayLike) -> Array:
    """Time headway = gap to the leader / own speed (SUMO: TGAP = spacing / speed). inf when standing."""
    gap, speed = _arrays(gap_m, own_speed_mps)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        headway = np.where(speed > 0, np.maximum(gap, 0.0) / speed, np.inf)
    return _known(headway, gap, speed)


def deceleration_to_avoid_crash_mps2(gap_m: ArrayLike, closing_mps: ArrayLike) -> Array:
    """DRAC = closing speed^2 / (2 gap): the steady braking that ends the closing just before contact.

    Cooper and Ferguson 1976; Almqvist et al. 1991; SUMO: 0.5 * speed difference^2 / space gap, for one road user behind
    or opposite the other. 0 where nothing closes; inf where there is contact and still closing.
    """
    gap, closing = _arrays(gap_m, closing_mps)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        drac = np.where(gap > 0, closing**2 / (2.0 * gap), np.inf)
    return _known(np.where(closing > 0, drac, 0.0), gap, closing)


def time_to_collision_2d_sec(
    lateral_m: ArrayLike,
    lateral_mps: ArrayLike,
    ahead_m: ArrayLike,
    closing_mps: ArrayLike,
    *,
    own_half_width_m: float,
    own_length_m: float,
    length_m: float,
) -> Array:
    """First time at which two rectangles overlap if both go on as they do: (n,), inf where they never do.

    Time to collision in the plane (Laureshyn et al. 2010, "Evaluation of traffic safety, based on micro-level
    behavioural data", AAP 42: sides of rectangles at constant velocity). Both rectangles lie along the own path, so
    that each axis gives one interval of time during which they overlap there; they collide where both intervals do.

    Args:
        lateral_m: (n, 2) left and right flank of the other, right positive, 0 in the middle of the own path
        lateral_mps: (n, 2) their speeds
        ahead_m: (n,) from the own front to its near end
        closing_mps: (n,)
        own_half_width_m, own_length_m, length_m: of the rectangles
    """
    lateral, lateral_speed = _arrays(lateral_m, lateral_mps)
    ahead, closing = _arrays(ahead_m, closing_mps)
    speed = lateral_speed.mean(axis=-1)
    across = _overlap_sec(lateral[..., 0], lateral[..., 1], speed, -own_half_width_m, own_half_width_m)
    along = _overlap_sec(ahead, ahead + length_m, -closing, -own_length_m, 0.0)
    begin = np.maximum(np.maximum(across[0], along[0]), 0.0)
    end = np.minimum(across[1], along[1])
    return _known(np.where(begin <= end, begin, np.inf), lateral.sum(axis=-1), speed, ahead, closing)


def post_encroachment_time_sec(first_leaves_sec: ArrayLike, second_enters_sec: ArrayLike) -> Array:
    """PET = time from when the first leaves the common area to when the second enters it (Allen, Shin and Cooper 1978;
    SUMO: tB - tA). Under 0: both were in it at once. inf where the second never came.
    """
    leaves, enters = _arrays(first_leaves_sec, second_enters_sec)
    return _known(enters - leaves, leaves, enters)


def pair_post_encroachment_sec(
    times_1_sec: Array, places_1: Array, length_1: float, times_2_sec: Array, places_2: Array, length_2: float
) -> float:
    """PET of two road users whose ways cross; inf where they do not cross.

    The common area is the point where the two ways intersect (the conflict point of Allen, Shin and Cooper 1978). A
    road user of length L that is followed by its middle is there from L / 2 before it on its way to L / 2 after.

    Args:
        times_1_sec, times_2_sec: (n,), (m,) increasing
        places_1, places_2: (n, 2), (m, 2) middles on the ground, in any unit of length common to both
        length_1, length_2: lengths along the way, in that unit

    Returns:
        Seconds, the smallest of all crossings; under 0 where both were there at once; NaN where one of them was not
        seen to leave, or to arrive.
    """
    found = [
        _one_pet(times_1_sec, _way(places_1), at_1, length_1, times_2_sec, _way(places_2), at_2, length_2)
        for at_1, at_2 in _crossings(places_1, places_2)
    ]
    known = [pet for pet in found if not np.isnan(pet)]
    if not found:
        return float("inf")
    return min(known, default=float("nan"))


def _arrays(*values: ArrayLike) -> tuple[Array, ...]:
    return tuple(np.asarray(value, dtype=np.float64) for value in values)


def _known(measure: Array, *needed: Array) -> Array:
    """NaN where a value that the measure needs is NaN."""
    unknown = np.zeros(np.shape(measure), dtype=bool)
    for value in needed:
        unknown |= np.isnan(value)
    return np.where(unknown, np.nan, measure)


def _overlap_sec(low: Array, high: Array, speed: Array, from_m: float, to_m: float) -> tuple[Array, Array]:
    """When [low, high], moving at `speed`, overlaps [from, to]: begin and end; begin > end where it never does."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        one, other = (from_m - high) / speed, (to_m - low) / speed
    always = (high >= from_m) & (low <= to_m)
    standing = speed == 0
    begin = np.where(standing, np.where(always, -np.inf, np.inf), np.minimum(one, other))
    end = np.where(standing, np.where(always, np.inf, -np.inf), np.maximum(one, other))
    return begin, end


def _way(places: Array) -> Array:
    """Length of the way up to each place: (n,)."""
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1))])


def _crossings(places_1: Array, places_2: Array) -> list[tuple[float, float]]:
    """Where two polylines cross, as the length of each way up to there."""
    way_1, way_2 = _way(places_1), _way(places_2)
    step_1, step_2 = np.diff(places_1, axis=0)[:, None], np.diff(places_2, axis=0)[None, :]
    offset = places_2[None, :-1] - places_1[:-1, None]
    cross = step_1[..., 0] * step_2[..., 1] - step_1[..., 1] * step_2[..., 0]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share_1 = (offset[..., 0] * step_2[..., 1] - offset[..., 1] * step_2[..., 0]) / cross
        share_2 = (offset[..., 0] * step_1[..., 1] - offset[..., 1] * step_1[..., 0]) / cross
    met = (cross != 0) & (share_1 >= 0) & (share_1 < 1) & (share_2 >= 0) & (share_2 < 1)
    return [
        (
            float(way_1[i] + share_1[i, j] * (way_1[i + 1] - way_1[i])),
            float(way_2[j] + share_2[i, j] * (way_2[j + 1] - way_2[j])),
        )
        for i, j in np.argwhere(met)
    ]


def _one_pet(
    times_1_sec: Array,
    way_1: Array,
    at_1: float,
    length_1: float,
    times_2_sec: Array,
    way_2: Array,
    at_2: float,
    length_2: float,
) -> float:
    """PET at one crossing, whoever is first."""
    enters_1, leaves_1 = (_time_at(times_1_sec, way_1, at_1 + side * length_1 / 2) for side in (-1, 1))
    enters_2, leaves_2 = (_time_at(times_2_sec, way_2, at_2 + side * length_2 / 2) for side in (-1, 1))
    first_is_1 = _time_at(times_1_sec, way_1, at_1) <= _time_at(times_2_sec, way_2, at_2)
    leaves, enters = (leaves_1, enters_2) if first_is_1 else (leaves_2, enters_1)
    return float(post_encroachment_time_sec(leaves, enters))


def _time_at(times_sec: Array, way: Array, length: float) -> float:
    """First time at which the way is `length` long; NaN outside what was seen."""
    if not way[0] <= length <= way[-1]:
        return float("nan")
    after = int(np.searchsorted(way, length))
    if after == 0:
        return float(times_sec[0])
    share = (length - way[after - 1]) / (way[after] - way[after - 1])
    return float(times_sec[after - 1] + share * (times_sec[after] - times_sec[after - 1]))
