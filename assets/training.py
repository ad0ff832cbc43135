"""Learning from labels: they become a dataset, and an adapter is trained on it."""

import json
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets.placement import CPU, GPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, markdown_table, picture, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError, InputError
from autorisk_dagster.io import FleetTable
from autorisk_dagster.profile import TrainingSettings
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles
from resources.progress import Progress
from resources.trainers import Trainers

if TYPE_CHECKING:
    from autorisk_dagster.training.adapters import Adapter
    from autorisk_dagster.training.lora import Trained
    from autorisk_dagster.training.samples import Sample

GROUP = "training"
NO_LEAK = "no_footage_in_two_splits"


class TrainingConfig(dg.Config):
    """By which profile's `training` (and, for the shadow, `reasoner`) a run goes."""

    profile: str = "default"


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    op_tags=CPU,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1, "training"),
    check_specs=[
        schema_check("sft_dataset"),
        dg.AssetCheckSpec(
            NO_LEAK,
            asset="sft_dataset",
            blocking=True,
            description="No drive, scene or file is in two of train, validation and test.",
        ),
    ],
)
def sft_dataset(
    config: TrainingConfig,
    ground_truth: pl.DataFrame,
    mined_clips: FleetTable,
    profiles: Profiles,
    media: MediaStore,
) -> dg.MaterializeResult:
    """Three questions about each labelled clip, split by drive, video and time; also as JSON in LLaVA's form."""
    from autorisk_dagster.training import dataset

    try:
        settings = profiles.get(config.profile).training
        found = dataset.labelled_clips(ground_truth, mined_clips.of(ground_truth["video_id"]).collect())
        table = dataset.sft_dataset(found.clips, folds=settings.folds, seed=settings.split_seed)
        digest = dataset.data_hash(table)
        files = {}
        for split in tables.SPLITS:
            relative = f"training/{digest}/{split}.json"
            with media.writing(relative) as target:
                target.write_text(json.dumps(dataset.conversations(table, split), indent=1), encoding="utf-8")
            files[relative] = sha256_of(media.path(relative))
    except AutoRiskError as error:
        raise failure(error) from error
    leaks = dataset.find_leaks(table)
    clips = table.filter(pl.col("question") == "severity")
    return table_result(
        "sft_dataset",
        table,
        {
            **mined_clips.coverage(),
            "data_hash": digest,
            "clips": clips.height,
            "groups": clips["group"].n_unique(),
            "held_out_clips": dataset.held_out(clips).height,
            "splits": dg.MetadataValue.md(markdown_table(_counts(clips), rows=40)),
            "labels_not_counted": dg.MetadataValue.md(markdown_table(found.not_counted, rows=50)),
            "files": files,
            "videos_and_labels": dg.MetadataValue.json(
                clips.select(
                    "split", "video_id", "clip_id", "clip_sha256", "start_sec", "end_sec", "severity", "origin"
                ).to_dicts()
            ),
        },
        [dg.AssetCheckResult(check_name=NO_LEAK, passed=not leaks, metadata={"leaks": leaks[:20]})],
        preview=["split", "clip_id", "severity", "origin", "question", "answer"],
    )


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    kinds={"pytorch", "huggingface"},
    owners=OWNERS,
    code_version=code_version(1, "training"),
    pool="gpu",
    op_tags=GPU,
    check_specs=[
        schema_check("lora_adapter"),
        dg.AssetCheckSpec(
            "learned_something",
            asset="lora_adapter",
            description="The validation loss of the kept epoch is under that of a guess among the choices.",
        ),
    ],
)
def lora_adapter(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    sft_dataset: pl.DataFrame,
    profiles: Profiles,
    trainers: Trainers,
    media: MediaStore,
    progress: Progress,
) -> dg.MaterializeResult:
    """A LoRA adapter of the base model, trained on the dataset; the epoch with the least validation loss.

    Named by data, settings and base: one that is there is not trained again, and a killed training goes on from its
    last checkpoint. Needs `training.base_model` and, for a real model, a GPU.
    """
    from autorisk_dagster.reporting.training_plots import loss_curves_png
    from autorisk_dagster.training.dataset import refuse_leaks

    try:
        settings = profiles.get(config.profile).training
        refuse_leaks(sft_dataset)
        adapter, kept = _adapter(context, sft_dataset, settings, trainers, media, progress)
    except AutoRiskError as error:
        raise failure(error) from error
    finally:
        trainers.release()
    card = adapter.card
    row = {name: getattr(card, name) for name in tables.LORA_ADAPTER if hasattr(card, name)}
    row |= {"adapter_path": adapter.path.name, "adapter_sha256": adapter.sha256, "epochs": list(card.epochs)}
    return table_result(
        "lora_adapter",
        tables.frame([row], tables.LORA_ADAPTER),
        {
            "revision": card.revision,
            "model": card.base_model,
            "model_revision": card.base_revision,
            "kept_from_before": kept,
            "resumed_at_step": card.resumed_at_step,
            "trained_parameters": card.trained_parameters,
            "device": card.device,
            "seconds": card.seconds,
            "settings_hash": card.settings_hash,
            "data_hash": card.data_hash,
            "card": dg.MetadataValue.path(str(adapter.path / "card.json")),
            "loss": picture("loss", loss_curves_png(card.epochs, card.best_epoch)),
        },
        [_learned(sft_dataset, card.best_validation_loss)],
        preview=["revision", "base_model", "train_examples", "best_epoch", "best_validation_loss"],
    )


