"""A PostgreSQL server of one's own: a new cluster in a folder, on a free port, gone afterwards.

Reachable on loopback alone and without a password. 1 GB of shared buffers; nothing is flushed to disk, because it is
thrown away afterwards and the disk is not what is measured.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("initdb", "postgres", "pg_ctl")


def missing_programs() -> list[str]:
    """Of the programs a server needs, those this machine has not."""
    return [name for name in PROGRAMS if _program(name) is None]


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Start a server with its cluster in `folder`/postgres; yield the URL of an empty database for SQLAlchemy.

    PostgreSQL refuses to run as root: then the server is the user `postgres`, who must be able to reach `folder`.

    Raises:
        RuntimeError: its programs are missing.
    """
    if missing_programs():
        raise RuntimeError(f"{', '.join(missing_programs())} not found: install postgresql, or put its bin on PATH")
    cluster = folder / "postgres"
    cluster.mkdir(mode=0o700)
    user = "postgres" if os.getuid() == 0 else None
    if user:
        shutil.chown(cluster, user, pwd.getpwnam(user).pw_gid)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _run("initdb", "-D", cluster, "-U", "dagster", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", user=user)
    settings = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": cluster,
        "shared_buffers": "1GB",
        "max_wal_size": "2GB",
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "wal_level": "minimal",
        "default_toast_compression": "lz4",
        "max_wal_senders": 0,
    }
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    _run("pg_ctl", "-D", cluster, "-w", "-l", cluster / "log", "-o", options, "start", user=user)
    try:
        yield f"postgresql+psycopg2://dagster@127.0.0.1:{port}/postgres"
    finally:
        _run("pg_ctl", "-D", cluster, "-w", "-m", "immediate", "stop", user=user)


def _program(name: str) -> str | None:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))  # where Debian keeps them, off the PATH
    return shutil.which(name) or (str(found[-1]) if found else None)


def _run(name: str, *arguments: object, user: str | None) -> None:
    command = [str(_program(name)), *map(str, arguments)]
    subprocess.run(command, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)
