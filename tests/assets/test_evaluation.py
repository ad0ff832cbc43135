"""The evaluation's assets: what they say with, without and with late labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets import evaluation
from assets.label_protocol import CHECK
from assets.tabulate import TABLE
from autorisk_dagster import tables
from autorisk_dagster.io import FrameStore
from autorisk_dagster.partitions import videos

VIDEO = "drive-00000001"
FLEET = ["eval_metrics", "error_analysis", "calibration", "grounding_metrics", "signal_metrics", "ablation"]
PER_CLIP = ("mined_clips", "clip_ttc", "reason_outputs", "corrected_severities", "explanation_checklist")
FROZEN = datetime(2020, 1, 1, tzinfo=UTC)
CLIPS = 24
LABELS = [tables.SEVERITIES[number % 4] for number in range(CLIPS)]
# The reasoner says LOW wherever it does not see HIGH; the rules make NONE of every fourth clip, rightly.
RAW = ["HIGH" if label == "HIGH" else "LOW" for label in LABELS]
CORRECTED = ["NONE" if label == "NONE" else raw for label, raw in zip(LABELS, RAW, strict=True)]


def stored(n: int = CLIPS) -> dict[str, pl.DataFrame]:
    """One video's tables; clips two minutes apart, so that each is a group of its own."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in PER_CLIP}
    for number in range(n):
        clip = f"{VIDEO}-c{number:02d}"
        sha = f"{number:064d}"
        new = {name: dict.fromkeys(tables.TABLES[name]) | {"clip_id": clip} for name in PER_CLIP}
        new["mined_clips"] |= {"clip_sha256": sha, "start_sec": 120.0 * number, "end_sec": 120.0 * number + 10}
        new["mined_clips"] |= {"audio_score": number / n, "motion_score": 0.1, "proximity_score": 0.9}
        new["mined_clips"] |= {"fused_score": number / n, "fused_score_seed": 0.5, "clip_path": f"{clip}.mp4"}
        new["clip_ttc"] |= {"min_ttc_sec": 3.0, "critical_tracks": 0, "timeline": []}
        new["reason_outputs"] |= {"outcome": "severity", "severity": RAW[number], "clip_sha256": sha, "hazards": []}
        new["reason_outputs"] |= {"reasoner": "kinematic", "causal_reasoning": "A horn; a car is near."}
        new["corrected_severities"] |= {"severity": CORRECTED[number], "raw_severity": RAW[number], "rule_set": "seed"}
        new["corrected_severities"] |= {"rule": "R1" if CORRECTED[number] != RAW[number] else None}
        new["explanation_checklist"] |= {"item": "cause_named", "holds": number > 5, "evidence": "words"}
        for name in PER_CLIP:
            rows[name].append(new[name])
    return {name: tables.frame(rows[name], tables.TABLES[name]) for name in PER_CLIP}


def truth(frozen_at: datetime = FROZEN, n: int = CLIPS, **change: Any) -> pl.DataFrame:
    rows = [
        dict.fromkeys(tables.GROUND_TRUTH)
        | {"video_id": VIDEO, "clip_id": f"{VIDEO}-c{number:02d}", "clip_sha256": f"{number:064d}"}
        | {"start_sec": 120.0 * number, "end_sec": 120.0 * number + 10, "severity": LABELS[number]}
        | {"origin": "label_file", "labeller": "a", "frozen_at": frozen_at, "labelled_at": frozen_at}
        | change
        for number in range(n)
    ]
    return tables.frame(rows, tables.GROUND_TRUTH)


def evaluate(
    folder: Path, ground_truth: pl.DataFrame, names: Sequence[str] = ("eval_metrics",), clips: int = CLIPS
) -> dg.ExecuteInProcessResult:
    """Fleet-wide assets over one stored video of two that are registered, as a run would make them."""
    made = stored(clips)

    def upstream(name: str) -> dg.AssetsDefinition:
        @dg.asset(name=name, partitions_def=videos, dagster_type=TABLE)
        def table() -> pl.DataFrame:
            return made[name]

        return table

    @dg.asset(name="ground_truth", dagster_type=TABLE)
    def labels() -> pl.DataFrame:
        return ground_truth

    assets = [upstream(name) for name in PER_CLIP]
    fleet = [getattr(evaluation, name) for name in FLEET]
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("videos", [VIDEO, "not-processed"])
        resources = {"io_manager": FrameStore(base_dir=str(folder))}
        dg.materialize(assets, instance=instance, partition_key=VIDEO, resources=resources)
        return dg.materialize(
            [*assets, labels, *fleet],
            selection=["ground_truth", *names],
            instance=instance,
            resources=resources,
            raise_on_error=False,
        )


