"""Workers that die, steps that kill, runs that are over: with a real Redis, PostgreSQL and real worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
import yaml

pytest.importorskip("dagster_celery")
pytest.importorskip("dagster_postgres")
import redis
from dagster._core.events import DagsterEvent

from autorisk_dagster.fleet.presence import Sign, all_signs
from autorisk_dagster.fleet.step_log import answer_without_work
from autorisk_dagster.paths import CONFIGS
from tests.fleet import toy
from tests.fleet.servers import Postgres, Redis, missing_servers, until

pytestmark = pytest.mark.skipif(missing_servers() is not None, reason=str(missing_servers()))
LEASE_SEC = 2


class Fleet:
    """Servers, settings with a short lease, and workers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.redis, self.postgres = folder, Redis(folder / "redis"), Postgres(folder / "postgres")
        self.workers: list[subprocess.Popen[bytes]] = []
        configs = folder / "configs"
        configs.mkdir()
        settings = yaml.safe_load((CONFIGS / "dagster_celery.yaml").read_text(encoding="utf-8"))
        options = settings["execution"]["config"]["config_source"]["broker_transport_options"]
        options["visibility_timeout"], options["unacked_restore_interval"] = LEASE_SEC, 0.5
        (configs / "dagster_celery.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        (folder / "home").mkdir()
        (folder / "home" / "dagster.yaml").write_bytes((CONFIGS / "dagster_fleet.yaml").read_bytes())
        self.environment = {
            "AUTORISK_DEPLOYMENT": "fleet",
            "AUTORISK_POSTGRES_URL": self.postgres.url,
            "AUTORISK_REDIS_URL": self.redis.url,
            "AUTORISK_CONFIGS": str(configs),
            "DAGSTER_HOME": str(folder / "home"),
            toy.FOLDER: str(folder),
        }

    def start_worker(self) -> subprocess.Popen[bytes]:
        program = "from autorisk_dagster.fleet.worker import run_worker; run_worker(('cpu', 'gpu'))"
        with (self.folder / "workers.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-c", program], env={**os.environ, **self.environment}, stdout=log, stderr=log
            )
        self.workers.append(worker)
        return worker

    def a_worker(self) -> subprocess.Popen[bytes]:
        """One that is there, of an earlier test or a new one."""
        return next((one for one in self.workers if one.poll() is None), None) or self.start_worker()

    def began(self) -> set[int]:
        """Process numbers of the workers that began the step."""
        return {int(path.suffix[1:]) for path in self.folder.glob("began.*")}

    def signs(self) -> dict[str, Sign]:
        """What workers say of themselves."""
        with redis.Redis.from_url(self.redis.url) as client:
            return all_signs(client)

    def stop(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.redis.kill()
        self.postgres.kill()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    started = Fleet(tmp_path_factory.mktemp("fleet"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in started.environment.items():
            patch.setenv(name, value)
        patch.setattr("autorisk_dagster.fleet.deployment.CONFIGS", started.folder / "configs")
        try:
            started.redis.start()
            started.postgres.make()
            yield started
        finally:
            started.stop()


@pytest.fixture
def instance(fleet: Fleet) -> Iterator[dg.DagsterInstance]:
    for left in (*fleet.folder.glob("began.*"), *(fleet.folder / name for name in ("wait", "deadly", "deadly late"))):
        left.unlink(missing_ok=True)
    with dg.DagsterInstance.from_config(str(fleet.folder / "home")) as found:
        yield found


class Run:
    """The toy's job in a thread, as a process of the daemon would make it."""

    def __init__(self, instance: dg.DagsterInstance, in_place_of: str | None = None) -> None:
        self.instance = instance
        job = dg.reconstructable(toy.run_both)
        self.run_id = instance.create_run_for_job(
            job.get_definition(),
            parent_run_id=in_place_of,
            root_run_id=in_place_of,
            tags={"dagster/is_resume_retry": "true"} if in_place_of else {},
        ).run_id
        self.thread = threading.Thread(target=self._execute, args=(job,), daemon=True)
        self.thread.start()

    def _execute(self, job: dg.ReconstructableJob) -> None:  # type: ignore[name-defined]
        from dagster._core.execution.api import execute_run

        run = self.instance.get_run_by_id(self.run_id)
        assert run is not None
        with suppress(dg.DagsterError, RuntimeError):
            execute_run(job, run, self.instance)

    def found(self) -> dg.DagsterRun:
        run = self.instance.get_run_by_id(self.run_id)
        assert run is not None
        return run

    def ended(self) -> dg.DagsterRunStatus:
        self.thread.join(timeout=60)
        return self.found().status

    def of_type(self, kind: dg.DagsterEventType, step: str = "measured") -> list[DagsterEvent]:
        entries = self.instance.all_logs(self.run_id, of_type=kind)
        return [one.dagster_event for one in entries if one.dagster_event and one.step_key == step]


def test_what_a_killed_worker_held_is_made_by_another_once(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    wait = fleet.folder / "wait"
    wait.touch()
    first = fleet.start_worker()
    run = Run(instance)
    until(lambda: fleet.began() == {first.pid}, "the first worker has begun the step")
    until(lambda: any(sign.step for sign in fleet.signs().values()), "a busy worker says what it does")
    second = fleet.start_worker()
    until(lambda: len(fleet.signs()) == 2, "the second is there")
    # Longer than the lease, which the first renews: nobody else is given the step.
    restored = LEASE_SEC * 2 + 1
    with redis.Redis.from_url(fleet.redis.url) as client:
        client.set("alarm", 1, ex=restored)
        until(lambda: not client.exists("alarm"), "two leases are over")
    assert fleet.began() == {first.pid}
    first.kill()
    first.wait()
    until(lambda: fleet.began() == {first.pid, second.pid}, "the second has begun it again")
    wait.unlink()
    assert run.ended() is dg.DagsterRunStatus.SUCCESS
    (made,) = run.of_type(dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert made.step_materialization_data.materialization.metadata["by"].value == second.pid
    assert len(run.of_type(dg.DagsterEventType.STEP_START)) == 2
    # Delivered once more, after it was done: answered from the log, made by nobody.
    answer = answer_without_work(instance, run.run_id, "measured", 0)
    assert answer is not None and answer[-1].event_type is dg.DagsterEventType.STEP_SUCCESS
    assert answer[0].event_type is dg.DagsterEventType.STEP_START
    assert sum(event.event_type is dg.DagsterEventType.STEP_START for event in answer) == 1


def test_a_step_that_kills_two_workers_kills_no_third(fleet: Fleet, instance: dg.DagsterInstance) -> None:
    (fleet.folder / "deadly").touch()
    run = Run(instance)
    for deaths in (1, 2):
        assert fleet.a_worker().wait(timeout=60) == -signal.SIGKILL
        assert len(fleet.began()) == deaths
    third = fleet.start_worker()
    assert run.ended() is dg.DagsterRunStatus.FAILURE
    (failure,) = run.of_type(dg.DagsterEventType.STEP_FAILURE)
    assert "2 workers died in this step" in failure.step_failure_data.user_failure_data.description
    assert third.poll() is None and third.pid not in fleet.began()
    assert not run.of_type(dg.DagsterEventType.ASSET_MATERIALIZATION)


def test_a_step_under_way_when_its_run_s_process_died_goes_on_and_the_run_in_its_place_takes_it(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    (fleet.folder / "wait").touch()
    first = fleet.a_worker()
    died = Run(instance)
    until(lambda: fleet.began() == {first.pid}, "the step is under way")
    instance.report_run_failed(died.found(), "as the launcher does where the run's process died")
    second = fleet.start_worker()
    again = Run(instance, in_place_of=died.run_id)
    busy = f"measured of run {again.run_id}"
    until(lambda: busy in {sign.step for sign in fleet.signs().values()}, "the second waits for the first")
    (fleet.folder / "wait").unlink()
    assert again.ended() is dg.DagsterRunStatus.SUCCESS
    assert fleet.began() == {first.pid} and second.poll() is None
    assert len(died.of_type(dg.DagsterEventType.ASSET_MATERIALIZATION)) == 1
    assert not again.of_type(dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert len(again.of_type(dg.DagsterEventType.STEP_SUCCESS)) == 1
    assert len(again.of_type(dg.DagsterEventType.ASSET_MATERIALIZATION, "judged")) == 1


def test_a_worker_that_slept_longer_than_its_lease_does_not_record_what_another_has_recorded(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    (fleet.folder / "wait").touch()
    run = Run(instance)
    until(lambda: len(fleet.began()) == 1, "a worker has begun the step")
    (slept,) = [worker for worker in fleet.workers if worker.pid in fleet.began()]
    slept.send_signal(signal.SIGSTOP)
    until(lambda: len(fleet.began()) == 2, "another was given the step")
    (fleet.folder / "wait").unlink()
    assert run.ended() is dg.DagsterRunStatus.SUCCESS
    slept.send_signal(signal.SIGCONT)
    until(lambda: len(run.of_type(dg.DagsterEventType.STEP_SUCCESS)) == 2, "it has finished the step too")
    (made,) = run.of_type(dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert made.step_materialization_data.materialization.metadata["by"].value != slept.pid


def test_what_was_recorded_before_its_worker_was_killed_is_not_recorded_again(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    (fleet.folder / "deadly late").touch()
    run = Run(instance)
    assert run.ended() is dg.DagsterRunStatus.SUCCESS  # by the other worker
    (died,) = fleet.began() & {worker.pid for worker in fleet.workers if worker.poll() is not None}
    assert len(fleet.began()) == 2
    assert len(run.of_type(dg.DagsterEventType.STEP_START)) == 2
    (made,) = run.of_type(dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert made.step_materialization_data.materialization.metadata["by"].value == died
    assert len(run.of_type(dg.DagsterEventType.ASSET_CHECK_EVALUATION)) == 1
    assert len(run.of_type(dg.DagsterEventType.STEP_SUCCESS)) == 1
    assert len(run.of_type(dg.DagsterEventType.ASSET_MATERIALIZATION, "judged")) == 1


def test_a_step_of_a_run_that_is_over_is_ended_and_its_worker_goes_on(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    (fleet.folder / "wait").touch()
    worker = fleet.a_worker()
    run = Run(instance)
    until(lambda: fleet.began() == {worker.pid}, "the step is under way")
    instance.report_run_canceled(run.found())
    until(lambda: not any(sign.step for sign in fleet.signs().values()), "the worker has let it go")
    assert worker.poll() is None
    assert not run.of_type(dg.DagsterEventType.ASSET_MATERIALIZATION)
    (fleet.folder / "wait").unlink()
    again = Run(instance)
    assert again.ended() is dg.DagsterRunStatus.SUCCESS
    assert len(again.of_type(dg.DagsterEventType.ASSET_MATERIALIZATION)) == 1


def test_the_worker_that_ends_in_order_takes_its_sign_away(fleet: Fleet) -> None:
    worker = fleet.a_worker()
    name = f"{os.uname().nodename}:{worker.pid}"
    until(lambda: name in fleet.signs(), "it is there")
    worker.send_signal(signal.SIGTERM)
    worker.wait(timeout=60)
    assert name not in fleet.signs()
