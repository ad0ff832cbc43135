"""The loop: labels become a dataset, an adapter is trained, compared with its base, and promoted or refused.

`reason_outputs` reads the promoted adapter as a setting. `promoted_adapter` stands for the record of it: what is
written there marks the answers of the adapter before it as stale, and no step of the loop lies upstream of itself.
"""

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets.tabulate import OWNERS, TABLE, code_version, failure, markdown_table, picture, schema_check, table_result
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError, InputError
from autorisk_dagster.io import FleetTable
from autorisk_dagster.profile import Profile, TrainingSettings
from resources.media_store import MediaStore, sha256_of
from resources.profiles import Profiles
from resources.progress import Progress
from resources.reasoners import Reasoners
from resources.trainers import Trainers

if TYPE_CHECKING:
    from autorisk_dagster.reasoning.clip_judge import Clip
    from autorisk_dagster.training.adapters import Adapter
    from autorisk_dagster.training.lora import Trained
    from autorisk_dagster.training.samples import Sample

# What lies outside of the graph is declared so, in beta or not.
warnings.filterwarnings("ignore", message="Function `observable_source_asset` is currently in beta")

GROUP = "training"
NO_LEAK = "no_footage_in_two_splits"


class TrainingConfig(dg.Config):
    """By which profile's `training` (and, for the shadow, `reasoner`) a run goes."""

    profile: str = "default"


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
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
        found = dataset.labelled_clips(ground_truth, mined_clips.rows.collect())
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


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    kinds={"pytorch", "polars"},
    owners=OWNERS,
    code_version=code_version(1, "training"),
    pool="gpu",
    check_specs=[
        schema_check("adapter_evaluation"),
        dg.AssetCheckSpec(
            "adapter_changes_something",
            asset="adapter_evaluation",
            description="At least one held-out answer is another one with the adapter.",
        ),
    ],
)
def adapter_evaluation(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    sft_dataset: pl.DataFrame,
    lora_adapter: pl.DataFrame,
    profiles: Profiles,
    trainers: Trainers,
    media: MediaStore,
    progress: Progress,
) -> dg.MaterializeResult:
    """Each held-out question answered by base and adapter, by the probability of the letters, beside the commonest
    answer of the training clips. Held out are clips with a blind label that share no footage with those learned from.
    """
    from autorisk_dagster.training import dataset, evaluate

    made = lora_adapter.row(0, named=True)
    try:
        settings = profiles.get(config.profile).training
        dataset.refuse_leaks(sft_dataset)
        if dataset.data_hash(sft_dataset) != made["data_hash"]:
            raise InputError("the adapter was trained on another dataset than this one; materialise lora_adapter again")
        asked = dataset.held_out(sft_dataset)
        adapter = _whole(trainers, made)
        samples = {sample.sample_id: sample for sample in _samples(asked, media)}
        model = trainers.base(settings, adapter.path)
        _same_base(made, model.model_id, model.model_revision)
        with progress.over(context.log, "held-out questions", float(asked.height)) as report:
            answers = evaluate.evaluated(model, sft_dataset, samples, settings, report)
    except AutoRiskError as error:
        raise failure(error) from error
    finally:
        trainers.release()
    table = answers.with_columns(
        adapter_revision=pl.lit(made["revision"]),
        base_model=pl.lit(made["base_model"]),
        base_revision=pl.lit(made["base_revision"]),
    )
    changed = int((table["base_answer"] != table["adapter_answer"]).sum())
    return table_result(
        "adapter_evaluation",
        table,
        {
            "revision": made["revision"],
            "questions": table.height,
            "clips": table["clip_id"].n_unique(),
            "changed_answers": changed,
            "right": dg.MetadataValue.md(markdown_table(_right(table))),
        },
        [
            dg.AssetCheckResult(
                check_name="adapter_changes_something",
                passed=changed > 0,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"changed_answers": changed, "questions": table.height},
            )
        ],
        preview=["clip_id", "question", "answer", "majority_answer", "base_answer", "adapter_answer"],
    )


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    kinds={"pytorch", "polars"},
    owners=OWNERS,
    code_version=code_version(1, "training", "reasoner"),
    pool="gpu",
    check_specs=[schema_check("adapter_shadow")],
)
def adapter_shadow(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    sft_dataset: pl.DataFrame,
    lora_adapter: pl.DataFrame,
    mined_clips: FleetTable,
    profiles: Profiles,
    trainers: Trainers,
    reasoners: Reasoners,
    media: MediaStore,
    progress: Progress,
) -> dg.MaterializeResult:
    """The newest clips that were not learned from, judged by base and adapter as `reason_outputs` would, side by side.

    Nothing of it is used as a result: it shows what would change, before the gate decides.
    """
    from autorisk_dagster.training.evaluate import shadowed

    made = lora_adapter.row(0, named=True)
    try:
        profile = profiles.get(config.profile)
        clips = _newest(mined_clips, sft_dataset, media, profile.training.shadow_clips)
        adapter = _whole(trainers, made)
        judge = reasoners.judge(_shadowing(profile, adapter.path))
        _same_base(made, judge.model.model_id, judge.model.model_revision)
        with progress.over(context.log, "clips judged twice", float(len(clips))) as report:
            table = shadowed(judge, clips, report).with_columns(adapter_revision=pl.lit(made["revision"]))
    except AutoRiskError as error:
        raise failure(error) from error
    finally:
        trainers.release()
    other = table.filter(pl.col("base_severity").ne_missing(pl.col("adapter_severity")))
    return table_result(
        "adapter_shadow",
        table,
        {
            **mined_clips.coverage(),
            "revision": made["revision"],
            "clips": table.height,
            "another_severity": other.height,
            "differences": dg.MetadataValue.md(
                markdown_table(other.select("clip_id", "base_severity", "adapter_severity", "adapter_outcome"), rows=50)
            ),
        },
        preview=["clip_id", "base_outcome", "base_severity", "adapter_outcome", "adapter_severity"],
    )


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    kinds={"python", "polars"},
    owners=OWNERS,
    code_version=code_version(1, "training"),
    check_specs=[schema_check("adapter_promotion")],
)
def adapter_promotion(
    context: dg.AssetExecutionContext,
    config: TrainingConfig,
    lora_adapter: pl.DataFrame,
    adapter_evaluation: pl.DataFrame,
    adapter_shadow: pl.DataFrame,
    profiles: Profiles,
    trainers: Trainers,
) -> dg.MaterializeResult:
    """The gate. Promoted is an adapter that loses on no type of question and gains on one, on enough held-out clips;
    otherwise it is refused, with the reason in words, and what was promoted before stays.

    A promotion is recorded (revision, SHA-256, base) where `reasoner.adapter: promoted` reads it, and observed on
    `promoted_adapter`, which marks `reason_outputs` as stale.
    """
    from autorisk_dagster.reporting.training_plots import comparison_png
    from autorisk_dagster.training import adapters, gate

    made = lora_adapter.row(0, named=True)
    try:
        settings = profiles.get(config.profile).training
        for name, table in (("adapter_evaluation", adapter_evaluation), ("adapter_shadow", adapter_shadow)):
            if set(table["adapter_revision"]) - {made["revision"]}:
                raise InputError(f"{name} is of another adapter than {made['revision']}; materialise it again")
        comparisons = [
            gate.compare(adapter_evaluation, question, settings.significance) for question in tables.QUESTIONS
        ]
        decision = gate.decide(comparisons, adapter_shadow, settings)
        if decision.promoted:
            adapters.promote(trainers.folder, _whole(trainers, made))
        in_use = adapters.promoted_version(trainers.folder)
    except AutoRiskError as error:
        raise failure(error) from error
    table = gate.decision_table(comparisons, decision, made["revision"])
    context.log.info(f"adapter {made['revision']} {'promoted' if decision.promoted else 'refused'}: {decision.reason}")
    context.log_event(dg.AssetObservation("promoted_adapter", tags={"dagster/data_version": in_use}))
    return table_result(
        "adapter_promotion",
        table,
        {
            "decision": "promoted" if decision.promoted else "refused",
            "reason": decision.reason,
            "revision": made["revision"],
            "in_use": in_use,
            "settings_hash": settings.digest(),
            "comparison": picture("comparison", comparison_png(table)),
        },
        preview=[
            "question",
            "clips",
            "groups",
            "majority_accuracy",
            "base_accuracy",
            "adapter_accuracy",
            "gain_low",
            "gain_high",
            "p_value",
            "changed_share",
            "finding",
        ],
    )


