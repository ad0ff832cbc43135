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
from autorisk_dagster.fleet.worker import answer_without_work, inherited
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
    for left in (*fleet.folder.glob("began.*"), fleet.folder / "wait", fleet.folder / "deadly"):
        left.unlink(missing_ok=True)
    with dg.DagsterInstance.from_config(str(fleet.folder / "home")) as found:
        yield found


class Run:
    """The toy's job in a thread, as a process of the daemon would make it."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance, self.run_id = instance, ""
        job = dg.reconstructable(toy.run_both)
        self.run_id = instance.create_run_for_job(job.get_definition()).run_id
        self.thread = threading.Thread(target=self._execute, args=(job,), daemon=True)
        self.thread.start()

    def _execute(self, job: dg.ReconstructableJob) -> None:  # type: ignore[name-defined]
        from dagster._core.execution.api import execute_run

        run = self.instance.get_run_by_id(self.run_id)
        assert run is not None
        with suppress(dg.DagsterError, RuntimeError):
            execute_run(job, run, self.instance)

    def ended(self) -> dg.DagsterRunStatus:
        self.thread.join(timeout=60)
        run = self.instance.get_run_by_id(self.run_id)
        assert run is not None
        return run.status

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


def test_a_step_of_a_run_that_is_over_is_ended_and_its_worker_goes_on(
    fleet: Fleet, instance: dg.DagsterInstance
) -> None:
    (fleet.folder / "wait").touch()
    worker = fleet.a_worker()
    run = Run(instance)
    until(lambda: fleet.began() == {worker.pid}, "the step is under way")
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    instance.report_run_failed(found, "as the launcher does where the run's process died")
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


def test_a_run_in_the_place_of_another_takes_what_was_finished_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(toy.FOLDER, str(tmp_path))
    with dg.DagsterInstance.ephemeral() as instance:
        died = dg.materialize([toy.measured], instance=instance)
        (step,) = [event.step_key for event in died.all_events if event.is_step_start]
        assert step is not None
        job = died.job_def

        def in_its_place(tags: dict[str, str]) -> str:
            made = instance.create_run_for_job(job, parent_run_id=died.run_id, root_run_id=died.run_id, tags=tags)
            return made.run_id

        by_hand = in_its_place({})  # a person wants all of it anew
        assert inherited(instance, by_hand, step, lambda: set()) is None
        resumed = in_its_place({"dagster/is_resume_retry": "true"})
        asked: list[int] = []

        def under_way() -> set[str]:
            asked.append(1)
            return {f"{step} of run {died.run_id}"} if len(asked) == 1 else set()

        told = inherited(instance, resumed, step, under_way)
        assert len(asked) == 2 and told is not None
        kinds = [event.event_type.value for event in told]
        assert kinds[0] == "STEP_START" and "STEP_OUTPUT" in kinds and kinds[-1] == "STEP_SUCCESS"
        kept = [one.dagster_event.event_type.value for one in instance.all_logs(resumed) if one.dagster_event]
        assert kept == ["ASSET_MATERIALIZATION_PLANNED", *kinds]
        assert len(instance.fetch_materializations(dg.AssetKey("measured"), limit=10).records) == 1
        assert inherited(instance, resumed, "judged", lambda: set()) is None
