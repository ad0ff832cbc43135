"""Dagster's daemon behind the lock that keeps a second one out. What `autorisk daemon` and `autorisk ui` start.

A program of its own, because Dagster reads its patience with a run's process from the environment once, on import.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from autorisk_dagster.errors import AutoRiskError
from autorisk_dagster.fleet import check_index
from autorisk_dagster.fleet.deployment import POSTGRES_URL, deployment
from autorisk_dagster.fleet.one_daemon import PATIENCE_SEC, DatabaseLock, FileLock
from autorisk_dagster.paths import ROOT

COMMAND = [sys.executable, "-m", "autorisk_dagster.fleet.daemon"]


def main(patience_sec: float = PATIENCE_SEC) -> None:
    """Run the daemon of the deployment and the home that the environment names, until ended."""
    try:
        if deployment() == "fleet":
            database = DatabaseLock(os.environ[POSTGRES_URL])
            database.take(patience_sec)
            database.keep(_end)
            check_index.make_in_background(os.environ[POSTGRES_URL])
        else:
            FileLock(Path(os.environ["DAGSTER_HOME"])).take()
    except AutoRiskError as error:
        sys.exit(f"Error: {error}")
    from dagster._daemon.cli import cli

    cli(["run", "-w", str(ROOT / "workspace.yaml")], obj={})


def _end(holder: str) -> None:
    print(f"Error: {holder} took the daemon's lock while the database was away; this one ends", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
