"""Labels to thresholds to severities to the queue, in the real graph on tables whose truth is known."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from autorisk_dagster import tables
from autorisk_dagster.definitions import defs
from autorisk_dagster.io import FrameStore, FrameStoreIOManager
from autorisk_dagster.severity.correction import CorrectionRules, correct_severity

VIDEOS, CLIPS = 24, 3
# What the labels follow: the default calls a clip NONE from 1.0 s on, these from 0.6 s.
TRUE_RULES = replace(CorrectionRules(), r1_ttc_sec=0.6, r1_critical=3)
FROZEN = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


class Fleet:
    """24 videos of 3 clips a minute apart, with the tables that `reason_outputs` and its neighbours would have."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder = folder
        self.instance = instance
        base = defs()  # the graph of all assets is built once
        whole = dg.Definitions(assets=base.assets, resources=base.resources)
        self.job = whole.resolve_implicit_global_asset_job_def()
        self.store: FrameStoreIOManager = FrameStore(base_dir=str(folder / "tables")).create_io_manager(
            dg.build_init_resource_context()
        )
        rng = np.random.default_rng(4)
        self.labels: list[dict[str, Any]] = []
        for video in range(VIDEOS):
            self.add(f"v{video:02d}-{video:08x}", rng)

    def add(self, key: str, rng: np.random.Generator) -> None:
        self.instance.add_dynamic_partitions("videos", [key])
        rows: dict[str, list[dict[str, Any]]] = {
            name: [] for name in ("mined_clips", "clip_ttc", "reason_outputs", "severity_ranking")
        }
        for number in range(CLIPS):
            clip = f"{key}-c{number}"
            raw = str(rng.choice(tables.SEVERITIES, p=(0.1, 0.4, 0.4, 0.1)))
            ttc, fused, critical = float(rng.uniform(0.1, 1.3)), float(rng.uniform(0.3, 0.8)), int(rng.integers(0, 5))
            true = correct_severity(
                raw, min_ttc_sec=ttc, fused_score=fused, critical_tracks=critical, rules=TRUE_RULES
            ).severity
            place = {"start_sec": 60.0 * number, "end_sec": 60.0 * number + 10}
            file = {"clip_id": clip, "clip_sha256": f"sha-{clip}"}
            rows["mined_clips"].append(file | place | {"fused_score_seed": fused, "clip_path": f"{clip}.mp4"})
            rows["clip_ttc"].append({"clip_id": clip, "min_area_tau_sec": ttc, "critical_tracks": critical})
            rows["reason_outputs"].append(file | {"severity": raw, "outcome": "severity", "reasoner": "kinematic"})
            rows["severity_ranking"].append({"rank": number + 1, "clip_id": clip, "severity": raw} | place)
            self.labels.append(
                file
                | place
                | {"video_id": key, "severity": true, "origin": "label_file", "frozen_at": FROZEN, "labeller": "a"}
            )
        rows |= {"near_miss_events": [], "source_video": [{"video_id": key, "profile": "default"}]}
        for name, each in rows.items():
            schema = tables.TABLES[name]
            self.store.write(name, key, tables.frame([dict.fromkeys(schema) | row for row in each], schema))
        self.instance.report_runless_asset_event(dg.AssetMaterialization("reason_outputs", partition=key))

    def label(self, labels: list[dict[str, Any]]) -> None:
        schema = tables.GROUND_TRUTH
        table = tables.frame([dict.fromkeys(schema) | row for row in labels], schema)
        table.write_parquet(self.folder / "tables" / "ground_truth.parquet")

    def make(self, asset: str, key: str | None = None) -> tuple[pl.DataFrame, dg.AssetMaterialization]:
        result = self.job.execute_in_process(
            instance=self.instance, asset_selection=[dg.AssetKey(asset)], partition_key=key
        )
        (made,) = result.asset_materializations_for_node(asset)
        assert all(check.passed for check in result.get_asset_check_evaluations() if not _warns(check))
        return result.output_for_node(asset), made