@dg.observable_source_asset(
    group_name=GROUP,
    description="The record of the promoted adapter: what `reasoner.adapter: promoted` means now. Written by the gate; "
    "observe it after changing the record by hand.",
)
def promoted_adapter(trainers: Trainers) -> dg.DataVersion:
    from autorisk_dagster.training.adapters import promoted_version

    return dg.DataVersion(promoted_version(trainers.folder))


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

    samples = {split: _samples(data.filter(pl.col("split") == split), media) for split in ("train", "validation")}
    checkpoints = trainers.folder / ".checkpoints" / revision
    with progress.over(context.log, "training steps", float(steps_of(len(samples["train"]), settings))) as report:
        trained = train(base, samples["train"], samples["validation"], settings, checkpoints, report)
    card = _card(revision, data, settings, base.model_id, base.model_revision, trained)
    adapter = adapters.save_adapter(
        trainers.folder, card, lambda folder: trained.network.save_pretrained(folder, safe_serialization=True)
    )
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


def _samples(rows: pl.DataFrame, media: MediaStore) -> list["Sample"]:
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


def _whole(trainers: Trainers, made: dict[str, Any]) -> "Adapter":
    from autorisk_dagster.training.adapters import load_adapter

    found = load_adapter(trainers.folder, made["revision"])
    if found is None or found.sha256 != made["adapter_sha256"]:
        raise InputError(f"adapter {made['revision']} is missing or was changed; materialise lora_adapter again")
    return found


