"""`reason_outputs` over a batch: one model load, each video's own outcome, and a rerun that redoes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

torch = pytest.importorskip("torch", reason="the local back end needs the extra `models`")

from assets.promotion import promoted_adapter
from assets.reasoning import INPUTS, ReasoningConfig, reason_outputs
from autorisk_dagster import tables
from autorisk_dagster.io import FrameStore
from autorisk_dagster.partitions import videos
from autorisk_dagster.paths import CONFIGS
from autorisk_dagster.reasoning import local_vlm
from autorisk_dagster.video.clips import cut_clip
from resources import model_slot
from resources.answers import AnswerStore
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles
from resources.progress import Progress
from resources.reasoners import Reasoners
from resources.trainers import Trainers
from tests import tiny_cosmos
from tests.reasoning.endpoint import Script, serving
from tests.reasoning.model_endpoint import answering
from tests.reporting.example import clip_row, video_row
from tests.video_factory import steady, write_video

KEYS = ("a-00000001", "b-00000002", "c-00000003", "d-00000004")
BROKEN = KEYS[1]


class Batch:
    """Four videos with two clips each, mined; a model of random weights; everything in a folder of its own."""

    def __init__(self, folder: Path, weights: Path, footage: list[bytes], instance: dg.DagsterInstance) -> None:
        self.folder, self.instance = folder, instance
        shutil.copytree(CONFIGS, folder / "configs", ignore=shutil.ignore_patterns("dagster*"))
        settings = {
            "backend": "transformers",
            "model": str(weights),
            "dtype": "float32",
            "max_pixels": 65_536,
            "max_think_tokens": 2,
            "max_text_chars": 4,  # a random model closes no string by itself
            "min_letter_mass": 0.0,
            "temperatures": [1.0],
        }
        (folder / "configs" / "tiny.yaml").write_text(yaml.safe_dump({"extends": "default", "reasoner": settings}))
        instance.add_dynamic_partitions("videos", list(KEYS))
        for key in KEYS:
            clips = []
            for number, (start, end) in enumerate(((0.0, 2.0), (2.0, 4.0)), start=1):
                relative = f"{key}/clips/{number}.mp4"
                path = folder / "media" / relative
                path.parent.mkdir(parents=True, exist_ok=True)
                # the same footage in every video, told apart by a byte behind the file's end
                path.write_bytes(footage[number - 1] + key.encode())
                clips.append(
                    clip_row(number, start, end, start + 1, sha256_of(path))
                    | {"clip_id": f"{key}-c{number:02d}", "clip_path": relative}
                )
            self.store("mined_clips", key, tables.frame(clips, tables.MINED_CLIPS))
            self.store(
                "source_video", key, tables.frame([video_row(video_id=key, profile="tiny")], tables.SOURCE_VIDEO)
            )
            for name in set(INPUTS) - {"source_video", "mined_clips"}:
                self.store(name, key, tables.empty(tables.TABLES[name]))

    def store(self, asset: str, key: str, table: pl.DataFrame) -> None:
        path = self.folder / "tables" / asset / f"{key}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(path)

    def table(self, key: str) -> pl.DataFrame:
        return pl.read_parquet(self.folder / "tables" / "reason_outputs" / f"{key}.parquet")

    def clip(self, key: str) -> Path:
        return self.folder / "media" / key / "clips" / "1.mp4"

    def run(self, first: str, last: str, mode: str = "judge") -> dg.ExecuteInProcessResult:
        data = self.folder
        tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
        return dg.materialize(
            [reason_outputs, promoted_adapter, *(dg.AssetSpec(name, partitions_def=videos) for name in INPUTS)],
            selection=[reason_outputs],
            instance=self.instance,
            tags=tags if first != last else None,
            partition_key=first if first == last else None,
            run_config=dg.RunConfig(ops={"reason_outputs": ReasoningConfig(mode=mode)}),  # type: ignore[arg-type]
            raise_on_error=False,
            resources={
                "io_manager": FrameStore(base_dir=str(data / "tables")),
                "media": MediaStore(root=str(data)),
                "answers": AnswerStore(root=str(data / "answers")),
                "profiles": Profiles(folder=str(data / "configs")),
                "reasoners": Reasoners(device_map="cpu"),
                "progress": Progress(),
                "trainers": Trainers(root=str(data / "adapters")),
            },
        )

    @property
    def done(self) -> list[str]:
        return sorted(self.instance.get_materialized_partitions(dg.AssetKey("reason_outputs")))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cosmos.build(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Two clips of 2 s, as files are."""
    folder = tmp_path_factory.mktemp("footage")
    source = write_video(folder / "source.mp4", steady(40, 10))
    for start in (0, 2):
        cut_clip(source, start, start + 2, folder / f"{start}.mp4")
    return [(folder / f"{start}.mp4").read_bytes() for start in (0, 2)]


