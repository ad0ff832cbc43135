"""A virtual dashcam in a simulated world: pinhole boxes of what stands before a vehicle, and a detector's faults.

The camera looks straight along the vehicle, its optical axis level, so that the horizon is at half height. A road user
is an upright box of SUMO's length, width and height on a flat road; its picture is the bounding rectangle of the part
before the camera, cut by the frame. Nearer road users hide farther ones (by rectangles); what is mostly hidden is not
seen, what is a little hidden keeps its whole box. Not simulated: pitch and roll, weather, light, buildings, hills,
parked cars, boxes on nothing, wrong labels, the road's own curvature up and down.

Faults are drawn from a seed. The noise of a box edge is a share of the box and some pixels, correlated over 0.3 s, as
detectors' errors are; the smaller a box, the lower its confidence and the more often it is missed, for several frames
running. Numbers (ids) come from the product's own tracker, with its switches and losses; at the level "none" boxes and
ids are the true ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from autorisk_dagster import tables
from autorisk_dagster.perception.detections import ROAD_USER_OF_LABEL, Detections
from autorisk_dagster.perception.tracker import RoadUserTracker, settle_labels
from tests.benchmarks.sumo_roads import STEP_SEC
from tests.benchmarks.sumo_world import World

Array = NDArray[np.float64]

RANGE_M: Final = 120.0
NEAR_M: Final = 0.3  # what is nearer to the camera's plane is cut off
MIN_HEIGHT_PX: Final = 14.0
MIN_VISIBLE: Final = 0.35  # of the box, not hidden by nearer ones
GRID: Final = 8  # points across a box at which it is asked what hides it


@dataclass(frozen=True)
class Camera:
    """Pinhole at the windscreen; px and m. 1000 px at 1280 wide are 65 degrees across."""

    focal_px: float = 1000.0
    width_px: int = 1280
    height_px: int = 720
    height_m: float = 1.3
    behind_bumper_m: float = 1.5

    @property
    def frame_size(self) -> tuple[int, int]:
        return self.width_px, self.height_px


@dataclass(frozen=True)
class Noise:
    """How bad detector and ego motion are. Shares are of the box's width or height, rates a frame at 10 Hz."""

    name: str
    edge_px: float
    edge_share: float
    miss: float  # chance that a dropout begins, for a large box
    miss_small: float  # added for a small one, times exp(-height / 25 px)
    dropout_sec: float
    confidence_spread: float
    pan_px_per_sec: float
    road_flow_share: float
    correlation_sec: float = 0.3


NONE: Final = Noise("none", 0, 0, 0, 0, 0, 0, 0, 0)
NORMAL: Final = Noise("normal", 0.5, 0.012, 0.01, 0.15, 0.3, 0.08, 3.0, 0.08)
HARSH: Final = Noise("harsh", 1.0, 0.03, 0.03, 0.4, 0.5, 0.14, 10.0, 0.25)
LEVELS: Final = (NONE, NORMAL, HARSH)


@dataclass(frozen=True)
class Sight:
    """What is before the camera at one step, without any fault: arrays of one length, nearest first."""

    step: int
    who: NDArray[np.int64]  # position in `World.road_users`
    boxes_px: Array  # (n, 4)
    distance_m: Array  # of the nearest point from the camera's plane
    visible: Array  # share not hidden


@dataclass(frozen=True)
class Drive:
    """A vehicle's time in the simulation, as its camera sees it. The tables' times are seconds from its first step."""

    world: World
    ego: int
    sights: tuple[Sight, ...]
    heading_rad: Array
    speed_mps: Array

    @property
    def start_sec(self) -> float:
        return self.sights[0].step * STEP_SEC

    @property
    def duration_sec(self) -> float:
        return len(self.sights) * STEP_SEC


@dataclass(frozen=True)
class Footage:
    """What perception makes of a drive: the product's tables, and who each row of `tracks` truly is."""

    tracks: pl.DataFrame
    ego_motion: pl.DataFrame
    who: NDArray[np.int64]


def drive(world: World, ego: int, camera: Camera) -> Drive:
    """Everything that `ego`'s camera could see."""
    sights, heading, speed = [], [], []
    for step in range(len(world.first_row) - 1):
        rows = slice(world.first_row[step], world.first_row[step + 1])
        own = np.flatnonzero(world.who[rows] == ego)
        if len(own):
            sights.append(_sight(world, step, int(own[0]), camera))
            heading.append(world.heading_rad[rows][own[0]])
            speed.append(world.speed_mps[rows][own[0]])
    return Drive(world, ego, tuple(sights), np.unwrap(np.array(heading)), np.array(speed))


