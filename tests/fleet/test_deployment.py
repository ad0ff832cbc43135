"""The switch between the deployments, and what their files say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config_schema

from assets.placement import KUBERNETES_TAG, QUEUE_TAG
from autorisk_dagster.definitions import defs
from autorisk_dagster.errors import InputError
from autorisk_dagster.fleet.deployment import QUEUES, celery_settings, check_home, deployment, instance_file
from autorisk_dagster.fleet.orphans import is_alive, this_process

ADDRESSES = {
    "AUTORISK_POSTGRES_URL": "postgresql+psycopg2://u:secret@db:5432/a",
    "AUTORISK_REDIS_URL": "redis://:secret@q:6379/0",
}
FLEET = {"AUTORISK_DEPLOYMENT": "fleet", **ADDRESSES}


def test_local_is_what_runs_where_nothing_is_said() -> None:
    assert deployment({}) == deployment({"AUTORISK_DEPLOYMENT": ""}) == "local"
    assert deployment(FLEET) == "fleet"
    assert deployment(ADDRESSES) == "local"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"AUTORISK_DEPLOYMENT": "Fleet"}, "'Fleet'; known: local, fleet"),
        ({"AUTORISK_DEPLOYMENT": "fleet"}, "AUTORISK_POSTGRES_URL and AUTORISK_REDIS_URL"),
        (FLEET | {"AUTORISK_REDIS_URL": ""}, "needs AUTORISK_REDIS_URL"),
    ],
)
def test_a_deployment_that_cannot_run_is_refused(environment: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        deployment(environment)


def test_a_home_of_the_other_deployment_is_refused(tmp_path: Path) -> None:
    check_home(tmp_path, "fleet")  # made by the first command
    (tmp_path / "dagster.yaml").write_bytes(instance_file("local").read_bytes())
    check_home(tmp_path, "local")
    with pytest.raises(InputError, match=r"is of the deployment local, .*AUTORISK_DEPLOYMENT says fleet"):
        check_home(tmp_path, "fleet")
    (tmp_path / "dagster.yaml").write_bytes(instance_file("fleet").read_bytes())
    with pytest.raises(InputError, match="AUTORISK_DEPLOYMENT=fleet"):
        check_home(tmp_path, "local")


@pytest.mark.parametrize("name", ["local", "fleet"])
def test_dagster_takes_the_instance_files(name: str) -> None:
    settings = yaml.safe_load(instance_file(name).read_text(encoding="utf-8"))  # type: ignore[arg-type]
    storage = settings.pop("storage", None)  # its own class checks it, in tests/fleet/test_fleet.py
    found = process_config(dagster_instance_config_schema(), settings)
    assert found.success, found.errors
    assert settings["run_retries"] == {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False}
    assert settings["run_monitoring"]["enabled"] and settings["concurrency"]["pools"]["granularity"] == "op"
    assert storage == (None if name == "local" else {"postgres": {"postgres_url": {"env": "AUTORISK_POSTGRES_URL"}}})


def test_a_night_leaves_places_for_what_a_person_asks_for() -> None:
    runs = yaml.safe_load(instance_file("fleet").read_text(encoding="utf-8"))["concurrency"]["runs"]
    (night,) = runs["tag_concurrency_limits"]
    assert defs().resolve_job_def("fleet_batch").tags[night["key"]] == night["value"]
    assert night["limit"] < runs["max_concurrent_runs"]


def test_secrets_stand_in_the_environment_alone() -> None:
    settings = celery_settings()
    assert settings["broker"] == settings["backend"] == {"env": "AUTORISK_REDIS_URL"}
    options = settings["config_source"]
    assert options["task_acks_late"] and options["worker_prefetch_multiplier"] == 1
    assert options["task_default_queue"] in QUEUES


def test_every_asset_has_its_place_and_what_takes_the_gpu_waits_in_the_gpu_queue() -> None:
    graph = defs().resolve_asset_graph()
    for key in graph.materializable_asset_keys:
        asset = graph.get(key)
        tags = asset.assets_def.op.tags
        assert QUEUE_TAG in tags, f"{key.to_user_string()} lacks op_tags=CPU or GPU of assets/placement.py"
        assert tags[QUEUE_TAG] == ("gpu" if asset.pools == {"gpu"} else "cpu"), key
        assert ("nvidia.com/gpu" in str(tags[KUBERNETES_TAG])) == (asset.pools == {"gpu"}), key


def test_jobs_of_a_fleet_run_on_celery_and_those_of_one_machine_in_their_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in FLEET:
        monkeypatch.delenv(name, raising=False)
    assert all(job.executor_def is dg.in_process_executor for job in defs().resolve_all_job_defs())
    pytest.importorskip("dagster_celery")
    for name, value in FLEET.items():
        monkeypatch.setenv(name, value)
    assert {job.executor_def.name for job in defs().resolve_all_job_defs()} == {"celery"}


def test_a_process_is_told_by_its_number_and_its_beginning() -> None:
    host, number, began = this_process().split(":")
    assert is_alive(this_process()) is True and is_alive(f"{host}:{number}") is True
    assert is_alive(f"elsewhere:{number}:{began}") is None and is_alive("") is None
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    assert is_alive(f"{host}:{ended.pid}:{began}") is False
    if began:  # Linux: the number is somebody else's now
        assert is_alive(f"{host}:{number}:{int(began) - 1}") is False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="what is left of a process is told by /proc")
def test_a_process_that_ended_and_was_not_asked_for_its_exit_code_is_gone() -> None:
    left = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    try:
        assert left.stdout is not None and left.stdout.read() == b""  # it has closed its output
        os.waitid(os.P_PID, left.pid, os.WEXITED | os.WNOWAIT)
        host = this_process().split(":")[0]
        assert is_alive(f"{host}:{left.pid}:1") is False
    finally:
        left.wait()
        assert left.stdout is not None
        left.stdout.close()
