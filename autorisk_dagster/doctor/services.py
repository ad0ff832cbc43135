"""The services of a fleet: database, broker, workers, clocks. Nothing is changed in them."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from autorisk_dagster.doctor.finding import Finding
from autorisk_dagster.errors import InputError
from autorisk_dagster.fleet.deployment import POSTGRES_URL, QUEUES, REDIS_URL, VARIABLE, check_home, deployment
from autorisk_dagster.fleet.presence import all_signs, waiting

if TYPE_CHECKING:
    import redis

ANSWER_SEC = 3.0
MAX_SKEW_SEC = 10.0  # a beat of a worker's lease: `configs/dagster_celery.yaml`, visibility_timeout / 6
POSTGRES_SCHEME = "postgresql+psycopg2"  # dagster-postgres with SQLAlchemy 2.1 takes no other


def chosen(home: Path, environment: Mapping[str, str]) -> list[Finding]:
    """The deployment is one that exists, has its addresses, and is the one Dagster's home was made for."""
    try:
        name = deployment(environment)
        check_home(home, name)
    except InputError as error:
        text, _, mend = str(error).partition(": ")
        return [Finding("deployment", "broken", text, mend or f"set {VARIABLE}=local or fleet")]
    return [Finding("deployment", "ok", name)]


def fleet(environment: Mapping[str, str]) -> list[Finding]:
    """Everything a fleet needs beside this machine."""
    lacking = [name for name in ("dagster_celery", "dagster_postgres") if importlib.util.find_spec(name) is None]
    if lacking:
        mend = "pip install -c constraints.txt -e '.[fleet]'"
        return [Finding("fleet: packages", "broken", f"not installed: {', '.join(lacking)}", mend)]
    return database(environment[POSTGRES_URL]) + broker(environment[REDIS_URL])


def database(url: str) -> list[Finding]:
    """PostgreSQL answers, and this user may make tables in it."""
    import psycopg2

    name, parts = "database", urlsplit(url)
    if parts.scheme != POSTGRES_SCHEME:
        mend = f"write {POSTGRES_URL} as {POSTGRES_SCHEME}://user:password@host:5432/database"
        return [Finding(name, "broken", f"{POSTGRES_URL} begins with {parts.scheme or 'nothing'}://", mend)]
    where = f"{parts.hostname}:{parts.port or 5432}{parts.path}"
    try:
        connection = psycopg2.connect(url.replace(POSTGRES_SCHEME, "postgresql", 1), connect_timeout=round(ANSWER_SEC))
    except psycopg2.OperationalError as error:
        mend = f"start PostgreSQL, make the database, or correct {POSTGRES_URL}"
        return [Finding(name, "broken", f"{where}: {_first_line(error)}", mend)]
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT has_schema_privilege('public', 'CREATE'), pg_database_size(current_database())")
            may_create, size_bytes = cursor.fetchone()
            cursor.execute(
                "SELECT numbackends, current_setting('max_connections')::int FROM pg_stat_database "
                "WHERE datname = current_database()"
            )
            used, most = cursor.fetchone()
    finally:
        connection.close()
    if not may_create:
        mend = "GRANT CREATE ON SCHEMA public TO the user of the address"
        return [Finding(name, "broken", f"{where}: this user may not make tables", mend)]
    text = f"{where}: {size_bytes / 1e6:.0f} MB, {used} of {most} connections"
    if used > 0.8 * most:
        return [Finding(name, "warn", text, "raise max_connections in postgresql.conf")]
    return [Finding(name, "ok", text)]


def broker(url: str) -> list[Finding]:
    """Redis answers and forgets nothing; each queue has a worker; the clocks agree."""
    import redis

    name, parts = "broker", urlsplit(url)
    where = f"{parts.hostname}:{parts.port or 6379}"
    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=ANSWER_SEC, socket_timeout=ANSWER_SEC)
        with client:
            before = time.time()
            seconds, micros = client.time()
            skew_sec = seconds + micros / 1e6 - (before + time.time()) / 2
            return _broker_keeps(client, where) + _clock(skew_sec) + queues(client)
    except (redis.RedisError, ValueError) as error:
        mend = f"start Redis, or correct {REDIS_URL} (redis://:password@host:6379/0)"
        return [Finding(name, "broken", f"{where}: {_first_line(error)}", mend)]


def queues(client: redis.Redis) -> list[Finding]:
    """Each queue has a worker; a step in a queue without one waits for ever."""
    signs = all_signs(client)
    found = []
    for queue in QUEUES:
        own = [sign for sign in signs.values() if queue in sign.queues]
        count = waiting(client, queue)
        text = f"{len(own)} workers, {sum(one.step is not None for one in own)} busy, {count} steps wait"
        if own:
            longest = max((time.time() - one.since for one in own if one.since is not None), default=None)
            text += "" if longest is None else f"; the longest step has taken {longest:.0f} s"
            found.append(Finding(f"queue {queue}", "ok", text))
        else:
            found.append(Finding(f"queue {queue}", "broken", text, f"start one: autorisk worker --queue {queue}"))
    return found


def daemon(silent_sec: float | None, *, patience_sec: float) -> list[Finding]:
    """The daemon is there, without which no run of a fleet begins; None: it never gave a sign."""
    if silent_sec is None or silent_sec > patience_sec:
        said = "never ran" if silent_sec is None else f"gave its last sign {silent_sec:.0f} s ago"
        return [Finding("daemon", "broken", said, "start it, once in the whole fleet: autorisk daemon")]
    return [Finding("daemon", "ok", f"gave a sign {silent_sec:.0f} s ago")]


def _broker_keeps(client: redis.Redis, where: str) -> list[Finding]:
    name = "broker"
    memory: Any = client.info("memory")
    text = f"{where}: {memory['used_memory'] / 1e6:.0f} MB"
    persistence: Any = client.info("persistence")
    if memory["maxmemory"] and memory["maxmemory_policy"] != "noeviction":
        mend = "redis-server --maxmemory-policy noeviction"
        return [Finding(name, "broken", f"{text}, and throws steps out when its memory is full", mend)]
    if not persistence["aof_enabled"]:
        mend = "redis-server --appendonly yes --appendfsync always"
        return [Finding(name, "broken", f"{text}, and forgets the steps that wait when it restarts", mend)]
    return [Finding(name, "ok", f"{text}, keeps what waits on disk")]


def _clock(skew_sec: float) -> list[Finding]:
    if abs(skew_sec) > MAX_SKEW_SEC:
        mend = "set both by NTP; a worker whose clock is wrong loses its steps to others, or keeps them when it is dead"
        return [Finding("clock", "broken", f"{skew_sec:+.0f} s from Redis's", mend)]
    return [Finding("clock", "ok", f"{skew_sec:+.1f} s from Redis's")]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
