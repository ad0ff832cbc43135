"""What the log of a run tells of a step: whether somebody waits for it, whether it was made already, or given up.

A result is recorded once. A worker may be killed after it recorded what a step makes and before it recorded that the
step succeeded: where all is there, checks too, the step is not made again, and its success is recorded; else it is made
again, and what comes out as it is recorded already is not recorded a second time. A run whose process died is made
again from where it stopped: what a worker is in the middle of goes on, and the run in its place takes it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events import DagsterEvent
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.plan.objects import ErrorSource, StepFailureData, StepSuccessData, UserFailureData
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_START_TAG,
    AUTO_RETRY_RUN_ID_TAG,
    RESUME_RETRY_TAG,
    WILL_RETRY_TAG,
)

from autorisk_dagster.fleet.orphans import UNFINISHED

MAX_STARTS = 2  # of one attempt of a step; each but the last killed its worker
LOOK_EVERY_SEC = 1.0  # whether a step that another worker is busy with is finished

_START = (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED)
_SUCCESS, _FAILURE = dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE
_RETRY, _OUTPUT = dg.DagsterEventType.STEP_UP_FOR_RETRY, dg.DagsterEventType.STEP_OUTPUT


def step_name(step_key: str, run_id: str) -> str:
    """How workers name a step to each other."""
    return f"{step_key} of run {run_id}"


def may_begin(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a step of the run is still to be begun."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status is dg.DagsterRunStatus.STARTED


def may_be_ended(instance: dg.DagsterInstance, run_id: str, step_key: str) -> bool:
    """Whether a step under way is for nobody: its run is over and none goes on in its place.

    One that has begun to record what it made of its video is left to finish, which takes a moment; ended there, it
    would be recorded again.
    """
    run = instance.get_run_by_id(run_id)
    if run is None:
        return True
    if _is_awaited(instance, run):
        return False
    recorded = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    batch = ASSET_PARTITION_RANGE_START_TAG in run.tags  # it records each video when it is made
    return batch or not any(entry.step_key == step_key for entry in recorded)


def answer_without_work(
    instance: dg.DagsterInstance, run_id: str, step_key: str, attempts: int
) -> Sequence[DagsterEvent] | None:
    """The events of a step that need no work: it is finished, or it has killed too many workers; else None.

    What was recorded in full by a worker that was killed then is finished: its success is recorded here.

    Args:
        instance: whose log is read
        run_id, step_key: of the step
        attempts: how often the run has seen it fail and asked for it again
    """
    log = _log_of(instance, run_id, step_key)
    wanted = {*_START, _SUCCESS, _FAILURE, _RETRY}
    events = [event for event in map(_event, log) if event.event_type in wanted]
    retries = sum(event.event_type is _RETRY for event in events)
    if retries > attempts or any(event.event_type in (_SUCCESS, _FAILURE) for event in events):
        return [_event(entry) for entry in _last_making(log)]
    success = _success_of(log)
    if success is not None:
        instance.report_dagster_event(success, run_id)
        return [*map(_event, _last_making(log)), success]
    retried = max((number for number, event in enumerate(events) if event.event_type is _RETRY), default=-1)
    starts = [event for event in events[retried + 1 :] if event.event_type in _START]
    if len(starts) < MAX_STARTS:
        return None
    text = f"{len(starts)} workers died in this step, and no third is given to it; its log tells how far it came"
    failure = starts[-1]._replace(
        event_type_value=_FAILURE.value,
        message=f'Execution of step "{step_key}" failed: {text}',
        event_specific_data=StepFailureData(None, UserFailureData("workers died", text, {})),  # type: ignore[no-untyped-call]
    )
    instance.report_dagster_event(failure, run_id, logging.ERROR)
    return [failure]


def inherited(
    instance: dg.DagsterInstance, run_id: str, step_key: str, under_way: Callable[[], set[str]]
) -> Sequence[DagsterEvent] | None:
    """The events of a step that the run in whose place this one goes on has finished after all, told anew under this
    run, without what it made; None: it is still to be made.

    Args:
        instance: whose log is read
        run_id, step_key: of the step
        under_way: names of the steps that workers are busy with; such a one is waited for
    """
    for before in _in_whose_place(instance, run_id):
        while step_name(step_key, before) in under_way():
            time.sleep(LOOK_EVERY_SEC)
        log = _log_of(instance, before, step_key)
        success = _success_of(log)
        if success is not None:
            making = map(_event, _last_making(log))
            told = [event for event in making if event.event_type in (*_START, _OUTPUT)] + [success]
            for event in told:
                instance.report_dagster_event(event, run_id)
            return told
    return None


def is_recorded(instance: dg.DagsterInstance, run_id: str, made: dg.AssetMaterialization) -> bool:
    """Whether the newest record of an asset (and partition) says the same, of the same run or one in whose place it
    goes on: its step is made again, and comes to what it came to before."""
    version = (made.tags or {}).get(DATA_VERSION_TAG)
    wanted = dg.AssetRecordsFilter(made.asset_key, asset_partitions=[made.partition] if made.partition else None)
    for record in instance.fetch_materializations(wanted, limit=1).records:
        newest = record.asset_materialization
        if version is None or newest is None or (newest.tags or {}).get(DATA_VERSION_TAG) != version:
            return False
        return record.run_id == run_id or record.run_id in _in_whose_place(instance, run_id)
    return False


def _in_whose_place(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """Ids of the runs that were broken off and that this one goes on for, the last one first."""
    found: list[str] = []
    run = instance.get_run_by_id(run_id)
    while run is not None and run.parent_run_id and run.tags.get(RESUME_RETRY_TAG) == "true":
        found.append(run.parent_run_id)
        run = instance.get_run_by_id(run.parent_run_id)
    return found


def _is_awaited(instance: dg.DagsterInstance, run: dg.DagsterRun | None) -> bool:
    """Whether the run goes on, or one goes on or will in its place."""
    while run is not None and run.status is dg.DagsterRunStatus.FAILURE:
        decided = run.tags.get(WILL_RETRY_TAG)
        if decided is None:  # Dagster decides it a moment after it marked the run
            return instance.run_retries_enabled
        if decided != "true":
            return False
        again = run.tags.get(AUTO_RETRY_RUN_ID_TAG)
        if again is None:
            return True
        run = instance.get_run_by_id(again)
    return run is not None and run.status in UNFINISHED


def _success_of(log: Sequence[EventLogEntry]) -> DagsterEvent | None:
    """The success of the last making of a step: as it is recorded, or made where the step recorded all that its run
    planned for it and was killed or ended then; None: it was not finished."""
    making = _last_making(log)
    events = [_event(entry) for entry in making]
    for event in events:
        if event.event_type is _SUCCESS:
            return event
        if event.event_type is _RETRY or (
            event.event_type is _FAILURE and event.step_failure_data.error_source is not ErrorSource.INTERRUPT
        ):
            return None
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if check.blocking is not False and not check.passed and check.severity is dg.AssetCheckSeverity.ERROR:
                return None  # it was about to fail
    kinds = dg.DagsterEventType
    planned = _assets(log, kinds.ASSET_MATERIALIZATION_PLANNED) | _checks(log, kinds.ASSET_CHECK_EVALUATION_PLANNED)
    recorded = _assets(making, kinds.ASSET_MATERIALIZATION) | _checks(making, kinds.ASSET_CHECK_EVALUATION)
    if not planned or planned - recorded:
        return None
    took_sec = making[-1].timestamp - making[0].timestamp
    return events[0]._replace(
        event_type_value=_SUCCESS.value,
        message=f'Step "{events[0].step_key}" recorded all it makes; its worker died before it could say so.',
        event_specific_data=StepSuccessData(took_sec * 1000),  # type: ignore[no-untyped-call]
    )


def _assets(log: Sequence[EventLogEntry], kind: dg.DagsterEventType) -> set[object]:
    """Asset and partition of each event of one kind."""
    return {(event.asset_key, event.partition) for event in map(_event, log) if event.event_type is kind}


def _checks(log: Sequence[EventLogEntry], kind: dg.DagsterEventType) -> set[object]:
    """The check of each event of one kind, of which a run has one a check."""
    data: Any = [event.event_specific_data for event in map(_event, log) if event.event_type is kind]
    return {each.asset_check_key for each in data}


def _log_of(instance: dg.DagsterInstance, run_id: str, step_key: str) -> list[EventLogEntry]:
    return [
        entry for entry in instance.all_logs(run_id) if entry.dagster_event is not None and entry.step_key == step_key
    ]


def _event(entry: EventLogEntry) -> DagsterEvent:
    return entry.get_dagster_event()


def _last_making(log: Sequence[EventLogEntry]) -> list[EventLogEntry]:
    starts = [number for number, entry in enumerate(log) if _event(entry).event_type in _START]
    return list(log[starts[-1] if starts else 0 :])
