"""What to do while a night goes on, in cases by hand and over random nights."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autorisk_dagster.night.cost import Cost
from autorisk_dagster.night.failures import Broken
from autorisk_dagster.night.settings import BudgetSettings
from autorisk_dagster.night.watch import REQUESTED_WITHIN_SEC, NightRun, Steps, next_steps

FREE = BudgetSettings()
HUNDRED = BudgetSettings(machine_sec=100)


def run(video: str, state: str, number: int = 0, request: str | None = None) -> NightRun:
    return NightRun(f"{video}{number}", video, request or f"{video}/{number}", number, state)  # type: ignore[arg-type]


def broken(video: str, tries: int) -> dict[str, Broken]:
    return {video: Broken(video, "tracks", "torn", "torn", "run", 0.0, 0.0, 1, tries, tries)}


def steps(
    *runs: NightRun, spent: float = 0.0, budget: BudgetSettings = FREE, tries: int = 0, age: float = 60.0
) -> Steps:
    return next_steps(["a", "b"], runs, Cost(spent), budget, broken("a", tries) if tries else {}, age)


def test_a_night_goes_on_until_its_last_run_has_ended() -> None:
    assert not steps(run("a", "succeeded"), run("b", "running")).ended
    assert not steps(run("a", "succeeded"), run("b", "queued")).ended
    assert steps(run("a", "succeeded"), run("b", "succeeded")) == Steps((), (), True, False, ())


def test_what_was_planned_and_not_requested_yet_is_waited_for_and_not_for_ever() -> None:
    assert not steps(run("a", "succeeded")).ended
    assert not steps(run("a", "succeeded"), age=-3600.0).ended  # the clock was set back
    late = steps(run("a", "succeeded"), age=REQUESTED_WITHIN_SEC + 1)
    assert (late.ended, late.left_out) == (True, ("b",))
    assert next_steps([], [], Cost(), FREE, {}, 0.0).ended  # nothing was planned


def test_a_first_failure_is_tried_once_more_and_then_left() -> None:
    first = steps(run("a", "failed"), run("b", "succeeded"), tries=1)
    assert (first.retry, first.ended) == (("a",), False)
    again = steps(run("a", "failed"), run("b", "succeeded"), run("a", "failed", 2), tries=1)  # for another cause
    assert (again.retry, again.ended) == ((), True)
    assert steps(run("a", "failed"), run("b", "succeeded"), tries=2).ended  # last night's was the first


def test_a_used_up_budget_cancels_the_queue_and_lets_run_what_runs() -> None:
    found = steps(run("a", "running"), run("b", "queued"), spent=100.0, budget=HUNDRED)
    assert (found.cancel, found.used_up, found.ended) == (("b0",), True, False)
    found = steps(run("a", "failed"), run("b", "cancelled"), spent=100.0, budget=HUNDRED, tries=1)
    assert (found.retry, found.ended, found.left_out) == ((), True, ("b",))
    assert not steps(run("a", "running"), run("b", "queued"), spent=99.0, budget=HUNDRED).cancel


def test_of_a_run_that_was_asked_for_twice_the_first_stays() -> None:
    twice = [run("a", "queued", 1, "night/a"), run("a", "queued", 2, "night/a"), run("b", "succeeded")]
    assert steps(*twice).cancel == ("a2",)
    assert steps(*reversed(twice)).cancel == ("a2",)
    # one that runs already is not killed
    assert (
        steps(run("a", "running", 1, "night/a"), run("a", "running", 2, "night/a"), run("b", "succeeded")).cancel == ()
    )
    # a person cancelled the first, and the second was made
    other = [run("a", "cancelled", 1, "night/a"), run("a", "succeeded", 2, "night/a"), run("b", "succeeded")]
    assert steps(*other).left_out == ()
    done = [run("a", "succeeded", 1, "night/a"), run("a", "cancelled", 2, "night/a"), run("b", "succeeded")]
    assert steps(*done) == Steps((), (), True, False, ())


STATES = st.sampled_from(["queued", "running", "succeeded", "failed", "cancelled"])


@given(
    st.lists(st.tuples(st.sampled_from("ab"), STATES, st.booleans()), max_size=6), st.floats(0, 200), st.integers(0, 2)
)
def test_nothing_that_runs_is_cancelled_and_an_ended_night_has_nothing_left(
    drawn: list[tuple[str, str, bool]], spent: float, tries: int
) -> None:
    runs = [run(v, state, n, f"{v}" if same else None) for n, (v, state, same) in enumerate(drawn)]
    found = steps(*runs, spent=spent, budget=HUNDRED, tries=tries, age=1e6)
    by_id = {one.run_id: one for one in runs}
    assert all(by_id[run_id].state == "queued" for run_id in found.cancel)
    going_on = [one for one in runs if one.state in ("queued", "running") and one.run_id not in found.cancel]
    assert found.ended == (not going_on and not found.retry)
    assert not (found.used_up and (found.retry or [one for one in going_on if one.state == "queued"]))
    if found.ended:
        made = {one.video_id for one in runs if one.state in ("succeeded", "failed")}
        assert set(found.left_out) == {"a", "b"} - made
