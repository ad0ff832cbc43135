"""A long history in PostgreSQL: the rows that Dagster wrote for one run of one video, copied for others.

The rows come out of the database in the text form of COPY; what tells one video from another in them (run, partition,
storage ids of events and the references to them) is replaced, and they go back in by COPY. So they are what the API
writes, but for the times in them, which stay those of the template (`tests/benchmarks/test_scale.py` compares the two
row by row).

`KEPT` is what `autorisk prune` leaves of a run that succeeded; `COPIED`, the same without the events of checks, whose
results lie in a table of their own as well: materialisations, what was planned, results of checks, the run with its
beginning and its end, tags. Pictures and tables in the metadata (out of line, read only where a materialisation is
read) are cut short unless they are asked for. 100,000 videos would take 70 GB with both, and take 25 GB without.
"""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from autorisk_dagster.run_logs import REMOVED

KEPT = f"dagster_event_type NOT IN {tuple(one.value for one in REMOVED)!r}"
COPIED = f"{KEPT} AND dagster_event_type != 'ASSET_CHECK_EVALUATION'"
EVERYTHING = "TRUE"
_COLUMNS = {
    "runs": "run_id, snapshot_id, pipeline_name, mode, status, run_body, partition, partition_set, create_timestamp, "
    "update_timestamp, start_time, end_time, backfill_id",
    "run_tags": "run_id, key, value",
    "event_logs": 'id, run_id, event, dagster_event_type, "timestamp", step_key, asset_key, partition',
    "asset_event_tags": "event_id, asset_key, key, value, event_timestamp",
    "asset_check_executions": "asset_key, check_name, partition, run_id, execution_status, evaluation_event, "
    "evaluation_event_timestamp, evaluation_event_storage_id, materialization_event_storage_id, create_timestamp",
}
# Columns of a row that hold the storage id of an event.
_EVENT_COLUMNS = {"event_logs": (0,), "asset_event_tags": (0,), "asset_check_executions": (7, 8)}
_POINTER = re.compile(rb'(input_event_pointer/[a-z_]+": "|"storage_id": )(\d+)')
# A Markdown value of the metadata: 100 characters, and the rest. What JSON escapes has two backslashes in COPY.
_CHARACTER = rb'(?:[^"\\]|\\\\(?:\\\\|[^\\]))'
_LONG_MARKDOWN = re.compile(rb'("md_str": "' + _CHARACTER + rb"{100})" + _CHARACTER + rb"+")


@dataclass(frozen=True)
class Template:
    """The rows of one run, as bytes with named gaps.

    Attributes:
        blocks: rows of each table in COPY's text form; `%(run)s`, `%(key)s`, `%(e12)s` stand for what differs
        events: storage ids of its events, in order
        partition: its video
        run_id: of the run
    """

    blocks: dict[str, bytes]
    events: tuple[int, ...]
    partition: str
    run_id: str

    def size_bytes(self) -> int:
        """Of all rows, as text."""
        return sum(len(block) for block in self.blocks.values())

    def rows(self) -> dict[str, int]:
        """How many of each table."""
        return {name: block.count(b"\n") for name, block in self.blocks.items()}


def template(connection: Any, run_id: str, partition: str, *, keep: str = KEPT, whole: bool = False) -> Template:
    """The rows of a run that is in the database behind `connection` (psycopg2).

    Args:
        keep: condition on `event_logs`: `COPIED`, `KEPT` or `EVERYTHING`
        whole: whether long Markdown values of the metadata, pictures and tables, stay as they are
    """
    events = f"SELECT id FROM event_logs WHERE run_id = '{run_id}' AND {keep}"
    where = {
        "runs": f"run_id = '{run_id}'",
        "run_tags": f"run_id = '{run_id}'",
        "event_logs": f"run_id = '{run_id}' AND {keep}",
        "asset_event_tags": f"event_id IN ({events})",
        "asset_check_executions": f"run_id = '{run_id}'",
    }
    found = {name: _copy_out(connection, name, condition) for name, condition in where.items()}
    ids = tuple(int(line.split(b"\t", 1)[0]) for line in found["event_logs"].splitlines())
    place = {str(number).encode(): index for index, number in enumerate(ids)}
    blocks = {}
    for name, text in found.items():
        text = text if whole else _LONG_MARKDOWN.sub(rb"\1", text)
        text = text.replace(b"%", b"%%").replace(run_id.encode(), b"%(run)s").replace(partition.encode(), b"%(key)s")
        text = _POINTER.sub(lambda hit: hit[1] + _gap(hit[2], place), text)
        lines = [_with_gaps(line, _EVENT_COLUMNS.get(name, ()), place) for line in text.splitlines()]
        blocks[name] = b"".join(line + b"\n" for line in lines)
    return Template(blocks, ids, partition, run_id)


@contextmanager
def indexed_afterwards(connection: Any) -> Iterator[None]:
    """What is written within is put into the indexes together at its end, is not held against foreign keys row by row,
    and goes into no write-ahead log: the tables' contents are the same, and made in a fifth of the time."""
    with connection.cursor() as cursor:
        for table in ("run_tags", "runs", "asset_event_tags", "event_logs", "asset_check_executions"):
            cursor.execute(f"ALTER TABLE {table} SET UNLOGGED")  # nothing happens where it is already
        cursor.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
            "WHERE indrelid::regclass::text = ANY(%s) "
            "AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)",
            (list(_COLUMNS),),
        )
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
        cursor.execute("SET session_replication_role = replica")
        connection.commit()
        yield
        cursor.execute("SET session_replication_role = DEFAULT")
        cursor.execute("SET maintenance_work_mem = '1GB'")
        for _, definition in indexes:
            cursor.execute(definition)
    connection.commit()


