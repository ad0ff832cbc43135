"""Traffic with real conflicts, simulated by SUMO, and SUMO's own record of them.

SUMO's drivers avoid accidents; what makes conflicts here is done to them, from a seed (`_Provocation`):

- a leader of a camera car brakes at 7 m/s2, or a neighbour cuts in before it into a small gap;
- a driver looks away for a second and keeps the speed;
- somebody near a camera car ignores right of way and red lights for some seconds.

Conflicts are those of SUMO's SSM device on every vehicle, which measures along the lanes: time to collision, needed
deceleration (DRAC) and post-encroachment time (PET), by the encounter's kind. The device knows no people on foot: their
conflicts are computed here from the true positions (`_people`), and counted apart.
"""

from __future__ import annotations

import cmath
import math
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from tests.benchmarks.sumo_roads import LABEL_OF_TYPE, Roads

STEP_SEC: Final = 0.1
WARM_UP_SEC: Final = 30.0  # roads fill; nothing is provoked
# A conflict: TTC under 1.5 s (Hayward 1972; van der Horst 1990), DRAC over 3.4 m/s2 (AASHTO's comfortable deceleration;
# Archer 2005), or PET under 1 s where ways cross (Peesapati et al. 2013). SUMO's own defaults, 3 s, 3 m/s2 and 2 s,
# bound the encounter in time, and tell a mild encounter from none at all.
CONFLICT_TTC_SEC, CONFLICT_DRAC_MPS2, CONFLICT_PET_SEC = 1.5, 3.4, 1.0
MILD_TTC_SEC, MILD_DRAC_MPS2, MILD_PET_SEC = 3.0, 3.0, 2.0
BRIDGE_SEC: Final = 1.0  # two runs less than this apart are one encounter
BEFORE_CROSSING_SEC: Final = 2.0  # an encounter known by its PET alone begins so long before
LANE_CHANGE_SEC: Final = 3.0
LANE_JUMP_M: Final = 1.5
FOLLOWING: Final = 2  # SSM's code where the equipped vehicle follows the other
MERGING: Final = (6, 7, 8, 19)
PERSON_RADIUS_M: Final = 0.3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class RoadUser:
    name: str
    label: str  # COCO
    length_m: float
    width_m: float
    height_m: float


@dataclass(frozen=True)
class Conflict:
    """Two road users in danger of each other, or nearly (`mild`: only over SUMO's default thresholds)."""

    pair: tuple[int, int]  # positions in `World.road_users`, smaller first
    start_sec: float
    end_sec: float
    peak_sec: float  # of the least TTC; without one, of the largest DRAC, else of the PET
    min_ttc_sec: float  # inf: never on course
    max_drac_mps2: float
    pet_sec: float  # NaN: no common area was passed one after the other
    mild: bool


@dataclass(frozen=True)
class Following:
    """SUMO's true values while the first of `pair` follows the second: arrays of one length."""

    pair: tuple[int, int]
    times_sec: Array
    ttc_sec: Array  # inf: not closing
    drac_mps2: Array  # 0: not closing


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
            provocation = _Provocation(libsumo, Random(seed), sorted(roads.egos)) if provoked else None
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