@pytest.fixture
def batch(tmp_path: Path, weights: Path, footage: list[bytes]) -> Iterator[Batch]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with dg.instance_for_test() as instance:
        yield Batch(tmp_path, weights, footage, instance)
    model_slot.evict()
    torch.set_num_threads(threads)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts what costs time: models loaded, clips answered."""
    counts = {"loads": 0, "answers": 0}
    load, answer = local_vlm.LocalModel.__init__, local_vlm.LocalModel.answer

    def counted_load(self: Any, *given: Any, **named: Any) -> None:
        counts["loads"] += 1
        load(self, *given, **named)

    def counted_answer(self: Any, *given: Any, **named: Any) -> Any:
        found = answer(self, *given, **named)
        counts["answers"] += 1
        return found

    monkeypatch.setattr(local_vlm.LocalModel, "__init__", counted_load)
    monkeypatch.setattr(local_vlm.LocalModel, "answer", counted_answer)
    return counts


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    data = failed.step_failure_data.user_failure_data
    return data.description if data is not None and data.description else ""


def test_a_broken_clip_fails_its_own_video_and_a_rerun_redoes_only_that(batch: Batch, work: dict[str, int]) -> None:
    whole = batch.clip(BROKEN).read_bytes()
    batch.clip(BROKEN).write_bytes(whole[: len(whole) // 3])

    result = batch.run(KEYS[0], KEYS[-1])
    assert not result.success
    assert failure_of(result).startswith(f"1 of 4 videos failed: {BROKEN}: 1.mp4")
    assert batch.done == sorted(set(KEYS) - {BROKEN})
    assert work == {"loads": 1, "answers": 7}  # the broken video's other clip was answered, and is kept
    for key in batch.done:
        table = batch.table(key)
        tables.check(table, tables.REASON_OUTPUTS)
        assert table["model_id"].unique().to_list() == ["tiny (random weights)"]
        assert table["outcome"].unique().to_list() == ["severity"]
        assert table["clip_sha256"].to_list() == [sha256_of(batch.clip(key).with_name(f"{n}.mp4")) for n in (1, 2)]

    batch.clip(BROKEN).write_bytes(whole)
    assert batch.run(BROKEN, BROKEN).success
    assert batch.done == sorted(KEYS)
    assert work == {"loads": 1, "answers": 8}

    before = [batch.table(key).drop("seconds") for key in KEYS]
    assert batch.run(KEYS[0], KEYS[-1]).success  # nothing is asked again
    assert work == {"loads": 1, "answers": 8}
    assert all(old.equals(batch.table(key).drop("seconds")) for old, key in zip(before, KEYS, strict=True))


def test_a_batch_records_checks_versions_and_origin_for_each_video(batch: Batch, work: dict[str, int]) -> None:
    del work
    assert batch.run(KEYS[0], KEYS[1]).success
    one = batch.run(KEYS[2], KEYS[2])
    assert one.success
    made = {}
    for key in (KEYS[0], KEYS[2]):
        records = batch.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey("reason_outputs"), asset_partitions=[key]), limit=1
        ).records
        made[key] = records[0].asset_materialization
        assert made[key] is not None and made[key].metadata["model"].value == "tiny (random weights)"
    tags = [{name for name in entry.tags or {} if name.startswith("dagster/")} for entry in made.values() if entry]
    kept = {"dagster/code_version", "dagster/data_version", "dagster/data_version_is_user_provided"}
    assert kept <= tags[0] and kept <= tags[1]
    # of a batch as of a single video: another promoted adapter will mark it as stale
    promoted = {
        (entry.tags or {}).get("dagster/input_data_version/promoted_adapter") for entry in made.values() if entry
    }
    assert promoted == {"INITIAL"}
    history = batch.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("reason_outputs"), "every_clip_has_an_outcome"), limit=10
    )
    assert {record.partition for record in history} >= {KEYS[0], KEYS[1]}


def test_a_video_whose_upstream_is_missing_does_not_take_the_others_with_it(batch: Batch, work: dict[str, int]) -> None:
    del work
    (batch.folder / "tables" / "mined_clips" / f"{KEYS[1]}.parquet").unlink()
    result = batch.run(KEYS[0], KEYS[2])
    assert batch.done == [KEYS[0], KEYS[2]]
    assert "mined_clips is missing; materialise it first" in failure_of(result)


def test_answers_are_read_again_without_a_model(batch: Batch, work: dict[str, int]) -> None:
    assert batch.run(KEYS[0], KEYS[0]).success
    table = batch.table(KEYS[0])
    lost = table.with_columns(
        outcome=pl.lit("parse_failure").cast(table.schema["outcome"]),
        severity=pl.lit(None).cast(table.schema["severity"]),
    )
    batch.store("reason_outputs", KEYS[0], lost)  # as an older parser left it
    model_slot.evict()
    asked = dict(work)
    assert batch.run(KEYS[0], KEYS[0], "reparse").success
    assert work == asked
    assert batch.table(KEYS[0]).equals(table)
    assert not batch.run(KEYS[1], KEYS[1], "reparse").success  # nothing was ever answered there


def test_a_second_pass_asks_only_where_something_is_missing(batch: Batch, work: dict[str, int]) -> None:
    assert batch.run(KEYS[0], KEYS[0]).success
    table = batch.table(KEYS[0])
    said = '{"severity": "HIGH", "causal_reasoning": "It brakes."}'  # of the first clip; what is missing is asked for
    votes = [{"temperature": 1.0, "severity": "HIGH", "raw_text": said}]
    rows = [row | ({"votes": votes} if number == 0 else {}) for number, row in enumerate(table.iter_rows(named=True))]
    batch.store("reason_outputs", KEYS[0], tables.frame(rows, tables.REASON_OUTPUTS))
    assert batch.run(KEYS[0], KEYS[0], "reparse").success
    table = batch.table(KEYS[0])
    lacking = pl.any_horizontal(pl.col("short_term_prediction", "recommended_action").is_null())
    wanted = table.filter(lacking).height  # an empty string says nothing, and a random model writes some
    assert wanted >= 1
    asked = work["answers"]
    assert batch.run(KEYS[0], KEYS[0], "supplement").success
    assert work["answers"] == asked + wanted
    assert batch.table(KEYS[0])["supplement_text"].is_not_null().sum() == wanted
    # Neither a second supplement nor a judgement of the video asks again, or loses what was supplied.
    supplemented = batch.table(KEYS[0])
    for mode in ("supplement", "judge"):
        assert batch.run(KEYS[0], KEYS[0], mode).success
        assert batch.table(KEYS[0]).equals(supplemented)
    assert work["answers"] == asked + wanted


def test_a_served_model_gives_the_same_table(
    batch: Batch, work: dict[str, int], weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai", reason="the served back end needs the extra `models`")
    settings = local_vlm.LocalModelSettings(
        str(weights), dtype="float32", device_map="cpu", max_pixels=65_536, max_think_tokens=2, max_text_chars=4
    )
    model = local_vlm.LocalModel(settings)
    work["loads"] = 0
    name = "tiny-random-weights"
    served = {"backend": "openai", "model": name, "max_pixels": 65_536, "min_letter_mass": 0.0}
    (batch.folder / "configs" / "served.yaml").write_text(yaml.safe_dump({"extends": "default", "reasoner": served}))
    facts = tables.frame([video_row(video_id=KEYS[0], profile="served")], tables.SOURCE_VIDEO)
    batch.store("source_video", KEYS[0], facts)

    monkeypatch.delenv("COSMOS_NIM_URL", raising=False)
    result = batch.run(KEYS[0], KEYS[0])
    assert "COSMOS_NIM_URL is not set" in failure_of(result)  # and nothing else is asked in its place

    with serving(Script([answering(model)])) as url:
        monkeypatch.setenv("COSMOS_NIM_URL", url)
        assert batch.run(KEYS[0], KEYS[0]).success
    assert work["loads"] == 0
    table = batch.table(KEYS[0])
    tables.check(table, tables.REASON_OUTPUTS)
    assert table["outcome"].to_list() == ["severity", "severity"]
    assert table["model_id"].unique().to_list() == [name]
    assert table["reasoner"].unique().to_list() == ["openai"]
    assert table["confidence"].is_between(0, 1).all() and table["letter_mass"].is_not_null().all()
    assert table["raw_text"].str.starts_with("<think>").all()

    batch.run(KEYS[1], KEYS[1])
    assert batch.table(KEYS[1]).schema == table.schema  # the local model's


def test_one_model_at_a_time(work: dict[str, int]) -> None:
    del work
    closed: list[str] = []

    class Model:
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            closed.append(self.name)

    first = model_slot.use("a", lambda: Model("a"))
    assert model_slot.use("a", lambda: Model("never")) is first
    model_slot.use("b", lambda: Model("b"))
    assert closed == ["a"]
    model_slot.evict()
    assert closed == ["a", "b"]
    model_slot.evict()
    assert closed == ["a", "b"]
