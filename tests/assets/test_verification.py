"""The verification assets on recorded proposals and on a video, with an endpoint and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.verification import alarm_metrics, gesture_verdicts, verified_events
from autorisk_dagster import tables
from autorisk_dagster.intake.sources import SourceLedger
from autorisk_dagster.io import FrameStore
from autorisk_dagster.partitions import videos
from autorisk_dagster.storage.folder import Folder
from resources.media_store import MediaStore
from resources.verifiers import Verifiers
from tests.verification import test_recorded_gestures as recorded
from tests.verification import test_verified_events as near_misses
from tests.verification.servers import FaultyEndpoint, serving
from tests.video_factory import steady, write_video


@pytest.fixture(autouse=True)
def no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COSMOS_NIM_URL", raising=False)


def resources(data: Path) -> dict[str, Any]:
    return {
        "io_manager": FrameStore(base_dir=str(data / "tables")),
        "media": MediaStore(root=str(data)),
        "verifiers": Verifiers(root=str(data / "verification")),
    }


def of_video(data: Path) -> tuple[dg.ExecuteInProcessResult, str]:
    """`verified_events` of one video, its inputs written as the assets before it would."""
    key = SourceLedger(Folder(data / "sources")).register(write_video(data / "drive.mp4", steady(40, 10.0))).video_id
    facts = dict.fromkeys(tables.SOURCE_VIDEO) | {"width_px": 160, "height_px": 90, "duration_sec": 36.0}
    given = {
        "source_video": tables.frame([facts], tables.SOURCE_VIDEO),
        "tracks": near_misses.TRACKS,
        "near_miss_events": near_misses.EVENTS.filter(pl.col("event_id") != "late"),
    }
    for name, table in given.items():
        (data / "tables" / name).mkdir(parents=True, exist_ok=True)
        table.write_parquet(data / "tables" / name / f"{key}.parquet")
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("videos", [key])
        result = dg.materialize(
            [verified_events, *(dg.AssetSpec(name, partitions_def=videos) for name in given)],
            selection=[verified_events],
            instance=instance,
            partition_key=key,
            resources=resources(data),
        )
        return result, key


def metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    (event,) = result.asset_materializations_for_node(asset)
    return {name: value.value for name, value in event.metadata.items()}


def failed_checks(result: dg.ExecuteInProcessResult) -> list[str]:
    return [check.check_name for check in result.get_asset_check_evaluations() if not check.passed]


def test_a_model_takes_away_one_alarm_of_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(FaultyEndpoint([near_misses.reply])) as url:
        monkeypatch.setenv("COSMOS_NIM_URL", url)
        result, key = of_video(tmp_path)
    told = metadata(result, "verified_events")
    assert (told["confirmed"], told["rejected"], told["failed"], told["not_run"]) == (1, 1, 1, 0)
    # 3 events in 36 s are 300 an hour; one was rejected
    assert told["alarms_an_hour_without_verifier"] == pytest.approx(300)
    assert told["alarms_an_hour_with_verifier"] == pytest.approx(200)
    assert failed_checks(result) == ["heard"]  # one of three was answered wrongly
    table = pl.read_parquet(tmp_path / "tables" / "verified_events" / f"{key}.parquet")
    assert table["outcome"].to_list() == ["confirmed", "rejected", "failed"]
    assert len((tmp_path / "verification" / "near_miss.jsonl").read_text().splitlines()) == 3


def test_without_an_endpoint_a_video_is_not_run_and_says_so(tmp_path: Path) -> None:
    result, _ = of_video(tmp_path)
    told = metadata(result, "verified_events")
    assert (told["verifier"], told["not_run"], told["confirmed"]) == ("stub", 3, 0)
    assert told["alarms_with_verifier"] == told["alarms_without_verifier"] == 3
    assert failed_checks(result) == []


def test_recorded_gestures_are_judged_counted_and_written_out_for_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gestures"
    folder.mkdir()
    recorded.record(folder, "a", local_confidence=0.9, intentional=True, features={"peak": 1.5})
    recorded.record(folder, "b", local_confidence=0.2, intentional=False)
    with serving(FaultyEndpoint([recorded.reply])) as url:
        monkeypatch.setenv("COSMOS_NIM_URL", url)
        result = dg.materialize([gesture_verdicts], resources=resources(tmp_path))
    told = metadata(result, "gesture_verdicts")
    assert (told["false_alarms_without"], told["false_alarms_with"], told["lost"]) == (1, 0, 0)
    assert told["disagreements_in_log"] == {"self_grooming": 1}
    assert told["training_rows"] == 2
    lines = (tmp_path / "verification" / "gesture_training.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    labels = {row["event_id"]: (row["label"], row.get("feature.peak")) for row in rows}
    assert labels == {"a": (True, 1.5), "b": (False, None)}
    assert failed_checks(result) == []


def test_alarms_of_the_fleet_are_held_against_labels(tmp_path: Path) -> None:
    from tests.evaluation.test_alarms import EVENTS, LABELS

    (tmp_path / "tables" / "verified_events").mkdir(parents=True)
    EVENTS.drop("video_id").write_parquet(tmp_path / "tables" / "verified_events" / "v.parquet")
    LABELS.write_parquet(tmp_path / "tables" / "ground_truth.parquet")
    upstream = [dg.AssetSpec("verified_events", partitions_def=videos), dg.AssetSpec("ground_truth")]
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("videos", ["v", "not-processed"])
        result = dg.materialize(
            [alarm_metrics, *upstream], selection=[alarm_metrics], instance=instance, resources=resources(tmp_path)
        )
    told = metadata(result, "alarm_metrics")
    assert (told["videos"], told["alarms"], told["alarms_labelled"]) == ("1 of 2", 9, 7)
    assert told["outcomes"] == {"confirmed": 4, "rejected": 4, "failed": 1, "not_run": 0}
    assert "| label_file | parallel_lanes | NONE | 1 |" in told["reasons_by_label"]
    assert told["by_label"].startswith("![by_label](data:image/webp;base64,")
    assert failed_checks(result) == []


def test_an_address_that_is_none_fails_the_asset_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSMOS_NIM_URL", "dgx:8000")
    result = dg.materialize([gesture_verdicts], resources=resources(tmp_path), raise_on_error=False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "COSMOS_NIM_URL must be an address" in str(failure.step_failure_data.user_failure_data.description)