class _Provocation:
    """What makes SUMO's careful drivers dangerous. The numbers are mean seconds between two tries at one camera car."""

    BRAKE_EVERY, CUT_IN_EVERY, RUN_EVERY = 8.0, 5.0, 1.0
    OBEY, LOOK_AWAY, BRAKE_HARD, IGNORE_WAY = 31, 0, 27, 39  # SUMO's speed modes, bits of the rules that hold

    def __init__(self, libsumo: Any, draw: Random, egos: list[str]) -> None:
        self._vehicle, self._draw, self._egos = libsumo.vehicle, draw, egos
        self._restore: dict[str, float] = {}  # vehicle -> when it drives by itself again

    def step(self, now_sec: float) -> None:
        here = self._vehicle.getIDList()
        for name in [name for name, until in self._restore.items() if now_sec >= until]:
            del self._restore[name]
            if name in here:
                self._vehicle.setSpeed(name, -1)
                self._vehicle.setSpeedMode(name, self.OBEY)
                self._vehicle.setLaneChangeMode(name, 1621)
        for ego in self._egos:
            if ego not in here or self._vehicle.getSpeed(ego) < 4.0:
                continue
            if self._due(self.BRAKE_EVERY):
                self._brake(ego, now_sec)
            if self._due(self.CUT_IN_EVERY):
                self._cut_in(ego, now_sec)
            if self._due(self.RUN_EVERY):
                self._ignore_right_of_way(ego, here, now_sec)

    def _due(self, every_sec: float) -> bool:
        return self._draw.random() < STEP_SEC / every_sec

    def _take(self, name: str, until_sec: float, speed_mode: int) -> bool:
        if name in self._restore:
            return False
        self._restore[name] = until_sec
        self._vehicle.setSpeedMode(name, speed_mode)
        return True

    def _look_away(self, ego: str, until_sec: float) -> None:
        if self._take(ego, until_sec, self.LOOK_AWAY):
            self._vehicle.setSpeed(ego, self._vehicle.getSpeed(ego))

    def _brake(self, ego: str, now_sec: float) -> None:
        """The leader brakes at 7 m/s2, and the camera car's driver reacts late."""
        leader = self._vehicle.getLeader(ego, 45.0)
        if not leader or leader[1] > 45.0 or self._vehicle.getSpeed(leader[0]) < 5.0:
            return
        speed = self._vehicle.getSpeed(leader[0])
        left = speed * self._draw.uniform(0.0, 0.5)
        braking_sec = (speed - left) / 7.0
        if self._take(leader[0], now_sec + braking_sec + 1.0, self.BRAKE_HARD):
            self._vehicle.slowDown(leader[0], left, braking_sec)
            self._look_away(ego, now_sec + self._draw.uniform(0.5, 1.5))

    def _cut_in(self, ego: str, now_sec: float) -> None:
        """A neighbour just before the camera car changes into its lane and is slower."""
        # bits of getNeighbors: 1 = right side, 2 = those before the own car
        beside = [(name, -1) for name, gap in self._vehicle.getNeighbors(ego, 2) if -1.0 < gap < 16.0]
        beside += [(name, 1) for name, gap in self._vehicle.getNeighbors(ego, 3) if -1.0 < gap < 16.0]
        if not beside:
            return
        name, side = self._draw.choice(beside)
        if self._take(name, now_sec + 4.0, self.BRAKE_HARD):
            self._vehicle.setLaneChangeMode(name, 1365)  # heeds nothing but an immediate collision
            self._vehicle.changeLaneRelative(name, side, 4.0)
            self._vehicle.slowDown(name, self._vehicle.getSpeed(ego) * self._draw.uniform(0.6, 0.95), 2.0)
            self._look_away(ego, now_sec + self._draw.uniform(0.5, 2.0))

    def _ignore_right_of_way(self, ego: str, here: tuple[str, ...], now_sec: float) -> None:
        """Whoever would come within 6 m of the camera car in the next seconds, unless it waits, does not wait."""
        place, speed = self._motion(ego)
        for name in here:
            other, its_speed = self._motion(name)
            apart, relative = other - place, its_speed - speed
            if name == ego or abs(apart) > 45.0 or abs(its_speed) < 3.0 or abs(relative) < 3.0:
                continue
            nearest_sec = -(apart * relative.conjugate()).real / abs(relative) ** 2
            if 1.0 < nearest_sec < 5.0 and abs(apart + relative * nearest_sec) < 6.0:
                self._take(name, now_sec + 5.0, self.IGNORE_WAY)
                self._take(ego, now_sec + nearest_sec - self._draw.uniform(0.0, 1.2), self.IGNORE_WAY)
                return

    def _motion(self, name: str) -> tuple[complex, complex]:
        """Place (m) and velocity (m/s) as complex numbers."""
        heading = math.radians(90.0 - self._vehicle.getAngle(name))
        return complex(*self._vehicle.getPosition(name)), self._vehicle.getSpeed(name) * cmath.exp(1j * heading)


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
        conflicts, following = _read_log(log, self._number)
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
        found = sorted([*conflicts, *_people(world, crossing)], key=lambda one: (one.start_sec, one.pair))
        return World(**{**vars(world), "conflicts": tuple(found)})


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


