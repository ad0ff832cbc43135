"""Who is due, who goes first, and what fits into the budget."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.night.cost import Cost, PastVideo
from autorisk_dagster.night.failures import Broken
from autorisk_dagster.night.plan import Waiting, due, in_order, is_within, plan_night, priority
from autorisk_dagster.night.settings import BudgetSettings

HISTORY = [PastVideo(1.0, Cost(100.0, 10.0, 1000.0)), PastVideo(1.0, Cost(100.0, 10.0, 1000.0))]


def broken(video: str, tries: int) -> Broken:
    return Broken(video, "tracks", "torn", "torn", "run", 0.0, 0.0, 1, tries, tries)


def test_missing_and_failed_are_due_and_given_up_busy_and_gone_are_not() -> None:
    keys = ["made", "half", "new", "failed", "given_up", "busy", "gone"]
    made = {"first": dict.fromkeys(keys, 1), "last": {"made": 2, "failed": 2, "given_up": 2}}
    made["first"] = {key: 1 for key in keys if key != "new"}
    failed = {"failed": broken("failed", 1), "given_up": broken("given_up", 2)}
    assert due(keys, ("first", "last"), made, failed, {"busy"}, {"gone"}) == ["half", "new", "failed"]


def test_left_out_first_then_worst_then_newest() -> None:
    def video(name: str, day: int, worst: str | None = None, left_out: bool = False) -> Waiting:
        return Waiting(name, f"2026-03-{day:02}T00:00:00+00:00", worst, 1.0, left_out)

    videos = [
        video("none", 9, "NONE"),
        video("low", 8, "LOW"),
        video("old", 1),
        video("new", 7),
        video("high", 1, "HIGH"),
        video("medium", 9, "MEDIUM"),
        video("waited", 2, "NONE", left_out=True),
    ]
    assert [one.video_id for one in in_order(videos)] == ["waited", "high", "medium", "new", "old", "low", "none"]


def test_what_does_not_fit_is_passed_over_and_what_never_fits_is_named() -> None:
    waiting = [Waiting("a", "4", None, 1.0), Waiting("b", "3", None, 9.0), Waiting("c", "2", None, 1.5)]
    waiting += [Waiting("d", "1", None, 1.0)]
    plan = plan_night(waiting, HISTORY, BudgetSettings(machine_sec=300))  # 100 s an hour
    assert plan.videos == ("a", "c")
    assert plan.left_out == ("b", "d")
    assert plan.too_large == ("b",)
    assert plan.cost.machine_sec is not None and round(plan.cost.machine_sec.value) == 250


def test_each_part_of_the_budget_cuts() -> None:
    waiting = [Waiting(name, name, None, 1.0) for name in "abc"]
    assert len(plan_night(waiting, HISTORY, BudgetSettings(gpu_sec=20)).videos) == 2
    assert len(plan_night(waiting, HISTORY, BudgetSettings(tokens=1500)).videos) == 1
    assert len(plan_night(waiting, HISTORY, BudgetSettings()).videos) == 3


def test_without_history_all_are_taken_and_the_night_is_stopped_while_it_runs() -> None:
    waiting = [Waiting(name, name) for name in "abc"]
    assert plan_night(waiting, [], BudgetSettings(machine_sec=1)).videos == ("c", "b", "a")


WAITING = st.lists(
    st.builds(
        Waiting,
        st.integers(0, 99).map(lambda number: f"v{number:02}"),
        st.integers(0, 3).map(str),
        st.sampled_from([None, "NONE", "LOW", "MEDIUM", "HIGH"]),
        st.none() | st.floats(0.01, 5),
        st.booleans(),
    ),
    max_size=12,
    unique_by=lambda one: one.video_id,
)


@given(WAITING, st.floats(1, 1000), st.randoms(use_true_random=False))
def test_nothing_is_lost_or_doubled_and_the_budget_holds(waiting: list[Waiting], limit: float, random) -> None:
    budget = BudgetSettings(machine_sec=limit)
    plan = plan_night(waiting, HISTORY, budget)
    assert sorted([*plan.videos, *plan.left_out]) == sorted(one.video_id for one in waiting)
    assert set(plan.too_large) <= set(plan.left_out)
    assert plan.cost.machine_sec is not None
    assert is_within(Cost(plan.cost.machine_sec.value - 1e-6), budget)
    assert plan_night(random.sample(waiting, len(waiting)), HISTORY, budget) == plan
    # what waited goes first: the first of those that fit by themselves is taken
    first = next((one for one in in_order(waiting) if one.video_id not in plan.too_large), None)
    assert first is None or first.video_id in plan.videos
    waited = [replace(one, left_out=one.video_id in plan.left_out) for one in waiting]
    later = plan_night(waited, HISTORY, budget)
    fitting = [key for key in plan.left_out if key not in plan.too_large]
    assert not fitting or later.videos[0] in fitting


def test_every_place_has_its_own_priority_behind_what_people_ask_for() -> None:
    assert [int(priority(place)) for place in range(3)] == [-1, -2, -3]
