"""Time to contact on KITTI: error, false and missed criticals, interval, against the plain fit and the seed's formula.

    python -m tests.benchmarks.kitti_ttc            # print the tables
    python -m tests.benchmarks.kitti_ttc --write    # and write docs/ttc.md and its figures

What is counted, over scored samples (`kitti.Track`) that the plain fit answers too:

- error: median of |measured - true| / true where the true time is 1 to 5 s; "not approaching" is an infinite error
- covered: true time within the 90 % interval; answered: not "cannot say"; both over the same samples
- critical at C: the reading is under C. False: the true time is 2 C or more (strictly: 1.5 C), or nothing approaches.
  Missed: the true time is under C / 1.5 and the reading is not under C, "cannot say" included. What lies between is
  borderline and not counted, because a label cannot decide it. C is 3 s, which `clip_ttc` calls
  critical (area form 1.5 s), and 1.5 s.
- critical for sure: the upper end of the interval is under C. `clip_ttc` builds on this.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.kinematics import ttc
from autorisk_dagster.kinematics.clip_ttc import clip_ttc
from autorisk_dagster.profile import TtcSettings
from tests.benchmarks import kitti
from tests.benchmarks.kitti import Array, Noise, Track

DOCS = Path(__file__).parents[2] / "docs"
CRITICAL_SEC = (1.5, 3.0)
MISSED_FROM, FALSE_FROM = 1.5, {"false": 2.0, "strictly false": 1.5}
CLOSING_SEC = (1.0, 5.0)
SEED = 0
NOISES: dict[str, Noise] = {
    "0 px": kitti.independent(0.0),
    "1 px": kitti.independent(1.0),
    "2 px": kitti.independent(2.0),
    "detector": kitti.detector_like(),
    "slow detector": kitti.detector_like(share=0.02, correlated_sec=0.4),
}
RATES_HZ = (4.0, 5.0, 10.0, 30.0)


@dataclass(frozen=True)
class Readings:
    """Samples of many tracks, one after another; arrays of one length, s."""

    times: Array
    middle: Array  # true
    near: Array
    ours: Array
    low: Array
    high: Array
    plain: Array
    formula: Array

    def truth(self, name: str) -> Array:
        return self.near if name == "near" else self.middle


def read(tracks: Iterable[Track], noise: Noise, seed: int = SEED, rate_hz: float | None = None) -> Readings:
    """Every scored sample of `tracks` with this noise, measured in three ways."""
    columns = [np.empty((8, 0))]
    for number, track in enumerate(tracks):
        # a generator of its own for each track: the same noise whichever other tracks are read
        rng = np.random.default_rng([seed, number])
        seen = noise(track if rate_hz is None else kitti.sampled_at(track, rate_hz), rng)
        times, boxes = seen.times_sec, seen.boxes_px
        found, plain = ttc.estimate_ttc(times, boxes, kitti.FRAME_SIZE), kitti.plain_log_height_fit(times, boxes)
        kept = seen.scored & ~np.isnan(seen.middle_sec) & ~np.isnan(seen.near_sec) & ~np.isnan(plain)
        rows = (times, seen.middle_sec, seen.near_sec, found.ttc_sec, found.low_sec, found.high_sec)
        columns.append(np.stack([*rows, plain, kitti.reference_formula(times, boxes)])[:, kept])
    return Readings(*np.hstack(columns))


def figures(readings: Readings, truth: str = "middle") -> dict[str, float]:
    """The figures of the module's docstring; shares from 0 to 1, NaN where there is nothing to count."""
    true = readings.truth(truth)
    closing = (true > CLOSING_SEC[0]) & (true < CLOSING_SEC[1])
    answered = ~np.isnan(readings.ours)
    both = closing & answered
    covered = (readings.low <= true) & (true <= readings.high)
    result = {"samples": float(closing.sum()), "answered": _share(answered, closing), "covered": _share(covered, both)}
    for name, values in (("ours", readings.ours), ("plain", readings.plain), ("formula", readings.formula)):
        with np.errstate(invalid="ignore"):
            error = np.abs(values - true)[both] / true[both]
        result[f"{name} error"] = float(np.median(error)) if both.any() else np.nan
    for limit in CRITICAL_SEC:
        critical = true < limit / MISSED_FROM
        named = (
            ("ours", readings.ours),
            ("sure", readings.high),
            ("plain", readings.plain),
            ("formula", readings.formula),
        )
        for name, values in named:
            for kind, factor in FALSE_FROM.items():
                result[f"{name} {kind} {limit}"] = _share(values < limit, answered & (true >= factor * limit))
            result[f"{name} missed {limit}"] = _share(~(values < limit), critical)
    return result


