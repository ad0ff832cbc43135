"""Training on a model of one megabyte: where the loss falls, what is changed, and that it learns."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `models`")

from peft import PeftModel

from autorisk_dagster import tables
from autorisk_dagster.errors import BackendError, InputError, StorageError
from autorisk_dagster.profile import TrainingSettings
from autorisk_dagster.reasoning.local_vlm import LocalModel, LocalModelSettings
from autorisk_dagster.training import lora
from autorisk_dagster.training.dataset import labelled_clips, sft_dataset
from autorisk_dagster.training.evaluate import evaluated, letter_log_probabilities
from autorisk_dagster.training.questions import prompt_of, question
from autorisk_dagster.training.samples import IGNORED, Sample, encoded, spread_frames
from tests import tiny_cosmos
from tests.training.clips import DURATION_SEC, bright_clip
from tests.training.labelled import label, mined, truth

PIXELS = 32_768
SETTINGS = TrainingSettings(
    base_model="tiny", dtype="float32", max_pixels=PIXELS, epochs=2, accumulation=2, learning_rate=0.005
)
CLIPS = 32  # dark ones are NONE, bright ones HIGH; 16 to train, 8 to validate, 8 to test


@dataclass
class World:
    """A base, a dataset with its files, and what was trained on it."""

    folder: Path
    weights: Path
    dataset: pl.DataFrame
    samples: dict[str, Sample]
    trained: lora.Trained
    adapter: Path
    vision_unchanged: bool
    steps: list[float]

    def base(self, adapter: Path | None = None) -> LocalModel:
        return LocalModel(
            LocalModelSettings(
                str(self.weights),
                adapter=None if adapter is None else str(adapter),
                dtype="float32",
                device_map="cpu",
                max_pixels=PIXELS,
            )
        )

    def of(self, split: str, asked: str | None = None) -> list[Sample]:
        rows = self.dataset.filter(pl.col("split") == split)
        if asked:
            rows = rows.filter(pl.col("question") == asked)
        return [self.samples[name] for name in rows["sample_id"]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("training")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    labels = [label(f"v{n:02d}", 0, ("NONE", "HIGH")[n % 2], start_sec=0.0, end_sec=1.0) for n in range(CLIPS)]
    found = labelled_clips(truth(labels), mined(labels))
    dataset = sft_dataset(found.clips, folds=4, seed=0)
    paths = {
        row["clip_path"]: bright_clip(folder / row["clip_path"], row["severity"], number)
        for number, row in enumerate(found.clips.iter_rows(named=True))
    }
    samples = {
        row["sample_id"]: Sample(row["sample_id"], paths[row["clip_path"]], DURATION_SEC, row["prompt"], row["answer"])
        for row in dataset.iter_rows(named=True)
    }
    weights = tiny_cosmos.build(folder / "tiny")
    made = World(folder, weights, dataset, samples, None, folder / "adapter", False, [])  # type: ignore[arg-type]
    base = made.base()
    before = {name: value.clone() for name, value in base.network.named_parameters() if ".visual." in name}
    with torch.no_grad():  # as importing a pipeline of diffusers leaves the whole process
        made.trained = lora.train(
            base, made.of("train"), made.of("validation"), SETTINGS, folder / "checkpoints", made.steps.append
        )
    after = {name.removeprefix("base_model.model."): value for name, value in made.trained.network.named_parameters()}
    made.vision_unchanged = bool(before) and all(torch.equal(after[name], value) for name, value in before.items())
    made.trained.network.save_pretrained(made.adapter)
    yield made
    torch.set_num_threads(threads)


def right(model: LocalModel, samples: list[Sample]) -> float:
    found = 0
    for sample in samples:
        choices = question(sample.sample_id.rsplit("-", 1)[1]).letters
        read = letter_log_probabilities(model, sample, SETTINGS)
        found += max(choices, key=read.__getitem__) == sample.answer
    return found / len(samples)


def test_loss_falls_on_the_answer_and_the_end_of_the_turn_alone(world: World) -> None:
    model, sample = world.base(), world.of("train")[0]
    frames = spread_frames(sample.clip, DURATION_SEC, SETTINGS.frames, PIXELS)
    shown = model.encode(frames, prompt_of(sample.prompt))["input_ids"]  # what inference shows
    inputs = encoded(model, frames, sample)
    length = shown.shape[1]
    assert torch.equal(inputs["input_ids"][:, :length], shown)
    assert model.processor.tokenizer.decode(inputs["input_ids"][0, length:]) == f"{sample.answer}<|im_end|>"
    assert inputs["labels"][0, :length].tolist() == [IGNORED] * length
    assert torch.equal(inputs["labels"][:, length:], inputs["input_ids"][:, length:])
    assert {inputs[name].shape[1] for name in ("attention_mask", "mm_token_type_ids", "labels")} == {length + 2}

    # by hand: cross entropy of the two tokens, each from the place before it; no other place has a gradient
    found = model.network(**inputs)
    found.logits.retain_grad()
    found.loss.backward()
    probability = torch.log_softmax(found.logits[0].detach().double(), dim=-1)
    said = inputs["input_ids"][0, length:]
    by_hand = -(probability[length - 1, said[0]] + probability[length, said[1]]) / 2
    assert float(found.loss) == pytest.approx(float(by_hand), rel=1e-4)
    felt = found.logits.grad[0].abs().sum(dim=-1).nonzero().flatten().tolist()
    assert felt == [length - 1, length]


def test_only_the_language_models_projections_are_trained(world: World) -> None:
    trained = sorted(name for name, value in world.trained.network.named_parameters() if value.requires_grad)
    layers = {name.split(".lora_")[0].split("language_model.")[1] for name in trained}
    assert layers == {
        f"layers.{layer}.{part}"
        for layer in (0, 1)
        for part in (
            *(f"self_attn.{name}_proj" for name in "qkvo"),
            *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
        )
    }
    assert len(trained) == 2 * 7 * 2  # two matrices a projection, two layers
    assert world.vision_unchanged
    assert world.trained.trained_parameters == 32_768


def test_the_toy_task_is_learned_and_told_on_clips_never_seen(world: World) -> None:
    first, last = world.trained.epochs[0], world.trained.epochs[-1]
    assert last.train_loss < first.train_loss
    assert world.trained.best == min(world.trained.epochs, key=lambda epoch: epoch.validation_loss)
    assert world.steps == [float(n) for n in range(1, lora.steps_of(48, SETTINGS) + 1)]  # 24 steps an epoch
    binary = [*world.of("test", "high"), *world.of("test", "evasive")]
    assert len(binary) == 16
    assert right(world.base(), binary) <= 0.75
    assert right(world.base(world.adapter), binary) == 1.0


def test_reloaded_and_merged_it_says_the_same(world: World) -> None:
    files = {path.name for path in world.adapter.iterdir() if path.suffix != ".md"}
    assert files == {"adapter_config.json", "adapter_model.safetensors"}
    model = world.base(world.adapter)
    asked = world.of("test")[:6]
    reloaded = [letter_log_probabilities(model, sample, SETTINGS) for sample in asked]
    merged_to = world.folder / "merged"
    PeftModel.from_pretrained(world.base().network, str(world.adapter)).merge_and_unload().save_pretrained(merged_to)
    model.processor.save_pretrained(merged_to)
    merged = LocalModel(LocalModelSettings(str(merged_to), dtype="float32", device_map="cpu", max_pixels=PIXELS))
    for sample, before in zip(asked, reloaded, strict=True):
        assert letter_log_probabilities(merged, sample, SETTINGS) == pytest.approx(before, abs=1e-3)


def test_base_and_adapter_are_asked_the_same_of_one_model(world: World) -> None:
    table = evaluated(world.base(world.adapter), world.dataset, world.samples, SETTINGS, lambda _: None)
    assert set(table["sample_id"]) == {sample.sample_id for sample in world.of("test")}
    plain = world.base()
    for row in table.head(4).iter_rows(named=True):
        read = letter_log_probabilities(plain, world.samples[row["sample_id"]], SETTINGS)
        choices = question(row["question"]).letters
        said = {letter: row["base_log_probability"][letter] for letter in choices}
        assert said == pytest.approx({letter: read[letter] for letter in choices}, abs=1e-4)
        assert row["base_log_probability"]["D"] is None or row["question"] == "severity"
    assert set(table["majority_answer"]) <= set("ABD")
    assert (table["adapter_answer"] != table["base_answer"]).any()
    names = list(table.columns)
    assert names == list(tables.ADAPTER_EVALUATION)[: len(names)]


def small(world: World, folder: Path, report: Any = lambda _: None) -> lora.Trained:
    """Four samples an epoch: two steps of two."""
    asked = world.of("train", "high")[:4]
    return lora.train(world.base(), asked, world.of("validation", "high")[:2], SETTINGS, folder, report)


def weights_of(trained: lora.Trained) -> dict[str, Any]:
    return {name: value.detach().clone() for name, value in trained.network.named_parameters() if "lora_" in name}


def test_a_killed_training_goes_on_and_comes_out_the_same(world: World, tmp_path: Path) -> None:
    whole = small(world, tmp_path / "whole")
    assert whole.resumed_at_step == 0

    def killed(step: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small(world, tmp_path / "killed", killed)
    # the second kill came while a checkpoint was written: it has weights, and not the file that is written last
    torn = shutil.copytree(tmp_path / "killed" / "checkpoint-2", tmp_path / "killed" / "checkpoint-3")
    (torn / "trainer_state.json").write_text('{"epoch": 1.')
    seen: list[float] = []
    resumed = small(world, tmp_path / "killed", seen.append)
    assert resumed.resumed_at_step == 2
    assert seen == [3.0, 4.0]
    assert resumed.epochs == whole.epochs
    before, after = weights_of(whole), weights_of(resumed)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
    ids=["the system's", "safetensors'"],
)
def test_a_full_disk_is_named_with_the_way_out(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(lora.Trainer, "train", full)
    with pytest.raises(StorageError, match=r"no space left.*run again; what is done is kept"):
        small(world, tmp_path)


def test_running_out_of_memory_says_what_to_lower(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("tried to allocate")

    monkeypatch.setattr(lora.Trainer, "train", never)
    with pytest.raises(BackendError, match=r"lower training\.max_pixels"):
        small(world, tmp_path)


def test_a_model_of_another_family_is_refused(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lora, "LANGUAGE_MODEL_ONLY", r"transformer\.h\.\d+\.attn")
    with pytest.raises(BackendError, match="must be of the Qwen3-VL family"):
        small(world, tmp_path)


def test_nothing_is_trained_on_nothing(world: World, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 samples to train and 0 to validate"):
        lora.train(world.base(), [], [], SETTINGS, tmp_path, lambda _: None)