def metadata(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    (made,) = result.asset_materializations_for_node(name)
    return {key: value.value for key, value in made.metadata.items()}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> dg.ExecuteInProcessResult:
    return evaluate(tmp_path_factory.mktemp("labelled"), truth(), FLEET)


def test_every_asset_holds_its_schema_and_says_what_it_rests_on(labelled: dg.ExecuteInProcessResult) -> None:
    assert labelled.success
    assert [check.check_name for check in labelled.get_asset_check_evaluations() if not check.passed] == []
    for name in FLEET:
        tables.check(labelled.output_for_node(name), tables.TABLES[name])
        told = metadata(labelled, name)
        assert told["videos"] == "1 of 2"
        if name != "grounding_metrics":
            assert (told["labels"], told["labels_counted"], told["independent_groups"]) == (CLIPS, CLIPS, CLIPS)


def test_the_figures_are_those_of_the_stored_tables(labelled: dg.ExecuteInProcessResult) -> None:
    table = labelled.output_for_node("eval_metrics")
    found = table.filter(pl.col("metric") == "accuracy").select("stage", "value")
    # 6 of each label: HIGH and LOW are right before; NONE too after correction.
    values = dict(found.iter_rows())
    assert (values["majority"], values["reasoner"], values["corrected"]) == (0.25, 0.5, 0.75)
    assert values["difference"] == 0.25
    checklist = table.filter((pl.col("metric") == "checklist") & (pl.col("class") == "cause_named"))
    assert checklist.item(0, "value") == 0.75 and checklist.item(0, "n") == CLIPS
    errors = labelled.output_for_node("error_analysis")
    assert errors["verdict"].value_counts().sort("verdict").rows() == [("under", 6), ("right", 18)]
    assert errors.filter(pl.col("correction") == "repaired")["rule"].unique().to_list() == ["R1"]


def test_the_pictures_are_there(labelled: dg.ExecuteInProcessResult) -> None:
    for name, pictures in {
        "eval_metrics": ["confusion", "intervals"],
        "signal_metrics": ["correlations", "finding_danger", "time_to_contact"],
        "ablation": ["finding_danger", "saying_severity"],
    }.items():
        told = metadata(labelled, name)
        for key in pictures:
            assert told[key].startswith(f"![{key}](data:image/webp;base64,")
    assert "reliability" not in metadata(labelled, "calibration")  # nothing was measured to draw


def test_late_labels_refuse_the_evaluation(tmp_path: Path) -> None:
    """Frozen after the outputs were made: the blocking check fails, and no figure goes without that note."""
    result = evaluate(tmp_path, truth(datetime.now(UTC) + timedelta(days=1)))
    assert not result.success
    (check,) = [found for found in result.get_asset_check_evaluations() if found.check_name == CHECK]
    assert (check.passed, check.blocking, check.severity) == (False, True, dg.AssetCheckSeverity.ERROR)
    table = pl.read_parquet(tmp_path / "eval_metrics.parquet").drop_nulls("label_origin")
    assert table["note"].str.starts_with("no evidence: labels were frozen after the outputs").all()


def test_labels_from_review_are_reported_apart_and_refuse_nothing(tmp_path: Path) -> None:
    review = truth(datetime.now(UTC) + timedelta(days=1), origin="review", judged_output_sha256="ab")
    result = evaluate(tmp_path, review)
    assert result.success
    table = result.output_for_node("eval_metrics").drop_nulls("label_origin")
    assert table["label_origin"].unique().to_list() == ["review"]
    assert metadata(result, "eval_metrics")["blind_labels"] == "*none*"


def test_without_labels_every_asset_says_so_and_gives_no_figure(tmp_path: Path) -> None:
    result = evaluate(tmp_path, truth(n=0), FLEET, clips=0)
    assert result.success
    for name in ("eval_metrics", "calibration", "signal_metrics", "ablation"):
        table = result.output_for_node(name)
        assert table["value"].null_count() == table.height > 0, name
        assert table["note"].str.contains("label|no clip").all()
    assert result.output_for_node("error_analysis").is_empty()


def test_a_label_of_another_file_does_not_count(tmp_path: Path) -> None:
    """The clip was cut anew since it was watched."""
    changed = truth().with_columns(
        clip_sha256=pl.when(pl.col("clip_id").str.ends_with("c03")).then(pl.lit("f" * 64)).otherwise("clip_sha256")
    )
    told = metadata(evaluate(tmp_path, changed), "eval_metrics")
    assert (told["labels"], told["labels_counted"]) == (CLIPS, CLIPS - 1)
    assert list(told["labels_set_aside"].values()) == [1]


def test_learned_thresholds_are_said_to_be_no_held_out_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stored()
    made["corrected_severities"] = made["corrected_severities"].with_columns(rule_set=pl.lit("searched"))
    monkeypatch.setattr("tests.assets.test_evaluation.stored", lambda _clips: made)
    table = evaluate(tmp_path, truth()).output_for_node("eval_metrics")
    note = table.filter((pl.col("metric") == "accuracy") & (pl.col("stage") == "corrected")).item(0, "note")
    assert "24 clips were corrected by thresholds learned from labels" in note


def test_two_reasoners_are_not_pooled_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = stored()
    half = pl.when(pl.col("clip_id").str.ends_with("1")).then(pl.lit("other")).otherwise("reasoner")
    made["reason_outputs"] = made["reason_outputs"].with_columns(reasoner=half)
    monkeypatch.setattr("tests.assets.test_evaluation.stored", lambda _clips: made)
    result = evaluate(tmp_path, truth())
    assert sorted(metadata(result, "eval_metrics")["judges"].values()) == [3, 21]
    notes = result.output_for_node("eval_metrics").drop_nulls("label_origin")["note"]
    assert notes.str.starts_with("pools 2 reasoners").all()
