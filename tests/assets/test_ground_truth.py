"""Labels as an asset: which count and why others do not; and the check that refuses labels that came too late."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.label_protocol import CHECK, labels_frozen_result, outputs_first_made
from autorisk_dagster import tables
from autorisk_dagster.io import FrameStore
from autorisk_dagster.review.label_sets import freeze
from autorisk_dagster.review.log import review_log
from autorisk_dagster.review.verdicts import Verdict
from tests.review.evaluated import check_of, evaluate, report_outputs
from tests.review.example import label_row
from tests.review.fleet import VIDEO, clip, make_fleet, predicted, read_table, write_table


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One video with three clips and an output for each; the tests below change its outputs and labels."""
    return make_fleet(tmp_path_factory.mktemp("fleet") / "data", 3)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as found:
        yield found


def standing(instance: dg.DagsterInstance, fleet: Path, frozen_at: datetime) -> dg.AssetCheckResult:
    """The check on one label, frozen then, of the first clip."""
    clips = read_table(fleet, "mined_clips")
    of_clip = {"video_id": VIDEO, "clip_sha256": clips.item(0, "clip_sha256")}
    truth = tables.frame([label_row(1, "LOW", 0) | of_clip | {"frozen_at": frozen_at}], tables.GROUND_TRUTH)
    store = FrameStore(base_dir=str(fleet / "tables")).create_io_manager(dg.build_init_resource_context())
    first_made = outputs_first_made(instance, store.read_fleet("reason_outputs", [VIDEO]), truth)
    return labels_frozen_result("eval_metrics", truth, first_made)


def counts(check: dg.AssetCheckResult) -> dict[str, int]:
    """Labels by standing, where there are any."""
    found = {name.removeprefix("labels_"): entry.value for name, entry in check.metadata.items()}
    return {name: int(value) for name, value in found.items() if name != "late_labels" and value}  # type: ignore[arg-type,call-overload]


def say(fleet: Path, **values: str) -> None:
    """Let the outputs be other ones."""
    outputs = read_table(fleet, "reason_outputs").with_columns(**{name: pl.lit(each) for name, each in values.items()})
    write_table(fleet, "reason_outputs", outputs)


def test_labels_frozen_before_the_outputs_may_judge_them(fleet: Path, instance: dg.DagsterInstance) -> None:
    frozen_at = datetime.now(UTC)
    report_outputs(instance, fleet)
    check = standing(instance, fleet, frozen_at)
    assert check.passed and counts(check) == {"blind": 1}


def test_labels_frozen_after_them_may_not(fleet: Path, instance: dg.DagsterInstance) -> None:
    report_outputs(instance, fleet)
    check = standing(instance, fleet, datetime.now(UTC))
    assert not check.passed and counts(check) == {"late": 1}


def test_making_the_same_outputs_again_does_not_make_late_labels_blind(
    fleet: Path, instance: dg.DagsterInstance
) -> None:
    report_outputs(instance, fleet)
    frozen_at = datetime.now(UTC)
    say(fleet, raw_text="new words for the same")
    report_outputs(instance, fleet)
    assert counts(standing(instance, fleet, frozen_at)) == {"late": 1}


def test_nor_does_another_output_in_between(fleet: Path, instance: dg.DagsterInstance) -> None:
    report_outputs(instance, fleet)
    say(fleet, model_id="another")
    report_outputs(instance, fleet)
    frozen_at = datetime.now(UTC)
    say(fleet, model_id="kinematic")
    report_outputs(instance, fleet)
    assert counts(standing(instance, fleet, frozen_at)) == {"late": 1}


def test_what_another_model_says_later_may_be_judged_by_them(fleet: Path, instance: dg.DagsterInstance) -> None:
    report_outputs(instance, fleet)
    frozen_at = datetime.now(UTC)
    say(fleet, model_id="the next")
    report_outputs(instance, fleet)
    assert counts(standing(instance, fleet, frozen_at)) == {"blind": 1}


def test_a_run_that_does_not_say_what_it_made_is_taken_to_have_made_these(
    fleet: Path, instance: dg.DagsterInstance
) -> None:
    report_outputs(instance, fleet, digests=False)
    frozen_at = datetime.now(UTC)
    report_outputs(instance, fleet)
    assert counts(standing(instance, fleet, frozen_at)) == {"late": 1}


def test_outputs_that_nobody_recorded_cannot_be_judged(fleet: Path, instance: dg.DagsterInstance) -> None:
    check = standing(instance, fleet, datetime.now(UTC))
    assert not check.passed and counts(check) == {"time_unknown": 1}


def label(data: Path, name: str, *numbers: int) -> None:
    """Freeze a label set now; each clip gets the severity that is predicted of the next."""
    path = data / "labels" / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    lines = ["clip,severity", *(f"{clip(number)},{predicted(number + 1)}" for number in numbers)]
    path.write_text("\n".join(lines), encoding="utf-8")
    clips = dict(read_table(data, "mined_clips").select("clip_id", "clip_sha256").iter_rows())
    freeze(path, clips, review_log(data), datetime.now(UTC))


def test_ground_truth_says_which_labels_count_and_a_late_one_fails_the_evaluation(tmp_path: Path) -> None:
    data = make_fleet(tmp_path / "data", 3)
    label(data, "anna", 1)
    sha256 = dict(read_table(data, "mined_clips").select("clip_id", "clip_sha256").iter_rows())
    for number in (1, 2):
        verdict = Verdict(
            verdict="change",
            video_id=VIDEO,
            clip_id=clip(number),
            clip_sha256=sha256[clip(number)],
            output_sha256="ab" * 32,
            shown_severity="LOW",
            severity="HIGH",
            reviewer="bert",
            time=datetime.now(UTC),
        )
        review_log(data).append(verdict.record())
    with dg.instance_for_test() as instance:
        report_outputs(instance, data)
        result, truth = evaluate(instance, data)
        assert result.success
        assert truth.select("clip_id", "severity", "origin", "judged_output_sha256").rows() == [
            (clip(1), predicted(2), "label_file", None),
            (clip(2), "HIGH", "review", "ab" * 32),
        ]
        check = check_of(result, CHECK)
        assert check.passed
        assert (check.metadata["labels_blind"].value, check.metadata["labels_saw_output"].value) == (1, 1)
        (made,) = result.asset_materializations_for_node("ground_truth")
        assert "the blind label" in str(made.metadata["left_out"].value)
        assert str(made.metadata["review_log"].value).startswith("3 records, ")
        first = made.tags["dagster/data_version"] if made.tags else None

        label(data, "cem", 3)  # when the output was there already
        result, _ = evaluate(instance, data)
        assert not result.success
        check = check_of(result, CHECK)
        assert not check.passed and clip(3) in str(check.metadata["late_labels"].value)
        (made,) = result.asset_materializations_for_node("ground_truth")
        assert first is not None and made.tags is not None and made.tags["dagster/data_version"] != first

        path = data / "labels" / "anna.csv"
        path.chmod(0o644)
        path.write_text(f"clip,severity\n{clip(1)},HIGH\n", encoding="utf-8")
        result, _ = evaluate(instance, data)
        (failed,) = result.get_step_failure_events()
        assert "was changed after it was frozen" in str(failed.step_failure_data.user_failure_data.description)
