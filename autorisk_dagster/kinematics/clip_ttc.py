"""Time to contact of each mined clip: its significant minimum, its critical tracks and the samples behind them.

Every track is measured as a whole (`estimate_ttc` looks only backwards), so that what was seen before a clip helps to
judge its first second; the samples are then cut to the clip, [start, end).

A single low number is usually noise: on a parked box of 30 px with 3 px of correlated detector noise, 4 % of all
samples have an upper bound under 10 s. Runs of them stay short, because they end with the noise that made them: 0.4 s
or more occurs on 5 % of such tracks in 10 s at 10 samples a second, on none of those of 100 px and 2 px. So an approach
is a run of `APPROACH_SAMPLES` or more over `APPROACH_FOR_SEC` or longer, all with the upper bound of their 90 %
interval under `APPROACH_SEC`. Only samples in such runs can be a clip's minimum or make a track critical.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.kinematics.ttc import TtcEstimates, estimate_ttc
from autorisk_dagster.profile import TtcSettings

APPROACH_SEC = 10.0
APPROACH_SAMPLES = 3
APPROACH_FOR_SEC = 0.4
AREA_TAU_SHARE = 0.5  # A / (dA / dt) is half of the time to contact, 2 A / (dA / dt)

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class _Track:
    track_id: int
    label: str
    times_sec: NDArray[np.float64]
    estimates: TtcEstimates
    approaching: Mask  # in a significant, lasting approach
    critical: Mask


def clip_ttc(
    tracks: pl.DataFrame, clips: pl.DataFrame, frame_size: tuple[float, float], settings: TtcSettings
) -> pl.DataFrame:
    """One row of `tables.CLIP_TTC` for each clip, in the order of `clips`.

    Args:
        tracks: `tables.TRACKS` of the whole video; rows without an id, and still ones, are left out
        clips: columns `clip_id`, `start_sec`, `end_sec`
        frame_size: (width, height) of the frames the boxes are measured in, px
        settings: `critical_area_tau_sec` decides which tracks are critical

    `min_ttc_sec` is null where no sample of the clip could be measured, inf where some could and nothing approaches.
    The timeline holds every sample of a tracked road user; null in it is "cannot say", inf "not approaching".
    """
    followed = tracks.filter(pl.col("track_id").is_not_null() & ~pl.col("still").fill_null(False))
    measured = [
        _measured(rows, frame_size, settings)
        for _, rows in followed.sort("track_id", "timestamp_sec").group_by("track_id", maintain_order=True)
    ]
    rows = [_row(clip, measured) for clip in clips.select("clip_id", "start_sec", "end_sec").iter_rows(named=True)]
    return tables.frame(rows, tables.CLIP_TTC)


def _measured(rows: pl.DataFrame, frame_size: tuple[float, float], settings: TtcSettings) -> _Track:
    times_sec = rows["timestamp_sec"].to_numpy()
    estimates = estimate_ttc(times_sec, rows.select("x1_px", "y1_px", "x2_px", "y2_px").to_numpy(), frame_size)
    approaching = lasting(times_sec, estimates.high_sec < APPROACH_SEC)
    critical = estimates.high_sec * AREA_TAU_SHARE < settings.critical_area_tau_sec
    return _Track(
        track_id=rows["track_id"][0],
        label=min(rows["label"].mode()),  # labels flicker; of equally frequent ones the first by name
        times_sec=times_sec,
        estimates=estimates,
        approaching=approaching,
        critical=approaching & critical,
    )


def lasting(times_sec: NDArray[np.float64], holds: Mask) -> Mask:
    """Where `holds` is part of an unbroken run of enough samples over enough time; shapes (n,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]])))
    result = np.zeros(len(holds), dtype=bool)
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        # a tolerance of 1 ms: timestamps are rounded, 0.1 s apart may read 0.0999
        long_enough = times_sec[after - 1] - times_sec[first] >= APPROACH_FOR_SEC - 1e-3
        result[first:after] = long_enough and after - first >= APPROACH_SAMPLES
    return result


def _row(clip: dict[str, Any], measured: list[_Track]) -> dict[str, Any]:
    timeline: list[dict[str, Any]] = []
    critical_tracks = present = 0
    minimum: dict[str, Any] | None = None
    label = None
    for track in measured:
        inside = np.flatnonzero((track.times_sec >= clip["start_sec"]) & (track.times_sec < clip["end_sec"]))
        present += len(inside) > 0
        critical_tracks += bool(track.critical[inside].any())
        timeline += (_sample(track, position) for position in inside.tolist())
        approaching = inside[track.approaching[inside]]
        if len(approaching):
            lowest = _sample(track, int(approaching[np.argmin(track.estimates.ttc_sec[approaching])]))
            if minimum is None or lowest["ttc_sec"] < minimum["ttc_sec"]:
                minimum, label = lowest, track.label
    timeline.sort(key=lambda sample: (sample["timestamp_sec"], sample["track_id"]))
    samples = sum(sample["ttc_sec"] is not None for sample in timeline)
    nothing = np.inf if samples else None
    found = minimum or {}
    min_ttc_sec = found.get("ttc_sec", nothing)
    return {
        "clip_id": clip["clip_id"],
        "tracks": present,
        "samples": samples,
        "min_ttc_sec": min_ttc_sec,
        "min_ttc_low_sec": found.get("low_sec"),
        "min_ttc_high_sec": found.get("high_sec"),
        "min_ttc_at_sec": found.get("timestamp_sec"),
        "min_ttc_track_id": found.get("track_id"),
        "min_ttc_label": label,
        "min_area_tau_sec": None if min_ttc_sec is None else min_ttc_sec * AREA_TAU_SHARE,
        "critical_tracks": critical_tracks if samples else None,
        "timeline": timeline,
    }


def _sample(track: _Track, position: int) -> dict[str, Any]:
    ttc, low, high = (
        None if np.isnan(values[position]) else float(values[position])
        for values in (track.estimates.ttc_sec, track.estimates.low_sec, track.estimates.high_sec)
    )
    return {
        "timestamp_sec": float(track.times_sec[position]),
        "track_id": track.track_id,
        "ttc_sec": ttc,
        "low_sec": low,
        "high_sec": high,
    }
