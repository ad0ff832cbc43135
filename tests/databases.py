"""SQLite in tests: what a database writes need not outlive the machine; engines and migrations are kept.

Dagster opens and closes its SQLite files for every question, some 2,000 times a video. Each time SQLite waits until the
disk has all, 5 to 15 ms, and SQLAlchemy, by an engine of its own, compiles the question anew. A killed process loses
nothing without the waiting, only a machine that falls.
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool


def quicken() -> None:
    """From now on no database of this process waits for the disk, Dagster's engines are made once a file, and its list
    of migrations is read once."""
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.runs.sqlite import sqlite_run_storage
    from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage

    if event.contains(Engine, "connect", _do_not_wait):
        return
    event.listen(Engine, "connect", _do_not_wait)
    for storage in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
        storage.create_engine = _kept
    ScriptDirectory.from_config = lru_cache(maxsize=8)(ScriptDirectory.from_config)


def _do_not_wait(connection: Any, _: object) -> None:
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


def _kept(address: str, poolclass: Any = None, connect_args: dict[str, Any] | None = None) -> Engine:
    """Without a pool an engine holds no connection: it may serve whoever asks for that file."""
    assert poolclass is NullPool
    return _engine(address, tuple((connect_args or {}).items()))


@lru_cache(maxsize=32)
def _engine(address: str, connect_args: tuple[tuple[str, Any], ...]) -> Engine:
    return create_engine(address, poolclass=NullPool, connect_args=dict(connect_args))
