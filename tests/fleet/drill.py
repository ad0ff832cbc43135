"""The drill: videos through the whole graph on a Celery fleet, something killed half-way, and what became of it.

    make drill                                        # everything, about an hour on two cores
    python -m tests.fleet.drill worker --videos 12    # one fault
    python -m tests.fleet.drill worker --bucket       # the same with media and tables in a bucket of an S3 server

Real: Redis, PostgreSQL, the daemon, two workers, the settings in `configs/`; short videos with something to hear and
see. Each fault begins with an empty data folder. Time to recover: until every step that a worker was busy with when the
fault came was finished, counted from the moment that what was away was back. Results are compared with those of the
faults before it, by the hash of their content, and every table that is stored with the hash that was recorded. With
--bucket each program has a folder of its own for copies, as if it were a machine of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import dagster as dg

from assets.tabulate import content_hash
from autorisk_dagster.fleet.presence import all_signs
from autorisk_dagster.io import FrameStoreIOManager
from autorisk_dagster.jobs import PER_VIDEO
from autorisk_dagster.paths import CONFIGS, ROOT
from autorisk_dagster.storage import data_storage
from tests.blob_world import film_crossing
from tests.fleet.servers import Postgres, Redis, missing_servers, until

AWAY_SEC = 60.0
PATIENCE_SEC = 3600.0


@dataclass
class Outcome:
    """What became of the videos after one fault."""

    fault: str
    videos: int
    runs: Counter[str]
    made: Counter[int]  # how many (asset, video) were materialised how often
    missing: int
    under_way: int  # steps that were when the fault came
    goes_on_sec: float  # until the first step was finished
    recovered_sec: float
    all_sec: float
    versions: dict[str, str] = field(repr=False)
    again: list[str] = field(default_factory=list)  # what was materialised more than once
    tables: int = 0  # stored
    torn: list[str] = field(default_factory=list)  # tables whose content is not what was recorded

    def line(self) -> str:
        """A row of the table."""
        runs = ", ".join(f"{count} {status}" for status, count in sorted(self.runs.items()))
        made = ", ".join(f"{count} x{times}" for times, count in sorted(self.made.items()))
        return (
            f"| {self.fault} | {self.videos} | {made} | {self.missing} | {runs} | {self.under_way} | "
            f"{self.goes_on_sec:.0f} | {self.recovered_sec:.0f} | {self.all_sec:.0f} |"
        )


class Fleet:
    """Everything of a fleet on this machine, each part of which can be killed and started again."""

    def __init__(self, folder: Path, storage: dict[str, str]) -> None:
        self.folder = folder
        self.redis, self.postgres = Redis(folder / "redis"), Postgres(folder / "database" / "cluster")
        (folder / "home").mkdir()
        shutil.copyfile(CONFIGS / "dagster_fleet.yaml", folder / "home" / "dagster.yaml")
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ,
            "AUTORISK_DEPLOYMENT": "fleet",
            "AUTORISK_POSTGRES_URL": self.postgres.url,
            "AUTORISK_REDIS_URL": self.redis.url,
            "AUTORISK_INBOX": str(folder / "inbox"),
            "DAGSTER_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "AUTORISK_CORES": "1",
            "AUTORISK_LOCAL": str(folder / "local" / "drill"),
            **storage,
        }
        os.environ.update({n: value for n, value in self.environment.items() if n.startswith(("AUTORISK", "AWS"))})

    def start(self, name: str) -> None:
        """A part by its name: `daemon`, or `worker...`."""
        what = ["daemon"] if name == "daemon" else ["worker", "--queue", "cpu", "--queue", "gpu"]
        command = [sys.executable, "-c", "from autorisk_dagster.cli import main; main()", *what]
        environment = {**self.environment, "AUTORISK_LOCAL": str(self.folder / "local" / name)}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.programs[name] = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """SIGKILL, with all it started."""
        program = self.programs.pop(name)
        os.killpg(program.pid, signal.SIGKILL)
        program.wait()

    def call(self, *arguments: str) -> None:
        """One command to its end."""
        with (self.folder / "commands.log").open("ab") as log:
            command = [sys.executable, *arguments]
            subprocess.run(command, env=self.environment, cwd=ROOT, stdout=log, stderr=log, check=True)

    def under_way(self) -> set[tuple[str, str]]:
        """Run and step of what each worker is busy with, as it says."""
        import redis

        with redis.Redis.from_url(self.redis.url) as client:
            named = [sign.step.partition(" of run ") for sign in all_signs(client).values() if sign.step]
        return {(run, step) for step, _, run in named}

    def stop(self) -> None:
        for name in list(self.programs):
            self.kill(name)
        self.redis.kill()
        self.postgres.kill()


def film(folder: Path, count: int) -> None:
    """Crossings with a horn, each of its own length, so that clips are mined and no two videos are alike."""
    folder.mkdir()
    for number in range(count):
        path = film_crossing(folder / f"crossing{number:02d}.mp4", seconds=6.0 + 0.1 * number)
        settled = time.time() - 600  # else the sensor watches it for a minute
        os.utime(path, (settled, settled))


@dataclass(frozen=True)
class Step:
    """One making of a step, from the log."""

    video: str
    key: str
    began: float
    ended: float | None


def steps_of(instance: dg.DagsterInstance) -> list[Step]:
    """Every making of every step; one that was given up has no end."""
    found = []
    for run in instance.get_runs():
        began: dict[str, float] = {}
        video = run.tags.get("dagster/partition", "")
        for entry in instance.all_logs(
            run.run_id, of_type={dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_SUCCESS}
        ):
            key = entry.step_key or ""
            if entry.get_dagster_event().event_type is dg.DagsterEventType.STEP_START:
                if key in began:
                    found.append(Step(video, key, began[key], None))
                began[key] = entry.timestamp
            else:
                found.append(Step(video, key, began.pop(key), entry.timestamp))
        found += [Step(video, key, at, None) for key, at in began.items()]
    return found


def made_so_far(instance: dg.DagsterInstance) -> int:
    """Materialisations of all videos."""
    return sum(len(instance.get_materialized_partitions(dg.AssetKey(name))) for name in PER_VIDEO)


def is_over(instance: dg.DagsterInstance, wanted: int) -> bool:
    """Every asset of every video is there and no run is under way."""
    counts = Counter(run.status for run in instance.get_runs())
    ended = sum(counts[status] for status in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE))
    return ended == counts.total() and made_so_far(instance) == wanted


def outcome_of(
    instance: dg.DagsterInstance, fault: str, keys: list[str], hit: set[tuple[str, str]], back: float, began: float
) -> Outcome:
    """Count what there is, and when the steps `hit` (run, step), were finished after the fault was over."""
    counts: Counter[tuple[str, str]] = Counter()
    versions: dict[str, str] = {}
    for name in PER_VIDEO:
        for record in instance.fetch_materializations(dg.AssetKey(name), limit=10_000).records:
            made = record.asset_materialization
            assert made is not None and made.partition is not None
            counts[(name, made.partition)] += 1
            versions[f"{name}/{made.partition}"] = (made.tags or {}).get("dagster/data_version", "")
    steps = steps_of(instance)
    video_of = {run.run_id: run.tags.get("dagster/partition", "") for run in instance.get_runs()}
    ends = [
        min((s.ended for s in steps if (s.video, s.key) == (video_of[run], key) and s.ended), default=float("inf"))
        for run, key in hit
    ]
    return Outcome(
        fault,
        len(keys),
        Counter(run.status.value for run in instance.get_runs()),
        Counter(counts.values()),
        sum((name, key) not in counts for name in PER_VIDEO for key in keys),
        len(hit),
        min((s.ended for s in steps if s.ended and s.ended > back), default=back) - back,
        max(0.0, max(ends, default=back) - back),
        max((s.ended or 0 for s in steps), default=began) - began,
        versions,
        [f"{name}/{key}" for (name, key), times in counts.items() if times > 1],
    )


def stored(found: Outcome) -> Outcome:
    """Count the tables that are stored, and those whose content is not what was recorded."""
    store = FrameStoreIOManager(data_storage().at("tables"))
    for made, version in found.versions.items():
        table = store.read(*made.split("/"))
        if table is not None:
            found.tables += 1
            if content_hash(table) != version:
                found.torn.append(made)
    return found


@contextmanager
def bucket_of(folder: Path, wanted: bool) -> Iterator[dict[str, str]]:
    """The environment of machines whose data lie in a bucket of a server of their own, or in a folder."""
    if not wanted:
        yield {"AUTORISK_DATA": str(folder / "data")}
        return
    from tests.storage.s3 import CREDENTIALS, new_bucket, s3_server

    with s3_server() as address:
        yield {**CREDENTIALS, "AWS_ENDPOINT_URL": address, "AUTORISK_DATA": f"s3://{new_bucket(address)}/fleet"}


def nothing(fleet: Fleet) -> None:
    """No fault."""


def worker(fleet: Fleet) -> None:
    """One of two workers is killed in mid-step and does not come back."""
    fleet.kill("worker1")


def daemon(fleet: Fleet) -> None:
    """The daemon is killed with the processes of all runs, and starts again; workers go on."""
    fleet.kill("daemon")
    fleet.start("daemon")


def machine(fleet: Fleet) -> None:
    """Everything is killed at once, the database and Redis too, and starts again."""
    fleet.stop()
    fleet.redis.start()
    fleet.postgres.start()
    for name in ("daemon", "worker1", "worker2"):
        fleet.start(name)


def database(fleet: Fleet) -> None:
    """The database is away for a minute."""
    fleet.postgres.kill(signal.SIGINT)
    time.sleep(AWAY_SEC)
    fleet.postgres.start()


def broker(fleet: Fleet) -> None:
    """Redis is killed, is away for a minute, and starts again."""
    fleet.redis.kill()
    time.sleep(AWAY_SEC)
    fleet.redis.start()


FAULTS: dict[str, Callable[[Fleet], None]] = {
    fault.__name__: fault for fault in (nothing, worker, daemon, machine, database, broker)
}


def drill(name: str, folder: Path, count: int, storage: dict[str, str]) -> Outcome:
    """One fault, half-way through `count` videos. `storage`: the environment that says where data lie."""
    fleet = Fleet(folder, storage)
    try:
        fleet.redis.start()
        fleet.postgres.make()
        film(folder / "inbox", count)
        for part in ("daemon", "worker1", "worker2"):
            fleet.start(part)
        with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
            # By the sensor, as at night: runs of a backfill are not retried by Dagster.
            fleet.call("-m", "dagster", "sensor", "start", "inbox", "-w", str(ROOT / "workspace.yaml"))
            began, wanted = time.time(), count * len(PER_VIDEO)
            until(lambda: made_so_far(instance) >= wanted // 2, "half of it is made", PATIENCE_SEC, 1.0)
            until(lambda: len(fleet.under_way()) == 2, "both workers are in the middle of a step", PATIENCE_SEC)
            hit = fleet.under_way()
            print(f"{name}: {made_so_far(instance)} of {wanted} after {time.time() - began:.0f} s", flush=True)
            FAULTS[name](fleet)
            back = time.time()
            until(lambda: is_over(instance, wanted), "all of it is made", PATIENCE_SEC, 1.0)
            keys = list(instance.get_dynamic_partitions("videos"))
            return stored(outcome_of(instance, name, keys, hit, back, began))
    finally:
        fleet.stop()


@click.command()
@click.argument("faults", nargs=-1, type=click.Choice(list(FAULTS)))
@click.option("--videos", default=12, show_default=True, type=click.IntRange(1, 100))
@click.option("--bucket", is_flag=True, help="media and tables in a bucket")
@click.option("--keep", is_flag=True, help="leave the folders, with every log")
def main(faults: tuple[str, ...], videos: int, bucket: bool, keep: bool) -> None:
    """Drill FAULTS, all of them where none is named; exit code 1 where anything was lost or made twice."""
    lacking = missing_servers()
    if lacking:
        raise click.ClickException(lacking)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and programs are taken down
    reference: dict[str, str] = {}
    lost = False
    print("| fault | videos | materialised | missing | runs | steps hit | goes on s | recovered s | all s |")
    for name in faults or FAULTS:
        folder = Path(tempfile.mkdtemp(prefix=f"drill-{name}-"))
        with bucket_of(folder, bucket) as storage:
            found = drill(name, folder, videos, storage)
        other = {key for key, version in found.versions.items() if reference.setdefault(key, version) != version}
        print(found.line(), flush=True)
        print(f"{found.tables} tables stored{' in a bucket' if bucket else ''}", flush=True)
        if found.again or other or found.torn:
            print(f"materialised again: {found.again}; other content than before: {sorted(other)}", flush=True)
            print(f"stored with another content than recorded: {found.torn}", flush=True)
        lost = lost or bool(found.missing or found.again or other or found.torn)
        if keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
