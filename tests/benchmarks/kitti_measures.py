"""Conflict measures on KITTI's labels against their metric truth: `python -m tests.benchmarks.kitti_measures`.

Truth, from the labelled boxes in space and the own motion that parked cars show:
- distance: nearest corner, z; closing speed: of a line through it over +-0.4 s; TTC and DRAC from the two.
- in the own path: the footprint overlaps the 2 m about the arc of that moment's turning.
- on a collision course: with velocities of that moment, it comes level with the camera within 5 s, and its footprint
  then overlaps the 2 m of the own path (the arc of that moment's turning). Nobody crashed, so that what happened later
  is no truth for that: everybody steered and braked.
Boxes cut by the frame are left out, and road users farther than 50 m.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl

from autorisk_dagster import tables
from autorisk_dagster.kinematics.conflict_measures import conflict_measures
from autorisk_dagster.kinematics.own_path import beside_arc_m
from autorisk_dagster.profile import CameraSettings
from tests.benchmarks.kitti_drive import (
    FOCAL_PX,
    FRAME_SIZE,
    HEIGHT_M,
    HORIZON_SHARE,
    RATE_HZ,
    SEQUENCES,
    Array,
    Drive,
    Sample,
    ego_motion_table,
    read_drive,
    smooth,
    tracks_table,
)

FAR_M = 50.0
CORRIDOR_HALF_M = 1.0
COURSE_SEC = 5.0
KNOWN_CAMERA = CameraSettings(focal_px=FOCAL_PX, horizon_share=HORIZON_SHARE, height_m=HEIGHT_M)
KNOWN_FOCAL = CameraSettings(focal_px=FOCAL_PX)


@dataclass(frozen=True)
class Score:
    """Precision and recall of a flag, over samples."""

    positives: int
    flagged: int
    right: int

    @property
    def precision(self) -> float:
        return self.right / self.flagged if self.flagged else float("nan")

    @property
    def recall(self) -> float:
        return self.right / self.positives if self.positives else float("nan")


def truth_table(drive: Drive) -> pl.DataFrame:
    """One row a sample: track_id, frame_index, and the truth of the module; null: not known."""
    turn, step = smooth(drive.turn_rad), np.stack([smooth(drive.step_m[:, 0]), smooth(drive.step_m[:, 1])], axis=1)
    rows = []
    for track, samples in drive.tracks.items():
        frames = np.array(sorted(samples))
        near = np.array([samples[frame].footprint_m[:, 1].min() for frame in frames])
        for place, frame in enumerate(frames):
            around = np.flatnonzero(np.abs(frames - frame) <= 4)
            if len(around) < 5 or near[place] < 1.0:
                continue
            closing = -np.polyfit(frames[around] / RATE_HZ, near[around], 1)[0]
            bend = curvature(turn, step, frame)
            course = inside = None
            if np.isfinite(bend):
                flanks = np.array([flanks_m(samples[frames[each]], bend) for each in around])
                speed = np.polyfit(frames[around] / RATE_HZ, flanks.mean(axis=1), 1)[0]
                ttc = near[place] / closing if closing > 0.3 else np.inf
                now = flanks_m(samples[frame], bend)
                inside = bool(now[0] < CORRIDOR_HALF_M and now[1] > -CORRIDOR_HALF_M)
                left, right = now + speed * min(ttc, 100.0)
                course = bool(ttc < COURSE_SEC and left < CORRIDOR_HALF_M and right > -CORRIDOR_HALF_M)
            rows.append(
                {
                    "track_id": track,
                    "frame_index": int(frame),
                    "near_m": float(near[place]),
                    "true_closing_mps": float(closing),
                    "true_in_path": inside,
                    "true_course": course,
                }
            )
    booleans = dict.fromkeys(("true_in_path", "true_course"), pl.Boolean)
    return pl.DataFrame(rows, schema_overrides=booleans)


def curvature(turn: Array, step: Array, frame: int) -> float:
    """Of the own path at a frame, left positive; NaN where the motion is unknown."""
    at = min(frame, len(turn) - 1)
    if np.isnan(turn[at]):
        return float("nan")
    ahead = step[at, 1]
    return float(np.clip(turn[at] / ahead, -1 / 6, 1 / 6)) if ahead > 0.05 else 0.0


def flanks_m(sample: Sample, bend: float) -> Array:
    """Left and right end of the footprint beside the own arc."""
    beside = beside_arc_m(sample.footprint_m[:, 0], sample.footprint_m[:, 1], np.full(4, bend))
    return np.array([beside.min(), beside.max()])


@cache
def truth_of(sequence: str) -> tuple[Drive, pl.DataFrame]:
    """A drive and its truth."""
    drive = read_drive(sequence)
    return drive, truth_table(drive)


def scored(sequence: str, settings: CameraSettings, noise_px: float, ego_motion: pl.DataFrame) -> pl.DataFrame:
    """Measures beside their truth, for whole boxes within `FAR_M`."""
    drive, truth = truth_of(sequence)
    table = tracks_table(drive, noise_px)
    found = conflict_measures(table, ego_motion, FRAME_SIZE, settings)
    width, height = FRAME_SIZE
    whole = (pl.col("x1_px") > 6) & (pl.col("x2_px") < width - 6) & (pl.col("y2_px") < height - 6)
    boxes = table.select("track_id", "frame_index", "x1_px", "x2_px", "y2_px")
    return (
        found.join(truth, on=["track_id", "frame_index"])
        .join(boxes, on=["track_id", "frame_index"])
        .filter(whole & (pl.col("near_m") < FAR_M) & pl.col("distance_m").is_not_null())
    )


def score(rows: pl.DataFrame, flag: str, truth: str) -> Score:
    """Of the samples whose truth is known."""
    known = rows.drop_nulls(truth)
    right = known.filter(pl.col(flag) & pl.col(truth)).height
    return Score(int(known[truth].sum()), int(known[flag].sum()), right)


def report() -> str:
    """The whole benchmark as Markdown."""
    none = tables.empty(tables.EGO_MOTION)
    lines = [
        "| camera | noise px | distance error | inside 90 % | closing error m/s | TTC error | DRAC error |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, settings in (("known", KNOWN_CAMERA), ("focal known", KNOWN_FOCAL), ("nothing known", CameraSettings())):
        for noise in (0.0, 1.0, 2.0):
            rows = pl.concat([scored(sequence, settings, noise, none) for sequence in SEQUENCES])
            lines.append(f"| {name} | {noise:.0f} | {' | '.join(metric_row(rows))} |")
    lines += [
        "",
        "| own motion | noise px | flag | truth | positives | precision | recall |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("turn and speed", "turn", "none"):
        for noise in (0.0, 1.0, 2.0):
            parts = []
            for sequence in SEQUENCES:
                drive, _ = truth_of(sequence)
                ego = none if name == "none" else ego_motion_table(drive, speed=name == "turn and speed")
                parts.append(scored(sequence, CameraSettings(), noise, ego))
            rows = pl.concat(parts)
            for flag, truth in (
                ("in_own_path", "true_in_path"),
                ("on_collision_course", "true_course"),
            ):
                one = score(rows, flag, truth)
                values = f"{one.positives} | {one.precision:.2f} | {one.recall:.2f}"
                lines.append(f"| {name} | {noise:.0f} | {flag} | {truth} | {values} |")
    return "\n".join(lines)


def metric_row(rows: pl.DataFrame) -> list[str]:
    """Median relative error of distance, coverage, median errors of closing speed, TTC and DRAC."""
    near, closing = rows["near_m"].to_numpy(), rows["true_closing_mps"].to_numpy()
    distance = np.median(np.abs(rows["distance_m"].to_numpy() / near - 1))
    inside = np.mean((rows["distance_low_m"].to_numpy() <= near) & (near <= rows["distance_high_m"].to_numpy()))
    measured = rows["closing_mps"].cast(pl.Float64).to_numpy()
    speed = np.nanmedian(np.abs(measured - closing))
    closes = (closing > 1.0) & (near / closing < 10)
    ttc = near[closes] / closing[closes]
    found_ttc = rows["ttc_space_sec"].cast(pl.Float64).to_numpy()[closes]
    found_drac = rows["distance_m"].to_numpy()[closes]
    found_drac = np.maximum(measured[closes], 0) ** 2 / (2 * found_drac)
    drac = closing[closes] ** 2 / (2 * near[closes])
    return [
        f"{distance:.3f}",
        f"{inside:.2f}",
        f"{speed:.2f}",
        f"{np.nanmedian(np.abs(found_ttc / ttc - 1)):.3f}",
        f"{np.nanmedian(np.abs(found_drac / drac - 1)):.3f}",
    ]


if __name__ == "__main__":
    print(report())
