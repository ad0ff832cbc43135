"""A night at sixty times its speed: 22:00 to 06:00 in eight minutes at most.

    python -m tests.night.simulated [--backlog 6] [--keep FOLDER]

What runs is what runs at night: a code server, Dagster's scheduler, sensors, run queue, run monitoring and retries (the
daemon's own functions, called in turn), a process for each run, real videos. Only the clock by which ticks are due is
scaled: a minute a second. Runs take the time that they take, and a file in the inbox settles in a minute of the wall's
clock. Sprinkled in: a file that is no video, a run whose process is killed, a video whose every process is killed, two
schedulers at the same moment, a clock set back, an alert that is refused once, a budget for a part of the backlog.

It prints a time line and counts, and fails where something is lost or doubled.
"""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SPEED = 60.0
LONGEST_LOOK_SEC = 4.0
EVENING = dt.datetime(2026, 3, 1, 22, tzinfo=dt.UTC)
MORNING = dt.datetime(2026, 3, 2, 6, tzinfo=dt.UTC)
NIGHT = "2026-03-02"
SECOND_SCHEDULER = EVENING + dt.timedelta(hours=3, minutes=50)


class Clock:
    """Simulated time: `SPEED` seconds to one of the wall's; a look at the daemons that takes long counts as four,
    so that on a machine that is busy with other things the night lasts longer and does not end too soon."""

    def __init__(self) -> None:
        self.at, self.seen = EVENING, time.monotonic()

    def advance(self) -> None:
        wall = time.monotonic()
        self.at += dt.timedelta(seconds=min(wall - self.seen, LONGEST_LOOK_SEC) * SPEED)
        self.seen = wall

    def now(self) -> dt.datetime:
        return self.at

    def say(self, text: str) -> None:
        print(f"{self.now():%H:%M}  {text}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=6, help="videos that wait for the night")
    parser.add_argument("--keep", type=Path, help="folder for everything; else a temporary one")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="night-")))
        from tests.night.receivers import web_server

        received = stack.enter_context(web_server())
        received.refuse = 1
        prepare(folder, received.port)
        failed = Night(folder, arguments.backlog, received, stack).run()
    if failed:
        sys.exit("FAILED:\n" + "\n".join(failed))


