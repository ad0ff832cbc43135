"""One daemon a fleet: with a real PostgreSQL, a daemon that is killed, and a database that is away for a while."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("psycopg2")

from autorisk_dagster.errors import InputError
from autorisk_dagster.fleet import check_index
from autorisk_dagster.fleet.daemon import main
from autorisk_dagster.fleet.one_daemon import DatabaseLock, FileLock
from autorisk_dagster.paths import ROOT
from tests.fleet.servers import Postgres, free_port, missing_servers, running_postgres, until

needs_servers = pytest.mark.skipif(missing_servers() is not None, reason=str(missing_servers()))
HOLDER = """
import sys, time
from pathlib import Path
from autorisk_dagster.fleet.one_daemon import DatabaseLock, FileLock
where = sys.argv[1]
lock = DatabaseLock(where) if "://" in where else FileLock(Path(where))
lock.take()
print("taken", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with running_postgres(tmp_path_factory.mktemp("database") / "cluster") as server:
        yield server


def is_taken(url: str) -> bool:
    """Whether somebody has the lock, without trying to take it."""
    import psycopg2

    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
            return bool(cursor.fetchone()[0])
    finally:
        connection.close()


class Holder:
    """Another process that has the lock."""

    def __init__(self, where: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", HOLDER, where], cwd=ROOT, stdout=subprocess.PIPE)
        assert self.process.stdout is not None and self.process.stdout.readline() == b"taken\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def holder(request: pytest.FixtureRequest) -> Iterator[Holder]:
    """One that has the lock of the database."""
    made = Holder(request.getfixturevalue("postgres").url)
    yield made
    made.kill()


@needs_servers
def test_a_second_daemon_ends_with_the_name_of_the_first_and_begins_when_that_is_killed(
    postgres: Postgres, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AUTORISK_DEPLOYMENT": "fleet",
        "AUTORISK_POSTGRES_URL": postgres.url,
        "AUTORISK_REDIS_URL": "redis://127.0.0.1:1/0",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(patience_sec=0)
    monkeypatch.setattr("autorisk_dagster.fleet.one_daemon.LOOK_EVERY_SEC", 0.05)
    first = f"autorisk daemon {os.uname().nodename}:{holder.process.pid} at 127.0.0.1"
    assert str(ended.value).startswith(f"Error: a daemon of this fleet runs already: {first}; end that one first")
    waits = DatabaseLock(postgres.url)
    taken = threading.Thread(target=waits.take)
    taken.start()
    holder.process.kill()
    taken.join(timeout=60)
    assert not taken.is_alive()
    with pytest.raises(InputError, match=f"autorisk daemon {os.uname().nodename}:{os.getpid()} "):
        DatabaseLock(postgres.url).take(0)
    waits.release()
    again = DatabaseLock(postgres.url)
    again.take()
    again.release()


@needs_servers
def test_a_daemon_takes_its_lock_again_when_the_database_is_back_and_ends_where_another_was_quicker(
    postgres: Postgres,
) -> None:
    lock, other = DatabaseLock(postgres.url), DatabaseLock(postgres.url)
    lock.take(0)
    lock.keep(lambda _: None, every_sec=0.02)
    postgres.kill(signal.SIGINT)
    with pytest.raises(InputError, match="the database does not answer"):
        other.take(0)
    postgres.start()
    until(lambda: is_taken(postgres.url), "it has it again")
    with pytest.raises(InputError, match=f":{os.getpid()} "):
        other.take(0)
    lock.release()
    slow, quick = DatabaseLock(postgres.url), DatabaseLock(postgres.url)
    slow.take()
    postgres.kill(signal.SIGINT)
    postgres.start()
    quick.take(0)
    said: queue.Queue[str] = queue.Queue()
    slow.keep(said.put, every_sec=0.02)
    assert said.get(timeout=60).startswith("autorisk daemon ")
    quick.release()


@needs_servers
def test_the_daemon_gives_the_results_of_checks_their_index(postgres: Postgres) -> None:
    import psycopg2
    import sqlalchemy
    from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable

    def is_valid() -> list[bool]:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (check_index.NAME,))
        return [row[0] for row in cursor.fetchall()]

    assert not check_index.make(postgres.url)  # a new database
    engine = sqlalchemy.create_engine(postgres.url)
    AssetCheckExecutionsTable.create(engine)
    engine.dispose()
    connection = psycopg2.connect(postgres.url.replace("+psycopg2", ""))
    connection.autocommit = True
    with connection.cursor() as cursor:
        assert check_index.make(postgres.url)
        assert is_valid() == [True]
        # As a daemon leaves it that is killed while it makes it.
        cursor.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)", (check_index.NAME,))
        assert check_index.make(postgres.url)
        assert is_valid() == [True]
    connection.close()
    assert check_index.make(postgres.url)


def test_a_database_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match=r"does not answer .*refused.*autorisk doctor"):
        DatabaseLock(f"postgresql+psycopg2://u@127.0.0.1:{free_port()}/d").take()


def test_two_daemons_of_one_machine(tmp_path: Path) -> None:
    first = Holder(str(tmp_path))
    try:
        with pytest.raises(InputError, match=f"runs already, in process {first.process.pid} "):
            FileLock(tmp_path).take()
    finally:
        first.kill()
    second = FileLock(tmp_path)
    second.take()
    with pytest.raises(InputError, match=f"in process {os.getpid()} "):
        FileLock(tmp_path).take()
    second.release()
