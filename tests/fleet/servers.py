"""A real Redis and a real PostgreSQL of one's own, on free ports, for tests and drills."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

DATABASE = "autorisk"
PATIENCE_SEC = 60.0


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def until(what: Callable[[], bool], said: str, patience_sec: float = PATIENCE_SEC, every_sec: float = 0.05) -> None:
    """Wait for `what`; an AssertionError after `patience_sec`, a bound for a broken machine and no measurement."""
    end = time.monotonic() + patience_sec
    while not what():
        assert time.monotonic() < end, f"not within {patience_sec:.0f} s: {said}"
        time.sleep(every_sec)


def program(name: str) -> str | None:
    """Where a server's program is; Debian keeps PostgreSQL's out of the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(debian[-1]) if debian else None)


def missing_servers() -> str | None:
    """Why no server can be started here; None: all is there."""
    lacking = [name for name in ("redis-server", "initdb", "postgres") if program(name) is None]
    return f"not installed: {', '.join(lacking)} (apt-get install redis-server postgresql)" if lacking else None


class Redis:
    """Keeps every change on disk before it answers, as `deploy/compose.yaml` has it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [program("redis-server"), "--port", self.port, "--bind", "127.0.0.1", "--dir", self.folder]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--logfile", self.folder / "log"]
        self.process = subprocess.Popen([str(part) for part in command])
        until(lambda: _listens(self.port), "redis answers")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait()
            self.process = None


class Postgres:
    """A cluster in a folder; run as `postgres` or `nobody` where this is root, whom PostgreSQL refuses."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.user = None if os.getuid() else _somebody()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://postgres@127.0.0.1:{self.port}/{DATABASE}"

    def make(self) -> None:
        """The cluster and its database; the server runs then."""
        self.folder.mkdir(parents=True)
        if self.user is not None:
            shutil.chown(self.folder, self.user)
            for above in self.folder.parents:  # it must be able to walk to its folder
                if above.stat().st_uid == os.getuid() and above != Path("/"):
                    above.chmod(above.stat().st_mode | 0o111)
        command = [program("initdb"), "-D", self.folder, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run([str(part) for part in command], user=self.user, cwd="/", check=True, stdout=subprocess.DEVNULL)
        self.start()
        import psycopg2

        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres")
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {DATABASE}")
        connection.close()

    def start(self) -> None:
        command = [program("postgres"), "-D", self.folder, "-p", self.port, "-h", "127.0.0.1", "-k", ""]
        with (self.folder.parent / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                user=self.user,
                cwd="/",
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers, "postgres answers")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """SIGKILL: the whole server, as when the machine falls; SIGINT: connections are cut, it ends in order."""
        if self.process is not None:
            if number is signal.SIGKILL:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres", dbname="postgres").close()
        except psycopg2.OperationalError:
            return False
        return True


@contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    """A cluster of its own in `folder`, for as long as this lasts."""
    server = Postgres(folder)
    try:
        server.make()
        yield server
    finally:
        server.kill()


def _somebody() -> str:
    import pwd

    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0
