"""KITTI tracking labels as drives whose geometry is known: every road user in metres, and the own motion.

Labels: frame, id, type, truncation, occlusion, alpha, left, top, right, bottom, height, width, length, x, y, z, yaw
(px and m, camera frame, z ahead; 10 frames a second). The own motion is not among them, but parked cars show it: from
one frame to the next they all move by one rotation and shift, found by a robust fit that starts from the step before.
Read from `../shared/data/kitti_tracking`, licence CC BY-NC-SA 3.0, and never copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "kitti_tracking"
FRAME_SIZE = (1242, 375)
FOCAL_PX = 721.5  # of KITTI's colour cameras; principal point 609.6, 172.9; 1.65 m above the road
HORIZON_SHARE = 172.9 / 375
HEIGHT_M = 1.65
RATE_HZ = 10.0
SEQUENCES = ("0000", "0001", "0003", "0009", "0012", "0014")
LABELS = {
    **{"Car": "car", "Van": "car", "Truck": "truck", "Tram": "train"},
    **{"Pedestrian": "person", "Person_sitting": "person", "Cyclist": "person"},
}
MAX_M = 60.0  # farther labels are too coarse to register

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One labelled box: image and space."""

    frame: int
    box_px: tuple[float, float, float, float]
    height_m: float
    footprint_m: Array  # (4, 2) corners: right, ahead
    middle_m: Array  # (2,)


@dataclass(frozen=True)
class Drive:
    """One sequence.

    Attributes:
        tracks: by id, from 1
        labels: COCO label by id
        turn_rad: (frames - 1,) own yaw from frame to frame, left positive; NaN: under three standing objects in view
        step_m: (frames - 1, 2) own step to the right and ahead, in the earlier frame
    """

    sequence: str
    tracks: dict[int, dict[int, Sample]]
    labels: dict[int, str]
    turn_rad: Array
    step_m: Array


def read_drive(sequence: str, folder: Path = FOLDER) -> Drive:
    """Read one sequence and work out the own motion."""
    tracks: dict[int, dict[int, Sample]] = {}
    labels: dict[int, str] = {}
    for line in (folder / f"{sequence}.txt").read_text(encoding="utf-8").splitlines():
        frame, number, kind, *rest = line.split()
        if kind not in LABELS:
            continue
        value = [float(each) for each in rest]
        left, top, right, bottom, height, width, length, x, _, z, yaw = value[3:14]
        along, across = np.array([np.cos(yaw), -np.sin(yaw)]), np.array([np.sin(yaw), np.cos(yaw)])
        middle = np.array([x, z])
        corners = [
            middle + a * length / 2 * along + b * width / 2 * across for a, b in ((1, 1), (1, -1), (-1, -1), (-1, 1))
        ]
        track = int(number) + 1
        labels[track] = LABELS[kind]
        tracks.setdefault(track, {})[int(frame)] = Sample(
            int(frame), (left, top, right, bottom), height, np.array(corners), middle
        )
    frames = 1 + max(frame for track in tracks.values() for frame in track)
    turn, step = np.full(frames - 1, np.nan), np.full((frames - 1, 2), np.nan)
    guess = np.zeros(3)
    for frame in range(frames - 1):
        pairs = [
            (track[frame].middle_m, track[frame + 1].middle_m)
            for track in tracks.values()
            if frame in track and frame + 1 in track and track[frame].middle_m[1] < MAX_M
        ]
        found = (
            _rigid(np.array([a for a, _ in pairs]), np.array([b for _, b in pairs]), guess) if len(pairs) > 1 else None
        )
        if found is not None:
            guess = found
            turn[frame], step[frame] = found[0], found[1:]
    return Drive(sequence, tracks, labels, turn, step)


def _rigid(before: Array, after: Array, guess: Array) -> Array | None:
    """Turn (left positive) and own step (right, ahead) that carry standing points from frame to frame; None: unsure.

    A point p stands at R (p - step) in the next frame, R turning by the yaw to the right.
    """
    best, most = None, 2  # two points fit many motions: three must agree
    starts = [guess, np.zeros(3), np.array([0.0, 0.0, 0.6]), np.array([0.0, 0.0, 1.2])]
    for start in starts:
        value = start.copy()
        for scale in (1.0, 0.5, 0.3, 0.2, 0.2):
            c, s = np.cos(value[0]), np.sin(value[0])
            rotation = np.array([[c, s], [-s, c]])
            off = after - (before - value[1:]) @ rotation.T
            tolerance = scale * np.maximum(before[:, 1], 10.0) / 20.0
            weight = 1 / (1 + (np.linalg.norm(off, axis=1) / tolerance) ** 2) ** 2 / tolerance**2
            turned = (before - value[1:]) @ rotation.T
            design = np.zeros((2 * len(before), 3))
            design[0::2, 0], design[1::2, 0] = turned[:, 1], -turned[:, 0]
            design[0::2, 1:], design[1::2, 1:] = -rotation[0], -rotation[1]
            both = np.repeat(weight, 2)
            normal = design.T @ (both[:, None] * design) + np.diag([50.0, 1.0, 1e-3])
            value = value + np.linalg.solve(normal, design.T @ (both * off.ravel()))
        standing = int((np.linalg.norm(off, axis=1) < tolerance).sum())
        if standing > most:
            best, most = value, standing
    return best


def tracks_table(drive: Drive, noise_px: float = 0.0, seed: int = 0) -> pl.DataFrame:
    """tables.TRACKS of a drive, each edge with independent Gaussian noise."""
    generator = np.random.default_rng(seed)
    rows = []
    for track, samples in sorted(drive.tracks.items()):
        for frame, sample in sorted(samples.items()):
            box = np.array(sample.box_px) + generator.normal(0, noise_px, 4)
            label = drive.labels[track]
            rows.append(
                {
                    **{"frame_index": frame, "source_frame": frame, "timestamp_sec": frame / RATE_HZ, "scene_index": 0},
                    **{"track_id": track, "road_user": "pedestrian" if label == "person" else "vehicle"},
                    **{"label": label, "confidence": 0.9, "still": False},
                    **dict(zip(("x1_px", "y1_px", "x2_px", "y2_px"), box.tolist(), strict=True)),
                }
            )
    return tables.frame(rows, tables.TRACKS).sort("frame_index", "track_id")


def ego_motion_table(drive: Drive, *, speed: bool = True) -> pl.DataFrame:
    """tables.EGO_MOTION as the background of the drive would show it: turning, and with `speed` the road's flow."""
    turn, ahead = smooth(drive.turn_rad) * RATE_HZ, smooth(drive.step_m[:, 1]) * RATE_HZ
    known = np.isfinite(turn)
    rows = [
        {
            **dict.fromkeys(tables.EGO_MOTION),
            "timestamp_sec": (frame + 1) / RATE_HZ,
            "gap_sec": 1 / RATE_HZ,
            "pan_px_per_sec": float(turn[frame] * FOCAL_PX),
            "road_flow_per_px_sec": float(max(ahead[frame], 0.0) / (HEIGHT_M * FOCAL_PX)) if speed else None,
            "support": 1.0,
        }
        for frame in np.flatnonzero(known)
    ]
    return tables.frame(rows, tables.EGO_MOTION)


def smooth(values: Array, half: int = 3) -> Array:
    """Median over 2 * half + 1 neighbours that are known; NaN where the value itself is NaN."""
    padded = np.concatenate([np.full(half, np.nan), values, np.full(half, np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
    out = np.full(len(values), np.nan)
    known = np.isfinite(values)
    out[known] = np.nanmedian(windows[known], axis=1)
    return out
