"""Dagster's own run launcher, which also finds the runs whose process died.

A run is a process of the daemon's machine. Dagster's launcher forgets it when the machine or the daemon starts anew,
and the run stays "started" until its time is over. This one answers run monitoring: the run says which process makes
it (`orphans.PROCESS_TAG`), or else the code server that made it is asked. Run monitoring marks what died as failed,
and `run_retries` runs it once more from where it stopped. Named in `configs/dagster_*.yaml`.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

from autorisk_dagster.fleet.orphans import PROCESS_TAG, is_alive

ASK_TIMEOUT_SEC = 10


class WatchedRunLauncher(DefaultRunLauncher):
    """`DefaultRunLauncher` with health checks."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes; Dagster's own says no."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """FAILED where the run's process is gone, or its code server was silent twice in a row; else RUNNING.

        A process on another machine cannot be seen from here: such a run waits for `max_runtime_seconds`.
        """
        alive = is_alive(run.tags.get(PROCESS_TAG, ""))
        if alive is None:
            alive = self._code_server_has(run.run_id)
        if alive:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "the process that made this run is gone")

    def _code_server_has(self, run_id: str) -> bool:
        client = self._get_grpc_client_for_termination(run_id)  # type: ignore[no-untyped-call]
        if client is None:
            return True
        silent: set[str] = self.__dict__.setdefault("_silent", set())  # when they were last asked
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run_id), timeout=ASK_TIMEOUT_SEC)
        except DagsterUserCodeUnreachableError:
            was_silent = run_id in silent
            silent.add(run_id)
            return not was_silent
        silent.discard(run_id)
        return deserialize_value(answer, CanCancelExecutionResult).can_cancel
