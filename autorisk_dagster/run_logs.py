"""What a run logs while it works, and its removal once nobody will read it: five of six rows of the event log.

Removed of runs that succeeded: log messages and the steps' own events. Kept: what assets, partitions, checks, versions
and lineage are read from (materialisations, observations, checks, what was planned), and the run with its beginning and
its end. Kept whole: runs that failed or were cancelled, which a person reads and Dagster resumes from. An event type
that is not listed here stays.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import sqlalchemy as db
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable as EVENTS

from autorisk_dagster.errors import InputError

_T = dg.DagsterEventType
REMOVED = (
    *(_T.STEP_START, _T.STEP_INPUT, _T.STEP_OUTPUT, _T.STEP_SUCCESS, _T.STEP_SKIPPED),
    *(_T.STEP_WORKER_STARTING, _T.STEP_WORKER_STARTED),
    *(_T.RESOURCE_INIT_STARTED, _T.RESOURCE_INIT_SUCCESS),
    *(_T.LOADED_INPUT, _T.HANDLED_OUTPUT, _T.OBJECT_STORE_OPERATION, _T.ASSET_STORE_OPERATION),
    *(_T.ENGINE_EVENT, _T.LOGS_CAPTURED, _T.HOOK_COMPLETED, _T.HOOK_SKIPPED),
    _T.ASSET_CHECK_EVALUATION_PLANNED,  # the checks' own table holds what became of it
)
_CHATTER = db.or_(
    EVENTS.c.dagster_event_type.is_(None), EVENTS.c.dagster_event_type.in_([one.value for one in REMOVED])
)
_LENGTH = db.func.octet_length(EVENTS.c.event)
_PAGE = 1000  # runs looked at together


@dataclass(frozen=True)
class Pruned:
    """What was, or would be, removed.

    Attributes:
        runs: that have such rows
        rows: of the event log
        size_bytes: of the text in them, before the database packs it
    """

    runs: int = 0
    rows: int = 0
    size_bytes: int = 0

    def __add__(self, other: Pruned) -> Pruned:
        return Pruned(self.runs + other.runs, self.rows + other.rows, self.size_bytes + other.size_bytes)


def prune(instance: dg.DagsterInstance, before: dt.datetime, *, remove: bool) -> Iterator[Pruned]:
    """Of the runs that succeeded and were last written to before `before`, a page of runs at a time; only counted
    where not `remove`. What was removed stays so where a later page fails.

    A SQLite file is made smaller at once; PostgreSQL uses the room again, its files shrink by `VACUUM FULL`.

    Raises:
        InputError: the instance keeps its events where this cannot reach them.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise InputError(
            f"{type(storage).__name__} keeps the events of runs; logs are removed from SQLite and PostgreSQL alone. "
            "Remove them with the database's own means"
        )
    cursor: str | None = None
    wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS], updated_before=before)
    while run_ids := instance.get_run_ids(wanted, cursor=cursor, limit=_PAGE):
        cursor = run_ids[-1]
        if isinstance(storage, SqliteEventLogStorage):
            for run_id in run_ids:
                yield _of_file(Path(storage.path_for_shard(run_id)), remove)
        else:
            yield _of_server(storage, run_ids, remove)


def _of_server(storage: SqlEventLogStorage, run_ids: Sequence[str], remove: bool) -> Pruned:
    here = db.and_(EVENTS.c.run_id.in_(run_ids), _CHATTER)
    runs, rows, size = (db.func.count(EVENTS.c.run_id.distinct()), db.func.count(), db.func.sum(_LENGTH))
    with storage.index_transaction() as connection:
        found = connection.execute(db.select(runs, rows, size).where(here)).one()
        if remove and found[1]:
            connection.execute(db.delete(EVENTS).where(here))
    return Pruned(found[0], found[1], int(found[2] or 0))


def _of_file(path: Path, remove: bool) -> Pruned:
    """Of the database of one run; Dagster keeps the events of assets in another file too, which is left alone."""
    if not path.exists():
        return Pruned()
    rows, size = db.func.count(), db.func.sum(db.func.length(db.cast(EVENTS.c.event, db.LargeBinary)))
    engine = db.create_engine(f"sqlite:///{path}", poolclass=db.NullPool, connect_args={"timeout": 60})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        found = connection.execute(db.select(rows, size).where(_CHATTER)).one()
        if remove and found[0]:
            connection.execute(db.delete(EVENTS).where(_CHATTER))
            connection.execute(db.text("VACUUM"))
    return Pruned(int(found[0] > 0), found[0], int(found[1] or 0))
