"""The launcher finds runs whose process is gone, and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.launcher import WorkerStatus

from autorisk_dagster.fleet.deployment import instance_file
from autorisk_dagster.fleet.launcher import WatchedRunLauncher
from autorisk_dagster.fleet.orphans import PROCESS_TAG, this_process


@dg.job
def nothing() -> None:
    """A job to be recorded."""


def test_a_run_whose_process_or_code_server_is_gone_is_found(tmp_path: Path) -> None:
    settings = yaml.safe_load(instance_file("local").read_text(encoding="utf-8"))
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    silent = {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": str(tmp_path / "nobody")})}
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, WatchedRunLauncher)

        def health(tags: dict[str, str]) -> list[WorkerStatus]:
            run = instance.create_run_for_job(nothing, tags=tags, status=dg.DagsterRunStatus.STARTED)
            return [launcher.check_run_worker_health(run).status for _ in range(2)]

        running, failed = WorkerStatus.RUNNING, WorkerStatus.FAILED
        host = this_process().split(":")[0]
        assert health({PROCESS_TAG: this_process()}) == [running, running]
        assert health({PROCESS_TAG: f"{host}:{ended.pid}:1"}) == [failed, failed]
        assert health({PROCESS_TAG: f"another:{os.getpid()}:1"}) == [running, running]  # not to be seen from here
        assert health({}) == [running, running]
        assert health(silent) == [running, failed]  # once may be the network
        assert health(silent | {PROCESS_TAG: this_process()}) == [running, running]
