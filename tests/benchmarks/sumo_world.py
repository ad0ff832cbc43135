"""Traffic with real conflicts, simulated by SUMO, and SUMO's own record of them.

SUMO's drivers avoid accidents; what makes conflicts here is done to them, from a seed (`sumo_provocation`):

- a leader of a camera car brakes at 7 m/s2, or a neighbour cuts in before it into a small gap;
- a driver looks away for a second and keeps the speed;
- somebody near a camera car ignores right of way and red lights for some seconds.

Conflicts are those of SUMO's SSM device on every vehicle, which measures along the lanes: time to collision, needed
deceleration (DRAC) and post-encroachment time (PET), by the encounter's kind. The device knows no people on foot: their
conflicts are computed here from the true positions (`_people`).
"""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from tests.benchmarks.sumo_provocation import Provocation
from tests.benchmarks.sumo_roads import LABEL_OF_TYPE, STEP_SEC, Roads
from tests.benchmarks.sumo_truth import (
    BRIDGE_SEC,
    CONFLICT_DRAC_MPS2,
    CONFLICT_TTC_SEC,
    MILD_DRAC_MPS2,
    MILD_PET_SEC,
    MILD_TTC_SEC,
    Conflict,
    Following,
    encounters,
    read_log,
)

WARM_UP_SEC: Final = 30.0  # roads fill; nothing is provoked
LANE_CHANGE_SEC: Final = 3.0
LANE_JUMP_M: Final = 1.5
PERSON_RADIUS_M: Final = 0.3
# A close cut-in: less than SUMO's own threshold for time gaps (TGAP), within two seconds of coming into the path
CUT_IN_SEC, NEW_IN_PATH_SEC, CUT_IN_SPEED_MPS = 0.5, 2.0, 5.0
SAME_DIRECTION_COS: Final = math.cos(math.radians(30))

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RoadUser:
    name: str
    label: str  # COCO
    length_m: float
    width_m: float
    height_m: float


@dataclass(frozen=True)
class World:
    """One simulation: who was where, and what SUMO says of it.

    All samples in order of time: rows `first_row[k]` to `first_row[k + 1]` are step k, at k * STEP_SEC. A position
    is the middle of the front bumper (of a person: the middle); headings are radians, counter-clockwise from x.
    """

    name: str
    road_users: tuple[RoadUser, ...]
    egos: tuple[int, ...]
    first_row: NDArray[np.int64]
    who: NDArray[np.int64]
    x_m: Array
    y_m: Array
    heading_rad: Array
    speed_mps: Array
    conflicts: tuple[Conflict, ...]
    following: tuple[Following, ...]
    collisions: int
    lanes_m: tuple[Array, ...]  # (k, 2) middle line of every lane that vehicles use, for pictures


def simulate(
    make_roads: Callable[[Path, int, float, Path], Roads], seed: int, duration_sec: float, *, provoked: bool = True
) -> World:
    """Run one network for `duration_sec` after the warm-up; the same seed gives the same world."""
    import libsumo
    import sumo

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        total_sec = WARM_UP_SEC + duration_sec
        roads = make_roads(folder, seed, total_sec, Path(sumo.SUMO_HOME) / "bin" / "netconvert")
        log = folder / "ssm.xml"
        libsumo.start(_command(roads, seed, log))
        try:
            samples = _Samples(roads.egos, _lanes(libsumo.lane))
            provocation = Provocation(libsumo, Random(seed), sorted(roads.egos)) if provoked else None
            for step in range(round(total_sec / STEP_SEC)):
                libsumo.simulationStep()
                samples.take(libsumo)
                if provocation is not None and step * STEP_SEC >= WARM_UP_SEC:
                    provocation.step(step * STEP_SEC)
        finally:
            libsumo.close()  # writes the log's end
        return samples.world(f"{make_roads.__name__}-{seed}", log)


def _command(roads: Roads, seed: int, log: Path) -> list[str]:
    options: dict[str, Any] = {
        "net-file": roads.network,
        "route-files": roads.routes,
        "step-length": STEP_SEC,
        "seed": seed,
        "collision.action": "remove",
        "time-to-teleport": 60,
        "device.ssm.probability": 1,
        "device.ssm.file": log,
        "device.ssm.measures": "TTC DRAC PET",
        "device.ssm.thresholds": f"{MILD_TTC_SEC} {MILD_DRAC_MPS2} {MILD_PET_SEC}",
        "device.ssm.range": 60,
        "device.ssm.extratime": 2,
        "device.ssm.trajectories": "true",
    }
    command = ["sumo", "--no-warnings", "--no-step-log", "--collision.check-junctions"]
    return command + [part for key, value in options.items() for part in (f"--{key}", str(value))]


def _lanes(lane: Any) -> tuple[Array, ...]:
    return tuple(
        np.array(lane.getShape(name))
        for name in lane.getIDList()
        if not lane.getAllowed(name) or "passenger" in lane.getAllowed(name)
    )


