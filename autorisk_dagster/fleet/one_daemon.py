"""One daemon a history: it holds a lock as long as it lives, and a second one does not begin.

Two daemons would each ask for the night's runs and start what the other starts too. Of a fleet the lock is one of the
database (an advisory lock of a session): it is free when the daemon's connection ends, so at once where the daemon is
killed, and `DEAD_AFTER_SEC` after its machine is gone or cut off. Of one machine it is one of a file in Dagster's home.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autorisk_dagster.errors import InputError

NUMBER = int.from_bytes(b"autorisk", "big")  # of the lock among those of the database
LOOK_EVERY_SEC = 5.0
_IDLE_SEC, _INTERVAL_SEC, _PROBES = 10, 5, 3  # of TCP: the database and the daemon notice when the other is gone
DEAD_AFTER_SEC = _IDLE_SEC + _INTERVAL_SEC * _PROBES
PATIENCE_SEC = DEAD_AFTER_SEC + 5.0
NEXT = "end that one first; one daemon does the work of the whole fleet"

_log = logging.getLogger(__name__)


class DatabaseLock:
    """The lock of the fleet whose PostgreSQL is at `url` (`postgresql+psycopg2://...`)."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("postgresql+psycopg2", "postgresql", 1)
        self._connection: Any = None
        self._released = threading.Event()

    def take(self, patience_sec: float = PATIENCE_SEC) -> None:
        """Take it; wait so long for one who has it.

        Raises:
            InputError: another daemon has it; the message names it. Or the database does not answer.
        """
        import psycopg2

        until = time.monotonic() + patience_sec
        while True:
            try:
                holder = self._try()
            except psycopg2.OperationalError as error:
                text = " ".join(str(error).split())
                raise InputError(f"the database does not answer ({text}); look at it with: autorisk doctor") from error
            if holder is None:
                return
            if time.monotonic() >= until:
                raise InputError(f"a daemon of this fleet runs already: {holder}; {NEXT}")
            _log.warning("%s has the daemon's lock; waiting for it", holder)
            time.sleep(min(LOOK_EVERY_SEC, max(0.0, until - time.monotonic())))

    def keep(self, lost: Callable[[str], None], every_sec: float = LOOK_EVERY_SEC) -> None:
        """Look after it from a thread: take it again where the database was away; call `lost` with the name of another
        daemon that was quicker."""
        threading.Thread(target=self._keep, args=(lost, every_sec), name="daemon's lock", daemon=True).start()

    def release(self) -> None:
        """Give it back."""
        self._released.set()
        if self._connection is not None:
            self._connection.close()

    def _keep(self, lost: Callable[[str], None], every_sec: float) -> None:
        import psycopg2

        while not self._released.wait(every_sec):
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                continue
            except psycopg2.Error:
                self._connection.close()
            if self._released.is_set():
                return
            try:
                holder = self._try()
            except psycopg2.Error as error:  # it is still away; without it no daemon can do anything
                _log.warning("the daemon's lock: %s", " ".join(str(error).split()))
                continue
            if holder is not None:
                lost(holder)
                return

    def _try(self) -> str | None:
        """Take it where it is free; else who has it."""
        import psycopg2

        connection = psycopg2.connect(
            self._url,
            application_name=f"autorisk daemon {socket.gethostname()[:35]}:{os.getpid()}",  # of 63 characters at most
            connect_timeout=10,
            keepalives_idle=_IDLE_SEC,
            keepalives_interval=_INTERVAL_SEC,
            keepalives_count=_PROBES,
            options=f"-c tcp_keepalives_idle={_IDLE_SEC} -c tcp_keepalives_interval={_INTERVAL_SEC} "
            f"-c tcp_keepalives_count={_PROBES}",
        )
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (NUMBER,))
            if cursor.fetchone()[0]:
                self._connection = connection
                return None
            cursor.execute(
                "SELECT application_name, client_addr FROM pg_locks JOIN pg_stat_activity USING (pid) "
                "WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) | objid::bigint = %s "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                (NUMBER,),
            )
            found = cursor.fetchone()
        connection.close()
        return f"{found[0]} at {found[1] or 'the database'}" if found else "one that ends at this moment"


class FileLock:
    """The lock of one machine's history in `home`, Dagster's home."""

    def __init__(self, home: Path) -> None:
        self._path = home / "daemon.lock"
        self._number: int | None = None

    def take(self) -> None:
        """Take it.

        Raises:
            InputError: another daemon has it; the message names it.
        """
        number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(number, 100, 0).decode(errors="replace")
            os.close(number)
            text = f"a daemon of this history runs already, in process {holder or 'that begins'} ({self._path})"
            raise InputError(f"{text}; end it first, or look on with: autorisk ui --read-only --port N") from error
        os.truncate(number, 0)
        os.pwrite(number, str(os.getpid()).encode(), 0)
        self._number = number  # open as long as this process lives

    def release(self) -> None:
        """Give it back."""
        if self._number is not None:
            os.close(self._number)
            self._number = None
