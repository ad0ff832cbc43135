"""A code location with assets whose steps do what files in a folder say, for workers to be killed in."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from autorisk_dagster.fleet.celery_fleet import fleet_executor

FOLDER = "TOY_FOLDER"
VIDEOS = dg.StaticPartitionsDefinition([f"video{number:03d}" for number in range(100)])


@dg.asset(op_tags={"dagster-celery/queue": "cpu"}, check_specs=[dg.AssetCheckSpec("whole", asset="measured")])
def measured() -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Writes who makes it; waits while there is a file `wait`; kills its worker while there is a file `deadly`, and
    once, between the records of its result and of its check, where there is a file `deadly late`."""
    folder = Path(os.environ[FOLDER])
    (folder / f"began.{os.getpid()}").touch()
    if (folder / "deadly").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    while (folder / "wait").exists():
        time.sleep(0.02)
    yield dg.MaterializeResult(metadata={"by": os.getpid()})
    if (folder / "deadly late").exists():
        (folder / "deadly late").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    yield dg.AssetCheckResult(passed=True)


@dg.asset(deps=[measured], op_tags={"dagster-celery/queue": "gpu"})
def judged() -> None:
    """Made after it, on the other queue."""


def run_both() -> dg.JobDefinition:
    """A job of both, by the fleet's executor."""
    job = dg.define_asset_job("both", selection="*")
    return dg.Definitions(assets=[measured, judged], jobs=[job], executor=fleet_executor()).resolve_job_def("both")


@dg.asset(partitions_def=VIDEOS, op_tags={"dagster-celery/queue": "cpu"})
def perceived(context: dg.AssetExecutionContext) -> None:
    """Kills its worker for the video that the file `poisonous` names."""
    if (Path(os.environ[FOLDER]) / "poisonous").read_text() == context.partition_key:
        os.kill(os.getpid(), signal.SIGKILL)


@dg.asset(partitions_def=VIDEOS, deps=[perceived], op_tags={"dagster-celery/queue": "gpu"})
def ranked() -> None:
    """Made after it, on the other queue."""


def run_video() -> dg.JobDefinition:
    """A job of both for one video."""
    job = dg.define_asset_job("video", selection="*")
    return dg.Definitions(assets=[perceived, ranked], jobs=[job], executor=fleet_executor()).resolve_job_def("video")