def _read_log(log: Path, number: dict[str, int]) -> tuple[list[Conflict], tuple[Following, ...]]:
    """Conflicts and true following values from the device's XML. Both vehicles log an encounter: it is counted once."""
    found: dict[tuple[int, int], list[Conflict]] = defaultdict(list)
    following = []
    for _, element in ElementTree.iterparse(log, events=("end",)):
        if element.tag != "conflict":
            continue
        one, other = (number.get(element.attrib[name]) for name in ("ego", "foe"))
        if one is None or other is None:  # never inside the network at a step's end
            continue
        times, ttc, drac = _span(element, "timeSpan"), _span(element, "TTCSpan"), _span(element, "DRACSpan")
        kinds = _span(element, "typeSpan")
        ttc, drac = np.where(np.isnan(ttc), np.inf, ttc), np.nan_to_num(drac)
        pair = (min(one, other), max(one, other))
        found[pair] += _encounters(pair, times, ttc, drac, _pet(element))
        behind = kinds == FOLLOWING
        if behind.any():
            following.append(Following((one, other), times[behind], ttc[behind], drac[behind]))
        element.clear()
    return [one for each in found.values() for one in _merged(each)], tuple(following)


def _span(element: ElementTree.Element, name: str) -> Array:
    child = element.find(name)
    assert child is not None
    return np.array([math.nan if text == "NA" else float(text) for text in child.attrib["values"].split()])


def _pet(element: ElementTree.Element) -> tuple[float, float] | None:
    """(time, value) of an encounter whose ways cross."""
    child = element.find("PET")
    if child is None or child.attrib["value"] == "NA" or int(child.attrib["type"]) in MERGING:
        return None
    return float(child.attrib["time"]), float(child.attrib["value"])


def _encounters(
    pair: tuple[int, int], times: Array, ttc: Array, drac: Array, pet: tuple[float, float] | None
) -> Iterator[Conflict]:
    """Each run of a log over SUMO's thresholds, as a conflict or a mild encounter."""
    critical = np.flatnonzero((ttc < MILD_TTC_SEC) | (drac > MILD_DRAC_MPS2))
    runs = np.split(critical, np.flatnonzero(np.diff(times[critical]) > BRIDGE_SEC) + 1) if len(critical) else []
    for run in runs:
        start, end, least, most = times[run[0]], times[run[-1]], ttc[run].min(), drac[run].max()
        peak = times[run[np.argmin(ttc[run])]] if np.isfinite(least) else times[run[np.argmax(drac[run])]]
        mild = bool(least >= CONFLICT_TTC_SEC and most <= CONFLICT_DRAC_MPS2)
        yield Conflict(pair, float(start), float(end), float(peak), float(least), float(most), math.nan, mild)
    if pet is not None and pet[1] < MILD_PET_SEC:
        at, value = pet
        mild = value >= CONFLICT_PET_SEC
        yield Conflict(pair, at - BEFORE_CROSSING_SEC, at, at, math.inf, 0.0, value, mild)


def _merged(found: list[Conflict]) -> list[Conflict]:
    """Encounters of one pair that overlap (both vehicles' logs, a TTC and a PET of one crossing), as one."""
    merged: list[Conflict] = []
    for one in sorted(found, key=lambda one: one.start_sec):
        last = merged[-1] if merged else None
        if last is None or one.start_sec > last.end_sec + BRIDGE_SEC:
            merged.append(one)
            continue
        worse = min(last, one, key=lambda each: (each.mild, each.min_ttc_sec, -each.max_drac_mps2))
        merged[-1] = Conflict(
            pair=one.pair,
            start_sec=last.start_sec,
            end_sec=max(last.end_sec, one.end_sec),
            peak_sec=worse.peak_sec,
            min_ttc_sec=min(last.min_ttc_sec, one.min_ttc_sec),
            max_drac_mps2=max(last.max_drac_mps2, one.max_drac_mps2),
            pet_sec=float(np.fmin(last.pet_sec, one.pet_sec)),
            mild=last.mild and one.mild,
        )
    return merged


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
        for one in _encounters(pair, times, ttc, drac, None):
            harmless = one.min_ttc_sec >= CONFLICT_TTC_SEC or one.max_drac_mps2 <= CONFLICT_DRAC_MPS2
            found.append(Conflict(**{**vars(one), "mild": harmless}))
    return found


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
