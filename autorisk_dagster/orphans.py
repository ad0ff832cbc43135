"""Runs whose process was killed.

A run in this process that is killed stays "started" in Dagster's history for ever, and the nightly batch would take its
video for one that somebody is busy with. So a run says which process makes it, and whoever looks next closes what no
process makes any more. Runs that the UI launched are closed by Dagster's own run monitoring (`dagster_local.yaml`).
Not covered: a process number that was given to another program in the meantime; that run waits for monitoring too.
"""

from __future__ import annotations

import os
import socket

import dagster as dg

PROCESS_TAG = "autorisk/process"
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def this_process() -> str:
    """Host and process number, as `PROCESS_TAG` holds them."""
    return f"{socket.gethostname()}:{os.getpid()}"


def close_orphans(instance: dg.DagsterInstance) -> list[str]:
    """Mark as failed every unfinished run of this machine whose process is gone; return their run ids."""
    closed = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        host, _, number = run.tags.get(PROCESS_TAG, "").rpartition(":")
        if host == socket.gethostname() and not _alive(int(number)):
            instance.report_run_failed(run, f"process {number} that made this run was killed")
            closed.append(run.run_id)
    return closed


def _alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's, so it is there
        return True
    return True
