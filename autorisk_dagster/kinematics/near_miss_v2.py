"""Near misses, profile v2: encounters of two road users, or of the own vehicle and one, with their worst moment.

It stands beside version 1.0 (`kinematics.near_miss`) and replaces its pixels and frames by sizes and seconds:

- Two road users are measured on the road in metres by their sizes and ground rows (`kinematics.pair_motion`), so that
  resolution, distance, depth order and the own motion are accounted for; speeds are robust lines over timestamps.
- The own vehicle and a road user are measured by `tables.CONFLICT_MEASURES`: on a collision course with a short time to
  collision, or with much braking needed for one in the own path; or a cut-in close ahead.
- An encounter begins under `enter_ttc_sec`, lasts while TTC is under `leave_ttc_sec` or they touch, may fail for
  `bridge_sec`, must last `min_dwell_sec` and be under `enter_ttc_sec` twice: one sample may be a wrong box. It never
  goes across a scene cut. What follows within `debounce_sec` between the same two (across lost and new track ids,
  `kinematics.identities`) is the same encounter: one event.
- Two road users whose relative motion goes on unchanged through the moment of the forecast collision passed each other
  at another depth than measured: no event. Colliding, braking or swerving changes it. Where neither was seen the event
  is Low.

Time to collision as a measure of danger: Hayward 1972 ("Near-Miss Determination Through Use of a Scale of Danger");
1.5 s as the limit of a serious conflict: Hydén 1987; 4 s as the limit between control and unintended danger: van der
Horst and Hogema 1993. Braking needed (DRAC) = closing speed^2 / (2 gap). SUMO's SSM device, which such traffic studies
use, logs from TTC 3 s, DRAC 3 m/s2 and, with reaction time, 3.4 m/s2 (its defaults).

Not covered: two others who miss each other narrowly at unchanged speeds (a short post-encroachment time), because one
camera cannot tell it from two lanes; two others in one line of sight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.errors import InputError
from autorisk_dagster.kinematics.identities import identities
from autorisk_dagster.kinematics.pair_motion import PairMotion, pair_motion, road_users
from autorisk_dagster.profile import NearMissV2Settings

VERSION: Final = "v2"
OWN_VEHICLE: Final = "own vehicle"
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FULL_BRAKING_MPS2: Final = 8.0  # about what tyres hold on a dry road
HARMFUL_MPS: Final = 5.0  # closing slower counts in proportion: at walking pace little time left is little danger
MIN_ENTERS: Final = 2
HIGH_RISK, MEDIUM_RISK = 2 / 3, 1 / 2  # with 3 s as the whole: 1.0 s and 1.5 s left
SETTLE_SEC, AFTER_SEC = 0.2, 0.8  # after the forecast collision, for so long: whether the relative motion went on
# Of the risk, where it was not seen whether two passed each other: at most Low. In simulated traffic, 15 of 25 false
# alarms of two others were such, and 1 of 3 that were true.
UNSEEN_SHARE: Final = 0.4
UNCHANGED: Final = 0.5  # share of the relative velocity left when two pass: 0.57-0.70 on KITTI, 0.2 in a real collision


@dataclass(frozen=True)
class _Series:
    """One pair of road users, or the own vehicle and one: arrays of one length over its samples, by time."""

    rows: NDArray[np.int64]  # of the table or motion they come from
    times_sec: Array
    ttc_sec: Array  # inf: not on a collision course; NaN: cannot be measured
    closing_mps: Array  # NaN: cannot be measured
    enters: Mask
    stays: Mask
    touching: Mask
    drac_mps2: Array
    headway_sec: Array  # of a road user that cuts in, else NaN


@dataclass(frozen=True)
class _Encounter:
    """Samples [start, end] of a series."""

    series: _Series
    start: int
    end: int


@dataclass(frozen=True)
class _Moment:
    """The worst sample of an encounter."""

    index: int  # in the series
    risk: float
    ttc_sec: float  # 0: contact; inf: it is the braking or the headway that counts
    closing_mps: float  # before it; NaN: cannot be measured
    reason: str


def find_near_misses_v2(
    tracks: pl.DataFrame,
    conflicts: pl.DataFrame,
    frame_size: tuple[int, int],
    rate_hz: float,
    settings: NearMissV2Settings,
) -> pl.DataFrame:
    """One row an encounter, by time of its worst moment.

    Args:
        tracks: `tables.TRACKS` of the whole video
        conflicts: `tables.CONFLICT_MEASURES` of it; empty: only pairs of road users are looked at
        frame_size: (width, height), px
        rate_hz: processed frames per second; two samples at least make an encounter
        settings: thresholds

    Returns:
        `tables.NEAR_MISS_EVENTS` with version "v2". Frame, time, distance, gap and times are of the worst moment. With
        the own vehicle, `object_id_1` is the other road user and everything about a second object is null.
        `risk_score` is the share of the margin that was used up: of `leave_ttc_sec` of time (in proportion to the
        closing speed under HARMFUL_MPS), or of FULL_BRAKING_MPS2 of braking, whichever is more; 1: contact. Two others
        of whom it was not seen whether they passed get UNSEEN_SHARE of it. High from 2/3, Medium from 1/2.

    Raises:
        InputError: a rate that is not positive.
    """
    if not (math.isfinite(rate_hz) and rate_hz > 0):
        raise InputError(f"rate_hz must be a positive number of frames a second, got {rate_hz!r}")
    followed = tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still").fill_null(False))
    if followed.is_empty():
        return tables.empty(tables.NEAR_MISS_EVENTS)
    identity = identities(followed)
    users = road_users(followed, identity, frame_size)
    motion = pair_motion(
        users, frame_size, min_closing_mps=settings.min_closing_mps, significance=settings.significance
    )
    found = [
        *_pair_events(users, motion, rate_hz, settings),
        *_own_events(followed, conflicts, identity, rate_hz, settings),
    ]
    found.sort(key=lambda event: (event["timestamp_sec"], event["object_id_1"], event["object_id_2"] or 0))
    return tables.frame(
        [{**event, "event_id": f"v2-{number:04d}"} for number, event in enumerate(found, start=1)],
        tables.NEAR_MISS_EVENTS,
    )


def risk_level(score: float) -> str:
    """High from 2/3, Medium from 1/2, else Low."""
    if score >= HIGH_RISK:
        return "High"
    return "Medium" if score >= MEDIUM_RISK else "Low"


def _encounters(series: _Series, rate_hz: float, settings: NearMissV2Settings) -> list[_Encounter]:
    """Spans of the series that begin with `enters` and go on while `stays`, with those close in time joined."""
    bridge_sec = max(settings.bridge_sec, 1.5 / rate_hz)
    spans: list[list[int]] = []
    for index in np.flatnonzero(series.enters | series.stays).tolist():
        if spans and series.times_sec[index] - series.times_sec[spans[-1][1]] <= bridge_sec:
            spans[-1][1] = index
        elif series.enters[index]:
            spans.append([index, index])
    spans = [[a, _contact(series, a, b, bridge_sec) or b] for a, b in spans]
    joined: list[list[int]] = []
    for a, b in spans:
        if series.times_sec[b] - series.times_sec[a] < settings.min_dwell_sec - 1e-6:
            continue
        if series.enters[a : b + 1].sum() < MIN_ENTERS:
            continue
        if joined and series.times_sec[a] - series.times_sec[joined[-1][1]] <= settings.debounce_sec:
            joined[-1][1] = max(joined[-1][1], b)
        else:
            joined.append([a, b])
    return [_Encounter(series, a, b) for a, b in joined]


def _contact(series: _Series, start: int, end: int, bridge_sec: float) -> int | None:
    """First sample at which the two touch, during the encounter or as soon after it as was forecast."""
    until_sec = series.times_sec[end] + bridge_sec + (series.ttc_sec[end] if np.isfinite(series.ttc_sec[end]) else 0.0)
    last = int(np.searchsorted(series.times_sec, until_sec, side="right"))
    touching = np.flatnonzero(series.touching[start:last])
    return start + int(touching[0]) if len(touching) else None


def _pair_events(
    users: pl.DataFrame, motion: PairMotion, rate_hz: float, settings: NearMissV2Settings
) -> Iterator[dict[str, Any]]:
    enters = motion.ttc_sec <= settings.enter_ttc_sec
    seen = users.select(
        "frame_index", "source_frame", "timestamp_sec", "identity", "road_user", "shown_label", "confidence", "x1_px",
        "x2_px", "y2_px", "track_id",
    )  # fmt: skip
    confidence = users["confidence"].to_numpy()
    for rows in _groups(motion.first, motion.second):
        if not enters[rows].any():
            continue
        series = _Series(
            rows=rows,
            times_sec=motion.times_sec[rows],
            ttc_sec=motion.ttc_sec[rows],
            closing_mps=motion.closing_mps[rows],
            enters=enters[rows],
            stays=motion.ttc_sec[rows] <= settings.leave_ttc_sec,
            touching=motion.gap_m[rows] == 0,
            drac_mps2=motion.closing_mps[rows] / (2 * motion.ttc_sec[rows]),  # closing^2 / (2 gap)
            headway_sec=np.full(len(rows), math.nan),
        )
        for encounter in _encounters(series, rate_hz, settings):
            if _confidence(encounter, motion, confidence) < settings.min_confidence:
                continue
            worst = _worst(encounter, settings)
            left = _speed_left(encounter, worst, motion)
            if left > UNCHANGED:
                continue
            if math.isnan(left):
                worst = replace(worst, risk=worst.risk * UNSEEN_SHARE)
            at = int(rows[worst.index])
            one, two = (seen.row(int(row), named=True) for row in motion.row[at])
            yield _event(
                one,
                two,
                encounter,
                worst,
                gap_m=float(motion.gap_m[at]),
                after="what came after was not seen" if math.isnan(left) else f"{left:.0%} of that speed left after it",
            )


def _own_events(
    followed: pl.DataFrame,
    conflicts: pl.DataFrame,
    identity: Mapping[int, int],
    rate_hz: float,
    settings: NearMissV2Settings,
) -> Iterator[dict[str, Any]]:
    seen = followed.select(
        "frame_index", "source_frame", "track_id", "road_user", "confidence", "x1_px", "x2_px", "y2_px",
    )  # fmt: skip
    measured = (
        conflicts.join(seen, on=["frame_index", "track_id"])
        .with_columns(identity=pl.col("track_id").replace_strict(identity, return_dtype=pl.Int64))
        .with_columns(shown_label=pl.col("label"))
        .sort("identity", "timestamp_sec")
    )
    if measured.is_empty():
        return
    times, ttc, drac, closing, headway = (
        measured[name].cast(pl.Float64).fill_null(math.nan).to_numpy()
        for name in ("timestamp_sec", "ttc_sec", "drac_mps2", "closing_mps", "headway_sec")
    )
    course, in_path = (measured[name].fill_null(False).to_numpy() for name in ("on_collision_course", "in_own_path"))
    for rows in _groups(measured["identity"].to_numpy()):
        # braking is for who drives ahead or stands there: who only heads for the own path may turn with its lane
        braking = in_path[rows] & course[rows] & (drac[rows] >= settings.drac_mps2)
        close = in_path[rows] & (headway[rows] <= settings.cut_in_headway_sec)
        cuts_in = close & _was_outside(times[rows], in_path[rows], settings.cut_in_sec)
        series = _Series(
            rows=rows,
            times_sec=times[rows],
            ttc_sec=np.where(course[rows], ttc[rows], np.inf),
            closing_mps=closing[rows],
            enters=(course[rows] & (ttc[rows] <= settings.enter_ttc_sec)) | braking | cuts_in,
            stays=(course[rows] & (ttc[rows] <= settings.leave_ttc_sec)) | braking | cuts_in,
            touching=np.zeros(len(rows), bool),
            drac_mps2=np.where(course[rows], drac[rows], np.nan),
            headway_sec=np.where(cuts_in, headway[rows], np.nan),
        )
        for encounter in _encounters(series, rate_hz, settings):
            worst = _worst(encounter, settings)
            at = int(rows[worst.index])
            row = measured.row(at, named=True)
            yield _event(row, None, encounter, worst, gap_m=row["distance_m"])


def _worst(encounter: _Encounter, settings: NearMissV2Settings) -> _Moment:
    """The sample with the largest share of the margin used up; the first of equal ones."""
    series = encounter.series
    span = slice(encounter.start, encounter.end + 1)
    known = series.closing_mps[span][np.isfinite(series.closing_mps[span])]
    weight = np.minimum(np.nan_to_num(series.closing_mps[span] / HARMFUL_MPS, nan=1.0), 1.0)
    time_share = np.nan_to_num(1 - series.ttc_sec[span] / settings.leave_ttc_sec, nan=0.0, neginf=0.0) * weight
    braking_share = np.nan_to_num(series.drac_mps2[span] / FULL_BRAKING_MPS2, nan=0.0)
    # a cut-in at half of the headway that counts as one is as serious as 1.5 s to a collision
    headway_share = np.nan_to_num(1 - series.headway_sec[span] / (2 * settings.cut_in_headway_sec), nan=0.0)
    contact = series.touching[span].copy()
    if contact.any():
        at = int(np.argmax(contact))
        closing = float(known[-1]) if len(known) else math.nan
        risk = min(closing / HARMFUL_MPS, 1.0) if known.size else 1.0
        return _Moment(encounter.start + at, risk, 0.0, closing, "contact as measured")
    shares = np.clip(np.stack([time_share, braking_share, headway_share]), 0.0, 1.0)
    at = int(np.argmax(shares.max(axis=0)))
    ttc, closing = float(series.ttc_sec[span][at]), float(series.closing_mps[span][at])
    reasons = (
        f"time to collision {ttc:.1f} s",
        f"needs braking at {series.drac_mps2[span][at]:.1f} m/s2",
        f"cuts in {series.headway_sec[span][at]:.1f} s ahead",
    )
    kind = int(np.argmax(shares[:, at]))
    return _Moment(encounter.start + at, float(shares[kind, at]), ttc, closing, reasons[kind])


def _speed_left(encounter: _Encounter, worst: _Moment, motion: PairMotion) -> float:
    """Share of the relative velocity that is left after the forecast collision, along its direction; NaN: not seen.

    1: they passed each other; 0: stopped relative to each other; under 0: thrown back, or one turned round.
    """
    series = encounter.series
    times = series.times_sec
    before = series.rows[: worst.index + 1]
    measured = np.isfinite(motion.ttc_sec[before]) & np.isfinite(motion.velocity_mps[before]).all(axis=1)
    if not measured.any():
        return math.nan
    velocity = motion.velocity_mps[before[np.flatnonzero(measured)[-1]]]
    from_sec = float(times[worst.index]) + worst.ttc_sec + SETTLE_SEC
    after = series.rows[(times >= from_sec - 1e-6) & (times <= from_sec + AFTER_SEC + 1e-6)]
    if len(after) < 3:
        return math.nan
    one, two = np.triu_indices(len(after), 1)
    elapsed = motion.times_sec[after][two] - motion.times_sec[after][one]
    slopes = (motion.offset_m[after][two] - motion.offset_m[after][one]) / elapsed[:, None]
    return float(np.median(slopes, axis=0) @ velocity) / float(velocity @ velocity)  # Theil-Sen


def _confidence(encounter: _Encounter, motion: PairMotion, confidence: Array) -> float:
    """The weaker one's median confidence while they met: two of a detector's doubtful boxes make no near miss."""
    rows = motion.row[encounter.series.rows[encounter.start : encounter.end + 1]]
    return float(np.median(confidence[rows], axis=0).min())


def _was_outside(times_sec: Array, in_path: Mask, within_sec: float) -> Mask:
    """Samples before which, at most `within_sec` ago, the road user was seen outside of the own path."""
    last = np.maximum.accumulate(np.where(~in_path, times_sec, -np.inf))
    outside: Mask = times_sec - last <= within_sec
    return outside & in_path


def _groups(*keys: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Row numbers of each run of equal keys."""
    if not len(keys[0]):
        return
    changes = np.logical_or.reduce([np.diff(key) != 0 for key in keys])
    yield from np.split(np.arange(len(keys[0])), np.flatnonzero(changes) + 1)


