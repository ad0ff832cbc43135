"""The index that Dagster's table of check results lacks; the fleet's daemon makes it.

Every look at the asset graph asks for the newest result of each check. Without an index PostgreSQL reads the whole
table for it: at 100,000 videos 11.5 GB, for longer than `dagster-webserver` lets a statement take (`docs/capacity.md`).
"""

from __future__ import annotations

import logging
import threading
from contextlib import closing

NAME, TABLE = "autorisk_latest_check", "asset_check_executions"
COLUMNS = "(asset_key, check_name, id)"
LOOK_EVERY_SEC = 30.0

_log = logging.getLogger(__name__)


def make_in_background(url: str, look_every_sec: float = LOOK_EVERY_SEC) -> None:
    """Make it from a thread, as soon as a new database has its tables. `url`: `postgresql+psycopg2://...`."""
    threading.Thread(target=_until_made, args=(url, look_every_sec), name="index of checks", daemon=True).start()


def make(url: str) -> bool:
    """Make the index where it is missing; nobody waits for it meanwhile, and half of one is made anew.

    Returns:
        whether it is there; False: Dagster has not made its table yet.

    Raises:
        psycopg2.Error: the database is away, full, or refuses.
    """
    import psycopg2

    with closing(psycopg2.connect(url.replace("+psycopg2", ""), connect_timeout=10)) as connection:
        connection.autocommit = True  # CONCURRENTLY goes with no transaction
        with connection.cursor() as cursor:
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (TABLE,))
            if not cursor.fetchone()[0]:
                return False
            cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (NAME,))
            found = cursor.fetchone()
            if found is not None and found[0]:
                return True
            cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NAME}")  # a daemon was killed while it made it
            cursor.execute(f"CREATE INDEX CONCURRENTLY {NAME} ON {TABLE} {COLUMNS}")
    return True


def _until_made(url: str, look_every_sec: float) -> None:
    import psycopg2

    wait = threading.Event()
    while True:
        try:
            if make(url):
                return
        except psycopg2.OperationalError as error:  # away, or full
            _log.warning("the index of check results was not made yet: %s", " ".join(str(error).split()))
        except psycopg2.Error as error:
            _log.warning("the index of check results cannot be made: %s", " ".join(str(error).split()))
            return
        wait.wait(look_every_sec)