class _Samples:
    """Positions of all road users, taken after each step."""

    def __init__(self, egos: frozenset[str], lanes_m: tuple[Array, ...]) -> None:
        self._egos, self._lanes_m = egos, lanes_m
        self._number: dict[str, int] = {}
        self._road_users: list[RoadUser] = []
        self._first_row = [0]
        self._rows: list[tuple[int, float, float, float, float, bool]] = []
        self._collisions: set[tuple[str, str]] = set()

    def take(self, libsumo: Any) -> None:
        for domain in (libsumo.vehicle, libsumo.person):
            for name in domain.getIDList():
                if name not in self._number:
                    self._number[name] = len(self._road_users)
                    label = LABEL_OF_TYPE[domain.getTypeID(name).split("@")[0]]
                    size = domain.getLength(name), domain.getWidth(name), domain.getHeight(name)
                    self._road_users.append(RoadUser(name, label, *size))
                x, y = domain.getPosition(name)
                heading = math.radians(90.0 - domain.getAngle(name))
                crossing = domain is libsumo.person and "_c" in domain.getRoadID(name)
                self._rows.append((self._number[name], x, y, heading, domain.getSpeed(name), crossing))
        self._first_row.append(len(self._rows))
        self._collisions |= {(hit.collider, hit.victim) for hit in libsumo.simulation.getCollisions()}

    def world(self, name: str, log: Path) -> World:
        who, x, y, heading, speed, crossing = (np.array(column) for column in zip(*self._rows, strict=True))
        first_row = np.array(self._first_row)
        x, y, heading = _smooth_lane_changes(who, x, y, heading, speed)
        conflicts, following = read_log(log, self._number)
        world = World(
            name=name,
            road_users=tuple(self._road_users),
            egos=tuple(sorted(self._number[ego] for ego in self._egos if ego in self._number)),
            first_row=first_row,
            who=who,
            x_m=x,
            y_m=y,
            heading_rad=heading,
            speed_mps=speed,
            conflicts=(),
            following=following,
            collisions=len(self._collisions),
            lanes_m=self._lanes_m,
        )
        close = [one for ego in world.egos for one in cut_ins(world, ego)]
        found = sorted([*conflicts, *_people(world, crossing), *close], key=lambda one: (one.start_sec, one.pair))
        return replace(world, conflicts=tuple(found))


def _smooth_lane_changes(
    who: NDArray[np.int64], x: Array, y: Array, heading: Array, speed: Array
) -> tuple[Array, Array, Array]:
    """Places and headings with each sudden change of lane drawn out over LANE_CHANGE_SEC, half before and half after.

    SUMO moves a vehicle to the next lane between two steps (its own option for gradual changes stops libsumo 1.28 with
    errors at ramps). A jump is a step sideways that no vehicle of that heading can make.
    """
    x, y, heading = x.copy(), y.copy(), heading.copy()
    order = np.argsort(who, kind="stable")
    half = round(LANE_CHANGE_SEC / STEP_SEC / 2)
    for rows in np.split(order, np.flatnonzero(np.diff(who[order])) + 1):
        path = x[rows] + 1j * y[rows]
        # SUMO's heading is wrong for a step or two where lanes are joined
        heading[rows] = median_filter(np.unwrap(heading[rows]), size=5, mode="nearest")
        direction = np.exp(1j * heading[rows])
        sideways = (np.diff(path) * direction[1:].conj()).imag
        shift, drift_mps = np.zeros((2, len(rows)))
        for jump in np.flatnonzero(np.abs(sideways) > LANE_JUMP_M) + 1:
            # before the jump it is on its way by up to half of it, after it half is still to do
            around = np.arange(max(int(jump) - half, 0), min(int(jump) + half, len(rows)))
            progress = (around - jump + half + 0.5) / (2 * half)
            done = progress**2 * (3 - 2 * progress)
            shift[around] += sideways[jump - 1] * np.where(around < jump, done, done - 1)
            drift_mps[around] += sideways[jump - 1] * 6 * progress * (1 - progress) / LANE_CHANGE_SEC
        moved = path + 1j * direction * shift
        x[rows], y[rows] = moved.real, moved.imag
        heading[rows] += np.arctan2(drift_mps, np.maximum(speed[rows], 3.0))
    return x, y, heading


def _people(world: World, crossing: NDArray[np.bool_]) -> list[Conflict]:
    """Conflicts of vehicles with people on a carriageway: on course to touch within 1.5 s, and braking over 3.4 m/s2
    needed to stop before. Both, because every car that stops at a crossing comes under 1.5 s at a walking pace."""
    series: dict[tuple[int, int], list[tuple[float, float, float]]] = defaultdict(list)
    is_person = np.array([user.label == "person" for user in world.road_users])
    for step in range(len(world.first_row) - 1):
        rows = np.arange(world.first_row[step], world.first_row[step + 1])
        people = rows[is_person[world.who[rows]] & crossing[rows].astype(bool)]
        vehicles = rows[~is_person[world.who[rows]] & (world.speed_mps[rows] > 1.0)]
        if not len(people) or not len(vehicles):
            continue
        ttc = time_to_touch_sec(world, vehicles, people)
        drac = world.speed_mps[vehicles][:, None] / (2 * np.maximum(ttc, 1e-3))
        for i, j in zip(*np.nonzero(ttc < MILD_TTC_SEC), strict=True):
            low, high = sorted((int(world.who[vehicles[i]]), int(world.who[people[j]])))
            series[low, high].append((step * STEP_SEC, float(ttc[i, j]), float(drac[i, j])))
    found = []
    for pair, samples in series.items():
        times, ttc, drac = np.array(samples).T
        for one in encounters(pair, times, ttc, drac, None):
            serious = one.min_ttc_sec < CONFLICT_TTC_SEC and one.max_drac_mps2 > CONFLICT_DRAC_MPS2
            found.append(replace(one, grade="conflict" if serious else "mild"))
    return found


