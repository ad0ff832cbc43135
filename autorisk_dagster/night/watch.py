"""What to do while a night's runs go on: stop it where its budget is used up, try again once, end it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from autorisk_dagster.night.cost import Cost
from autorisk_dagster.night.failures import Broken
from autorisk_dagster.night.settings import BudgetSettings

# A planned video that has no run so long after the plan gets none: the tick that was to request it died.
REQUESTED_WITHIN_SEC = 900.0

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class NightRun:
    """A run of the night. `number` grows with each run that is created; `request` is the same for a doubled one."""

    run_id: str
    video_id: str
    request: str
    number: int
    state: State


@dataclass(frozen=True)
class Steps:
    """What to do now.

    Attributes:
        cancel: queued runs
        retry: videos that failed in this night for the first time
        ended: nothing of the night is left to do
        used_up: the budget is; what was running finishes
        left_out: videos that were planned and not made: the next night begins with them
    """

    cancel: tuple[str, ...]
    retry: tuple[str, ...]
    ended: bool
    used_up: bool
    left_out: tuple[str, ...]


def next_steps(
    planned: Sequence[str],
    runs: Iterable[NightRun],
    spent: Cost,
    budget: BudgetSettings,
    broken: Mapping[str, Broken],
    since_plan_sec: float,
) -> Steps:
    """What one look at the night means.

    Args:
        planned: videos of the plan
        runs: of this night, retries included
        spent: by the runs of this night until now
        budget: of one night
        broken: by video, what is broken now
        since_plan_sec: time since the plan was made; less than nothing where the clock was set back
    """
    runs = list(runs)
    used_up = not is_below(spent, budget)
    doubled = _doubled(runs)
    queued = [run for run in runs if run.state == "queued"]
    cancel = tuple(run.run_id for run in queued if used_up or run.run_id in doubled)
    of_video: dict[str, list[NightRun]] = defaultdict(list)
    for run in runs:
        if run.run_id not in doubled:
            of_video[run.video_id].append(run)
    retry = () if used_up else tuple(key for key, mine in of_video.items() if _to_retry(key, mine, broken))
    going_on = any(run.state in ("queued", "running") and run.run_id not in cancel for run in runs)
    awaited = since_plan_sec < REQUESTED_WITHIN_SEC and any(key not in of_video for key in planned)
    came_to_something = {run.video_id for run in runs if run.state != "cancelled" and run.run_id not in cancel}
    not_made = tuple(key for key in planned if key not in came_to_something)
    ended = not going_on and not retry and not (awaited and not used_up)
    return Steps(cancel, retry, ended, used_up, not_made if ended else ())


def is_below(spent: Cost, budget: BudgetSettings) -> bool:
    """Whether something is left of every part of the budget."""
    limits = ((spent.machine_sec, budget.machine_sec), (spent.gpu_sec, budget.gpu_sec), (spent.tokens, budget.tokens))
    return all(limit is None or used < limit for used, limit in limits)


def _to_retry(key: str, runs: Sequence[NightRun], broken: Mapping[str, Broken]) -> bool:
    newest = max(runs, key=lambda run: run.number)
    return newest.state == "failed" and len(runs) == 1 and key in broken and not broken[key].given_up


def _doubled(runs: Iterable[NightRun]) -> set[str]:
    """Runs of one request but for the first: two schedulers asked at the same moment."""
    first: dict[str, NightRun] = {}
    for run in sorted(runs, key=lambda one: one.number):
        first.setdefault(run.request, run)
    return {run.run_id for run in runs if first[run.request].run_id != run.run_id}
