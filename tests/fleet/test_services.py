"""The doctor of a fleet: real services that are in order, that are set up wrongly, and that are not there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._daemon.types import DaemonHeartbeat

pytest.importorskip("psycopg2")
pytest.importorskip("dagster_postgres")
redis = pytest.importorskip("redis")

from autorisk_dagster.cli.doctor import doctor
from autorisk_dagster.doctor import services
from autorisk_dagster.fleet.deployment import instance_file
from autorisk_dagster.fleet.presence import Sign, all_signs, give, take_away, waiting
from tests.fleet.servers import Postgres, Redis, free_port, missing_servers, running_postgres

needs_servers = pytest.mark.skipif(missing_servers() is not None, reason=str(missing_servers()))
ADDRESSES = {"AUTORISK_POSTGRES_URL": "postgresql+psycopg2://a:b@h/d", "AUTORISK_REDIS_URL": "redis://h:1/0"}


def test_a_deployment_that_is_half_set_says_what_to_set(tmp_path: Path) -> None:
    assert [(one.state, one.found) for one in services.chosen(tmp_path, {})] == [("ok", "local")]
    (half,) = services.chosen(tmp_path, {"AUTORISK_DEPLOYMENT": "fleet"})
    assert half.state == "broken" and "needs AUTORISK_POSTGRES_URL and AUTORISK_REDIS_URL" in half.found
    (tmp_path / "dagster.yaml").write_bytes(instance_file("local").read_bytes())
    (other,) = services.chosen(tmp_path, {"AUTORISK_DEPLOYMENT": "fleet", **ADDRESSES})
    assert other.state == "broken" and other.mend.startswith("set AUTORISK_DEPLOYMENT=local, or copy ")


def test_what_does_not_answer_is_broken_with_its_address_and_without_its_password() -> None:
    port = free_port()
    (silent,) = services.database(f"postgresql+psycopg2://u:hunter22@127.0.0.1:{port}/autorisk")
    assert silent.state == "broken" and f"127.0.0.1:{port}/autorisk" in silent.found and "refused" in silent.found
    (other,) = services.database(f"postgresql://u:hunter22@127.0.0.1:{port}/autorisk")
    assert other.state == "broken" and other.mend.startswith("write AUTORISK_POSTGRES_URL as postgresql+psycopg2://")
    (nobody,) = services.broker(f"redis://:hunter22@127.0.0.1:{port}/0")
    assert nobody.state == "broken" and nobody.mend.startswith("start Redis")
    (no_address,) = services.broker("127.0.0.1")
    assert no_address.state == "broken"
    assert "hunter22" not in str([silent, other, nobody])


@pytest.mark.parametrize(("silent_sec", "state"), [(None, "broken"), (200.0, "broken"), (20.0, "ok")])
def test_a_fleet_needs_its_daemon(silent_sec: float | None, state: str) -> None:
    (found,) = services.daemon(silent_sec, patience_sec=180)
    assert found.state == state and (found.mend == "") == (state == "ok")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@needs_servers
def test_a_queue_without_a_worker_is_broken_and_what_waits_in_it_is_counted(broker: Redis) -> None:
    client = redis.Redis.from_url(broker.url)
    client.lpush("gpu", "a")
    client.lpush("gpu\x06\x166", "b", "c")  # of another priority
    assert waiting(client, "gpu") == 3 and waiting(client, "cpu") == 0
    now = time.time()
    give(client, Sign(("cpu",), "perception of run 1", now - 30), lasts_sec=60)
    assert list(all_signs(client).values()) == [Sign(("cpu",), "perception of run 1", now - 30)]
    cpu, gpu = services.queues(client)
    assert cpu.state == "ok" and cpu.found.startswith("1 workers, 1 busy, 0 steps wait; the longest step has taken 30")
    assert (gpu.state, gpu.found) == ("broken", "0 workers, 0 busy, 3 steps wait")
    assert gpu.mend == "start one: autorisk worker --queue gpu"
    take_away(client)
    assert [one.state for one in services.queues(client)] == ["broken", "broken"]
    client.close()


@needs_servers
def test_a_broker_that_forgets_is_broken(broker: Redis) -> None:
    client = redis.Redis.from_url(broker.url)

    def said() -> tuple[str, str]:
        found = services.broker(broker.url)
        assert [one.name for one in found] == ["broker", "clock", "queue cpu", "queue gpu"]
        return found[0].state, found[0].found

    assert said()[0] == "ok"
    client.config_set("appendonly", "no")
    assert said()[0] == "broken" and "forgets the steps that wait" in said()[1]
    client.config_set("appendonly", "yes")
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert said()[0] == "broken" and "throws steps out" in said()[1]
    client.config_set("maxmemory", 0)
    assert said()[0] == "ok"
    client.close()


def test_a_clock_that_is_wrong_is_broken() -> None:
    assert services._clock(0.2)[0].state == "ok"
    (late,) = services._clock(-40.0)
    assert late.state == "broken" and late.found == "-40 s from Redis's"


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with running_postgres(tmp_path_factory.mktemp("database") / "cluster") as server:
        yield server


@needs_servers
def test_a_database_whose_user_may_make_no_tables_is_broken(database: Postgres) -> None:
    import psycopg2

    assert services.database(database.url)[0].state == "ok"
    connection = psycopg2.connect(database.url.replace("+psycopg2", ""))
    connection.autocommit = True
    connection.cursor().execute("CREATE ROLE viewer LOGIN")
    connection.close()
    (found,) = services.database(database.url.replace("postgres@", "viewer@"))
    assert found.state == "broken" and "may not make tables" in found.found
    (absent,) = services.database(database.url + "2")
    assert absent.state == "broken" and 'database "autorisk2" does not exist' in absent.found


@needs_servers
def test_the_doctor_of_a_fleet_in_order_finds_nothing_broken(
    broker: Redis, database: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_bytes(instance_file("fleet").read_bytes())
    for name, value in {
        "AUTORISK_DEPLOYMENT": "fleet",
        "AUTORISK_POSTGRES_URL": database.url,
        "AUTORISK_REDIS_URL": broker.url,
        "AUTORISK_DATA": str(tmp_path / "data"),
        "DAGSTER_HOME": str(home),
    }.items():
        monkeypatch.setenv(name, value)
    with dg.DagsterInstance.from_config(str(home)) as instance, redis.Redis.from_url(broker.url) as client:
        client.flushdb()
        give(client, Sign(("cpu", "gpu")), lasts_sec=600)
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "autorisk-daemon"))
    told = CliRunner().invoke(doctor, ["--json"])
    findings = {one["name"]: one for one in json.loads(told.output)["findings"]}
    assert {name: one["found"] for name, one in findings.items() if one["state"] == "broken"} == {}
    assert told.exit_code == 0
    in_order = ("database", "broker", "clock", "queue cpu", "queue gpu", "daemon", "deployment", "Dagster home")
    assert {findings[name]["state"] for name in in_order} == {"ok"}


def test_findings_are_json() -> None:
    assert json.dumps([one.as_json() for one in services.daemon(None, patience_sec=1)])


def test_the_doctor_of_a_fleet_that_is_not_there_names_what_is_missing_and_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    (home / "dagster.yaml").write_bytes(instance_file("fleet").read_bytes())
    for name, value in {
        "AUTORISK_DEPLOYMENT": "fleet",
        "AUTORISK_POSTGRES_URL": f"postgresql+psycopg2://fleet:hunter22@127.0.0.1:{port}/autorisk",
        "AUTORISK_REDIS_URL": f"redis://:hunter22@127.0.0.1:{port}/0",
        "AUTORISK_DATA": str(tmp_path / "data"),
        "DAGSTER_HOME": str(home),
    }.items():
        monkeypatch.setenv(name, value)
    told = CliRunner().invoke(doctor, ["--json"])
    found = {one["name"]: one for one in json.loads(told.output)["findings"]}
    assert told.exit_code == 1 and "hunter22" not in told.output
    assert {name for name, one in found.items() if one["state"] == "broken"} == {"database", "broker"}
    assert found["deployment"]["found"] == "fleet" and found["Dagster home"]["state"] == "ok"
    assert "Dagster's history" not in found  # it lies in the database