def _share(holds: Any, among: Any) -> float:
    return float(np.mean(holds[among])) if among.any() else np.nan


def run(folder: Path = kitti.FOLDER) -> dict[str, pl.DataFrame]:
    """Every table of the benchmark: by noise, by truth, by kind, by sequence, by rate, held out, and of clips."""
    tracks = kitti.read_tracks(folder)
    cars, people = ([track for track in tracks if track.kind == kind] for kind in ("cars", "people"))
    closing = {track.sequence for track in cars if _closing(track).any()}
    by_noise = {name: read(cars, noise) for name, noise in NOISES.items()}
    rates = {f"{rate:g} a second, {name}": (rate, name) for rate in RATES_HZ for name in ("1 px", "detector")}
    sequences = sorted(closing)
    of, of_people = (
        {name: [track for track in some if track.sequence == name] for name in sequences} for some in (cars, people)
    )
    return {
        "noise": _table({name: figures(readings) for name, readings in by_noise.items()}),
        "near": _table({name: figures(readings, "near") for name, readings in by_noise.items()}),
        "people": _table({name: figures(read(people, noise)) for name, noise in NOISES.items()}),
        "sequences": _table(
            {
                f"{name}, {noise}": figures(read(of[name], NOISES[noise]))
                for name in sequences
                for noise in ("0 px", "2 px")
            }
        ),
        "rates": _table({label: figures(read(cars, NOISES[n], rate_hz=hz)) for label, (hz, n) in rates.items()}),
        "held out": _held_out(of, of_people),
        "clips": _clips(cars),
    }


def _table(rows: Mapping[str, Mapping[str, float]]) -> pl.DataFrame:
    return pl.DataFrame([{"case": name, **row} for name, row in rows.items()])


# --------------------------------------------------------------------------------------------- leave one sequence out

DRIFTS = (0.06, 0.08, 0.10, 0.12)
HELD_OUT_NOISES = ("0 px", "1 px", "2 px", "detector", "slow detector")
HELD_OUT_SEEDS = 3


def _held_out(of: Mapping[str, list[Track]], people: Mapping[str, list[Track]]) -> pl.DataFrame:
    """The two constants that KITTI set, set again by the cars of the other sequences; figures on the one left out.

    `DRIFT`: the one with the least interval score (`_score`), mean of its logarithm over "0 px", "2 px" and "detector"
    and median over the sequences: one of them, with a sharp turn, shall not set it for all. The last rows are of all
    samples, each read with the constants of the other sequences.
    """
    scores = {drift: {name: _score(tracks, drift) for name, tracks in of.items()} for drift in DRIFTS}
    rows: dict[str, dict[str, float]] = {}
    parts: dict[tuple[str, str], list[Readings]] = {}
    for name in of:
        others = [other for other in of if other != name]
        halfway_sec = round(half_depth_sec({other: of[other] for other in others}), 3)
        drift = min(DRIFTS, key=lambda one: float(np.median([scores[one][other] for other in others])))
        with _constants(halfway_sec, drift):
            for noise in HELD_OUT_NOISES:
                for kind, tracks in (("cars", of[name]), ("people", people.get(name, []))):
                    seen = [read(tracks, NOISES[noise], seed) for seed in range(HELD_OUT_SEEDS)]
                    parts.setdefault((kind, noise), []).extend(seen)
                    if kind == "cars":
                        rows[f"{name}, {noise}"] = {
                            "halfway_sec": halfway_sec,
                            "drift": drift,
                            **figures(_joined(seen)),
                        }
    for (kind, noise), seen in sorted(parts.items()):
        rows[f"all {kind}, {noise}"] = {"halfway_sec": np.nan, "drift": np.nan, **figures(_joined(seen))}
    return _table(rows)


def _joined(readings: list[Readings]) -> Readings:
    columns = [np.concatenate([getattr(one, field.name) for one in readings]) for field in fields(Readings)]
    return Readings(*columns)