def prepare(folder: Path, port: int) -> None:
    """Folders and environment, before anything of the project is imported: settings are read at import."""
    import shutil

    for name in ("home", "data", "inbox", "footage"):
        (folder / name).mkdir(parents=True)
    shutil.copytree(ROOT / "configs", folder / "configs")
    shutil.copyfile(folder / "configs" / "dagster_local.yaml", folder / "home" / "dagster.yaml")
    os.environ |= {
        "DAGSTER_HOME": str(folder / "home"),
        "AUTORISK_DATA": str(folder / "data"),
        "AUTORISK_CONFIGS": str(folder / "configs"),
        "AUTORISK_INBOX": str(folder / "inbox"),
        "AUTORISK_ALERT_WEBHOOK": f"http://127.0.0.1:{port}/hook",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


class Night:
    """The simulation: what it does at which time, and what it looks at in the end."""

    def __init__(self, folder: Path, backlog: int, received: object, stack: ExitStack) -> None:
        import dagster as dg

        from tests.blob_world import film_crossing

        self.folder, self.received, self.stack = folder, received, stack
        self.instance = stack.enter_context(dg.DagsterInstance.get())
        self.waiting = [
            self._register(film_crossing(folder / "footage" / f"b{n}.mp4", 2.0 + n / 10)) for n in range(backlog)
        ]
        self.arrivals = {
            "22:05": [film_crossing(folder / "footage" / "evening.mp4", 3.1)],
            "22:06": [self._torn()],
            "22:20": [film_crossing(folder / "footage" / "late.mp4", 3.3)],
        }
        self.killed: str | None = None
        self.poison: str | None = None
        self.dead: set[int] = set()
        self.states: dict[str, str] = {}

    def _register(self, path: Path) -> str:
        from autorisk_dagster.intake.sources import source_ledger

        key = source_ledger().register(path).video_id
        self.instance.add_dynamic_partitions("videos", [key])
        return key

    def _torn(self) -> Path:
        path = self.folder / "footage" / "torn.mp4"
        path.write_bytes(b"this is no video" * 1000)
        return path

    def run(self) -> list[str]:
        budget = self._measure_and_set_budget()
        with self._workspace() as (workspace, daemons):
            self.clock, self.began = Clock(), time.monotonic()
            self.clock.say(f"the evening begins; {len(self.waiting)} videos wait; budget {budget:.0f} machine seconds")
            ended_at: float | None = None
            while self.clock.now() < MORNING:
                self._arrive()
                for daemon in daemons:
                    daemon(workspace)
                self._look()
                if ended_at is None and self._is_over():
                    ended_at = time.monotonic()
                    self.clock.say("the night is over; another simulated hour is looked at")
                if ended_at is not None and time.monotonic() - ended_at > 60:
                    break
                time.sleep(0.2)
                self.clock.advance()
            self.clock.say("the morning")
            return self._judge()

    def _measure_and_set_budget(self) -> float:
        """Take one video through, so that there is history to set a budget by."""
        from autorisk_dagster.definitions import defs
        from autorisk_dagster.jobs import process_video

        first = self.waiting.pop()
        began = time.monotonic()
        result = (
            defs().resolve_job_def(process_video.name).execute_in_process(instance=self.instance, partition_key=first)
        )
        assert result.success
        budget = round((time.monotonic() - began) * 1.5 * len(self.waiting))
        text = (self.folder / "configs" / "night.yaml").read_text(encoding="utf-8")
        (self.folder / "configs" / "night.yaml").write_text(
            text.replace("machine_sec: null", f"machine_sec: {budget}"), encoding="utf-8"
        )
        return budget

    @contextmanager
    def _workspace(self) -> Iterator[tuple[object, list[object]]]:
        from dagster._core.test_utils import create_test_daemon_workspace_context
        from dagster._core.workspace.load_target import ModuleTarget

        target = ModuleTarget("autorisk_dagster.definitions", None, str(ROOT), "autorisk")
        with create_test_daemon_workspace_context(target, self.instance) as workspace:
            logging.disable(logging.INFO)
            (entry,) = workspace.create_request_context().get_code_location_entries().values()
            assert entry.code_location, entry.load_error
            (repository,) = entry.code_location.get_repositories().values()
            with frozen(EVENING - dt.timedelta(minutes=1)):
                self.instance.start_schedule(repository.get_schedule("nightly_fleet_batch"))
                self.instance.start_sensor(repository.get_sensor("inbox"))
            yield workspace, self._daemons()

    def _daemons(self) -> list[object]:
        from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
        from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
        from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
        from dagster._daemon.sensor import execute_sensor_iteration
        from dagster._scheduler.scheduler import launch_scheduled_runs

        logger = logging.getLogger("night")
        queue, retries = QueuedRunCoordinatorDaemon(interval_seconds=1), EventLogConsumerDaemon()
        monitored = 0.0

        set_back = False

        def schedules(workspace: object) -> None:
            """Two schedulers at the same moment; once, by a clock that was set back by an hour."""
            nonlocal set_back
            at = self.clock.now()
            if not set_back and at > EVENING + dt.timedelta(hours=4, minutes=10):
                set_back, at = True, at - dt.timedelta(hours=1)
                self.clock.say("the schedulers' clock is set back by an hour, and forward again")

            def tick() -> None:
                list(launch_scheduled_runs(workspace, logger, at, iteration_times={}))

            with frozen(at):
                both = [threading.Thread(target=tick) for _ in range(2 if at > SECOND_SCHEDULER else 1)]
                for one in both:
                    one.start()
                for one in both:
                    one.join()

        def sensors(workspace: object) -> None:
            with frozen(self.clock.now()):
                list(execute_sensor_iteration(workspace, logger, None, None))

        def monitoring(workspace: object) -> None:
            nonlocal monitored
            if time.monotonic() - monitored > 5:
                list(execute_run_monitoring_iteration(workspace, logger))
                monitored = time.monotonic()

        return [
            schedules,
            sensors,
            lambda workspace: list(queue.run_iteration(workspace)),
            monitoring,
            lambda workspace: list(retries.run_iteration(workspace)),
        ]

    def _arrive(self) -> None:
        for at, paths in list(self.arrivals.items()):
            if f"{self.clock.now():%d %H:%M}" >= f"01 {at}":
                for path in paths:
                    path.rename(self.folder / "inbox" / path.name)
                    self.clock.say(f"{path.name} comes into the inbox")
                del self.arrivals[at]

    def _look(self) -> None:
        """Tell what changed; kill the process of the first run of the night that works."""
        for record in self.instance.get_run_records():
            run = record.dagster_run
            state = run.status.value
            if self.states.get(run.run_id) != state:
                self.states[run.run_id] = state
                of = run.tags.get("dagster/partition", "the fleet")
                why = " (again)" if run.parent_run_id or run.tags.get("dagster/run_key", "").endswith("retry") else ""
                self.clock.say(f"{run.job_name} of {of}{why}: {state}")
            of = run.tags.get("dagster/partition", "")
            if state == "STARTED" and run.job_name == "fleet_batch" and not of.startswith("torn") and self._kills(of):
                started = self.instance.all_logs(run.run_id)
                pids = [e.dagster_event.pid for e in started if e.dagster_event and e.dagster_event.step_key]
                if pids and pids[-1] and pids[-1] != os.getpid() and pids[-1] not in self.dead:
                    os.kill(pids[-1], signal.SIGKILL)
                    self.dead.add(pids[-1])
                    if self.killed is None:
                        self.killed = of
                    else:
                        self.poison = of
                    self.clock.say(f"the process {pids[-1]} of {of} is killed")

    def _kills(self, key: str) -> bool:
        """Once the first of the night; and each process that works on the second."""
        return self.killed is None or (key != self.killed and self.poison in (None, key))

    def _runs(self, job: str) -> list[object]:
        return [record.dagster_run for record in self.instance.get_run_records() if record.dagster_run.job_name == job]

    def _is_over(self) -> bool:
        return any(run.is_finished for run in self._runs("after_night")) and len(self.received.posts) == 2

    def _judge(self) -> list[str]:
        import dagster as dg

        from autorisk_dagster.jobs import PER_VIDEO
        from autorisk_dagster.tonight import look, stored

        plan, fleet = stored(self.instance), look(self.instance)
        assert plan is not None and plan.night == NIGHT, plan
        record = self.instance.get_latest_materialization_event(dg.AssetKey("fleet_night"))
        told = {name: value.value for name, value in record.asset_materialization.metadata.items()} if record else {}
        made = [key for key in fleet.registered if all(key in fleet.made[name] for name in PER_VIDEO)]
        broken = {one.video_id: one for one in fleet.broken}
        left = set(plan.left_out)
        successes = Counter(
            run.tags["dagster/partition"]
            for job in ("fleet_batch", "process_video")
            for run in self._runs(job)
            if run.status.value == "SUCCESS"
        )
        keys = Counter(
            run.tags["dagster/run_key"]
            for run in self._runs("fleet_batch")
            if not run.parent_run_id and run.status.value != "CANCELED"
        )
        after = [run.status.value for run in self._runs("after_night") if run.status.value != "CANCELED"]
        torn = next((key for key in fleet.registered if key.startswith("torn")), "")
        print("\nthe night's record:", {k: v for k, v in told.items() if k != "left_out_first"})
        print(f"estimate: {told.get('estimate')}")
        print(f"registered {len(fleet.registered)}, made {len(made)}, broken {sorted(broken)}, left out {sorted(left)}")
        print(f"the wall's clock: {time.monotonic() - self.began:.0f} s")
        print(f"runs {Counter(self.states.values())}; after the night {after}; alerts {len(self.received.posts)}")
        for post in self.received.posts:
            print("  " + post["text"].replace("\n", "\n  "))
        expected = {
            "every video is made, broken or left out": set(made) | set(broken) | left == set(fleet.registered),
            "nothing is two of these": not (set(made) & set(broken) or set(made) & left or set(broken) & left),
            "no video was made twice": set(successes.values()) == {1} and set(successes) == set(made),
            "no request was made twice": set(keys.values()) == {1},
            "what is no video failed twice and is given up": torn in broken and broken[torn].tries == 2,
            "what killed its process twice is given up": self.poison in broken and broken[self.poison].tries == 2,
            "nothing else is broken": set(broken) == {torn, self.poison},
            "the killed run's video was made": self.killed in made,
            "what is over the fleet was made once": after == ["SUCCESS"],
            "one alert by day and one reminder after the night, of which the first was refused once": [
                "1 new" in post["subject"] or "1 still there" in post["subject"] for post in self.received.posts
            ]
            == [True, True]
            and self.received.refuse == 0,
            "the record has the night's cost": told.get("machine_sec", 0) > 0,
        }
        for text, holds in expected.items():
            print(f"{'yes' if holds else 'NO '}  {text}")
        return [text for text, holds in expected.items() if not holds] + self._next_night(left)

    def _next_night(self, left: set[str]) -> list[str]:
        from autorisk_dagster.night.settings import BudgetSettings
        from autorisk_dagster.tonight import planned

        plan = planned(self.instance, BudgetSettings())
        first = plan.videos[: len(left)]
        print(f"the next night would begin with {list(first)}")
        return [] if set(first) == left else [f"what was left out comes first: {plan.videos}"]


@contextmanager
def frozen(at: dt.datetime) -> Iterator[None]:
    """Dagster's clock, for what ticks are due."""
    from dagster._core.test_utils import freeze_time

    with freeze_time(at):
        yield


if __name__ == "__main__":
    main()
