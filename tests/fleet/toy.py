"""A code location with one asset whose step does what files in a folder say, for workers to be killed in."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import dagster as dg

from autorisk_dagster.fleet.celery_fleet import fleet_executor

FOLDER = "TOY_FOLDER"


@dg.asset(op_tags={"dagster-celery/queue": "cpu"})
def measured() -> dg.MaterializeResult:
    """Writes who makes it; waits while there is a file `wait`; kills its worker while there is a file `deadly`."""
    folder = Path(os.environ[FOLDER])
    (folder / f"began.{os.getpid()}").touch()
    if (folder / "deadly").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    while (folder / "wait").exists():
        time.sleep(0.02)
    return dg.MaterializeResult(metadata={"by": os.getpid()})


@dg.asset(deps=[measured], op_tags={"dagster-celery/queue": "gpu"})
def judged() -> None:
    """Made after it, on the other queue."""


def run_both() -> dg.JobDefinition:
    """A job of both, by the fleet's executor."""
    job = dg.define_asset_job("both", selection="*")
    return dg.Definitions(assets=[measured, judged], jobs=[job], executor=fleet_executor()).resolve_job_def("both")