def _score(tracks: list[Track], drift: float) -> float:
    """Mean over three kinds of noise of the logarithm of the mean interval score of closing samples, in rates, 1/s.

    A proper score, which rewards narrow intervals and punishes misses (Gneiting and Raftery 2007, eq. 43).
    """
    logarithms = []
    with _constants(ttc.HALFWAY_SEC, drift):
        for noise in ("0 px", "2 px", "detector"):
            found = read(tracks, NOISES[noise])
            scored = (found.middle > CLOSING_SEC[0]) & (found.middle < CLOSING_SEC[1]) & np.isfinite(found.low)
            low, true, high = 1 / found.high[scored], 1 / found.middle[scored], 1 / found.low[scored]
            missed = np.maximum(low - true, 0) + np.maximum(true - high, 0)
            logarithms.append(float(np.log(np.mean(high - low + 2 / (1 - ttc.CONFIDENCE) * missed))))
    return float(np.mean(logarithms))


def half_depth_sec(of: Mapping[str, list[Track]]) -> float:
    """Half of the time from the near face to the middle: mean over the sequences of the median of closing samples."""
    medians = []
    for tracks in of.values():
        later = [(track.middle_sec - track.near_sec)[_closing(track)] for track in tracks]
        if sum(map(len, later)):
            medians.append(np.median(np.concatenate(later)))
    return float(np.mean(medians) / 2)


def _closing(track: Track) -> kitti.Mask:
    true = track.middle_sec
    return track.scored & (true > CLOSING_SEC[0]) & (true < CLOSING_SEC[1]) & np.isfinite(track.near_sec)


@contextmanager
def _constants(halfway_sec: float, drift: float) -> Iterator[None]:
    """The estimator with other constants, for as long as the block lasts."""
    old = ttc.HALFWAY_SEC, ttc.DRIFT
    ttc.HALFWAY_SEC, ttc.DRIFT = halfway_sec, drift
    try:
        yield
    finally:
        ttc.HALFWAY_SEC, ttc.DRIFT = old


# ------------------------------------------------------------------------------------------------------ whole tracks


def _clips(tracks: list[Track]) -> pl.DataFrame:
    """What `clip_ttc` says of whole tracks: how many that come near are critical, and how many that never do."""
    rows = {}
    limit_sec = 2 * TtcSettings().critical_area_tau_sec
    for name, noise in NOISES.items():
        near, far, found, false = 0, 0, 0, 0
        for number, track in enumerate(tracks):
            true = track.middle_sec[track.scored & ~np.isnan(track.middle_sec)]
            if not len(true):
                continue
            critical = _is_critical(noise(track, np.random.default_rng([SEED, number])))
            if (true < limit_sec / MISSED_FROM).sum() >= 5:
                near, found = near + 1, found + critical
            elif (np.nan_to_num(track.middle_sec, nan=np.inf) >= limit_sec * FALSE_FROM["false"]).all():
                far, false = far + 1, false + critical
        rows[name] = {"near": near, "found": found, "far": far, "false": false}
    return _table(rows)


def _is_critical(track: Track) -> bool:
    size = len(track.times_sec)
    frame_size = (int(kitti.FRAME_SIZE[0]), int(kitti.FRAME_SIZE[1]))
    boxes = dict(zip(("x1_px", "y1_px", "x2_px", "y2_px"), track.boxes_px.T, strict=True))
    known = {"frame_index": np.arange(size), "source_frame": np.arange(size), "timestamp_sec": track.times_sec, **boxes}
    fixed = {"scene_index": 0, "track_id": 1, "road_user": "vehicle", "label": "car", "confidence": 0.9, "still": False}
    rows = pl.DataFrame(known).with_columns(**{name: pl.lit(value) for name, value in fixed.items()})
    seen = rows.select(list(tables.TRACKS)).cast(dict(tables.TRACKS))  # type: ignore[arg-type]
    clip = pl.DataFrame({"clip_id": ["all"], "start_sec": [0.0], "end_sec": [float(track.times_sec[-1]) + 1]})
    return bool(clip_ttc(seen, clip, frame_size, TtcSettings())["critical_tracks"][0])


def main() -> None:
    found = run()
    for name, table in found.items():
        print(f"\n{name}")
        with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=400, float_precision=3, tbl_hide_dataframe_shape=True):
            print(table)
    if "--write" in sys.argv[1:]:
        from tests.benchmarks.kitti_ttc_page import write

        cars = [track for track in kitti.read_tracks() if track.kind == "cars"]
        write(found, {name: read(cars, NOISES[name]) for name in ("0 px", "2 px", "detector")}, DOCS)


if __name__ == "__main__":
    main()