def _sight(world: World, step: int, own: int, camera: Camera) -> Sight:
    rows = slice(world.first_row[step], world.first_row[step + 1])
    x, y, heading, who = (values[rows] for values in (world.x_m, world.y_m, world.heading_rad, world.who))
    cos, sin = math.cos(heading[own]), math.sin(heading[own])
    ahead = (x - x[own]) * cos + (y - y[own]) * sin + camera.behind_bumper_m
    right = (x - x[own]) * sin - (y - y[own]) * cos
    # a vehicle's place is its front: half of it may be before the camera although its front is behind
    near = np.flatnonzero((ahead > -1.0) & (ahead < RANGE_M) & (np.abs(right) < ahead + 20.0))
    near = near[near != own]
    users = [world.road_users[n] for n in who[near]]
    size = np.array([(user.length_m, user.width_m, user.height_m) for user in users]).reshape(-1, 3)
    boxes, distance = project(ahead[near], right[near], heading[near] - heading[own], size, camera)
    whole = boxes[:, 3] - boxes[:, 1] >= MIN_HEIGHT_PX
    whole &= boxes[:, 2] - boxes[:, 0] >= MIN_HEIGHT_PX / 4
    order = np.flatnonzero(whole)[np.argsort(distance[whole], kind="stable")]
    visible = visible_share(boxes[order])
    seen = visible >= MIN_VISIBLE
    order = order[seen]
    return Sight(step, who[near][order], boxes[order], distance[order], visible[seen])


