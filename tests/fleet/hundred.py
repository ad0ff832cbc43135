"""A hundred videos, one of which kills every worker that touches it: what became of the others.

    python -m tests.fleet.hundred

Real: Redis, PostgreSQL, two workers that are started again when they die (as `deploy/compose.yaml` does), the settings
in `configs/`, the lease of 60 s among them, and eight runs at a time, each in a process, as the night has them. Toys:
each video's two steps do nothing, and a process makes run after run. A video whose run failed is tried once more behind
the others, as the night does.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import dagster as dg

from tests.fleet import toy
from tests.fleet.drill import Fleet
from tests.fleet.servers import missing_servers

POISONOUS = "video042"
AT_ONCE = 8
WORKERS = ("worker1", "worker2")


def make(key: str) -> str:
    """Run one video to its end; return how it ended."""
    from dagster._core.execution.api import execute_run

    job = dg.reconstructable(toy.run_video)
    with dg.DagsterInstance.get() as instance:
        run = instance.create_run_for_job(job.get_definition(), tags={"dagster/partition": key})
        with suppress(dg.DagsterError, RuntimeError):
            execute_run(job, run, instance)
        ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    return ended.status.value


def longest_silence_sec(instance: dg.DagsterInstance) -> float:
    """The longest time between a finished step and the next one of any video."""
    ends: list[float] = []
    for run in instance.get_runs():
        entries = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)
        ends += [entry.timestamp for entry in entries]
    ends.sort()
    return max(after - before for before, after in pairwise(ends))


def main() -> None:
    """Run the drill; exit code 1 where something was lost or made twice."""
    lacking = missing_servers()
    if lacking:
        sys.exit(lacking)
    folder = Path(tempfile.mkdtemp(prefix="hundred-"))
    (folder / "poisonous").write_text(POISONOUS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and workers are taken down
    fleet = Fleet(folder, {"AUTORISK_DATA": str(folder / "data"), toy.FOLDER: str(folder)})
    os.environ |= fleet.environment
    deaths: list[float] = []
    over = threading.Event()

    def supervise() -> None:
        while not over.wait(0.2):
            for name in WORKERS:
                if fleet.programs[name].poll() is not None:
                    deaths.append(time.time())
                    fleet.start(name)

    try:
        fleet.redis.start()
        fleet.postgres.make()
        with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
            for name in WORKERS:
                fleet.start(name)
            supervisor = threading.Thread(target=supervise)
            supervisor.start()
            began = time.time()
            keys = toy.VIDEOS.get_partition_keys()
            with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as pool:
                ended = dict(zip(keys, pool.map(make, keys), strict=True))
                first_sec, first_deaths = time.time() - began, len(deaths)
                silence_sec = longest_silence_sec(instance)
                failed = [key for key, status in ended.items() if status != "SUCCESS"]
                again = dict(zip(failed, pool.map(make, failed), strict=True))
            over.set()
            supervisor.join()
            counts: Counter[str] = Counter()
            for name in ("perceived", "ranked"):
                for record in instance.fetch_materializations(dg.AssetKey(name), limit=10_000).records:
                    counts[f"{name}/{record.partition_key}"] += 1
    finally:
        over.set()
        fleet.stop()
    times = Counter(counts.values())
    print(f"{len(keys)} videos, one of which kills its worker: {Counter(ended.values())} in {first_sec:.0f} s")
    print(f"failed: {failed}; tried once more: {again}; workers that died: {first_deaths}, then {len(deaths)}")
    print(f"materialised: {dict(times)} (how often: how many of {2 * len(keys)})")
    print(f"longest time without a finished step among the others: {silence_sec:.1f} s")
    sound = failed == [POISONOUS] and again == {POISONOUS: "FAILURE"} and times == {1: 2 * (len(keys) - 1)}
    sys.exit(0 if sound and len(deaths) == 4 else 1)


if __name__ == "__main__":
    main()
