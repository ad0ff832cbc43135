"""The loop on a fleet of small clips: labels, dataset, adapter, gate, and answers that go stale when it promotes."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

torch = pytest.importorskip("torch", reason="training needs the extra `models`")

from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView, TemporalContext
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._time import get_current_datetime

from assets.reasoning import INPUTS
from autorisk_dagster import tables
from autorisk_dagster.cli.processing import _reads_latest
from autorisk_dagster.definitions import defs
from autorisk_dagster.jobs import ADAPTER_LOOP
from autorisk_dagster.paths import CONFIGS
from autorisk_dagster.review.label_sets import freeze
from autorisk_dagster.review.log import review_log
from autorisk_dagster.review.verdicts import Verdict
from autorisk_dagster.training.adapters import promoted_version, read_promoted
from resources import model_slot
from resources.media_store import sha256_of
from resources.profiles import Profiles
from resources.reasoners import Reasoners
from resources.trainers import Trainers
from tests import tiny_cosmos
from tests.reporting.example import clip_row, video_row
from tests.training.clips import bright_clip

VIDEOS = ("a-00000001", "b-00000002", "c-00000003", "d-00000004")
NEW = "new-00000005"  # one clip that nobody labelled: its answer is what the loop changes
CLIPS = 12  # of each video, a minute apart; the last three of each are labelled in review
QUIET: Any = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)


class Fleet:
    """Four labelled videos and a new one, with a model of one megabyte; a Dagster instance of its own."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder, self.instance = folder, instance
        self.severity: dict[str, str] = {}
        self.sha256: dict[str, str] = {}
        weights = tiny_cosmos.build(folder / "tiny")
        shutil.copytree(CONFIGS, folder / "configs", ignore=shutil.ignore_patterns("dagster*"))
        profile = {
            "extends": "default",
            "reasoner": {
                "backend": "transformers",
                "model": str(weights),
                "adapter": "promoted",
                "dtype": "float32",
                "max_pixels": 65_536,
                "max_think_tokens": 2,
                "max_text_chars": 4,
                "min_letter_mass": 0.0,
                "temperatures": [0.0],
            },
            "training": {
                "base_model": str(weights),
                "dtype": "float32",
                "folds": 3,
                "max_pixels": 32_768,
                "epochs": 2,
                "accumulation": 2,
                "learning_rate": 0.005,
                "significance": 0.2,
                "min_test_clips": 8,
                "min_test_groups": 8,
                "shadow_clips": 1,
            },
        }
        (folder / "configs" / "tiny.yaml").write_text(yaml.safe_dump(profile))
        instance.add_dynamic_partitions("videos", [*VIDEOS, NEW])
        for number, video in enumerate((*VIDEOS, NEW)):
            self._mine(video, CLIPS if video != NEW else 1, 100 * number)
        base = defs()
        self.definitions = dg.Definitions(
            assets=base.assets,
            jobs=base.jobs,
            executor=dg.in_process_executor,
            resources={
                **(base.resources or {}),
                "profiles": Profiles(folder=str(folder / "configs")),
                "trainers": Trainers(root=str(folder / "adapters"), device="cpu"),
                "reasoners": Reasoners(adapters=str(folder / "adapters"), device_map="cpu"),
            },
        )

    def _mine(self, video: str, count: int, seed: int) -> None:
        clips = []
        for number in range(count):
            clip_id, relative = f"{video}-c{number:02d}", f"{video}/clips/{number:02d}.mp4"
            self.severity[clip_id] = ("NONE", "HIGH")[number % 2]  # dark and bright
            path = bright_clip(self.folder / "media" / relative, self.severity[clip_id], seed + number)
            self.sha256[clip_id] = sha256_of(path)
            start = 60.0 * number
            clips.append(
                clip_row(number + 1, start, start + 1, start + 0.5, self.sha256[clip_id])
                | {"clip_id": clip_id, "clip_path": relative}
            )
        tables_of = {name: tables.empty(tables.TABLES[name]) for name in INPUTS}
        tables_of["mined_clips"] = tables.frame(clips, tables.MINED_CLIPS)
        facts = video_row(video_id=video, profile="tiny")
        tables_of["source_video"] = tables.frame([facts], tables.SOURCE_VIDEO)
        for name, table in tables_of.items():
            path = self.folder / "tables" / name / f"{video}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            table.write_parquet(path)
            self.instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=video))

    def label(self, name: str, clip_ids: list[str]) -> None:
        """A blind label set, frozen."""
        path = self.folder / "labels" / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("clip_id,severity\n" + "".join(f"{each},{self.severity[each]}\n" for each in clip_ids))
        freeze(path, self.sha256, review_log(self.folder), NOW)

    def review(self, clip_ids: list[str]) -> None:
        """A reviewer says what each clip shows."""
        for clip_id in clip_ids:
            said = Verdict(
                "change", clip_id.rsplit("-", 1)[0], clip_id, self.sha256[clip_id], "0" * 64, None,
                self.severity[clip_id], "rita", NOW,
            )  # fmt: skip
            review_log(self.folder).append(said.record())

    def go_round(self, *only: str) -> bool:
        """Run the job `train_adapter`, or some of its assets."""
        chosen = only or ADAPTER_LOOP
        config = {name: {"config": {"profile": "tiny"}} for name in chosen if name != "ground_truth"}
        job = self.definitions.resolve_job_def("train_adapter")
        return job.execute_in_process(
            run_config={"ops": config, **QUIET},
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in chosen],
        ).success

    def make(self, asset: str, partition: str | None = None) -> None:
        job = self.definitions.resolve_implicit_global_asset_job_def()
        chosen = [dg.AssetKey(asset)]
        assert job.execute_in_process(
            QUIET, instance=self.instance, asset_selection=chosen, partition_key=partition
        ).success

    def judge(self) -> dict[str, Any]:
        self.make("reason_outputs", NEW)
        return self.table("reason_outputs", NEW).row(0, named=True)

    def table(self, *parts: str) -> pl.DataFrame:
        return pl.read_parquet(self.folder.joinpath("tables", *parts).with_suffix(".parquet"))

    def command_line_keeps_the_answers(self) -> bool:
        """Whether `autorisk run` would keep them, as far as the promoted adapter goes."""
        graph = self.definitions.resolve_job_def("process_video").asset_layer.asset_graph
        made = self.instance.get_latest_materialization_event(dg.AssetKey("reason_outputs"))
        assert made is not None and made.asset_materialization is not None
        parent = graph.get(dg.AssetKey("promoted_adapter"))
        return _reads_latest(self.instance, made.asset_materialization, parent)

    def stale(self, asset: str, partition: str | None = None) -> list[str]:
        """What Dagster says the asset is stale for; nothing: it is fresh."""
        graph = self.definitions.resolve_asset_graph()
        view = AssetGraphView(
            temporal_context=TemporalContext(effective_dt=get_current_datetime(), last_event_id=None),
            instance=self.instance,
            asset_graph=graph,
        )
        causes = CachingStaleStatusResolver(self.instance, graph, view).get_stale_causes(dg.AssetKey(asset), partition)
        return sorted(
            f"{cause.reason}: {cause.dependency_asset_key.to_user_string()}"
            for cause in causes
            if cause.dependency_asset_key
        )


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setenv("AUTORISK_DATA", str(tmp_path))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with dg.instance_for_test() as instance:
        yield Fleet(tmp_path, instance)
    model_slot.evict()
    torch.set_num_threads(threads)