def bytes_a_run(connection: Any, made_from: Template, copies: int = 50) -> int:
    """What a run adds to the database, indexes and out-of-line values included; leaves nothing behind."""
    query = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname = ANY(%s) AND relkind = 'r'"
    with connection.cursor() as cursor:
        cursor.execute(query, (list(_COLUMNS),))
        before = cursor.fetchone()[0]
        _copy_in(cursor, made_from, [f"copy-{number:08d}" for number in range(copies)])
        cursor.execute(query, (list(_COLUMNS),))
        grown = int(cursor.fetchone()[0] - before)
    connection.rollback()
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM FULL")
    connection.autocommit = False
    return grown // copies


def write(connection: Any, made_from: Template, partitions: Sequence[str], at_once: int = 500) -> list[str]:
    """Write a run of each of `partitions` as `made_from` has it; return the run ids."""
    run_ids: list[str] = []
    with connection.cursor() as cursor:
        for start in range(0, len(partitions), at_once):
            run_ids += _copy_in(cursor, made_from, partitions[start : start + at_once])
            connection.commit()
    return run_ids


def _copy_in(cursor: Any, made_from: Template, partitions: Sequence[str]) -> list[str]:
    run_ids = [str(uuid.uuid4()) for _ in partitions]
    cursor.execute("SELECT coalesce(max(id), 0) FROM event_logs")
    base, count = int(cursor.fetchone()[0]), len(made_from.events)
    gaps = []
    for number, partition in enumerate(partitions):
        first = base + 1 + number * count
        ids = {b"e%d" % index: b"%d" % (first + index) for index in range(count)}
        gaps.append({**ids, b"run": run_ids[number].encode(), b"key": partition.encode()})
    for name, block in made_from.blocks.items():
        text = io.BytesIO(b"".join(block % gap for gap in gaps))
        cursor.copy_expert(f"COPY {name} ({_COLUMNS[name]}) FROM STDIN", text)
    cursor.execute(f"SELECT setval('event_logs_id_seq', {base + 1 + len(partitions) * count})")
    return run_ids


def point_to_newest(connection: Any) -> None:
    """Name the newest materialisation of each asset as its last, as Dagster does with each: by it a page sees that what
    it knows of the partitions is old."""
    from dagster import EventLogEntry, EventLogRecord
    from dagster._serdes import deserialize_value, serialize_value

    with connection.cursor() as cursor:
        cursor.execute("SELECT asset_key FROM asset_keys WHERE last_materialization IS NOT NULL")
        for (asset,) in cursor.fetchall():
            cursor.execute(
                'SELECT id, run_id, event, "timestamp" FROM event_logs WHERE asset_key = %s '
                "AND dagster_event_type = 'ASSET_MATERIALIZATION' ORDER BY id DESC LIMIT 1",
                (asset,),
            )
            number, run_id, event, at = cursor.fetchone()
            record = serialize_value(EventLogRecord(number, deserialize_value(event, EventLogEntry)))
            cursor.execute(
                "UPDATE asset_keys SET last_materialization = %s, last_run_id = %s, "
                "last_materialization_timestamp = %s "
                "WHERE asset_key = %s",
                (record, run_id, at, asset),
            )
    connection.commit()


def rows_of(connection: Any, run_id: str) -> dict[str, list[bytes]]:
    """The rows of a run without what differs between two runs: its id, its video, ids of events, times, durations, the
    process that made it."""
    found = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT partition FROM event_logs WHERE run_id = %s AND partition IS NOT NULL LIMIT 1", (run_id,)
        )
        partition = cursor.fetchone()[0]
    made_from = template(connection, run_id, partition, keep=EVERYTHING)
    for name, block in made_from.blocks.items():
        found[name] = [_plain(line) for line in block.splitlines()]
    return found


def _copy_out(connection: Any, table: str, condition: str) -> bytes:
    target = io.BytesIO()
    with connection.cursor() as cursor:
        query = f"SELECT {_COLUMNS[table]} FROM {table} WHERE {condition} ORDER BY id"
        cursor.copy_expert(f"COPY ({query}) TO STDOUT", target)
    return target.getvalue()


def _gap(number: bytes, place: dict[bytes, int]) -> bytes:
    return b"%%(e%d)s" % place[number] if number in place else number


def _with_gaps(line: bytes, columns: Iterable[int], place: dict[bytes, int]) -> bytes:
    fields = line.split(b"\t")
    for column in columns:
        fields[column] = _gap(fields[column], place)
    return b"\t".join(fields)


_DIFFERENT = (
    (re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?"), b"<time>"),
    (re.compile(rb"\b\d{10}\.\d+"), b"<epoch>"),
    (re.compile(rb"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), b"<uuid>"),
    (re.compile(rb"\b[0-9a-f]{64}\b"), b"<hash>"),
    (re.compile(rb'("duration_ms": )[\d.]+'), rb"\1<ms>"),
    (re.compile(rb"\b\d+(\.\d+)?(e-\d+)?(ms|s)\b"), b"<duration>"),
    (re.compile(rb"\(pid: \d+\)"), b"<pid>"),
    (re.compile(rb'("log_key": )"[a-z]+"'), rb"\1<key>"),
)


def _plain(line: bytes) -> bytes:
    for pattern, instead in _DIFFERENT:
        line = pattern.sub(instead, line)
    return line
