"""`make bench`: measure, keep the figures, write docs/performance.md and its picture.

make bench                     everything, about 40 minutes on two cores
make bench ONLY=rules          one group again, of those in GROUPS; the others' figures are kept
make bench QUICK=1             one short run of all: to see that it works, not to be believed; writes no page
make bench ONLY=page           only the page, from the figures that are there
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import footage, page
from tests.benchmarks.machine import machine_facts
from tests.benchmarks.measure import (
    ALL_CORES,
    ALL_CORES_RUNS,
    ONE_CORE,
    REFERENCE_RUNS,
    ROOT,
    RUNS,
    Order,
    run_interleaved,
    stored,
)

KEPT = ROOT / "build" / "benchmarks"


def long_orders(quick: bool) -> list[Order]:
    clips = footage.long_clips(KEPT, 2.0 if quick else footage.LOOP_SEC)
    orders = []
    for subject, path in clips.items():
        for cores in (ONE_CORE, ALL_CORES):
            orders += mining_orders(subject, path, cores, quick)
    if not quick:
        for subject, path in footage.large_clip(KEPT).items():
            orders += mining_orders(subject, path, ONE_CORE, quick)[1:]  # without the reference: it takes minutes
    return orders


def over_floor_orders(quick: bool) -> list[Order]:
    """One process each: the detector, which has to look once, takes most of its time."""
    looped = {} if quick else footage.long_clips(KEPT) | footage.large_clip(KEPT)
    subjects = [(subject, path, cores) for subject, path in looped.items() for cores in (ONE_CORE, ALL_CORES)]
    subjects += [(subject, path, ONE_CORE) for subject, path in footage.shared_videos().items()]
    return [
        Order(subject, "over_floor", cores, 1, {"video": str(path), "times": 1 if quick else RUNS})
        for subject, path, cores in subjects
    ]


def video_orders(quick: bool) -> list[Order]:
    videos = list(footage.shared_videos().items())
    return [
        order
        for subject, path in (videos[:1] if quick else videos)
        for order in mining_orders(subject, path, ONE_CORE, quick)
    ]


def mining_orders(subject: str, path: Path, cores: str, quick: bool) -> list[Order]:
    arguments = {"video": str(path)}
    runs = 1 if quick else RUNS if cores == ONE_CORE else ALL_CORES_RUNS
    return [
        Order(subject, "reference", cores, min(runs, REFERENCE_RUNS) if cores == ONE_CORE else 1, arguments),
        Order(subject, "decode", cores, runs, arguments),
        Order(subject, "ours", cores, runs, arguments),
    ]


def rule_orders(quick: bool) -> list[Order]:
    draws = 200 if quick else 5000
    return [
        Order(
            f"{clips} clips, {draws:,} draws",
            "rules",
            ONE_CORE,
            1 if quick else RUNS,
            {"clips": clips, "draws": draws, "records": clips == 20},
        )
        for clips in (20, 65)
    ]


def near_miss_orders(quick: bool) -> list[Order]:
    frames = 50 if quick else 1000
    crowds = (("near_miss", 50), ("near_miss", 10), ("tracker", 10))
    return [
        Order(
            f"{objects} road users, {frames:,} frames",
            job,
            ONE_CORE,
            1 if quick else RUNS,
            {"objects": objects, "frames": frames},
        )
        for job, objects in crowds
    ]


def memory_orders(quick: bool) -> list[Order]:
    clips = footage.hours(KEPT, (0.05,) if quick else (1, 10, 60))
    return [Order(subject, "memory", ONE_CORE, 1, {"video": str(path)}) for subject, path in clips.items()]


def choice_orders(quick: bool) -> list[Order]:
    videos = [str(path) for path in footage.shared_videos().values()]
    return [Order("choices", "choices", ONE_CORE, 1, {"videos": videos})] if videos and not quick else []


GROUPS: dict[str, Callable[[bool], list[Order]]] = {
    "near_miss": near_miss_orders,
    "rules": rule_orders,
    "choices": choice_orders,
    "long": long_orders,
    "over_floor": over_floor_orders,
    "videos": video_orders,
    "memory": memory_orders,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*GROUPS, "page"], help="one group; the figures of the others are kept")
    parser.add_argument("--quick", action="store_true", help="one short run, not written down")
    wanted = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    facts = machine_facts()
    chosen = [name for name in GROUPS if wanted.only in (None, name)]
    for group in chosen:
        print(f"{group}:", flush=True)
        target = KEPT / f"{group}.json"
        for runs in run_interleaved(GROUPS[group](wanted.quick), lambda line: print(line, flush=True)):
            if not wanted.quick:  # after each round: a run that is stopped keeps what it has
                target.write_text(json.dumps(stored(runs, facts), indent=1))
    if wanted.quick:
        print("A quick run: nothing was written down.")
        return
    kept = {name: json.loads(path.read_text()) for name in GROUPS if (path := KEPT / f"{name}.json").is_file()}
    print(page.write(kept, ROOT / "docs"))


if __name__ == "__main__":
    main()