def _adapter(
    context: dg.AssetExecutionContext,
    data: pl.DataFrame,
    settings: TrainingSettings,
    trainers: Trainers,
    media: MediaStore,
    progress: Progress,
) -> tuple["Adapter", bool]:
    """The adapter of this data, these settings and this base; whether it was there before."""
    import shutil

    from autorisk_dagster.training import adapters
    from autorisk_dagster.training.dataset import data_hash

    base = trainers.base(settings)
    revision = adapters.revision_of(data_hash(data), settings, base.model_id, base.model_revision)
    found = adapters.load_adapter(trainers.folder, revision)
    if found is not None:
        context.log.info(f"adapter {revision} was trained before, kept")
        return found, True

    from autorisk_dagster.training.lora import steps_of, train

    samples = {split: samples_of(data.filter(pl.col("split") == split), media) for split in ("train", "validation")}
    folder = trainers.folder
    checkpoints = folder / ".checkpoints" / revision
    with progress.over(context.log, "training steps", float(steps_of(len(samples["train"]), settings))) as report:
        trained = train(base, samples["train"], samples["validation"], settings, checkpoints, report)
    card = _card(revision, data, settings, base.model_id, base.model_revision, trained)
    adapter = adapters.save_adapter(
        folder, card, lambda target: trained.network.save_pretrained(target, safe_serialization=True)
    )
    trainers.keep()
    shutil.rmtree(checkpoints, ignore_errors=True)
    return adapter, False


def _card(
    revision: str, data: pl.DataFrame, settings: TrainingSettings, base_model: str, base_revision: str, done: "Trained"
) -> Any:
    from dataclasses import asdict
    from importlib.metadata import version

    from autorisk_dagster.training import adapters
    from autorisk_dagster.training.dataset import data_hash

    by_split = {split: data.filter(pl.col("split") == split) for split in tables.SPLITS}
    clips = {split: sorted(set(rows["clip_sha256"])) for split, rows in by_split.items()}
    return adapters.Card(
        revision=revision,
        base_model=base_model,
        base_revision=base_revision,
        data_hash=data_hash(data),
        settings=settings.model_dump(mode="json"),
        settings_hash=adapters.settings_hash(settings),
        train_clips=clips["train"],
        validation_clips=clips["validation"],
        test_clips=clips["test"],
        train_examples=by_split["train"].height,
        validation_examples=by_split["validation"].height,
        trained_parameters=done.trained_parameters,
        epochs=[asdict(epoch) for epoch in done.epochs],
        best_epoch=done.best.epoch,
        best_validation_loss=done.best.validation_loss,
        device=str(done.network.device),
        versions={name: version(name) for name in ("torch", "transformers", "peft")},
        resumed_at_step=done.resumed_at_step,
        seconds=done.seconds,
    )


def samples_of(rows: pl.DataFrame, media: MediaStore) -> list["Sample"]:
    """The questions with their clips, each file checked against the hash that was labelled."""
    from autorisk_dagster.training.samples import Sample

    for path, digest in set(rows.select("clip_path", "clip_sha256").iter_rows()):
        file = media.path(path)
        if not file.exists() or sha256_of(file) != digest:
            raise InputError(
                f"{path} is not the clip that was labelled; materialise mined_clips, ground_truth and sft_dataset again"
            )
    return [
        Sample(
            row["sample_id"],
            media.path(row["clip_path"]),
            float(row["end_sec"] - row["start_sec"]),
            row["prompt"],
            row["answer"],
        )
        for row in rows.iter_rows(named=True)
    ]


def _counts(clips: pl.DataFrame) -> pl.DataFrame:
    return (
        clips.group_by("split", "severity", "origin")
        .agg(clips=pl.len(), groups=pl.col("group").n_unique())
        .sort("split", "severity", "origin")
    )


def _learned(data: pl.DataFrame, loss: float) -> dg.AssetCheckResult:
    """Half of the answer's tokens is the end of the turn, which needs no guess: so half of a guess's loss a token."""
    import math

    from autorisk_dagster.training.questions import question

    choices = [len(question(name).letters) for name in data.filter(pl.col("split") == "validation")["question"]]
    guess = math.fsum(math.log(count) for count in choices) / len(choices) / 2
    return dg.AssetCheckResult(
        check_name="learned_something",
        passed=loss < guess,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"validation_loss": loss, "loss_of_a_guess": guess},
    )
