"""What the log of a run tells of a step: asked of an instance in memory, with logs of real runs, whole and cut off."""

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent

from autorisk_dagster.fleet.step_log import answer_without_work, inherited, is_recorded, may_be_ended, may_begin

RESUMED = {"dagster/is_resume_retry": "true"}
CHECK = dg.AssetCheckSpec("whole", asset="second", blocking=True)


@dg.multi_asset(name="both", outs={"first": dg.AssetOut(), "second": dg.AssetOut()}, check_specs=[CHECK])
def both(context: dg.AssetExecutionContext) -> object:
    """Two assets of one step; a check between them, which fails where the run's tag says so."""
    passed = context.run.tags.get("check") != "fails"
    yield dg.MaterializeResult("first", value=1)
    yield dg.MaterializeResult(
        "second", value=2, check_results=[dg.AssetCheckResult(passed=passed, asset_key="second")]
    )


class Log:
    """A real run of `both`, and runs whose log is its, up to some event."""

    def __init__(self, instance: dg.DagsterInstance, tags: dict[str, str] | None = None) -> None:
        self.instance = instance
        self.made = dg.materialize([both], instance=instance, tags=tags, raise_on_error=False)

    def cut(self, after: str, count: int = 1) -> str:
        """A run whose log ends with the `count`-th event of the type `after`."""
        run_id = self.follower({})
        for event in self.made.all_events:
            if event.step_key == "both" and "PLANNED" not in event.event_type_value:
                self.instance.report_dagster_event(event, run_id)
                count -= event.event_type_value == after
                if count == 0:
                    break
        return run_id

    def follower(self, tags: dict[str, str], of: str | None = None) -> str:
        return self.instance.create_run_for_job(self.made.job_def, parent_run_id=of, root_run_id=of, tags=tags).run_id

    def kinds(self, run_id: str) -> list[str]:
        found = [one.dagster_event for one in self.instance.all_logs(run_id) if one.dagster_event]
        return [one.event_type_value for one in found if "PLANNED" not in one.event_type_value]


@pytest.fixture
def log() -> Log:
    return Log(dg.DagsterInstance.ephemeral())


def kinds_of(events: object) -> list[str]:
    assert isinstance(events, list)
    return [event.event_type_value for event in events if isinstance(event, DagsterEvent)]


def test_what_is_recorded_in_full_is_finished_and_its_success_is_recorded_once(log: Log) -> None:
    run_id = log.cut("ASSET_CHECK_EVALUATION")
    answer = kinds_of(answer_without_work(log.instance, run_id, "both", 0))
    assert answer[0] == "STEP_START" and answer[-1] == "STEP_SUCCESS" and answer.count("STEP_OUTPUT") == 3
    assert kinds_of(answer_without_work(log.instance, run_id, "both", 0)) == answer  # asked again: told, not recorded
    assert log.kinds(run_id).count("STEP_SUCCESS") == 1


def test_what_is_recorded_in_part_is_made_again(log: Log) -> None:
    for after, count in (("STEP_START", 1), ("ASSET_MATERIALIZATION", 1), ("ASSET_MATERIALIZATION", 2)):
        assert answer_without_work(log.instance, log.cut(after, count), "both", 0) is None


def test_a_step_whose_blocking_check_failed_is_no_success_though_all_of_it_is_recorded() -> None:
    log = Log(dg.DagsterInstance.ephemeral(), tags={"check": "fails"})
    run_id = log.cut("ASSET_CHECK_EVALUATION")
    assert answer_without_work(log.instance, run_id, "both", 0) is None
    failed = log.follower(RESUMED, of=log.made.run_id)
    assert not log.made.success and inherited(log.instance, failed, "both", set) is None


def test_a_run_in_the_place_of_another_takes_what_was_finished_meanwhile(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autorisk_dagster.fleet.step_log.LOOK_EVERY_SEC", 0.0)
    died = log.cut("ASSET_CHECK_EVALUATION")
    for before in (log.made.run_id, died):  # with the record of its success, and without
        by_hand = log.follower({}, of=before)  # a person wants all of it anew
        assert inherited(log.instance, by_hand, "both", set) is None
        resumed = log.follower(RESUMED, of=before)
        asked: list[int] = []

        def under_way(busy: str = f"both of run {before}", asked: list[int] = asked) -> set[str]:
            asked.append(1)
            return {busy} if len(asked) == 1 else set()

        told = kinds_of(inherited(log.instance, resumed, "both", under_way))
        assert len(asked) == 2 and told[0] == "STEP_START" and told[-1] == "STEP_SUCCESS"
        assert set(told[1:-1]) == {"STEP_OUTPUT"}
        assert log.kinds(resumed) == told
        assert inherited(log.instance, resumed, "another", set) is None
        later = log.follower(RESUMED, of=resumed)
        assert kinds_of(inherited(log.instance, later, "both", set)) == told


def test_what_is_recorded_already_is_known_by_its_run_and_its_version(log: Log) -> None:
    run_id = log.cut("ASSET_MATERIALIZATION", 1)
    (record,) = log.instance.fetch_materializations(dg.AssetKey("first"), limit=1).records
    made = record.asset_materialization
    assert made is not None and record.run_id == run_id
    assert is_recorded(log.instance, run_id, made)
    resumed = log.follower(RESUMED, of=run_id)
    assert is_recorded(log.instance, resumed, made) and is_recorded(log.instance, log.follower(RESUMED, resumed), made)
    assert not is_recorded(log.instance, log.follower({}, of=run_id), made)  # a person wants it anew
    other = dg.AssetMaterialization("first", tags={**(made.tags or {}), "dagster/data_version": "other"})
    assert not is_recorded(log.instance, run_id, other)
    assert not is_recorded(log.instance, run_id, dg.AssetMaterialization("first"))
    assert not is_recorded(log.instance, run_id, dg.AssetMaterialization("never made", tags=made.tags))


def test_a_step_goes_on_while_its_run_or_the_one_in_its_place_wants_it() -> None:
    retries = {"run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False}}
    with dg.DagsterInstance.ephemeral(settings=retries) as instance:
        log = Log(instance)
        run_id = log.follower({})

        def run() -> dg.DagsterRun:
            found = instance.get_run_by_id(run_id)
            assert found is not None
            return found

        assert not may_begin(instance, run_id) and not may_be_ended(instance, run_id, "both")
        instance.report_run_failed(run(), "its process died")
        assert run().tags["dagster/will_retry"] == "true"
        assert not may_begin(instance, run_id) and not may_be_ended(instance, run_id, "both")
        again = log.follower(RESUMED, of=run_id)
        instance.add_run_tags(run_id, {"dagster/auto_retry_run_id": again})
        assert not may_be_ended(instance, run_id, "both")
        instance.report_run_canceled(instance.get_run_by_id(again))  # type: ignore[arg-type]
        assert may_be_ended(instance, run_id, "both")
        recorded = log.cut("ASSET_MATERIALIZATION", 1)
        instance.report_run_canceled(instance.get_run_by_id(recorded))  # type: ignore[arg-type]
        assert not may_be_ended(instance, recorded, "both")  # it has begun to record
        assert may_be_ended(instance, recorded, "another") and may_be_ended(instance, "no such run", "both")