def project(ahead_m: Array, right_m: Array, turned_rad: Array, size_m: Array, camera: Camera) -> tuple[Array, Array]:
    """Boxes (n, 4) px within the frame, and the distance (n,) m of each one's nearest part before the camera.

    Args:
        ahead_m, right_m: (n,) the middle of the front, from the camera
        turned_rad: (n,) heading against the camera's, counter-clockwise
        size_m: (n, 3) length, width, height

    A box outside of the frame is empty (all zero); its distance may be inf.
    """
    count = len(ahead_m)
    if not count:
        return np.zeros((0, 4)), np.zeros(0)
    length, width, height = size_m.T
    forward = np.stack([np.cos(turned_rad), -np.sin(turned_rad)], axis=-1)  # (ahead, right) of its own heading
    across = np.stack([np.sin(turned_rad), np.cos(turned_rad)], axis=-1)  # to its right
    front = np.stack([ahead_m, right_m], axis=-1)
    corners = np.stack(
        [
            front + side * width[:, None] / 2 * across - back * length[:, None] * forward
            for side, back in ((-1, 0), (1, 0), (1, 1), (-1, 1))
        ],
        axis=1,
    )  # (n, 4, 2), round the footprint
    following = np.roll(corners, -1, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (NEAR_M - corners[..., 0]) / (following[..., 0] - corners[..., 0])
        cut = corners + share[..., None] * (following - corners)
    crosses = (corners[..., 0] < NEAR_M) != (following[..., 0] < NEAR_M)
    points = np.concatenate([corners, cut], axis=1)
    before = np.concatenate([corners[..., 0] >= NEAR_M, crosses], axis=1)
    z = np.where(before, points[..., 0], np.inf)
    z = np.where(before, np.maximum(z, NEAR_M), np.inf)
    u = camera.width_px / 2 + camera.focal_px * np.where(before, points[..., 1], 0.0) / z
    left = np.where(before, u, np.inf).min(axis=1)
    right = np.where(before, u, -np.inf).max(axis=1)
    foot = camera.height_px / 2 + camera.focal_px * camera.height_m / z
    head = camera.height_px / 2 + camera.focal_px * (camera.height_m - height[:, None]) / z
    top = np.where(before, head, np.inf).min(axis=1)
    bottom = np.where(before, foot, -np.inf).max(axis=1)
    boxes = np.stack([left, top, right, bottom], axis=1)
    boxes = np.clip(boxes, 0.0, np.array([camera.width_px, camera.height_px] * 2, dtype=float))
    empty = ~before.any(axis=1) | (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    boxes[empty] = 0.0
    return boxes, z.min(axis=1)


def visible_share(boxes_px: Array) -> Array:
    """(n,) share of each box that no earlier box of the list covers, at GRID x GRID points."""
    count = len(boxes_px)
    if not count:
        return np.zeros(0)
    steps = (np.arange(GRID) + 0.5) / GRID
    x = boxes_px[:, 0, None] + steps * (boxes_px[:, 2] - boxes_px[:, 0])[:, None]  # (n, GRID)
    y = boxes_px[:, 1, None] + steps * (boxes_px[:, 3] - boxes_px[:, 1])[:, None]
    inside_x = (x[:, :, None] > boxes_px[:, 0]) & (x[:, :, None] < boxes_px[:, 2])  # (n, GRID, n)
    inside_y = (y[:, :, None] > boxes_px[:, 1]) & (y[:, :, None] < boxes_px[:, 3])
    earlier = np.tri(count, k=-1, dtype=bool)[:, None, :]
    covered = ((inside_x & earlier)[:, :, None, :] & inside_y[:, None, :, :]).any(axis=3)
    share: Array = 1.0 - covered.mean(axis=(1, 2))
    return share


def film(drive: Drive, camera: Camera, noise: Noise, seed: int) -> Footage:
    """The tables of one drive at one level of noise."""
    draw = np.random.default_rng([seed, drive.ego, LEVELS.index(noise)])
    rows, who = _true_rows(drive) if noise is NONE else _tracked_rows(drive, camera, noise, draw)
    tracks = settle_labels(tables.frame(rows, tables.TRACKS))
    return Footage(tracks, _ego_motion(drive, camera, noise, draw), np.array(who, dtype=np.int64))


def _true_rows(drive: Drive) -> tuple[list[dict[str, Any]], list[int]]:
    rows, who = [], []
    for index, sight in enumerate(drive.sights):
        for number, box in zip(sight.who.tolist(), sight.boxes_px.tolist(), strict=True):
            label = drive.world.road_users[number].label
            rows.append(
                {
                    "frame_index": index,
                    "source_frame": index,
                    "timestamp_sec": index * STEP_SEC,
                    "scene_index": 0,
                    "track_id": number + 1,
                    "road_user": ROAD_USER_OF_LABEL[label],
                    "label": label,
                    "confidence": 0.9,
                    **dict(zip(("x1_px", "y1_px", "x2_px", "y2_px"), box, strict=True)),
                    "still": False,
                }
            )
            who.append(number)
    return rows, who


def _tracked_rows(
    drive: Drive, camera: Camera, noise: Noise, draw: np.random.Generator
) -> tuple[list[dict[str, Any]], list[int]]:
    tracker = RoadUserTracker(1 / STEP_SEC)
    rows: list[dict[str, Any]] = []
    who: list[int] = []
    for index, (found, numbers) in enumerate(_detected(drive, camera, noise, draw)):
        rows += tracker.update(index, index, index * STEP_SEC, 0, found)
        who += numbers.tolist()
    return rows, who


def _detected(
    drive: Drive, camera: Camera, noise: Noise, draw: np.random.Generator
) -> Iterator[tuple[Detections, NDArray[np.int64]]]:
    """What a detector reports at each step, and who each box truly is."""
    count = len(drive.world.road_users)
    error = draw.standard_normal((count, 5))  # four edges and the confidence of everybody, in standard deviations
    missed = np.zeros(count, dtype=bool)
    keep = math.exp(-STEP_SEC / noise.correlation_sec)
    for sight in drive.sights:
        seen = sight.who
        fresh = draw.standard_normal((len(seen), 5))
        error[seen] = keep * error[seen] + math.sqrt(1 - keep**2) * fresh
        width, height = (sight.boxes_px[:, k + 2] - sight.boxes_px[:, k] for k in (0, 1))
        begins = noise.miss + noise.miss_small * np.exp(-height / 25.0)
        ends = min(STEP_SEC / noise.dropout_sec, 1.0)
        chance = draw.random(len(seen))
        missed[seen] = np.where(missed[seen], chance >= ends, chance < begins)

        spread = noise.edge_px + noise.edge_share * np.stack([width, height, width, height], axis=1)
        boxes = sight.boxes_px + spread * error[seen, :4]
        boxes = np.clip(boxes, 0.0, np.array([camera.width_px, camera.height_px] * 2, dtype=float))
        mean = 0.3 + 0.5 * (1 - np.exp(-height / 50.0)) * np.sqrt(sight.visible)
        confidence = np.clip(mean + noise.confidence_spread * error[seen, 4], 0.01, 0.99)
        reported = (
            ~missed[seen] & (confidence >= 0.3) & (boxes[:, 2] - boxes[:, 0] > 2) & (boxes[:, 3] - boxes[:, 1] > 2)
        )
        order = np.flatnonzero(reported)[np.argsort(-confidence[reported], kind="stable")]
        labels = tuple(drive.world.road_users[n].label for n in seen[order])
        yield Detections(boxes[order], confidence[order], labels), seen[order]


def _ego_motion(drive: Drive, camera: Camera, noise: Noise, draw: np.random.Generator) -> pl.DataFrame:
    """`tables.EGO_MOTION` from the true turning and speed."""
    turning = np.diff(drive.heading_rad) / STEP_SEC  # left positive: far points move to the right
    speed = (drive.speed_mps[1:] + drive.speed_mps[:-1]) / 2
    count = len(turning)
    pan = camera.focal_px * turning + noise.pan_px_per_sec * draw.standard_normal(count)
    road = speed / (camera.height_m * camera.focal_px) * (1 + noise.road_flow_share * draw.standard_normal(count))
    return pl.DataFrame(
        {
            "timestamp_sec": np.arange(1, count + 1) * STEP_SEC,
            "gap_sec": np.full(count, STEP_SEC),
            "pan_px_per_sec": pan,
            "tilt_px_per_sec": noise.pan_px_per_sec * draw.standard_normal(count),
            "roll_rad_per_sec": np.zeros(count),
            "road_flow_per_px_sec": road,
            "support": np.full(count, 0.8),
            "still_share": np.full(count, np.nan),
        },
        schema=tables.EGO_MOTION,
    )