def _warns(check: dg.AssetCheckEvaluation) -> bool:
    return check.severity == dg.AssetCheckSeverity.WARN


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("fleet")
    with pytest.MonkeyPatch.context() as patch, dg.instance_for_test() as instance:
        patch.setenv("AUTORISK_DATA", str(folder))
        yield Fleet(folder, instance)


def test_without_parameters_the_profiles_thresholds_stand(fleet):
    key = fleet.instance.get_dynamic_partitions("videos")[0]
    table, made = fleet.make("corrected_severities", key)
    assert set(table["rule_set"]) == {"seed"}
    assert "never made" in str(made.metadata["by_adopted_thresholds"].value)
    queue, made = fleet.make("review_queue", key)
    assert not queue["set_calibrated"].any()
    assert "no blind labels" in str(made.metadata["severity_sets"].value)


def test_without_labels_there_is_a_table_without_rows(fleet):
    fleet.label([])
    table, made = fleet.make("correction_parameters")
    assert table.is_empty()
    assert "no label" in str(made.metadata["decisions"].value)


def test_labels_that_came_after_the_outputs_or_from_review_teach_nothing(fleet):
    late = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    half = len(fleet.labels) // 2
    fleet.label(
        [row | {"frozen_at": late} for row in fleet.labels[:half]]
        + [row | {"origin": "review"} for row in fleet.labels[half:]]
    )
    table, made = fleet.make("correction_parameters")
    assert table.is_empty()
    assert made.metadata["labels"].value["late"] == half
    assert made.metadata["labels"].value["saw_output"] == len(fleet.labels) - half


def test_thresholds_that_are_better_on_left_out_videos_are_adopted_and_correct_and_calibrate(fleet):
    fleet.label(fleet.labels)
    table, made = fleet.make("correction_parameters")
    (row,) = table.to_dicts()
    assert (row["adopted"], row["clips"], row["groups"]) == (True, VIDEOS * CLIPS, VIDEOS * CLIPS)
    assert row["rule_set"].startswith("searched-") and row["reason"].startswith("adopted")
    figures = {(each["metric"], each["stage"]): each for each in row["figures"]}
    assert figures["accuracy", "nested"]["value"] > figures["accuracy", "default"]["value"] + 0.05
    assert figures["accuracy", "searched_same_clips"]["low"] is None
    assert "not held out" in figures["accuracy", "searched_same_clips"]["note"]
    assert "data:image/webp;base64," in str(made.metadata[f"accuracies: {row['judge']}"].value)

    key = fleet.labels[0]["video_id"]
    corrected, made = fleet.make("corrected_severities", key)
    assert set(corrected["rule_set"]) == {row["rule_set"]}
    assert made.metadata["by_adopted_thresholds"].value == f"{CLIPS} of {CLIPS} clips"
    label = {row["clip_id"]: row["severity"] for row in fleet.labels}
    assert [label[clip] for clip in corrected["clip_id"]] == corrected["severity"].to_list()
    queue, _ = fleet.make("review_queue", key)
    assert queue["set_calibrated"].any()


def test_a_profile_with_its_own_thresholds_keeps_them(fleet):
    key = fleet.labels[0]["video_id"]
    from autorisk_dagster.profile import CorrectionSettings
    from autorisk_dagster.severity.parameters import adopted_by_clip, calibrations, learned

    found = learned(fleet.store.read("correction_parameters"))
    outputs = fleet.store.read("reason_outputs", key)
    assert len(adopted_by_clip(outputs, found, CorrectionSettings())) == CLIPS
    assert adopted_by_clip(outputs, found, CorrectionSettings(r6_ttc_sec=0.4)) == {}
    # Nor is anything promised of clips that are corrected by other thresholds than the labelled ones were.
    assert set(calibrations(found, CorrectionSettings())) == set(found)
    assert calibrations(found, CorrectionSettings(r6_ttc_sec=0.4)) == {}
    another = outputs.with_columns(model_id=pl.lit("another judge"))
    assert adopted_by_clip(another, found, CorrectionSettings()) == {}