def _same_base(made: dict[str, Any], model_id: str, revision: str) -> None:
    if revision != made["base_revision"]:
        raise InputError(
            f"the adapter was trained over {made['base_model']} {made['base_revision']}; training.base_model is now "
            f"{model_id} {revision}. Materialise lora_adapter again"
        )


def _shadowing(profile: Profile, adapter: Path) -> Profile:
    """The profile with its reasoner over the trained base, as it would judge with the adapter."""
    settings = profile.training
    reasoner = profile.reasoner.model_copy(
        update={
            "backend": "transformers",
            "model": settings.base_model,
            "revision": settings.revision,
            "adapter": str(adapter),
        }
    )
    return profile.model_copy(update={"reasoner": reasoner})


def _newest(mined_clips: FleetTable, dataset: pl.DataFrame, media: MediaStore, count: int) -> list[tuple[str, "Clip"]]:
    """Clips of the videos registered last that the adapter did not learn from."""
    from autorisk_dagster.reasoning.clip_judge import Clip

    registered = {record.video_id: record.registered_at for record in media.ledger.all()}
    learned = set(dataset.filter(pl.col("split") != "test")["clip_sha256"])
    rows: Iterable[dict[str, Any]] = mined_clips.rows.collect().sort("video_id", "clip_id").iter_rows(named=True)
    fresh = [row for row in rows if row["clip_sha256"] not in learned]
    fresh.sort(key=lambda row: registered.get(row["video_id"], ""), reverse=True)
    return [
        (
            row["video_id"],
            Clip(
                row["clip_id"],
                media.path(row["clip_path"]),
                row["clip_sha256"],
                float(row["end_sec"] - row["start_sec"]),
            ),
        )
        for row in fresh[:count]
    ]


def _counts(clips: pl.DataFrame) -> pl.DataFrame:
    return (
        clips.group_by("split", "severity", "origin")
        .agg(clips=pl.len(), groups=pl.col("group").n_unique())
        .sort("split", "severity", "origin")
    )


def _right(table: pl.DataFrame) -> pl.DataFrame:
    return table.group_by("question", maintain_order=True).agg(
        clips=pl.len(),
        **{name: (pl.col(f"{name}_answer") == pl.col("answer")).mean() for name in ("majority", "base", "adapter")},
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