def _event(
    one: Mapping[str, Any],
    two: Mapping[str, Any] | None,
    encounter: _Encounter,
    worst: _Moment,
    *,
    gap_m: float | None,
    after: str | None = None,
) -> dict[str, Any]:
    """A row of `tables.NEAR_MISS_EVENTS` but for its number."""
    names = [f"{user['shown_label']} {user['track_id']}" for user in (one, two) if user is not None]
    times = encounter.series.times_sec
    evidence = [worst.reason]
    if math.isfinite(worst.closing_mps):
        evidence.append(f"closing at {worst.closing_mps:.1f} m/s")
    if gap_m is not None:
        evidence.append(f"{gap_m:.1f} m apart")
    if after is not None:
        evidence.append(after)
    return {
        "version": VERSION,
        "actors": " and ".join(names if two is not None else [OWN_VEHICLE, *names]),
        "frame_index": one["frame_index"],
        "source_frame": one["source_frame"],
        "timestamp_sec": one["timestamp_sec"],
        "start_sec": float(times[encounter.start]),
        "end_sec": float(times[encounter.end]),
        "object_id_1": one["track_id"],
        "object_id_2": None if two is None else two["track_id"],
        "class_1": one["road_user"],
        "class_2": None if two is None else two["road_user"],
        "label_1": one["shown_label"],
        "label_2": None if two is None else two["shown_label"],
        "distance_px": None if two is None else _feet_apart_px(one, two),
        "gap_m": gap_m,
        "closing_mps": worst.closing_mps if math.isfinite(worst.closing_mps) else None,
        "ttc_sec": worst.ttc_sec if math.isfinite(worst.ttc_sec) else None,
        "risk_score": worst.risk,
        "risk_level": risk_level(worst.risk),
        "conf_1": one["confidence"],
        "conf_2": None if two is None else two["confidence"],
        "evidence": ", ".join(evidence),
    }


def _feet_apart_px(one: Mapping[str, Any], two: Mapping[str, Any]) -> float:
    """Distance of the ground contacts (bottom centres) in the picture."""
    across = (one["x1_px"] + one["x2_px"] - two["x1_px"] - two["x2_px"]) / 2
    return math.hypot(across, one["y2_px"] - two["y2_px"])