def cut_ins(world: World, ego: int) -> list[Conflict]:
    """Moments at which somebody has just come into the ego's path, in its direction, less than CUT_IN_SEC ahead."""
    since: dict[int, float] = {}  # who is in the path -> since when
    seen_beside: dict[int, float] = {}  # who is not -> when last
    found: dict[int, list[tuple[float, float]]] = defaultdict(list)
    own = world.road_users[ego]
    for step in range(len(world.first_row) - 1):
        rows = slice(world.first_row[step], world.first_row[step + 1])
        (at,) = np.nonzero(world.who[rows] == ego)
        if not len(at) or world.speed_mps[rows][at[0]] < CUT_IN_SPEED_MPS:
            continue
        axis = np.exp(1j * world.heading_rad[rows][at[0]])
        front = world.x_m[rows] + 1j * world.y_m[rows]
        turned = world.heading_rad[rows] - world.heading_rad[rows][at[0]]
        length = np.array([world.road_users[number].length_m for number in world.who[rows]])
        half = np.array([world.road_users[number].width_m for number in world.who[rows]]) / 2
        rear = (front - front[at[0]]) / axis - length * np.exp(1j * turned)
        near = (rear.real > 0) & (rear.real < 50) & (np.cos(turned) > SAME_DIRECTION_COS)
        in_path = near & (np.abs(rear.imag) < half + own.width_m / 2)
        now = step * STEP_SEC
        for index in np.flatnonzero(near).tolist():
            number = int(world.who[rows][index])
            if not in_path[index]:
                seen_beside[number] = now
                since.pop(number, None)
                continue
            if number not in since:
                since[number] = now if now - seen_beside.get(number, -math.inf) <= 2 * STEP_SEC else -math.inf
            gap_sec = float(rear[index].real / world.speed_mps[rows][at[0]])
            if now - since[number] <= NEW_IN_PATH_SEC and gap_sec < CUT_IN_SEC:
                found[number].append((now, gap_sec))
    conflicts = []
    for number, moments in found.items():
        times, gaps = np.array(moments).T
        for run in np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > BRIDGE_SEC) + 1):
            peak = float(times[run[np.argmin(gaps[run])]])
            pair = (min(ego, number), max(ego, number))
            start, end = float(times[run[0]]), float(times[run[-1]])
            conflicts.append(Conflict(pair, start, end, peak, math.inf, 0.0, math.nan, "cut-in"))
    return conflicts


def time_to_touch_sec(world: World, vehicles: NDArray[np.int64], people: NDArray[np.int64]) -> Array:
    """(vehicles, people) s until the vehicle's outline meets the person if both keep speed and direction; inf: never.

    Slab test of the person's course, in the vehicle's axes, against its rectangle, a person's radius wider all round.
    """
    heading = world.heading_rad[vehicles][:, None]
    cos, sin = np.cos(heading), np.sin(heading)
    dx = world.x_m[people][None] - world.x_m[vehicles][:, None]
    dy = world.y_m[people][None] - world.y_m[vehicles][:, None]
    walk = world.speed_mps[people][None] * np.exp(1j * world.heading_rad[people])[None]
    length = np.array([world.road_users[n].length_m for n in world.who[vehicles]])[:, None]
    half = np.array([world.road_users[n].width_m for n in world.who[vehicles]])[:, None] / 2
    place = (dx * cos + dy * sin, -dx * sin + dy * cos)  # ahead, left
    speed = (
        walk.real * cos + walk.imag * sin - world.speed_mps[vehicles][:, None],
        -walk.real * sin + walk.imag * cos,
    )
    slabs = (
        (-length - PERSON_RADIUS_M, PERSON_RADIUS_M + 0 * length),
        (-half - PERSON_RADIUS_M, half + PERSON_RADIUS_M),
    )
    enter, leave = np.zeros_like(dx), np.full_like(dx, np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for at, rate, (low, high) in zip(place, speed, slabs, strict=True):
            first, second = (low - at) / rate, (high - at) / rate
            inside = (at >= low) & (at <= high)
            still = rate == 0
            enter = np.maximum(enter, np.where(still, np.where(inside, 0.0, np.inf), np.minimum(first, second)))
            leave = np.minimum(leave, np.where(still, np.where(inside, np.inf, -np.inf), np.maximum(first, second)))
    return np.where(enter <= leave, enter, np.inf)
