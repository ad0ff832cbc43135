"""LoRA on the language model of a vision-language model, by PEFT and the HF Trainer.

Source: seed 000, stage 4c (rank 16, alpha 32, dropout 0.05, the seven projections of each layer, batch 1 with 8
samples accumulated, bf16, gradient checkpointing). The vision tower is left as it is. After each epoch the validation
loss is measured and a checkpoint written; the epoch with the least loss is kept. A killed run goes on from the last
checkpoint that was written whole.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, set_seed

from autorisk_dagster.errors import BackendError, InputError, StorageError
from autorisk_dagster.profile import TrainingSettings
from autorisk_dagster.reasoning.local_vlm import LocalModel
from autorisk_dagster.training.adapters import disk_is_full
from autorisk_dagster.training.samples import EncodedSamples, Sample

# A pattern for the whole name: the vision tower's layers lie under `visual`, and other models name theirs alike.
LANGUAGE_MODEL_ONLY: Final = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
_STATE_FILE: Final = "trainer_state.json"  # the Trainer writes it last: where it is, the checkpoint is whole


@dataclass(frozen=True)
class Epoch:
    """Mean losses of one epoch, natural logarithm, per answer token."""

    epoch: int
    train_loss: float
    validation_loss: float


@dataclass(frozen=True)
class Trained:
    """A trained adapter, still laid over its base in memory.

    Attributes:
        network: PEFT's model with the best epoch's weights
        epochs: every epoch's losses
        best: the kept one
        trained_parameters: how many numbers were learned
        resumed_at_step: optimiser steps done by a run before this one; 0: none
        seconds: of this run
    """

    network: Any
    epochs: tuple[Epoch, ...]
    best: Epoch
    trained_parameters: int
    resumed_at_step: int
    seconds: float


def steps_of(samples: int, settings: TrainingSettings) -> int:
    """Optimiser steps of a whole training."""
    return settings.epochs * math.ceil(samples / settings.accumulation)


def train(
    model: LocalModel,
    samples: Sequence[Sample],
    validation: Sequence[Sample],
    settings: TrainingSettings,
    checkpoints: Path,
    report: Callable[[float], None],
) -> Trained:
    """Train an adapter over `model`, which is changed by it: load the base anew for anything else.

    Args:
        model: the base
        samples: to learn
        validation: to choose the epoch by
        settings: rank, learning rate and so on
        checkpoints: folder of this training alone; one that holds checkpoints is gone on from
        report: called with the optimiser steps done

    Raises:
        InputError: no samples to learn, or none to choose the epoch by.
        BackendError: out of memory, a loss that is not a number, or a model without the layers that are adapted.
        StorageError: the disk is full.
    """
    if not samples or not validation:
        raise InputError(f"{len(samples)} samples to train and {len(validation)} to validate; both are needed")
    began = time.monotonic()
    set_seed(settings.seed)
    network = _with_lora(model, settings)
    start = last_whole_checkpoint(checkpoints)
    trainer = Trainer(
        model=network,
        args=_arguments(model, settings, len(samples), checkpoints),
        train_dataset=EncodedSamples(model, samples, frames=settings.frames, max_pixels=settings.max_pixels),
        eval_dataset=EncodedSamples(model, validation, frames=settings.frames, max_pixels=settings.max_pixels),
        data_collator=_only_one,
        callbacks=[_Reporting(report)],
    )
    trainer.remove_callback(PrinterCallback)  # the numbers go to the asset's metadata
    try:
        # Importing a pipeline of diffusers 0.42 switches gradients off for the whole process.
        with torch.enable_grad():
            trainer.train(resume_from_checkpoint=None if start is None else str(start))
    except torch.OutOfMemoryError as error:
        raise BackendError(
            f"{model.model_id} ran out of memory in training; lower training.max_pixels, training.frames or "
            f"training.rank, or take a smaller model ({error})"
        ) from error
    except Exception as error:
        if disk_is_full(error):
            raise StorageError(checkpoints) from error
        raise
    epochs = _epochs(trainer.state.log_history)
    strange = [epoch.epoch for epoch in epochs if not math.isfinite(epoch.train_loss + epoch.validation_loss)]
    if strange:
        raise BackendError(f"the loss of epoch {strange[0]} is not a number; lower training.learning_rate")
    return Trained(
        network=network.eval(),
        epochs=epochs,
        best=min(epochs, key=lambda epoch: (epoch.validation_loss, epoch.epoch)),
        trained_parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        resumed_at_step=0 if start is None else int(start.name.rsplit("-", 1)[1]),
        seconds=time.monotonic() - began,
    )


def last_whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that a killed run had finished writing."""
    found = [path for path in folder.glob("checkpoint-*") if path.name.rsplit("-", 1)[1].isdigit()]
    for path in sorted(found, key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True):
        try:
            json.loads((path / _STATE_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return path
    return None


def _with_lora(model: LocalModel, settings: TrainingSettings) -> Any:
    names = [name for name, _ in model.network.named_modules() if re.fullmatch(LANGUAGE_MODEL_ONLY, name)]
    if not names:
        raise BackendError(
            f"{model.model_id} has no layers named language_model.layers.*.self_attn.q_proj and so on; "
            "training.base_model must be of the Qwen3-VL family, as Cosmos-Reason2 is"
        )
    model.network.config.get_text_config().use_cache = False  # checkpointing computes again and keeps nothing
    return get_peft_model(
        model.network,
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            bias="none",
            task_type=TaskType.CAUSAL_LM,
            target_modules=LANGUAGE_MODEL_ONLY,
        ),
    )


def _arguments(model: LocalModel, settings: TrainingSettings, samples: int, checkpoints: Path) -> TrainingArguments:
    on_gpu = model.network.device.type == "cuda"
    half = settings.dtype == "bfloat16"
    if half and on_gpu and not torch.cuda.is_bf16_supported():
        raise BackendError("this GPU computes no bfloat16; set training.dtype: float32")
    return TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=1,
        per_device_eval_batch_size=1,
        gradient_accumulation_steps=settings.accumulation,
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(settings.warmup_share * steps_of(samples, settings)),
        max_grad_norm=1.0,
        bf16=half,
        use_cpu=not on_gpu,
        activation_checkpointing=True,  # gradient checkpointing: compute again what memory would have to keep
        activation_checkpointing_kwargs={"use_reentrant": False},
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=1,  # beside it the Trainer keeps the best
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        prediction_loss_only=True,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=False,  # the samples are on the device already
        seed=settings.seed,
        report_to=[],
        disable_tqdm=True,
    )


def _only_one(batch: list[dict[str, Any]]) -> dict[str, Any]:
    """A batch is one sample: clips have different sizes, and nothing is padded."""
    (sample,) = batch
    return sample


class _Reporting(TrainerCallback):  # type: ignore[misc]
    def __init__(self, report: Callable[[float], None]) -> None:
        self._report = report

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 - the Trainer's names
        self._report(float(state.global_step))


def _epochs(history: Sequence[dict[str, Any]]) -> tuple[Epoch, ...]:
    train = {round(entry["epoch"]): entry["loss"] for entry in history if "loss" in entry}
    validation = {round(entry["epoch"]): entry["eval_loss"] for entry in history if "eval_loss" in entry}
    return tuple(Epoch(n, float(train[n]), float(validation[n])) for n in sorted(validation))
