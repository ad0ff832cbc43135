"""Adapters on disk: whole or not there, named by what they were made from, promoted by a record."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest

from autorisk_dagster.errors import BackendError, InputError, StorageError
from autorisk_dagster.profile import Profile, ReasonerSettings, TrainingSettings
from autorisk_dagster.training import adapters
from resources.reasoners import Reasoners
from resources.trainers import Trainers

SETTINGS = TrainingSettings()
CARD = adapters.Card(
    revision="0123abcd",
    base_model="tiny",
    base_revision="feed",
    data_hash="d",
    settings=SETTINGS.model_dump(mode="json"),
    settings_hash=adapters.settings_hash(SETTINGS),
    train_clips=["a"],
    validation_clips=["b"],
    test_clips=["c"],
    train_examples=3,
    validation_examples=3,
    trained_parameters=8,
    epochs=[{"epoch": 1, "train_loss": 1.0, "validation_loss": 1.0}],
    best_epoch=1,
    best_validation_loss=1.0,
    device="cpu",
    versions={},
    resumed_at_step=0,
    seconds=1.0,
)


def written(folder: Path, weights: bytes = b"weights") -> None:
    (folder / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "training_args.bin").write_bytes(b"a pickle")


def kept(root: Path) -> adapters.Adapter:
    return adapters.save_adapter(root, CARD, written)


def test_a_revision_names_data_settings_and_base() -> None:
    def of(data: str = "d", base: str = "b", revision: str = "r", **changes: object) -> str:
        return adapters.revision_of(data, SETTINGS.model_copy(update=changes), base, revision)

    others = [of(data="e"), of(base="c"), of(revision="s"), of(rank=8), of(learning_rate=2e-4), of(seed=1)]
    assert len({of(), *others}) == 7
    assert of() == of(min_gain=0.5) == of(shadow_clips=0)  # the gate's settings make no other weights


def test_an_adapter_is_kept_whole_and_without_pickles(tmp_path: Path) -> None:
    made = kept(tmp_path)
    assert sorted(path.name for path in made.path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "card.json",
    ]
    assert adapters.load_adapter(tmp_path, CARD.revision) == made
    assert [path.name for path in tmp_path.iterdir()] == [CARD.revision]
    assert adapters.load_adapter(tmp_path, "another") is None


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_changed_files_are_no_adapter(tmp_path: Path, name: str) -> None:
    made = kept(tmp_path)
    (made.path / name).write_bytes(b"others")
    assert adapters.load_adapter(tmp_path, CARD.revision) is None
    again = kept(tmp_path)  # and a whole one takes their place
    assert adapters.load_adapter(tmp_path, CARD.revision) == again == made


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        written(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError, match="what is done is kept"):
        adapters.save_adapter(tmp_path, CARD, full)
    assert not list(tmp_path.iterdir())


def promoted_profile(**changes: object) -> Profile:
    settings = {"backend": "transformers", "model": "nowhere", "adapter": "promoted"} | changes
    return Profile(name="mine", reasoner=ReasonerSettings.model_validate(settings))


def test_promoted_means_the_plain_model_until_one_is(tmp_path: Path) -> None:
    reasoners = Reasoners(adapters=str(tmp_path))
    assert adapters.promoted_version(tmp_path) == "INITIAL"
    assert reasoners.adapter(promoted_profile()).folder is None
    made = kept(tmp_path)
    record = adapters.promote(tmp_path, made)
    assert adapters.read_promoted(tmp_path) == record
    chosen = reasoners.adapter(promoted_profile())
    assert (chosen.folder, chosen.base_revision) == (str(made.path), "feed")
    assert adapters.promoted_version(tmp_path) == f"{CARD.revision}-{made.sha256[:16]}"
    assert reasoners.adapter(promoted_profile(adapter=None)).folder is None
    assert reasoners.adapter(promoted_profile(adapter="a/b")).folder == "a/b"


def test_an_adapter_that_changed_since_it_was_promoted_is_refused(tmp_path: Path) -> None:
    made = kept(tmp_path)
    adapters.promote(tmp_path, made)
    (made.path / "adapter_config.json").write_text('{"lora_alpha": 99}')
    with pytest.raises(BackendError, match="is not the one that was promoted"):
        Reasoners(adapters=str(tmp_path)).adapter(promoted_profile())


@pytest.mark.parametrize("text", ["no json", "{}", '{"adapter": 3}'])
def test_a_record_that_cannot_be_read_is_no_plain_model(tmp_path: Path, text: str) -> None:
    (tmp_path / "promoted.json").write_text(text)
    with pytest.raises(InputError, match="no record of a promoted adapter"):
        adapters.read_promoted(tmp_path)


def test_a_record_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    record = adapters.promote(tmp_path, kept(tmp_path))
    text = json.dumps(vars(replace(record, adapter="../elsewhere")))
    (tmp_path / "promoted.json").write_text(text)
    with pytest.raises(InputError, match="expected a revision"):
        adapters.read_promoted(tmp_path)


def test_without_a_base_the_trainer_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"training\.base_model is not set.*hf download.*train_adapter"):
        Trainers(root=str(tmp_path), device="cpu").base(SETTINGS)


def test_without_a_gpu_nothing_is_trained_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="training needs the extra `models`")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    wanted = TrainingSettings(base_model="nvidia/Cosmos-Reason2-2B")
    with pytest.raises(BackendError, match="needs a GPU, and PyTorch sees none here"):
        Trainers(root=str(tmp_path)).base(wanted)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs the extra `models`")
    trainers = Trainers(root=str(tmp_path), device="cpu")
    with pytest.raises(BackendError, match=r"model 'nvidia/Cosmos-Reason2-2B' cannot be loaded.*hf download"):
        trainers.base(TrainingSettings(base_model="nvidia/Cosmos-Reason2-2B"))
    with pytest.raises(BackendError, match="give a folder written by save_pretrained"):
        trainers.base(TrainingSettings(base_model=str(tmp_path)))


def test_another_base_than_the_promoted_adapters_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="a model needs the extra `models`")
    from tests import tiny_cosmos

    weights = tiny_cosmos.build(tmp_path / "tiny")
    adapters.promote(tmp_path / "adapters", replace(kept(tmp_path / "adapters"), card=CARD))

    def adapter_of(folder: Path) -> None:
        from peft import LoraConfig, get_peft_model

        from autorisk_dagster.reasoning.local_vlm import LocalModel, LocalModelSettings

        base = LocalModel(LocalModelSettings(str(weights), dtype="float32", device_map="cpu"))
        get_peft_model(base.network, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder)

    real = adapters.save_adapter(tmp_path / "adapters", replace(CARD, revision="beef"), adapter_of)
    adapters.promote(tmp_path / "adapters", real)  # its card says that it was trained over "feed"
    profile = promoted_profile(model=str(weights), dtype="float32")
    with pytest.raises(BackendError, match="trained over revision feed of its base"):
        Reasoners(adapters=str(tmp_path / "adapters"), device_map="cpu").judge(profile)