def test_labels_become_an_adapter_and_the_gate_makes_the_answers_stale(fleet: Fleet) -> None:
    blind = [f"{video}-c{number:02d}" for video in VIDEOS for number in range(CLIPS - 3)]
    adapters = fleet.folder / "adapters"

    plain = fleet.judge()
    assert plain["adapter"] is None  # `promoted` is the plain model until something is
    assert fleet.stale("reason_outputs", NEW) == []

    # few labels: an adapter is trained, and refused; nothing changes
    fleet.label("first", blind[:6])
    assert fleet.go_round()
    refused = fleet.table("adapter_promotion")
    assert refused["promoted"].to_list() == [False] * 3
    assert refused["reason"][0].startswith("too little is held out to decide: 2 clips in 2 groups, 8 clips in 8")
    assert read_promoted(adapters) is None
    assert fleet.stale("reason_outputs", NEW) == []

    # more blind labels, and what reviewers said: ground truth changes, and what is made of it is stale
    fleet.label("second", blind[6:])
    fleet.review([f"{video}-c{number:02d}" for video in VIDEOS for number in range(CLIPS - 3, CLIPS)])
    fleet.make("ground_truth")
    assert fleet.stale("sft_dataset") == ["has a new dependency data version: ground_truth"]

    first = fleet.table("lora_adapter")["revision"][0]
    assert fleet.go_round()
    dataset = fleet.table("sft_dataset")
    assert dataset.height == 3 * len(VIDEOS) * CLIPS
    learned = dataset.filter(pl.col("split") == "train")
    assert learned["origin"].value_counts().height == 2  # what reviewers said is learned from
    evaluation = fleet.table("adapter_evaluation")
    tested = dataset.filter(pl.col("sample_id").is_in(evaluation["sample_id"].to_list()))
    assert set(tested["split"]) == {"test"} and set(tested["origin"]) == {"label_file"}  # and tests nothing

    second = fleet.table("lora_adapter").row(0, named=True)
    assert second["revision"] != first
    gate = fleet.table("adapter_promotion")
    assert gate["promoted"].to_list() == [True] * 3, gate["reason"][0]
    record = read_promoted(adapters)
    assert record is not None
    assert (record.revision, record.sha256) == (second["revision"], second["adapter_sha256"])
    for name in ("adapter_evaluation", "adapter_shadow", "adapter_promotion"):
        tables.check(fleet.table(name), tables.TABLES[name])

    # the answers are stale for the gate's record and for nothing else; made again, they are the adapter's
    assert fleet.stale("reason_outputs", NEW) == ["has a new dependency data version: promoted_adapter"]
    assert not fleet.command_line_keeps_the_answers()
    adapted = fleet.judge()
    assert adapted["adapter"].startswith(second["revision"])
    change = {
        name: abs(value - plain["letter_log_probability"][name])
        for name, value in adapted["letter_log_probability"].items()
    }
    assert max(change.values()) > 0.1
    assert fleet.command_line_keeps_the_answers()
    assert fleet.stale("reason_outputs", NEW) == []

    # the same labels again: nothing is trained, the gate decides the same, and the answers stay fresh
    made = (adapters / second["revision"] / "adapter_model.safetensors").stat().st_mtime_ns
    assert fleet.go_round("lora_adapter", "adapter_promotion")
    assert (adapters / second["revision"] / "adapter_model.safetensors").stat().st_mtime_ns == made
    assert fleet.stale("reason_outputs", NEW) == []
    assert promoted_version(adapters).startswith(second["revision"])
    card = json.loads((adapters / second["revision"] / "card.json").read_text())
    assert set(card["train_clips"]) == set(learned["clip_sha256"])
    assert not list((adapters / ".checkpoints").iterdir())
