"""The gate: an adapter is compared with its base, looked at on recent clips, and promoted or refused.

`reason_outputs` reads the promoted adapter as a setting. `promoted_adapter` stands for the record of it: what is
written there marks the answers of the adapter before it as stale, and no step of the loop lies upstream of itself.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets.placement import CPU, GPU
from assets.tabulate import OWNERS, TABLE, code_version, failure, markdown_table, picture, schema_check, table_result
from assets.training import GROUP, TrainingConfig, samples_of
from autorisk_dagster import tables
from autorisk_dagster.errors import AutoRiskError, InputError
from autorisk_dagster.io import FleetTable
from autorisk_dagster.profile import Profile
from resources.media_store import MediaStore
from resources.profiles import Profiles
from resources.progress import Progress
from resources.reasoners import Reasoners
from resources.trainers import Trainers

if TYPE_CHECKING:
    from autorisk_dagster.reasoning.clip_judge import Clip
    from autorisk_dagster.training.adapters import Adapter

# What lies outside of the graph is declared so, in beta or not.
warnings.filterwarnings("ignore", message="Function `observable_source_asset` is currently in beta")


@dg.asset(
    dagster_type=TABLE,
    group_name=GROUP,
    kinds={"pytorch", "polars"},
    owners=OWNERS,
    code_version=code_version(1, "training"),
    pool="gpu",
    op_tags=GPU,
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
        samples = {sample.sample_id: sample for sample in samples_of(asked, media)}
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
    op_tags=GPU,
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
    op_tags=CPU,
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
            trainers.keep()
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
    newest = sorted(mined_clips.video_ids, key=lambda video: registered.get(video, ""), reverse=True)
    fresh: list[dict[str, Any]] = []
    while newest and len(fresh) < count:  # of a large fleet, the newest videos alone are opened
        some, newest = newest[:count], newest[count:]
        rows = mined_clips.of(some).collect().sort("video_id", "clip_id").to_dicts()
        rows.sort(key=lambda row: some.index(row["video_id"]))
        fresh += [row for row in rows if row["clip_sha256"] not in learned]
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


def _right(table: pl.DataFrame) -> pl.DataFrame:
    return table.group_by("question", maintain_order=True).agg(
        clips=pl.len(),
        **{name: (pl.col(f"{name}_answer") == pl.col("answer")).mean() for name in ("majority", "base", "adapter")},
    )
