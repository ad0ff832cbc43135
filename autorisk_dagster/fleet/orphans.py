"""Runs whose process was killed.

A run in this process that is killed stays "started" in Dagster's history for ever, and the nightly batch would take its
video for one that somebody is busy with. So a run says which process makes it, and whoever looks next closes what no
process makes any more. Runs that the daemon launched are found by `launcher.py` in the same way. A process is told by
its number and the moment it began, because a container that starts again gives out the same numbers.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import dagster as dg

PROCESS_TAG = "autorisk/process"
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def this_process() -> str:
    """Host, process number and beginning of this process, as `PROCESS_TAG` holds them."""
    return f"{socket.gethostname()}:{os.getpid()}:{_began(os.getpid()) or ''}"


def is_alive(process: str) -> bool | None:
    """Whether a process that `PROCESS_TAG` names is there; None: it is of another host, or there is no such tag."""
    host, _, rest = process.partition(":")
    number, _, began = rest.partition(":")
    if not number.isdigit() or host != socket.gethostname():
        return None
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's, so it is there
        pass
    return not began or _began(int(number)) in (None, began)


def close_orphans(instance: dg.DagsterInstance) -> list[str]:
    """Mark as failed every unfinished run of this machine whose process is gone; return their run ids."""
    closed = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        if is_alive(run.tags.get(PROCESS_TAG, "")) is False:
            instance.report_run_failed(run, "the process that made this run was killed")
            closed.append(run.run_id)
    return closed


def _began(number: int) -> str | None:
    """Ticks from the machine's start to the process's, "ended" where only its exit code is left; None where the system
    does not tell (no /proc)."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the program's name may hold spaces
    return "ended" if fields[0] == "Z" else fields[19]
