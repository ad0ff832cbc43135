"""Which videos the night takes, in which order, and which it leaves for the next one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from autorisk_dagster.night.cost import Cost, NightCost, PastVideo, expected_costs, night_cost
from autorisk_dagster.night.failures import Broken, Made
from autorisk_dagster.night.settings import BudgetSettings

# A video that nobody has judged may be anything: after what is known to be bad, before what is known not to be.
_BANDS = {"HIGH": 0, "MEDIUM": 1, None: 2, "LOW": 3, "NONE": 4}


@dataclass(frozen=True)
class Waiting:
    """A video that must be made.

    Attributes:
        registered_at: ISO 8601, UTC: when its footage came in; the newest goes first
        worst: its worst severity as far as it is known
        footage_hours: None: nobody has opened the file yet
        left_out: the last night did not get to it
    """

    video_id: str
    registered_at: str
    worst: str | None = None
    footage_hours: float | None = None
    left_out: bool = False


@dataclass(frozen=True)
class Plan:
    """What one night does.

    Attributes:
        videos: in the order in which they are made
        left_out: what the budget has no room for; these come first in the next night
        too_large: of `left_out`, those that alone cost more than a night may use
        cost: of `videos`
    """

    videos: tuple[str, ...]
    left_out: tuple[str, ...]
    too_large: tuple[str, ...]
    cost: NightCost


def due(
    registered: Iterable[str],
    assets: Collection[str],
    made: Made,
    broken: Mapping[str, Broken],
    busy: Collection[str],
    gone: Collection[str],
) -> list[str]:
    """Videos of which one of `assets` is missing or failed, in the order in which they were registered.

    Not those that are `busy` (a run of theirs has not ended), whose file is `gone`, or that are given up.
    """

    def wanted(video_id: str) -> bool:
        failed = broken.get(video_id)
        if failed is not None:
            return not failed.given_up
        return any(video_id not in made.get(asset, {}) for asset in assets)

    return [key for key in registered if key not in busy and key not in gone and wanted(key)]


def in_order(waiting: Iterable[Waiting]) -> list[Waiting]:
    """First what the last night left out, then the worst, then the newest."""
    newest_first = sorted(waiting, key=lambda one: (one.registered_at, one.video_id), reverse=True)
    return sorted(newest_first, key=lambda one: (not one.left_out, _BANDS[one.worst]))


def plan_night(waiting: Iterable[Waiting], history: Sequence[PastVideo], budget: BudgetSettings) -> Plan:
    """Take in order what fits; what does not fit is passed over for what comes behind it and does.

    Without history nothing can be estimated: all are taken, and the budget stops the night while it runs.
    """
    videos = in_order(waiting)
    costs = expected_costs(history, [one.footage_hours for one in videos])
    taken, left, too_large = [], [], []
    used = Cost()
    for number, video in enumerate(videos):
        cost = Cost() if costs is None else costs[number]
        if is_within(used + cost, budget):
            taken.append(video)
            used += cost
        else:
            left.append(video.video_id)
            if not is_within(cost, budget):
                too_large.append(video.video_id)
    return Plan(
        tuple(one.video_id for one in taken),
        tuple(left),
        tuple(too_large),
        night_cost(history, [one.footage_hours for one in taken]),
    )


def is_within(cost: Cost, budget: BudgetSettings) -> bool:
    """Whether no part of the budget is exceeded."""
    limits = ((cost.machine_sec, budget.machine_sec), (cost.gpu_sec, budget.gpu_sec), (cost.tokens, budget.tokens))
    return all(limit is None or used <= limit for used, limit in limits)


def priority(place: int) -> str:
    """Dagster's run priority of the video at `place` in the plan: behind what people ask for, which has 0."""
    return str(-1 - place)
