"""One run of the near-miss benchmark: SUMO simulates, a virtual dashcam films, the product judges, the truth scores."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from autorisk_dagster.profile import Profile, load_profile
from tests.benchmarks import sumo_roads
from tests.benchmarks.sumo_dashcam import LEVELS as NOISE_LEVELS
from tests.benchmarks.sumo_dashcam import NORMAL, Camera, Drive, Footage, drive, film
from tests.benchmarks.sumo_measures import MEASURES, Comparison, compare
from tests.benchmarks.sumo_methods import METHODS, READ_CAMERA, Method, TrueActors, alarms, case, knowing
from tests.benchmarks.sumo_roads import STEP_SEC
from tests.benchmarks.sumo_scoring import DriveScore, score_drive
from tests.benchmarks.sumo_truth import Conflict
from tests.benchmarks.sumo_world import simulate

ROOT: Final = Path(__file__).parents[2]
SEEDS: Final = (1, 2, 3)
DURATION_SEC: Final = 75.0
KINDS: Final = ("own vehicle", "others", "all")
ROADS: Final = {"motorway": sumo_roads.motorway, "town": sumo_roads.town}
SEEN_STEPS: Final = 5  # a conflict that the camera sees for less than half a second cannot be asked for
LEAD_IN_SEC: Final = 1.0

CAMERA_GIVEN: Final = "normal, camera given"
CONDITIONS: Final = (*(noise.name for noise in NOISE_LEVELS), CAMERA_GIVEN)

Key = tuple[str, str, str]  # condition, method, kind


@dataclass(frozen=True)
class Moment:
    """A conflict, the drive that saw it, and its footage at the normal level: for pictures."""

    drive: Drive
    footage: Footage
    conflict: Conflict


@dataclass
class Benchmark:
    """What one run measured."""

    scores: dict[Key, list[DriveScore]] = field(default_factory=lambda: defaultdict(list))
    measures: dict[tuple[str, str], list[Comparison]] = field(
        default_factory=lambda: defaultdict(list)
    )  # by noise, name
    conflicts: Counter[tuple[str, str]] = field(default_factory=Counter)  # by road and kind
    drives: Counter[str] = field(default_factory=Counter)  # by road
    hours: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by road
    with_people: int = 0
    collisions: int = 0
    mild: int = 0
    cut_ins: int = 0
    switches: Counter[str] = field(default_factory=Counter)  # tracks that stood for more than one road user, by noise
    tracks: Counter[str] = field(default_factory=Counter)
    moments: list[Moment] = field(default_factory=list)
    cpu_sec: dict[str, float] = field(default_factory=lambda: defaultdict(float))  # by part


def run(seeds: Sequence[int] = SEEDS, duration_sec: float = DURATION_SEC) -> Benchmark:
    """Simulate, film, judge and score; the same arguments give the same figures."""
    profile, camera = load_profile("default", ROOT / "configs"), Camera()
    result = Benchmark()
    for road, make_roads in ROADS.items():
        for seed in seeds:
            with _timed(result, "simulation"):
                world = simulate(make_roads, seed, duration_sec)
            result.collisions += world.collisions
            for ego in world.egos:
                with _timed(result, "camera"):
                    seen = drive(world, ego, camera)
                if len(seen.sights) >= 100:  # ten seconds
                    _score(result, road, seen, camera, profile, seed)
    return result


def _score(result: Benchmark, road: str, seen: Drive, camera: Camera, profile: Profile, seed: int) -> None:
    conflicts = seen_conflicts(seen)
    result.drives[road] += 1
    result.hours[road] += seen.duration_sec / 3600
    for conflict in conflicts:
        result.mild += conflict.grade == "mild"
        result.cut_ins += conflict.grade == "cut-in" and seen.ego in conflict.pair
        labels = {seen.world.road_users[number].label for number in conflict.pair}
        result.with_people += conflict.grade == "conflict" and "person" in labels
        result.conflicts[road, _kind(conflict.pair, seen.ego)] += conflict.grade == "conflict"
    for noise in NOISE_LEVELS:
        with _timed(result, "camera"):
            footage = film(seen, camera, noise, seed)
        _count_switches(result, noise.name, footage)
        if noise is NORMAL:
            result.moments += [Moment(seen, footage, one) for one in conflicts if one.grade == "conflict"]
        _judge(result, noise.name, METHODS, seen, footage, conflicts, camera, profile)
        if noise is NORMAL:
            reading = {name: METHODS[name] for name in READ_CAMERA}
            _judge(result, CAMERA_GIVEN, reading, seen, footage, conflicts, camera, knowing(camera, profile))


def _judge(
    result: Benchmark,
    condition: str,
    methods: Mapping[str, Method],
    seen: Drive,
    footage: Footage,
    conflicts: Sequence[Conflict],
    camera: Camera,
    profile: Profile,
) -> None:
    actors = TrueActors(footage, seen.ego)
    with _timed(result, "conflict measures"):
        tables = case(footage, camera, profile)
    for name, method in methods.items():
        with _timed(result, name):
            found = alarms(method(tables), actors, seen.start_sec)
        for kind in KINDS:
            of_kind = [one for one in conflicts if _is(kind, one.pair, seen.ego)]
            told = [one for one in found if _is(kind, one.pair, seen.ego)]
            score = score_drive(told, of_kind, seen.duration_sec / 3600)
            result.scores[condition, name, kind].append(score)
    with _timed(result, "comparison"):
        for measure, estimates in MEASURES.items():
            result.measures[condition, measure].append(compare(seen, footage, estimates(tables)))


def seen_conflicts(seen: Drive) -> list[Conflict]:
    """The world's conflicts, mild ones too, whose actors the camera sees for SEEN_STEPS between a second before the
    encounter's begin and its worst moment (of a conflict) or its end."""
    views = {sight.step: set(sight.who.tolist()) | {seen.ego} for sight in seen.sights}
    found = []
    for conflict in seen.world.conflicts:
        first = round((conflict.start_sec - LEAD_IN_SEC) / STEP_SEC)
        last = round((conflict.peak_sec if conflict.grade == "conflict" else conflict.end_sec) / STEP_SEC)
        steps = [step for step in range(first, last + 1) if step in views]
        if sum(views[step] >= set(conflict.pair) for step in steps) >= SEEN_STEPS:
            found.append(conflict)
    return found


def _kind(pair: tuple[int, int], ego: int) -> str:
    return "own vehicle" if ego in pair else "others"


def _is(kind: str, pair: tuple[int, int], ego: int) -> bool:
    return kind in ("all", _kind(pair, ego))


def _count_switches(result: Benchmark, noise: str, footage: Footage) -> None:
    numbers = footage.tracks["track_id"].to_numpy()
    followed = np.isfinite(numbers.astype(float))
    pairs = np.unique(np.stack([numbers[followed].astype(np.int64), footage.who[followed]]), axis=1)
    _, users = np.unique(pairs[0], return_counts=True)
    result.tracks[noise] += len(users)
    result.switches[noise] += int((users > 1).sum())


class _timed:
    """Adds the CPU seconds of a block to one part's."""

    def __init__(self, result: Benchmark, part: str) -> None:
        self._result, self._part = result, part

    def __enter__(self) -> None:
        self._start = time.process_time()

    def __exit__(self, *_: object) -> None:
        self._result.cpu_sec[self._part] += time.process_time() - self._start
