"""A worker of the fleet: one process, one step at a time; a model stays in its memory from step to step.

Celery gives a step that a killed worker held to another, once its lease is over. What Celery does not know is here:

- A long step renews its lease, so that the lease can be short: a death is noticed after a minute, not after the longest
  step there is.
- A step that is delivered again is looked up in the run's log (`step_log.py`). It is made again only where not all of
  it was recorded, and not a third time: what has killed two workers would kill all of them. What comes out as it was
  recorded before is not recorded again.
- A step of a run that was cancelled, or whose process died, is not begun. One that is under way is ended, unless a run
  goes on in the other's place: that one takes what is finished meanwhile as it is.
- A worker says with every beat that it is there: one that is busy does not answer Celery's own question.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any

import dagster as dg
import redis
from celery import Celery, Task
from celery.signals import worker_ready, worker_shutdown
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import DagsterEvent
from dagster._grpc.types import ExecuteStepArgs
from dagster._serdes import serialize_value, unpack_value
from dagster_celery.tasks import create_task
from kombu.transport.redis import Channel

from autorisk_dagster.fleet.celery_fleet import fleet_app
from autorisk_dagster.fleet.presence import Sign, all_signs, give, take_away
from autorisk_dagster.fleet.step_log import (
    answer_without_work,
    inherited,
    is_recorded,
    may_be_ended,
    may_begin,
    step_name,
)

BEATS_A_LEASE = 6  # so that a beat or two may be lost
SILENT_BEATS = 3  # a worker that has been silent for so many counts as gone
INTERRUPT = signal.SIGUSR2  # Celery sets it for its debugger alone, and the worker's steps run in the main thread

_log = logging.getLogger(__name__)


def run_worker(queues: Sequence[str]) -> None:
    """Take steps from `queues` until the process is told to end; the step under way is finished first."""
    app = fleet_app()
    heartbeat = Heartbeat(app, queues)
    _record_once()
    names = ",".join(queues)
    create_task(app, base=_guarded(heartbeat))
    worker_ready.connect(lambda **_: heartbeat.start(), weak=False)
    worker_shutdown.connect(lambda **_: heartbeat.stop(), weak=False)
    app.worker_main(
        # One process, no chatter between workers: who is there is told by the heartbeat.
        f"worker --pool solo -Q {names} -n {names}-{os.getpid()}@%h --loglevel INFO "
        "--without-gossip --without-mingle --without-heartbeat".split()
    )


class Heartbeat:
    """Says that the worker is there, renews the lease of its step, and ends a step whose run is over.

    A broker or database that does not answer is asked again with the next beat; a lease that runs out meanwhile costs
    the step a second making, never its result.
    """

    def __init__(self, app: Celery, queues: Sequence[str]) -> None:
        self._queues = tuple(queues)
        self._redis = redis.Redis.from_url(app.conf.broker_url, health_check_interval=10)
        self._every_sec = app.conf.broker_transport_options["visibility_timeout"] / BEATS_A_LEASE
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat_for_ever, name="heartbeat", daemon=True)
        self._step: _Step | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin; the thread ends with the process, however that ends."""
        self._thread.start()

    def stop(self) -> None:
        """Take the sign away: this worker ends in order."""
        self._over.set()
        take_away(self._redis)

    def steps(self) -> set[str]:
        """Names of the steps that workers of the fleet are busy with."""
        return {sign.step for sign in all_signs(self._redis).values() if sign.step is not None}

    @contextmanager
    def during(self, step: _Step) -> Iterator[None]:
        """Renew the lease of `step` in the block; raise in it what Dagster raises when a run is ended."""
        previous = signal.signal(INTERRUPT, _interrupt)
        with self._lock:
            self._step = step
        try:
            self._sign()  # before anyone looks whether the run is still wanted: one of the two sees the other
            yield
        finally:
            signal.signal(INTERRUPT, signal.SIG_IGN)
            with self._lock:
                self._step = None
            signal.signal(INTERRUPT, previous)
            with suppress(redis.RedisError):  # the next beat says it too
                self._sign()

    def _beat_for_ever(self) -> None:
        while not self._over.is_set():
            try:
                self._beat()
            except Exception as error:  # whatever it is, a heart that stops is worse
                _log.warning("heartbeat: %s: %s", type(error).__name__, error)
            self._over.wait(self._every_sec)

    def _sign(self) -> _Step | None:
        with self._lock:  # a sign of what was must not come after one of what is
            step = self._step
            sign = Sign(self._queues, step.name, step.since) if step else Sign(self._queues)
            give(self._redis, sign, self._every_sec * SILENT_BEATS)
        return step

    def _beat(self) -> None:
        step = self._sign()
        if step is None:
            return
        # Kombu's own index of what is taken and not done; a message that was given away is not brought back (xx).
        self._redis.zadd(Channel.unacked_index_key, {step.delivery_tag: time.time()}, xx=True)
        if step.may_be_ended():
            with self._lock:
                if self._step is step:
                    os.kill(os.getpid(), INTERRUPT)


class _Step:
    """What the heartbeat must know of the step under way."""

    def __init__(self, name: str, delivery_tag: str, may_be_ended: Callable[[], bool]) -> None:
        self.name, self.delivery_tag, self.may_be_ended, self.since = name, delivery_tag, may_be_ended, time.time()


def _interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
    raise DagsterExecutionInterruptedError()


def _record_once() -> None:
    """Record no result a second time in this process, which makes steps and nothing else. Dagster makes an instance
    for each step and asks nobody before it records, hence the change of its class."""
    record = dg.DagsterInstance.handle_new_event

    def once(self: dg.DagsterInstance, event: dg.EventLogEntry, **how: Any) -> None:
        told = event.dagster_event
        if (
            told is not None
            and told.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION
            and is_recorded(self, event.run_id, told.step_materialization_data.materialization)
        ):
            _log.warning("%s was recorded before its worker died, not again", told.asset_key)
            return
        record(self, event, **how)

    dg.DagsterInstance.handle_new_event = once  # type: ignore[assignment, method-assign]


def _guarded(heartbeat: Heartbeat) -> type[Task]:
    class GuardedStep(Task):  # type: ignore[misc]
        """dagster-celery's task, asked first whether it is to be done at all."""

        abstract = True

        def __call__(self, execute_step_args_packed: Any, executable_dict: Any) -> list[str]:
            args = unpack_value(execute_step_args_packed, as_type=ExecuteStepArgs)
            (step_key,) = args.step_keys_to_execute or ()
            attempts = args.known_state.get_retry_state().get_attempt_count(step_key) if args.known_state else 0
            known: Sequence[DagsterEvent] | None
            with dg.DagsterInstance.from_ref(args.instance_ref) as instance:  # type: ignore[arg-type]
                name, tag = step_name(step_key, args.run_id), self.request.properties["delivery_tag"]
                step = _Step(name, tag, partial(may_be_ended, instance, args.run_id, step_key))
                try:
                    with heartbeat.during(step):
                        if not may_begin(instance, args.run_id):
                            _log.warning("%s: the run is over, not begun", step.name)
                            return []
                        known = answer_without_work(instance, args.run_id, step_key, attempts)
                        if known is None:
                            known = inherited(instance, args.run_id, step_key, heartbeat.steps)
                        if known is not None:
                            return [serialize_value(event) for event in known]
                        done: list[str] = self.run(execute_step_args_packed, executable_dict)
                        return done
                except DagsterExecutionInterruptedError:
                    _log.warning("%s: the run is over, ended", step.name)
                    return []

    return GuardedStep
